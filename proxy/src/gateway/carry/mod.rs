//! What moves a request's and an answer's bytes: the carriers.
//!
//! ```text
//! client    a client's connection
//! http1     ours, for HTTP/1 at both ends
//! pingora   Pingora's proxy, for the rest
//! ```

mod client;
pub(super) mod http1;
pub(super) mod pingora;

pub(super) use client::Client;
