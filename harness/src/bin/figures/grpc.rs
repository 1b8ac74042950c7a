//! Calls of gRPC while servers die, leave, stand still and come: ten goods, and clients with ten connections.
//!
//! Half of the calls may be sent again by their route. The others may be only where the instance has provably not begun
//! with them; what was in flight on it when it died fails, and is counted apart.

mod joined;
mod killed;
mod left;
mod rolling;
mod stopped;
mod talk;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{
    grpc::{Call, CallLoad, Calls, GrpcBackend, RunningCalls},
    stack::{GatewayOptions, Goods, Stack},
};
use serde_json::json;

use crate::{Scale, row};

const PATIENCE: Duration = Duration::from_secs(30);
const PATH: &str = "/shop.v1.Goods/List";
/// The metadata of calls that may be sent again.
const IDEMPOTENT: &str = "x-idempotent";
/// Kinds of the load's calls.
const OTHER: usize = 0;
const SAFE: usize = 1;
const SERVERS: usize = 10;
/// The gateway knows at once that a connection is gone; ten times what a busy machine may take.
const KNOWN: Duration = Duration::from_secs(1);
/// What `Proxy-Status` says of calls that were in flight on an instance that broke off.
const BROKE_OFF: &str = "error=connection_terminated";
/// How long a server serves on after it has withdrawn its registration.
const DRAIN: [&str; 2] = ["--drain", "1s"];

/// How much is done.
#[derive(Clone, Copy, Debug)]
struct Size {
    rounds: usize,
    rate: u32,
    /// How long the load runs before and after a fault.
    calm: Duration,
    /// How long a server stands still.
    still: Duration,
    /// How many servers are replaced.
    replaced: usize,
    /// How long a new server has until its share is counted, and for how long that is.
    settled: Duration,
    counted: Duration,
}

impl Size {
    fn of(scale: Scale) -> Self {
        let whole = scale.rounds >= 5;
        let either = |long, short| Duration::from_secs(if whole { long } else { short });
        Self {
            rounds: scale.rounds,
            rate: if whole { 1_000 } else { 200 },
            calm: scale.calm,
            still: either(10, 3),
            replaced: if whole { SERVERS } else { 2 },
            settled: either(5, 1),
            counted: either(60, 3),
        }
    }
}

pub(crate) async fn show(scale: Scale) -> Result<()> {
    let size = Size::of(scale);
    let mut place = Place::start(size).await?;
    killed::show(&mut place).await?;
    left::show(&mut place).await?;
    stopped::show(&mut place).await?;
    rolling::show(&mut place).await?;
    joined::show(&mut place).await
}

/// Ten goods, a gateway, and a server whose streams last.
struct Place {
    stack: Stack,
    size: Size,
    /// Holds streams on the connections of the load.
    _echo: GrpcBackend,
}

impl Place {
    async fn start(size: Size) -> Result<Self> {
        let echo = GrpcBackend::start("echo").await?;
        let again = json!({ "idempotent": true, "grpc": ["UNAVAILABLE"] });
        let marked = json!({ "path": PATH, "headers": { IDEMPOTENT: "1" } });
        let options = GatewayOptions::without_routes()
            .set(
                "gateway/routes",
                json!([
                    { "name": "safe", "match": marked, "service": "goods", "retry": again },
                    { "name": "others", "path": PATH, "service": "goods" },
                    { "path": talk::SERVICE, "service": "echo" },
                ]),
            )
            .set("gateway/services/echo/addresses", json!([echo.address().to_string()]))
            .discard_log();
        Ok(Self { stack: Stack::start(SERVERS, &DRAIN, options).await?, size, _echo: echo })
    }

    fn load(&self) -> CallLoad {
        CallLoad::new(self.stack.gateway.address(), PATH).rate(self.size.rate).also(IDEMPOTENT, "1")
    }

    /// Starts the load, and waits for as long as it is calm.
    async fn under_load(&self) -> RunningCalls {
        let running = self.load().start();
        tokio::time::sleep(self.size.calm).await;
        running
    }

    /// Waits for as long as it is calm, and stops the load.
    async fn calmed(&self, running: RunningCalls) -> Result<Calls> {
        tokio::time::sleep(self.size.calm).await;
        let calls = running.stop().await?;
        let expected = 2 * self.size.calm.as_secs() as usize * self.size.rate as usize / 2;
        ensure!(calls.count() > expected, "only {} calls were made: nothing is shown", calls.count());
        Ok(calls)
    }

    /// Waits until the gateway knows these servers and no others.
    async fn wait_known(&self, names: &[String]) -> Result<()> {
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        self.stack.gateway.wait_instances("goods", &names).await.map(drop)
    }

    /// Starts the server of this place again, and waits until the gateway uses it.
    async fn start_again(&mut self, at: usize) -> Result<()> {
        let goods = Goods::start(&self.stack.etcd.endpoint(), &name(at), &DRAIN).await?;
        let address = goods.address().to_string();
        self.stack.goods[at] = goods;
        let is_it = |services: &harness::stack::Services| {
            let mut endpoints = services.endpoints("goods").iter();
            endpoints.any(|e| e.instance == name(at) && e.address == address && e.state == "up")
        };
        self.stack.gateway.wait_services(is_it).await.context("it is not used again").map(drop)
    }
}

fn name(at: usize) -> String {
    format!("goods-{}", at + 1)
}

/// All but the first one.
fn all_but_first() -> Vec<String> {
    (1..SERVERS).map(name).collect()
}

fn safe(call: &Call) -> bool {
    call.kind == SAFE
}

fn other(call: &Call) -> bool {
    call.kind == OTHER
}

/// Prints how many of these calls failed, none of which may.
fn show_none_failed(what: &str, calls: &Calls) -> Result<()> {
    let (failures, refused) = (calls.failures(), calls.refused());
    let failed = failures.len() + refused;
    row(&format!("{what}: failed"), format!("{failed} of {} (must be 0)", calls.count()));
    ensure!(failed == 0, "{failed} calls failed, {refused} of them refused: {:?}", shortened(&failures));
    Ok(())
}

/// How many of the others failed: those alone that were in flight on an instance, which ended or went on at that time.
fn cut_off(others: &Calls, then: Instant) -> Result<usize> {
    let failures = others.failures();
    let unexpected: Vec<_> = failures.iter().copied().filter(|text| !text.contains(BROKE_OFF)).collect();
    ensure!(unexpected.is_empty(), "{} failed otherwise: {:?}", unexpected.len(), shortened(&unexpected));
    let too_late = others.only(|call| call.begun > then + KNOWN).failures().len();
    ensure!(too_late == 0, "{too_late} calls failed that began more than {KNOWN:?} later");
    ensure!(others.refused() == 0, "the gateway refused connections");
    Ok(failures.len())
}

fn shortened<'a>(failures: &'a [&'a str]) -> &'a [&'a str] {
    &failures[..failures.len().min(5)]
}

/// Prints how long those calls took that had ended by then, and all others.
fn show_times(calls: &Calls, since: Instant) {
    let before = |call: &Call| call.begun + call.took < since;
    for (what, calls) in [("before it", calls.only(before)), ("then", calls.only(|call| !before(call)))] {
        let [p50, p99, longest] = [0.5, 0.99, 1.0].map(|share| 1e3 * calls.took(share).as_secs_f64());
        row(&format!("{what}: p50, p99, longest"), format!("{p50:.2} ms, {p99:.2} ms, {longest:.1} ms"));
    }
}
