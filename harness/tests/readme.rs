//! The README's commands, as printed, in one shell. Only the ports are others, so that the test can run
//! beside whatever has the usual ones.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::ports::free_address;
use harness::process::{Process, Stdout, binary};

const PATIENCE: Duration = Duration::from_secs(120);
const USUAL_PORTS: [u16; 5] = [2379, 8001, 8002, 8080, 9090];

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
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
    let (first, rest) = blocks.split_first().context("the README has no commands")?;
    Ok(format!(
        "set -euo pipefail\ntrap 'kill $(jobs -p)' EXIT\n{first}{SETTLE}{}\necho done",
        rest.join(SETTLE)
    ))
}

#[tokio::test]
async fn the_readmes_commands_work_as_printed() -> Result<()> {
    let readme = std::fs::read_to_string(repository().join("README.md"))?;
    let mut script = script(&blocks(&readme, "sh"))?;
    let mut configuration = std::fs::read_to_string(repository().join("conf/pingora.yaml"))?;
    for usual in USUAL_PORTS {
        let (usual, free) = (format!(":{usual}"), format!(":{}", free_address()?.port()));
        script = script.replace(&usual, &free);
        configuration = configuration.replace(&usual, &free);
    }
    let directory = tempfile::tempdir()?;
    std::fs::create_dir(directory.path().join("conf"))?;
    std::fs::write(directory.path().join("conf/pingora.yaml"), configuration)?;

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
        .env_remove("RUNTIME_DIRECTORY");
    let mut shell = Process::start(shell, Stdout::Kept)?;
    let status = shell.wait_exit(PATIENCE).await?;
    ensure!(status.success(), "{status}\n{}", shell.tail());

    let shown = shell.lines().join("\n");
    for expected in [
        r#"{"code":0,"message":"get goods list success","trace_id":""#,
        r#""instance":"goods-2","lease":""#,
        r#""watch_live":true"#,
        r#"leaseway_endpoints{service="goods",state="up"} 2"#,
        "keepalived with TTL(10)",
        "revoked",
        r#""state":"draining","weight":0"#,
        "done",
    ] {
        assert!(shown.contains(expected), "{expected} is not in:\n{shown}");
    }
    Ok(())
}

#[test]
fn the_readmes_registrar_is_the_one_that_the_crates_documentation_compiles() -> Result<()> {
    let readme = std::fs::read_to_string(repository().join("README.md"))?;
    let documented = std::fs::read_to_string(repository().join("registry/src/lib.rs"))?;
    let documented = documented.replace("//! ", "").replace("//!", "");
    let shown = blocks(&readme, "rust,no_run");
    assert_eq!(shown.len(), 1);
    for line in shown[0].lines().filter(|line| !line.is_empty()) {
        assert!(documented.contains(line), "{line}");
    }
    Ok(())
}
