//! etcd's JSON over HTTP/1, beside a real etcd, and what keeps web pages out.

mod bounds;
mod browser;
mod cases;
mod clients;
mod fuzz;
pub mod plain;

use std::net::SocketAddr;

use anyhow::Result;
use harness::http::{self, Answer, Request};

/// A request for JSON, as programs send it.
pub async fn post(address: SocketAddr, path: &str, body: impl Into<Vec<u8>>) -> Result<Answer> {
    let request = Request::post(path).header("content-type", "application/json");
    http::send(address, request.body(body.into().into())?).await
}
