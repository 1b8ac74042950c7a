//! The files in `conf/`.

use super::*;

fn conf(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf").join(name)
}

#[test]
fn every_example_is_valid() {
    let mut names = Vec::new();
    for entry in fs::read_dir(conf("")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        if let Err(error) = Config::parse(&text, &path.display().to_string(), &environment()) {
            panic!("{error}");
        }
        names.push(path.file_name().unwrap().to_owned());
    }
    assert!(names.contains(&"pingora.yaml".into()) && names.len() > 1, "{names:?}");
}

#[test]
fn the_default_file_needs_nothing_of_the_machine_and_is_its_own_registry() {
    let config = Config::load(&conf("pingora.yaml"), &environment(), Purpose::Test).unwrap();
    let mut gateway = config.gateway;
    // For calls of gRPC.
    gateway.routes.retain(|route| route.name != "/shop.v1.Goods");
    assert_eq!(gateway, valid(&with_embedded("")).gateway);
}

#[test]
fn what_the_reference_writes_out_is_the_default() {
    let text = fs::read_to_string(conf("reference.yaml")).unwrap();
    assert_eq!(valid(&text), valid(VALID));
}

/// The commented examples of the reference are as valid as what it writes out.
#[test]
fn the_reference_is_valid_with_every_example_in_it() {
    let text = fs::read_to_string(conf("reference.yaml")).unwrap();
    let key_in_comment = |line: &str| {
        let rest = line.trim_start().strip_prefix("# ").map(str::trim_start);
        let rest = rest.map(|rest| rest.strip_prefix("- ").unwrap_or(rest));
        let key = rest.and_then(|rest| rest.split_once(':')).map(|(key, _)| key);
        key.is_some_and(|key| key.chars().all(|c| c.is_ascii_lowercase() || "_46".contains(c)))
    };
    // They would stand beside `endpoints`, `service`, `strip_prefix`, `probe`, and the path of `match` beside that of the
    // route.
    let instead =
        ["embedded", "services", "redirect", "answer", "rewrite"].map(|key| commented_section(&text, key));
    let alone = ["      # services_allowed:", "      # max_services:", "      #   path:", "    #   grpc:"];
    let directory = tempfile::tempdir().unwrap();
    let uncommented: Vec<_> = text
        .lines()
        .filter(|line| !instead.concat().contains(line) && !alone.iter().any(|alone| line.starts_with(alone)))
        .map(|line| if key_in_comment(line) { line.replacen("# ", "", 1) } else { line.to_owned() })
        .map(|line| with_files_in(directory.path(), &line))
        .collect();
    let all = uncommented.join("\n").replace("http://", "https://");
    let config = valid(&all);
    assert!(config.gateway.registry.connection.tls.is_some_and(|tls| tls.key.is_some()));
    assert!(config.gateway.registry.snapshot.is_some());
    assert!(config.server.upstream_connect_offload_thread_per_pool.is_some());
    assert_eq!(config.gateway.log, LogFormat::Json);
    assert!(config.gateway.routes[0].timeouts.total.is_some());
    assert!(config.gateway.routes[0].takes.client_cert.is_some());
    let tls = config.gateway.listen[0].tls.as_ref().unwrap();
    assert!(!tls.certificates.is_empty() && tls.client.as_ref().is_some_and(|client| client.crl.is_some()));
    let services = config.gateway.services;
    assert!(services.get("any other").tls.as_ref().is_some_and(|tls| tls.certificate.is_some()));
    assert_eq!(services.get("goods").balance, Balance::Ewma);
    assert!(services.get("any other").check.is_some());
}

/// The files that are read with a configuration are elsewhere.
fn with_files_in(directory: &Path, line: &str) -> String {
    let mut moved = line.to_owned();
    for name in ["sticky.key", "503.html"] {
        let file = directory.join(name);
        fs::write(&file, "a key of sixteen bytes, or a page").unwrap();
        moved = moved.replace(&format!("/etc/leaseway/{name}"), &file.display().to_string());
    }
    moved
}

/// What a page has for Leaseway is valid, each part alone. Below its routes it may have other keys of `gateway`.
#[test]
fn what_a_page_has_beside_other_programs_is_valid() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/coming-from.md");
    let page = fs::read_to_string(page).unwrap();
    let parts: Vec<_> = page.split("```yaml\n# Leaseway\n").skip(1).collect();
    assert!(parts.len() > 5, "{}", parts.len());
    for part in parts {
        let part = part.split("```").next().unwrap();
        let is_key = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase());
        let keys = part.lines().position(is_key).unwrap_or(part.lines().count());
        let indented = |lines: Vec<&str>| lines.iter().map(|line| format!("  {line}\n")).collect::<String>();
        let [routes, others] =
            [part.lines().take(keys).collect(), part.lines().skip(keys).collect()].map(indented);
        valid(&with("    - path: /goods\n      service: goods\n", &format!("{routes}{others}")));
    }
}

/// The lines of a commented section: its own and those of its keys.
fn commented_section<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let head = format!("# {key}:");
    let mut from = text.lines().skip_while(|line| !line.trim_start().starts_with(&head));
    let first = from.next().unwrap();
    let below = format!("{}#   ", &first[..first.len() - first.trim_start().len()]);
    [first].into_iter().chain(from.take_while(|line| line.starts_with(&below))).collect()
}

#[test]
fn the_reference_shows_the_defaults_of_an_embedded_registry() {
    let text = fs::read_to_string(conf("reference.yaml")).unwrap();
    let shown: Vec<_> = commented_section(&text, "embedded");
    assert_eq!(shown.len(), 10);
    let shown = shown[1..].join("\n").replace("    #   ", "      ");
    let endpoints = r#"endpoints: ["http://127.0.0.1:2379"]"#;
    assert_eq!(valid(&with(endpoints, &format!("embedded:\n{shown}"))), valid(&with_embedded("")));
}

/// The values of a commented section whose keys have defaults are these.
#[test]
fn the_reference_shows_the_defaults_of_a_check() {
    let text = fs::read_to_string(conf("reference.yaml")).unwrap();
    let shown = commented_section(&text, "check")
        .into_iter()
        .skip(1)
        .map(|line| line.replacen("    #   ", "      ", 1))
        .filter(|line| !line.trim_start().starts_with("grpc:"));
    let shown: Vec<_> = shown.collect();
    let check = |lines: &str| {
        let text = format!("{VALID}  defaults:\n    check:\n{lines}\n");
        valid(&text).gateway.services.get("goods").check.clone().unwrap()
    };
    assert_eq!(shown.len(), 7);
    assert_eq!(check(&shown.join("\n")), check(&shown[0]));
}
