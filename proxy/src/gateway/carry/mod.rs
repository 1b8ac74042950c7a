//! What moves a request's and an answer's bytes: the carriers.
//!
//! ```text
//! client    a client's connection                      dialer    opens connections to instances
//! block     bytes that came and have not gone on yet   failure   why an attempt failed
//! timer     the one timer of a connection              waits     until when is waited, and who is late then: pure
//! http1     ours, for HTTP/1 at both ends
//! http2     ours, for clients who speak HTTP/2
//! pingora   Pingora's proxy, for the rest
//! ```

mod block;
mod client;
mod dialer;
mod failure;
pub(super) mod http1;
pub(super) mod http2;
pub(super) mod pingora;
mod timer;
mod waits;

use block::Block;
pub(super) use client::Client;
pub(super) use dialer::Dialer;
#[cfg(test)]
pub(super) use dialer::{Dial, Memory};
use timer::Timer;
