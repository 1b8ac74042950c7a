//! What the gateway's access log says.

use std::time::SystemTime;

use anyhow::{Context, Result};
use harness::process::Process;
use serde::Deserialize;

/// A request in the access log.
#[derive(Debug)]
pub(crate) struct Request {
    /// When its answer had ended.
    pub(crate) ended: SystemTime,
    pub(crate) method: String,
    pub(crate) status: u16,
    /// Its attempts that failed.
    pub(crate) failed: Vec<Failed>,
}

/// A failed attempt.
#[derive(Debug, Deserialize)]
pub(crate) struct Failed {
    pub(crate) instance: String,
    pub(crate) reason: String,
}

#[derive(Deserialize)]
struct Line {
    timestamp: String,
    method: String,
    status: u16,
    #[serde(default)]
    failed: Vec<Failed>,
}

/// The requests that a gateway has logged, in the order of its log.
///
/// # Errors
/// When a line is not as documented.
pub(crate) fn requests(gateway: &Process) -> Result<Vec<Request>> {
    let lines = gateway.lines();
    lines.iter().filter(|line| line.contains(r#""message":"request""#)).map(|line| read(line)).collect()
}

fn read(line: &str) -> Result<Request> {
    let Line { timestamp, method, status, failed } =
        serde_json::from_str(line).with_context(|| format!("reading the access log's {line}"))?;
    let ended = humantime::parse_rfc3339(&timestamp).with_context(|| format!("reading {timestamp:?}"))?;
    Ok(Request { ended, method, status, failed })
}
