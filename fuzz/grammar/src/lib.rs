//! The grammar of HTTP/1 and of PROXY headers and what must hold of them, by itself: the gateway's own sources, in the
//! places that they have there, without all that the gateway is linked with. It is built in seconds, also for a fuzzer or
//! as it is deployed, and nothing of it is public for this.

#![allow(dead_code, unused_imports, reason = "the gateway uses it")]

#[path = "../../../proxy/src/forged.rs"]
mod forged;
mod gateway;
#[path = "../../../proxy/src/head.rs"]
mod head;

pub use gateway::{Heads, answers, chunks, proxy_headers, requests};
