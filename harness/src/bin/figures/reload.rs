//! A reload with many routes: how long it takes, and what requests notice of it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{
    backend::{Backend, Reply},
    etcd::{Etcd, key},
    load::{Load, Outcome},
    process::Signal,
    stack::{Gateway, GatewayOptions, file},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::{Scale, departures::show_outcomes, heading, row, spread::Spread};

const GOAL_MS: f64 = 200.0;
const GOAL_RATIO: f64 = 1.5;
const RATE: u32 = 500;
const PAUSE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn show(scale: Scale) -> Result<()> {
    // A debug build takes some ten times as long.
    let routes = if scale.rounds >= 5 { 10_000 } else { 1_000 };
    show_with(scale, routes, "to one service", |_| "goods".to_owned()).await?;
    show_with(scale, routes, "to a service each", |number| format!("service-{number}")).await
}

async fn show_with(scale: Scale, routes: u32, to: &str, service: impl Fn(u32) -> String) -> Result<()> {
    let bench = Bench::start(routes, service).await?;
    let load = Load::get(bench.gateway.address(), "/measured").rate(RATE);
    // Connections are opened; not counted.
    load.run_for(scale.calm).await;
    let (mut took, mut with, mut without) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        without.push(load.run_for(4 * scale.calm).await);
        let running = load.start();
        let until = Instant::now() + 4 * scale.calm;
        took.push(bench.reload_until(until).await?);
        with.push(running.stop().await);
    }
    heading(&format!("a reload a second with {routes} routes {to}, under {RATE} requests a second"));
    show_outcomes("with reloads", &with, &without)?;
    let count: usize = took.iter().map(Vec::len).sum();
    row("reloads", count);
    ensure!(count >= scale.rounds, "only {count} reloads: nothing is shown");
    if scale.rounds >= 5 {
        show_times(&took, &with, &without)?;
    }
    Ok(())
}

fn show_times(took: &[Vec<f64>], with: &[Outcome], without: &[Outcome]) -> Result<()> {
    let applied = Spread::of(" ms", took.iter().flatten().copied());
    row("from the file's being seen to its being applied", applied.against(GOAL_MS));
    let p99s = with.iter().zip(without).map(|(with, without)| [with, without].map(|o| o.latency(0.99)));
    let ratio = Spread::of("x", p99s.map(|[with, without]| with.as_secs_f64() / without.as_secs_f64()));
    row("p99 over that without, round by round", ratio.against(GOAL_RATIO));
    ensure!(applied.median() <= 10.0 * GOAL_MS, "a reload took {applied}");
    ensure!(ratio.median() <= 10.0 * GOAL_RATIO, "the p99 is {ratio} of that without reloads");
    Ok(())
}

/// A gateway, and two files that differ in each route.
struct Bench {
    gateway: Gateway,
    files: [String; 2],
    _backend: Backend,
    _etcd: Etcd,
}

impl Bench {
    async fn start(routes: u32, service: impl Fn(u32) -> String) -> Result<Self> {
        let etcd = Etcd::start().await?;
        let backend = Backend::start("measured", Reply::ok("")).await?;
        etcd.put(&key("measured", "1"), backend.address().to_string()).await?;
        let options = |timeout: &str| {
            let measured = json!({ "path": "/measured", "service": "measured" });
            let many = (0..routes).map(|number| {
                let timeouts = json!({ "total": timeout });
                json!({ "path": format!("/r/{number}"), "service": service(number), "timeouts": timeouts })
            });
            let routes: Vec<Value> = many.chain([measured]).collect();
            GatewayOptions::without_routes().set("gateway/routes", routes)
        };
        let options = ["8s", "9s"].map(options);
        let gateway = Gateway::start(&etcd.endpoint(), GatewayOptions::default()).await?;
        gateway.reload(&options[0]).await?;
        gateway.wait_instances("measured", &["1"]).await?;
        let text = |options: &GatewayOptions| file::yaml(&gateway.configuration(options));
        let files = [text(&options[0])?, text(&options[1])?];
        Ok(Self { gateway, files, _backend: backend, _etcd: etcd })
    }

    /// Reloads once a second; returns how many milliseconds each took by the gateway's own account.
    async fn reload_until(&self, until: Instant) -> Result<Vec<f64>> {
        let mut took = Vec::new();
        // The second goes first: the other one serves, now or from the last time on.
        for file in [&self.files[1], &self.files[0]].into_iter().cycle() {
            let next = Instant::now() + PAUSE;
            took.push(self.reload(file).await?);
            // An even number, so that the first one serves in the end.
            if next >= until && took.len() % 2 == 0 {
                break;
            }
            sleep_until(next).await;
        }
        Ok(took)
    }

    async fn reload(&self, text: &str) -> Result<f64> {
        let process = self.gateway.process();
        let before = process.line_count();
        file::rename_into_place(&self.gateway.file(), text)?;
        process.signal(Signal::SIGHUP)?;
        let applied = |line: &str| line.contains("\"message\":\"configuration applied\"");
        let line = process.wait_for_line_since(before, applied, PATIENCE).await?;
        let line: Value = serde_json::from_str(&line)?;
        line["took_ms"].as_f64().with_context(|| format!("no took_ms in {line}"))
    }
}
