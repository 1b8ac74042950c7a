//! What moves a request's and an answer's bytes: the carriers.
//!
//! ```text
//! client    a client's connection
//! block     bytes that came and have not gone on yet
//! timer     the one timer of a connection
//! http1     ours, for HTTP/1 at both ends
//! pingora   Pingora's proxy, for the rest
//! ```

mod block;
mod client;
pub(super) mod http1;
pub(super) mod pingora;
mod timer;

use block::Block;
pub(super) use client::Client;
use timer::Timer;
