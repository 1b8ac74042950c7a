//! Which gateway is tested: the tests run with each carrier of HTTP/1, and with one worker thread and with two.
//!
//! With two threads an answer may be seen by one while the other still begins with the request; with one, as on a
//! machine with one core, nothing may wait for what only another thread would do.

use std::env;

use anyhow::{Context, Result};
use serde_json::Value;

/// `ours` or `pingora`.
const HTTP1: &str = "LEASEWAY_TEST_HTTP1";
const USUAL_HTTP1: &str = "ours";
/// How many worker threads.
const THREADS: &str = "LEASEWAY_TEST_THREADS";
const USUAL_THREADS: usize = 2;

/// What carries HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// The gateway's own.
    Ours,
    /// Pingora's `ProxyHttp`, which forces some answers on us: docs/http1.md has the table.
    Pingora,
}

impl Carrier {
    /// That of the gateways that are tested.
    pub fn tested() -> Self {
        if http1() == "ours" { Self::Ours } else { Self::Pingora }
    }

    /// What holds for the one, and what for the other.
    pub fn either<T>(ours: T, pingora: T) -> T {
        match Self::tested() {
            Self::Ours => ours,
            Self::Pingora => pingora,
        }
    }
}

/// A file of conf/ for the gateway that is tested. Its lines keep their numbers: an empty one of the gateway's section, or
/// one with a comment, gives its place.
///
/// # Errors
/// When the gateway's section has no such line.
pub fn as_tested(file: &str) -> Result<String> {
    let (http1, threads) = (http1(), threads());
    let mut lines: Vec<_> = file.lines().collect();
    let gives_way = |line: &&str| line.is_empty() || line.trim_start().starts_with('#');
    let section = lines.iter_mut().skip_while(|line| **line != "gateway:");
    let place = section.skip(1).find(|line| gives_way(line)).context("no place in the gateway's section")?;
    let carrier = format!("  http1: {http1}");
    *place = &carrier;
    Ok(format!("{}\nthreads: {threads}\n", lines.join("\n")))
}

/// The value of `gateway.http1`. The gateway itself refuses what is none.
pub(super) fn http1() -> String {
    env::var(HTTP1).unwrap_or_else(|_| USUAL_HTTP1.to_owned())
}

/// The value of `threads`. The gateway itself refuses what is none.
pub(super) fn threads() -> Value {
    let Ok(text) = env::var(THREADS) else { return Value::from(USUAL_THREADS) };
    text.parse::<usize>().map_or(Value::String(text), Value::from)
}
