//! The gateway's own cost: CPU per request, beside a bare Pingora proxy, round by round.

use std::{net::SocketAddr, process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use harness::process::{Process, Stdout};

use crate::{
    bare::{CONTROLS, Contenders, start_backends},
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
    let contenders = Contenders::start(&start_backends().await?, &[]).await?;
    let mut proxies = vec![(contenders.gateway.process(), contenders.gateway.address())];
    proxies.extend(contenders.controls.iter().map(|control| (&control.process, control.address)));
    for (process, address) in &proxies {
        // Threads, pools and caches warm up; not counted.
        cpu_per_request(process, *address, 2).await?;
    }
    let mut costs = vec![Vec::new(); proxies.len()];
    for round in 0..ROUNDS {
        // Who goes first changes, so that a machine that slows down favours none.
        for turn in 0..proxies.len() {
            let at = (round + turn) % proxies.len();
            let (process, address) = proxies[at];
            costs[at].push(cpu_per_request(process, address, SECONDS).await?);
        }
    }
    heading(&format!("CPU per request: {ROUNDS} rounds of {SECONDS} s, {CONNECTIONS} connections"));
    show_against_controls(" us", &costs)
}

/// Prints the gateway's figures (the first) and, for each control, its own and the ratio round by round.
pub(crate) fn show_against_controls(unit: &'static str, figures: &[Vec<f64>]) -> Result<()> {
    let Some((gateway, controls)) = figures.split_first() else { bail!("nothing was measured") };
    row("gateway", Spread::of(unit, gateway.clone()));
    for (control, (_, name)) in controls.iter().zip(CONTROLS) {
        let ratio = Spread::of("x", gateway.iter().zip(control).map(|(gateway, bare)| gateway / bare));
        row(name, Spread::of(unit, control.clone()));
        row("  gateway over it, round by round", ratio.against(GOAL));
        ensure!(ratio.median() <= BOUND, "the gateway costs {ratio} of {name}");
    }
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
