//! HTTP/2 and gRPC through the gateway, end to end: calls of each kind, their metadata, ends, limits and retries, and what
//! passes between HTTP/1 and HTTP/2.

mod bad_input;
mod balance;
mod calls;
mod cancel;
mod deadlines;
mod goodbye;
mod harness_itself;
mod health;
mod http2;
mod metadata;
mod own_answers;
mod preface;
mod python;
mod retries;
mod tools;
mod web;

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use harness::{
    grpc::{Client, GrpcBackend, Outcome},
    stack::{Gateway, GatewayOptions},
    wait::eventually,
};
use serde_json::{Value, json};

/// Bounds what is awaited, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than anything that is to take a moment, and shorter than any limit of time that is not set.
const SOON: Duration = Duration::from_secs(8);

const SERVICE: &str = "/test.Echo";
const UNARY: &str = "/test.Echo/Unary";

/// Codes of gRPC.
mod code {
    pub(super) const OK: &str = "0";
    pub(super) const CANCELLED: &str = "1";
    pub(super) const UNKNOWN: &str = "2";
    pub(super) const DEADLINE_EXCEEDED: &str = "4";
    pub(super) const RESOURCE_EXHAUSTED: &str = "8";
    pub(super) const UNIMPLEMENTED: &str = "12";
    pub(super) const INTERNAL: &str = "13";
    pub(super) const UNAVAILABLE: &str = "14";
}

/// `/test.Echo` leads to these addresses, in turn, whatever goes wrong with them.
fn options(addresses: &[SocketAddr]) -> GatewayOptions {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    GatewayOptions::without_routes()
        .set("gateway/routes", json!([{ "path": SERVICE, "service": "echo" }]))
        .set("gateway/services/echo/addresses", addresses)
        .set("gateway/services/echo/balance", "round_robin")
        .set("gateway/services/echo/ejection", "off")
        .set("gateway/services/echo/stall", "off")
        .set("gateway/services/echo/budget", json!({ "per_second": 1000 }))
}

/// The route with this `retry`.
fn retrying(options: GatewayOptions, retry: Value) -> GatewayOptions {
    options.set("gateway/routes", json!([{ "path": SERVICE, "service": "echo", "retry": retry }]))
}

/// A gateway, backends that send back what comes, named `0`, `1` and so on, and a connection of a client in clear.
struct Place {
    gateway: Gateway,
    backends: Vec<GrpcBackend>,
    client: Client,
}

impl Place {
    async fn new(count: usize) -> Result<Self> {
        Self::with(count, |options| options).await
    }

    async fn with(count: usize, change: impl FnOnce(GatewayOptions) -> GatewayOptions) -> Result<Self> {
        let mut backends = Vec::new();
        for number in 0..count {
            backends.push(GrpcBackend::start(&number.to_string()).await?);
        }
        let addresses: Vec<_> = backends.iter().map(GrpcBackend::address).collect();
        let gateway = Gateway::start_with_registry(change(options(&addresses))).await?;
        let client = Client::connect(gateway.address()).await?;
        Ok(Self { gateway, backends, client })
    }

    fn backend(&self) -> &GrpcBackend {
        &self.backends[0]
    }

    async fn unary(&self, message: &[u8]) -> Result<Outcome> {
        self.client.unary(UNARY, &[], message).await
    }

    fn total(&self) -> usize {
        self.backends.iter().map(GrpcBackend::count).sum()
    }
}

/// Checks that a call has ended well, with this message.
fn assert_ok(outcome: &Outcome, message: &[u8]) -> Result<()> {
    ensure!((outcome.http, outcome.status()) == (200, Some(code::OK)), "{}", shown(outcome));
    let messages = outcome.messages()?;
    let is_it = messages.len() == 1 && messages[0].bytes == message;
    ensure!(is_it, "{} messages, of {} bytes", messages.len(), outcome.body.len());
    Ok(())
}

/// Without its body, which may be long.
fn shown(outcome: &Outcome) -> String {
    format!(
        "{:?} with {} bytes",
        Outcome { body: bytes::Bytes::new(), ..outcome.clone() },
        outcome.body.len()
    )
}

/// Checks an answer of the gateway's own in gRPC's shape: a head that is all, with the status, a message and the trace id.
fn assert_own(outcome: &Outcome, status: &str) -> Result<()> {
    ensure!((outcome.http, outcome.status()) == (200, Some(status)), "expected {status}: {}", shown(outcome));
    ensure!(outcome.is_trailers_only(), "more than a head: {}", shown(outcome));
    let content_type = outcome.header("content-type");
    ensure!(content_type.is_some_and(|kind| kind.starts_with("application/grpc")), "{}", shown(outcome));
    ensure!(outcome.header("grpc-message").is_some_and(|text| !text.is_empty()), "{}", shown(outcome));
    ensure!(outcome.header("trace_id").is_some_and(|id| !id.is_empty()), "{}", shown(outcome));
    Ok(())
}

/// The log's lines of requests since its line `since`.
fn requests(gateway: &Gateway, since: usize) -> Vec<Value> {
    let lines = gateway.process().lines_since(since);
    let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == "request").collect()
}

/// The one line of the log that a request has, since the log's line `since`.
async fn one_line(gateway: &Gateway, since: usize) -> Result<Value> {
    let first = eventually("the request has a line in the log", PATIENCE, async || {
        requests(gateway, since).into_iter().next().context("none has come")
    });
    let line = first.await.with_context(|| gateway.process().tail())?;
    // Whoever asks the admin port has its answer after all that was written before.
    gateway.admin("/livez").await?;
    let lines = requests(gateway, since);
    ensure!(lines.len() == 1, "{} lines: {lines:#?}", lines.len());
    Ok(line)
}

/// Waits until a metric says at least this.
async fn wait_metric(gateway: &Gateway, name: &str, labels: &[&str], least: f64) -> Result<()> {
    eventually("the metric says what is awaited", PATIENCE, async || {
        let value = gateway.metric(name, labels).await?;
        ensure!(value >= least, "{name}{labels:?} is {value}");
        Ok(())
    })
    .await
}
