//! etcd is killed under load and started again.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::{
    backend::{Backend, Reply},
    etcd::key,
    load::Load,
    stack::{GatewayOptions, Stack},
    wait::eventually,
};
use tokio::time::sleep;

use crate::{Scale, departures::show_outcomes, heading, row, spread::Spread};

const GOAL_MS: f64 = 2000.0;
const RATE: u32 = 500;
/// Ten times the goal: beyond it the figure fails.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn show(scale: Scale) -> Result<()> {
    // The guard would keep the last instance of a service, as long as it can be connected to.
    let options =
        GatewayOptions::default().route("/late", "late").set("gateway/registry/guard/share", 1).discard_log();
    let mut stack = Stack::start(3, &[], options).await?;
    let late = Backend::start("late", Reply::ok("")).await?;
    let load = Load::get(stack.gateway.address(), "/goods/list").rate(RATE);
    let (mut with, mut without, mut arrivals, mut controls) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        without.push(load.run_for(scale.outage).await);
        controls.push(arrival(&stack, &late, Instant::now()).await?);

        let running = load.start();
        sleep(scale.calm).await;
        stack.etcd.kill().await?;
        sleep(scale.outage).await;
        stack.etcd.restart().await?;
        arrivals.push(arrival(&stack, &late, Instant::now()).await?);
        sleep(scale.calm).await;
        with.push(running.stop().await);
    }
    heading(&format!("etcd killed for {} s under {RATE} requests a second", scale.outage.as_secs()));
    show_outcomes("with the fault", &with, &without)?;
    row(
        "changes made afterwards that arrived",
        format!("{} of {} (must be all)", arrivals.len(), scale.rounds),
    );
    if scale.rounds >= 5 {
        row("a change, from etcd's return to served", Spread::of_times(arrivals).against(GOAL_MS));
        row("a change without the fault", Spread::of_times(controls));
    }
    Ok(())
}

/// How long after `since` a change that is made now is served. It is taken back again.
async fn arrival(stack: &Stack, backend: &Backend, since: Instant) -> Result<Duration> {
    let key = key("late", "a");
    stack.etcd.put(&key, backend.address().to_string()).await?;
    let status = async |wanted: u16| {
        let status = stack.gateway.get("/late").await?.status;
        ensure!(status == wanted, "/late answers {status}");
        Ok(())
    };
    eventually("a change made after etcd's return is served", PATIENCE, async || status(200).await).await?;
    let took = since.elapsed();
    stack.etcd.delete(&key).await?;
    eventually("its deletion is noticed", PATIENCE, async || status(503).await).await?;
    Ok(took)
}
