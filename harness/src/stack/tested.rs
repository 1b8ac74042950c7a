//! Which gateway is tested: the tests run with each carrier of HTTP/1, and with one worker thread and with two.
//!
//! With two threads an answer may be seen by one while the other still begins with the request; with one, as on a
//! machine with one core, nothing may wait for what only another thread would do.

use std::env;

use serde_json::Value;

/// `ours` or `pingora`; without it what a configuration has that says nothing.
const HTTP1: &str = "LEASEWAY_TEST_HTTP1";
/// How many worker threads; two without it.
const THREADS: &str = "LEASEWAY_TEST_THREADS";

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
        match http1().as_deref() {
            Some("ours") => Self::Ours,
            _ => Self::Pingora,
        }
    }

    /// What holds for the one, and what for the other.
    pub fn either<T>(ours: T, pingora: T) -> T {
        match Self::tested() {
            Self::Ours => ours,
            Self::Pingora => pingora,
        }
    }
}

/// The value of `gateway.http1`, if it is to be named. The gateway itself refuses what is none.
pub(super) fn http1() -> Option<String> {
    env::var(HTTP1).ok()
}

/// The value of `threads`. The gateway itself refuses what is none.
pub(super) fn threads() -> Value {
    let Ok(text) = env::var(THREADS) else { return Value::from(2) };
    text.parse::<usize>().map_or(Value::String(text), Value::from)
}
