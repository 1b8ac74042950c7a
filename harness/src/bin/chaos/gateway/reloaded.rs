//! Two files replace each other again and again under load. Their routes lead to different services, and their rules
//! differ; one service is in the first file alone.

mod clients;
mod taken;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::{
    backend::{Backend, Reply},
    etcd::{Etcd, key},
    stack::{Gateway, GatewayOptions},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{context::Context, measured::Measured};
use clients::Clients;
use taken::{Taken, wait_no_more};

/// The services that both files have, and the one that the first has alone. Each has one instance of its name.
const ALPHA: &str = "alpha";
const BETA: &str = "beta";
const EXTRA: &str = "extra";
const SERVICES: [&str; 3] = [ALPHA, BETA, EXTRA];
/// What may come on top of the memory that is resident after the first reloads.
const MEMORY: u64 = 2 << 20;
/// So many reloads fill caches and pools.
const WARM: u32 = 50;

/// Which of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum File {
    First,
    Second,
}

impl File {
    /// The trace header that it names: each answer shows by it which file it is of.
    fn trace_header(self) -> &'static str {
        match self {
            Self::First => "x-first",
            Self::Second => "x-second",
        }
    }

    /// Whom a path leads to.
    fn service(self, path: &str) -> Option<&'static str> {
        match (self, path) {
            (Self::First, "/there") | (Self::Second, "/back") => Some(ALPHA),
            (Self::First, "/back") | (Self::Second, "/there") => Some(BETA),
            (Self::First, "/extra") => Some(EXTRA),
            _ => None,
        }
    }

    fn routes(self) -> Vec<Value> {
        let (first_byte, retry) = match self {
            Self::First => ("20s", json!({ "attempts": 2, "statuses": [502] })),
            Self::Second => ("15s", json!({ "attempts": 3 })),
        };
        let routes = PATHS.iter().filter_map(|path| {
            let timeouts = json!({ "first_byte": first_byte });
            Some(
                json!({ "path": path, "service": self.service(path)?, "timeouts": timeouts, "retry": retry }),
            )
        });
        routes.collect()
    }

    /// How `alpha` differs; `extra` is there in the first alone.
    fn services(self) -> Value {
        match self {
            Self::First => json!({
                ALPHA: { "balance": "ewma", "check": { "probe": PROBE, "interval": "500ms" } },
                EXTRA: { "check": { "probe": PROBE, "interval": "500ms" } },
            }),
            Self::Second => json!({
                ALPHA: {
                    "balance": { "hash": "path" },
                    "check": { "probe": PROBE, "interval": "400ms" },
                    "limits": { "service": 1_000 },
                    "slow_start": "1m",
                },
            }),
        }
    }

    fn options(self) -> GatewayOptions {
        let (connect, requests) = match self {
            Self::First => ("900ms", 5_000),
            Self::Second => ("800ms", 6_000),
        };
        GatewayOptions::without_routes()
            .set("gateway/routes", self.routes())
            .set("gateway/services", self.services())
            .set("gateway/trace_header", self.trace_header())
            // Idle connections to a service that left go as soon: by default they would be there to the end, and count.
            .set("gateway/timeouts", json!({ "connect": connect, "pool": "1s" }))
            .set("gateway/max_requests", requests)
    }
}

/// What clients ask for in turn.
const PATHS: [&str; 3] = ["/there", "/back", "/extra"];
/// What the gateway asks for.
const PROBE: &str = "/healthz";

struct Scene {
    gateway: Gateway,
    /// In the order of [`SERVICES`].
    backends: Vec<Backend>,
    etcd: Etcd,
}

impl Scene {
    async fn start() -> Result<Self> {
        let etcd = Etcd::start().await?;
        let mut backends = Vec::new();
        for service in SERVICES {
            let backend = Backend::start(service, Reply::ok(service)).await?;
            etcd.put(&key(service, service), backend.address().to_string()).await?;
            backends.push(backend);
        }
        let gateway = Gateway::start(&etcd.endpoint(), File::First.options()).await?;
        let all = |services: &harness::stack::Services| {
            SERVICES.iter().all(|service| services.instances(service) == [*service])
        };
        gateway.wait_services(all).await?;
        Ok(Self { gateway, backends, etcd })
    }

    /// An even number of reloads: the first file serves again in the end.
    async fn reload(&self, count: u32) -> Result<()> {
        let mut counted = 0.0;
        for _ in 0..count / 2 {
            for file in [File::Second, File::First] {
                self.gateway.reload(&file.options()).await?;
            }
            let now = self.counted().await?;
            ensure!(now >= counted, "counters fell from {counted} to {now}");
            counted = now;
        }
        Ok(())
    }

    /// The requests that both files' services have had.
    async fn counted(&self) -> Result<f64> {
        let mut sum = 0.0;
        for service in [ALPHA, BETA] {
            let label = format!("service=\"{service}\"");
            sum += self.gateway.metric("leaseway_requests_total", &[&label]).await?;
        }
        Ok(sum)
    }

    /// Connections for requests to the instances of both files' services: how many there ever were.
    fn connections(&self) -> usize {
        let for_requests = |backend: &Backend| backend.connections().accepted.saturating_sub(checks(backend));
        self.backends[..2].iter().map(for_requests).sum()
    }
}

/// How many times the gateway has asked whether it is well, over a connection each.
fn checks(backend: &Backend) -> usize {
    backend.requests().iter().filter(|request| request.target == PROBE).count()
}

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let scene = Scene::start().await?;
    let clients = Clients::start(scene.gateway.address(), context.scale.rate);
    // Until the allocator has taken what these requests need: without a reload, too, that takes some seconds.
    sleep(context.scale.fault).await;
    let warm = WARM.min(context.scale.reloads / 2);
    scene.reload(warm).await?;
    let before = Taken::by(&scene).await?;
    context.say(format_args!("{warm} reloads are done: {before}"));
    let begun = Instant::now();
    scene.reload(context.scale.reloads - warm).await?;
    let took = begun.elapsed();
    let after = Taken::by(&scene).await?;
    context.say(format_args!("all {} are done: {after}", context.scale.reloads));
    let each = took.as_secs_f64() * 1000.0 / f64::from(context.scale.reloads - warm);
    measured.note(format_args!("{} reloads, every {each:.0} ms", context.scale.reloads));

    let answers = clients.stop().await?;
    answers.note(measured)?;
    let (counted, answered) = (scene.counted().await?, answers.of(ALPHA) + answers.of(BETA));
    ensure!(counted == answered as f64, "{counted} requests were counted, {answered} answered");
    after.note_against(&before, warm, measured)?;
    wait_no_more(&scene, &before).await?;
    ensure_known(&scene).await?;
    ensure_checked_once(&scene, measured).await
}

/// What requests have shown of the endpoints is still there.
async fn ensure_known(scene: &Scene) -> Result<()> {
    let shown = scene.gateway.admin("/services").await?.json()?;
    for service in [ALPHA, BETA] {
        let latency = &shown["services"][service][0]["usual_latency_ms"];
        ensure!(latency.is_number(), "nothing is known of {service} any more: {shown}");
    }
    Ok(())
}

/// The first file asks twice a second; a check that outlived its file would ask too.
async fn ensure_checked_once(scene: &Scene, measured: &mut Measured) -> Result<()> {
    const SECONDS: u64 = 3;
    let checked = [&scene.backends[0], &scene.backends[2]];
    let before = checked.map(checks);
    sleep(Duration::from_secs(SECONDS)).await;
    for (backend, before) in checked.iter().zip(before) {
        let more = checks(backend) - before;
        measured.note(format_args!("{more} checks in {SECONDS} s"));
        ensure!((1..=8).contains(&more), "an instance was asked {more} times in {SECONDS} s");
    }
    Ok(())
}
