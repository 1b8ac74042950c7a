//! The commands of the README and of docs/, as printed, in one shell. Only the ports are others, so that the
//! test can run beside whatever has the usual ones. And the links between these texts.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::etcd::Etcd;
use harness::ports::free_address;
use harness::process::{Process, Stdout, binary};
use harness::stack::as_tested;

const PATIENCE: Duration = Duration::from_secs(120);
const USUAL_PORTS: [u16; 5] = [2379, 8001, 8002, 8080, 9090];

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Those at the top of the repository, then what is in docs/ by name.
fn guides() -> Result<Vec<PathBuf>> {
    let docs = fs::read_dir(repository().join("docs"))?.map(|entry| entry.map(|entry| entry.path()));
    let mut docs = docs.collect::<Result<Vec<_>, _>>()?;
    docs.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    docs.sort();
    let top = ["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"];
    docs.splice(0..0, top.map(|name| repository().join(name)));
    Ok(docs)
}

/// The fenced blocks of this language, in order.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    let blocks = text.split(&opening).skip(1);
    blocks.filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}

/// Waits, as a reader would, until the gateway knows both goods.
const SETTLE: &str = r#"
until [ "$(curl -fsS http://127.0.0.1:9090/services 2>/dev/null | grep -o goods- | wc -l)" -eq 2 ]; do sleep 0.1; done
"#;

fn script(blocks: &[String]) -> Result<String> {
    let (first, rest) = blocks.split_first().context("the guides have no commands")?;
    Ok(format!(
        "set -euo pipefail\ntrap 'kill $(jobs -p)' EXIT\n{first}{SETTLE}{}\necho done",
        rest.join(SETTLE)
    ))
}

#[tokio::test]
async fn the_guides_commands_work_as_printed() -> Result<()> {
    let texts = guides()?.iter().map(fs::read_to_string).collect::<Result<Vec<_>, _>>()?;
    let commands: Vec<_> = texts.iter().flat_map(|text| blocks(text, "sh")).collect();
    let mut script = script(&commands)?;
    let mut configuration = as_tested(&fs::read_to_string(repository().join("conf/pingora.yaml"))?)?;
    for usual in USUAL_PORTS {
        let (usual, free) = (format!(":{usual}"), format!(":{}", free_address()?.port()));
        script = script.replace(&usual, &free);
        configuration = configuration.replace(&usual, &free);
    }
    let directory = tempfile::tempdir()?;
    fs::create_dir(directory.path().join("conf"))?;
    fs::write(directory.path().join("conf/pingora.yaml"), configuration)?;

    let binaries = binary("proxy")?;
    let binaries = binaries.parent().context("the gateway's binary is nowhere")?;
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH")?);
    let mut shell = Command::new("bash");
    shell
        .args(["-c", &script])
        .current_dir(directory.path())
        .env("PATH", path)
        // The embedded registry's snapshot is kept there.
        .env("XDG_RUNTIME_DIR", directory.path())
        .env_remove("RUNTIME_DIRECTORY")
        .env_remove("STATE_DIRECTORY");
    let mut shell = Process::start(shell, Stdout::Kept)?;
    let status = shell.wait_exit(PATIENCE).await?;
    ensure!(status.success(), "{status}\n{}", shell.tail());

    let shown = shell.lines().join("\n");
    for expected in [
        r#"{"code":0,"message":"get goods list success","trace_id":""#,
        r#"{"instance":"goods-2","address":"127.0.0.1:"#,
        r#""watch_live":true"#,
        r#"leaseway_endpoints{service="goods",state="up"} 2"#,
        "keepalived with TTL(10)",
        "revoked",
        r#","TTL":"10"}}"#,
        r#""state":"draining","revision":"#,
        "done",
    ] {
        assert!(shown.contains(expected), "{expected} is not in:\n{shown}");
    }
    Ok(())
}

/// Waits, as a reader would, until the gateway knows all that have registered.
const SHOP_SETTLES: &str = r#"
until [ "$(curl -fsS http://127.0.0.1:9090/services 2>/dev/null | grep -o '"instance":"[a-z0-9-]*-1"' | sort -u | wc -l)" -eq 14 ]
do sleep 0.1; done
"#;
const SHOPS_PORTS: [u16; 20] = [
    2379, 8001, 8002, 8003, 8004, 8005, 8006, 8007, 8008, 8009, 8010, 8011, 8012, 8013, 8014, 8015, 8021,
    8022, 8080, 9090,
];

/// What the page on routes shows: commands, each with the lines that it shows of what they print.
fn shown_of_routes(page: &str) -> Vec<(String, Vec<String>)> {
    let parts = page.split("```sh routes\n").skip(1);
    let shown = parts.map(|part| {
        let (command, rest) = part.split_once("```").unwrap_or((part, ""));
        let text = blocks(rest, "text").concat();
        (command.to_owned(), text.lines().map(str::to_owned).collect())
    });
    shown.collect()
}

/// Whether a line reads as it is shown: dots stand for what differs each time.
fn reads_as(line: &str, shown: &str) -> bool {
    let mut pieces = shown.split("...");
    let Some(mut rest) = pieces.next().and_then(|first| line.trim_end().strip_prefix(first)) else {
        return false;
    };
    let mut is_open = false;
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
        is_open = piece.is_empty();
    }
    rest.is_empty() || is_open
}

/// All of it, in one shell, on other ports: each line that is shown is among those that are printed, in this order.
#[tokio::test]
async fn the_page_on_routes_shows_what_its_commands_print() -> Result<()> {
    let page = fs::read_to_string(repository().join("docs/routes.md"))?;
    let shown = shown_of_routes(&page);
    let mut script = "exec 2>&1\ntrap 'kill $(jobs -p)' EXIT\n".to_owned();
    for (number, (command, _)) in shown.iter().enumerate() {
        let settle = if number == 1 { SHOP_SETTLES } else { "" };
        script += &format!("{settle}printf '\\n@@@ {number}\\n'\n{command}");
    }
    let mut configuration = as_tested(&fs::read_to_string(repository().join("conf/shop.yaml"))?)?;
    let mut registry = "http://127.0.0.1:2379".to_owned(); // where goods register if they are told nothing
    for usual in SHOPS_PORTS {
        let (usual, free) = (format!(":{usual}"), format!(":{}", free_address()?.port()));
        registry = registry.replace(&usual, &free);
        script = script.replace(&usual, &free);
        configuration = configuration.replace(&usual, &free);
    }
    let directory = tempfile::tempdir()?;
    fs::create_dir(directory.path().join("conf"))?;
    fs::write(directory.path().join("conf/shop.yaml"), configuration)?;
    let binaries = binary("proxy")?;
    let binaries = binaries.parent().context("the gateway's binary is nowhere")?;
    let mut shell = Command::new("bash");
    shell
        .args(["-c", &script])
        .current_dir(directory.path())
        .env("PATH", format!("{}:{}", binaries.display(), std::env::var("PATH")?))
        .env("GOODS_REGISTRY", registry)
        .env("XDG_RUNTIME_DIR", directory.path())
        .env_remove("RUNTIME_DIRECTORY")
        .env_remove("STATE_DIRECTORY");
    let mut shell = Process::start(shell, Stdout::Kept)?;
    shell.wait_exit(PATIENCE).await?;

    let printed = shell.lines().join("\n");
    let mut parts = printed.split("@@@ ").skip(1);
    for (command, lines) in shown {
        let part =
            parts.next().with_context(|| format!("nothing is printed from {command} on:\n{printed}"))?;
        let mut rest = part.lines();
        for line in lines.iter().filter(|line| !line.is_empty()) {
            ensure!(
                rest.any(|printed| reads_as(printed, line)),
                "{line:?} is not printed by\n{command}\nbut:\n{part}"
            );
        }
    }
    Ok(())
}

/// The configuration that the page shows is that of the example.
#[test]
fn the_page_on_routes_shows_the_shop_as_it_is() -> Result<()> {
    let page = fs::read_to_string(repository().join("docs/routes.md"))?;
    let shop = fs::read_to_string(repository().join("conf/shop.yaml"))?;
    let shown = blocks(&page, "yaml shop");
    ensure!(shown.len() > 5, "the page shows only {}", shown.len());
    for block in shown {
        let lines: Vec<_> = block.lines().collect();
        let mut all = shop.lines();
        for line in lines {
            ensure!(all.any(|there| there == line), "conf/shop.yaml does not say, in this order:\n{line}");
        }
    }
    Ok(())
}

/// Those that take an etcd with users, which the embedded registry is not.
#[tokio::test]
async fn the_commands_that_give_each_service_a_user_work_as_printed() -> Result<()> {
    let etcd = Etcd::start().await?;
    let page = fs::read_to_string(repository().join("docs/security.md"))?;
    let commands = blocks(&page, "sh etcd").concat().replace("127.0.0.1:2379", &etcd.address().to_string());
    let directory = tempfile::tempdir()?;
    std::os::unix::fs::symlink(repository().join("deploy"), directory.path().join("deploy"))?;
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &commands]).current_dir(directory.path());
    let mut shell = Process::start(shell, Stdout::Kept)?;
    let status = shell.wait_exit(PATIENCE).await?;
    ensure!(status.success(), "{status}\n{}", shell.tail());
    let shown = shell.lines();
    for expected in [
        "authentication is on",
        "orders may not register as goods",
        "orders may not read what others have registered",
    ] {
        assert!(shown.iter().any(|line| line == expected), "{expected} is not in:\n{}", shown.join("\n"));
    }
    Ok(())
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() -> Result<()> {
    let deploy = repository().join("deploy/README.md");
    for guide in guides()?.into_iter().chain([deploy]) {
        for link in links(&fs::read_to_string(&guide)?) {
            let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { guide.clone() } else { guide.with_file_name(path) };
            ensure!(target.exists(), "{}: no file for {link}", guide.display());
            let is_there = heading.is_empty() || anchors(&fs::read_to_string(&target)?).contains(heading);
            ensure!(is_there, "{}: no heading for {link}", guide.display());
        }
    }
    Ok(())
}

/// Where a path of the architecture page may begin: it leaves out what is clear from the page or the picture.
const ROOTS: [&str; 4] = ["", "proxy/src", "proxy/src/gateway", "registry/src"];

#[test]
fn every_source_that_the_architecture_page_names_is_there() -> Result<()> {
    let page = fs::read_to_string(repository().join("docs/architecture.md"))?;
    let words = page.split(|c: char| !(c.is_ascii_alphanumeric() || "_./-".contains(c)));
    let paths: HashSet<_> = words.filter(|word| word.contains('/') && word.ends_with(".rs")).collect();
    ensure!(paths.len() > 20, "the page names only {paths:?}");
    let is_there = |path: &str| ROOTS.iter().any(|root| repository().join(root).join(path).is_file());
    let absent: Vec<_> = paths.into_iter().filter(|path| !is_there(path)).collect();
    ensure!(absent.is_empty(), "docs/architecture.md names what is not there: {absent:?}");
    Ok(())
}

/// Where the links of a text lead, but for those to elsewhere.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://")).map(str::to_owned).collect()
}

/// What GitHub makes of the headings of a text.
fn anchors(text: &str) -> HashSet<String> {
    let outside_of_blocks = text.split("```").step_by(2).flat_map(str::lines);
    let headings = outside_of_blocks.filter(|line| line.starts_with('#'));
    let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    headings
        .map(|heading| heading.trim_start_matches('#').trim().to_lowercase())
        .map(|heading| heading.chars().filter(kept).collect::<String>().replace(' ', "-"))
        .collect()
}

#[test]
fn the_readmes_registrar_is_the_one_that_the_crates_documentation_compiles() -> Result<()> {
    let readme = fs::read_to_string(repository().join("README.md"))?;
    let documented = fs::read_to_string(repository().join("registry/src/lib.rs"))?;
    let documented = documented.replace("//! ", "").replace("//!", "");
    let shown = blocks(&readme, "rust,no_run");
    assert_eq!(shown.len(), 1);
    for line in shown[0].lines().filter(|line| !line.is_empty()) {
        assert!(documented.contains(line), "{line}");
    }
    Ok(())
}

/// The mistakes that the README shows the messages of, each in the place of what `conf/pingora.yaml` has.
const MISTAKES: [(&str, &str); 2] = [
    (r#"embedded: { listen: "127.0.0.1:2379" }"#, r#"endpoints: ["etcd:2379"]"#),
    ("service: goods", "servce: goods"),
];

#[tokio::test]
async fn mistakes_are_told_as_the_readme_shows() -> Result<()> {
    let mut configuration = fs::read_to_string(repository().join("conf/pingora.yaml"))?;
    for (right, wrong) in MISTAKES {
        ensure!(configuration.contains(right), "conf/pingora.yaml has no {right}");
        configuration = configuration.replacen(right, wrong, 1);
    }
    let directory = tempfile::tempdir()?;
    fs::create_dir(directory.path().join("conf"))?;
    fs::write(directory.path().join("conf/pingora.yaml"), configuration)?;
    let mut check = Command::new(binary("proxy")?);
    check.args(["-t", "-c", "conf/pingora.yaml"]).current_dir(directory.path());
    let mut check = Process::start(check, Stdout::Kept)?;
    assert_eq!(check.wait_exit(PATIENCE).await?.code(), Some(1));
    let readme = fs::read_to_string(repository().join("README.md"))?;
    let told = format!("```text\n{}\n```", check.lines().join("\n"));
    assert!(readme.contains(&told), "the README does not show:\n{told}");
    Ok(())
}
