//! The gateway's own cost in instructions, counted by callgrind: the same whatever else the machine does.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use harness::{
    load::Load,
    process::{Process, Signal},
};

use crate::{
    bare::{Pair, start_backends},
    heading, row,
    spread::Spread,
};

const ROUNDS: usize = 5;
/// One run sends this many, the other twice as many: what starting and stopping cost cancels out.
const REQUESTS: u64 = 2000;
const CONNECTIONS: usize = 8;
const GOAL: f64 = 1.1;
const BOUND: f64 = 2.0;
const PATIENCE: Duration = Duration::from_secs(120);

const CALLGRIND: [&str; 3] = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];

pub(crate) async fn show() -> Result<()> {
    let backends = start_backends().await?;
    let (mut of_gateway, mut of_bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let once = run(&backends, REQUESTS).await?;
        let twice = run(&backends, 2 * REQUESTS).await?;
        let per_request = |once: u64, twice: u64| (twice as f64 - once as f64) / REQUESTS as f64;
        of_gateway.push(per_request(once.gateway, twice.gateway));
        of_bare.push(per_request(once.bare, twice.bare));
    }
    heading(&format!(
        "instructions per request: {ROUNDS} rounds, {REQUESTS} requests against {}",
        2 * REQUESTS
    ));
    let ratio = Spread::of("x", of_gateway.iter().zip(&of_bare).map(|(gateway, bare)| gateway / bare));
    row("gateway", Spread::of("", of_gateway));
    row("bare Pingora proxy", Spread::of("", of_bare));
    row("gateway over bare, round by round", ratio.against(GOAL));
    ensure!(ratio.median() <= BOUND, "the gateway takes {ratio} of a bare proxy's instructions");
    Ok(())
}

/// Instructions from start to end.
struct Total {
    gateway: u64,
    bare: u64,
}

async fn run(backends: &[SocketAddr], requests: u64) -> Result<Total> {
    let mut pair = Pair::start(backends, &CALLGRIND).await.context("starting both under valgrind")?;
    for target in [pair.gateway.address(), pair.bare.address] {
        let outcome = Load::get(target, "/goods").connections(CONNECTIONS).run_count(requests).await;
        ensure!(outcome.failed + outcome.refused == 0, "requests failed: {:?}", outcome.errors);
    }
    pair.gateway.process().signal(Signal::SIGINT)?;
    pair.gateway.wait_exit(PATIENCE).await?;
    pair.bare.process.signal(Signal::SIGINT)?;
    pair.bare.process.wait_exit(PATIENCE).await?;
    Ok(Total { gateway: collected(pair.gateway.process())?, bare: collected(&pair.bare.process)? })
}

/// The total that callgrind prints at the end: `==1234== Collected : 56789`.
fn collected(process: &Process) -> Result<u64> {
    let lines = process.stderr();
    let total = lines.iter().find_map(|line| line.split_once("Collected :"));
    let (_, total) = total.with_context(|| format!("callgrind printed no total\n{}", process.tail()))?;
    Ok(total.trim().parse()?)
}
