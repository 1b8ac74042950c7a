//! The configuration as a whole: what a text becomes, and what its author is told.

mod any_text;
mod connection;
mod documents;
mod embedded;
mod examples;
mod files;
mod gateway;
mod listeners;
mod reload;
mod routes;
mod schema;
mod server;
mod services;
mod size;
mod timeouts;
mod whole;

use std::fs;
use std::num::{NonZeroU32, NonZeroUsize};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;

const VALID: &str = r#"version: 1
gateway:
  listen: ["0.0.0.0:8080"]
  registry:
    endpoints: ["http://127.0.0.1:2379"]
  routes:
    - path: /goods
      service: goods
"#;

fn environment() -> Environment {
    Environment {
        daemon: false,
        uid: 1000,
        cores: NonZeroUsize::new(2).unwrap(),
        runtime_directory: None,
        state_directory: None,
        xdg_runtime_dir: None,
    }
}

impl Config {
    /// What a text says. Whether what it names is there is not looked at.
    pub(crate) fn parse(text: &str, file: &str, environment: &Environment) -> Result<Self, ConfigError> {
        check_size(text.len(), file)?;
        read_text(text, file, environment, None)
    }

    fn load(path: &Path, environment: &Environment, purpose: Purpose) -> Result<Self, ConfigError> {
        Self::of_bytes(&read_file(path)?, path, environment, purpose)
    }
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, "test.yaml", &environment())
}

fn valid(text: &str) -> Config {
    parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The problems of a text, without the file's name: `3: gateway.listen: ...`.
fn problems(text: &str) -> Vec<String> {
    match parse(text) {
        Err(ConfigError::Invalid(problems)) => {
            let line = |problem: &Problem| problem.to_string().strip_prefix("test.yaml:").map(str::to_owned);
            problems.iter().map(|problem| line(problem).unwrap()).collect()
        }
        other => panic!("expected problems, got {other:?}\n{text}"),
    }
}

/// What is told of a valid text, without the file's name.
fn remarks(text: &str) -> Vec<String> {
    let line = |remark: &Problem| remark.to_string().strip_prefix("test.yaml:").map(str::to_owned);
    valid(text).remarks.iter().map(|remark| line(remark).unwrap()).collect()
}

/// [`VALID`] with a line of its own replaced, or with lines added at the end of the `gateway` section.
fn with(line: &str, replacement: &str) -> String {
    assert!(VALID.contains(line), "{line:?} is not in the valid configuration");
    VALID.replacen(line, replacement, 1)
}

fn with_gateway(lines: &str) -> String {
    format!("{VALID}  {lines}\n")
}

fn with_server(lines: &str) -> String {
    format!("{VALID}{lines}\n")
}

fn with_registry(lines: &str) -> String {
    let endpoints = "    endpoints: [\"http://127.0.0.1:2379\"]\n";
    with(endpoints, &format!("{endpoints}    {lines}\n"))
}

fn with_endpoints(endpoints: &str) -> String {
    with(r#"["http://127.0.0.1:2379"]"#, endpoints)
}

/// A registry of the gateway's own, with these keys or none.
fn with_embedded(keys: &str) -> String {
    with(r#"endpoints: ["http://127.0.0.1:2379"]"#, &format!("embedded: {{ {keys} }}"))
}

#[track_caller]
fn assert_problem(text: &str, expected: &str) {
    assert_eq!(problems(text), [expected], "{text}");
}
