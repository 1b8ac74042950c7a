//! The gateway's own cost: CPU per request, beside a bare Pingora proxy, round by round.

use std::{net::SocketAddr, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use harness::process::{Process, Stdout};

use crate::{
    bare::{Pair, start_backends},
    heading, row,
    spread::Spread,
};

const ROUNDS: usize = 7;
const SECONDS: u32 = 8;
const CONNECTIONS: u32 = 64;
/// At most 10 % more than the bare proxy.
const GOAL: f64 = 1.1;
/// Ten times that much more.
const BOUND: f64 = 2.0;
/// For wrk's start and end.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn show() -> Result<()> {
    let pair = Pair::start(&start_backends().await?, &[]).await?;
    let (gateway, bare) = (pair.gateway.process(), &pair.bare.process);
    let (to_gateway, to_bare) = (pair.gateway.address(), pair.bare.address);
    // Threads, pools and caches warm up; not counted.
    cpu_per_request(gateway, to_gateway, 2).await?;
    cpu_per_request(bare, to_bare, 2).await?;

    let (mut of_gateway, mut of_bare) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Who goes first changes, so that a machine that slows down favours neither.
        if round % 2 == 0 {
            of_gateway.push(cpu_per_request(gateway, to_gateway, SECONDS).await?);
            of_bare.push(cpu_per_request(bare, to_bare, SECONDS).await?);
        } else {
            of_bare.push(cpu_per_request(bare, to_bare, SECONDS).await?);
            of_gateway.push(cpu_per_request(gateway, to_gateway, SECONDS).await?);
        }
    }
    heading(&format!("CPU per request: {ROUNDS} rounds of {SECONDS} s, {CONNECTIONS} connections"));
    let ratio = Spread::of("x", of_gateway.iter().zip(&of_bare).map(|(gateway, bare)| gateway / bare));
    row("gateway", Spread::of(" us", of_gateway));
    row("bare Pingora proxy", Spread::of(" us", of_bare));
    row("gateway over bare, round by round", ratio.against(GOAL));
    ensure!(ratio.median() <= BOUND, "the gateway costs {ratio} of a bare proxy");
    Ok(())
}

/// Microseconds of CPU that `process` took per request of a load of `seconds`.
async fn cpu_per_request(process: &Process, target: SocketAddr, seconds: u32) -> Result<f64> {
    let before = process.cpu_time()?;
    let requests = wrk(target, seconds).await?;
    let took = process.cpu_time()? - before;
    ensure!(took > Duration::ZERO, "no CPU time was taken");
    Ok(took.as_secs_f64() * 1e6 / requests as f64)
}

/// Runs wrk and returns how many requests were answered.
async fn wrk(target: SocketAddr, seconds: u32) -> Result<u64> {
    let mut command = Command::new("wrk");
    command.args([
        "-t1",
        &format!("-c{CONNECTIONS}"),
        &format!("-d{seconds}s"),
        &format!("http://{target}/goods"),
    ]);
    let mut wrk = Process::start(command, Stdout::Kept)
        .context("no wrk on PATH? `make setup` or `apt-get install wrk` installs it")?;
    let status = wrk.wait_exit(Duration::from_secs(u64::from(seconds)) + PATIENCE).await?;
    let report = wrk.tail();
    ensure!(status.success(), "wrk failed:\n{report}");
    // It prints these lines only when there is something to count.
    ensure!(!report.contains("Non-2xx") && !report.contains("Socket errors"), "requests failed:\n{report}");
    let count = report
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "))
        .context("wrk counted nothing")?;
    count.0.parse().with_context(|| format!("reading wrk's report:\n{report}"))
}
