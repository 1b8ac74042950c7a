//! The gateway's own cost in instructions, counted by callgrind: the same whatever else the machine does.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use harness::{load::Load, process::Signal};

use crate::{
    bare::{CONTROLS, Contenders, start_backends},
    cost::show_against_controls,
    heading,
    request::collected,
};

const ROUNDS: usize = 5;
/// One run sends this many, the other twice as many: what starting and stopping cost cancels out.
const REQUESTS: u64 = 2000;
const CONNECTIONS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(120);

const CALLGRIND: [&str; 3] = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];

pub(crate) async fn show() -> Result<()> {
    let backends = start_backends().await?;
    let mut counts = vec![Vec::new(); 1 + CONTROLS.len()];
    for _ in 0..ROUNDS {
        let once = run(&backends, REQUESTS).await?;
        let twice = run(&backends, 2 * REQUESTS).await?;
        for (counts, (once, twice)) in counts.iter_mut().zip(once.into_iter().zip(twice)) {
            counts.push((twice as f64 - once as f64) / REQUESTS as f64);
        }
    }
    heading(&format!(
        "instructions per request: {ROUNDS} rounds, {REQUESTS} requests against {}",
        2 * REQUESTS
    ));
    show_against_controls("", &counts)
}

/// Instructions from start to end: of the gateway, then of each control.
async fn run(backends: &[SocketAddr], requests: u64) -> Result<Vec<u64>> {
    let mut contenders =
        Contenders::start(backends, &CALLGRIND).await.context("starting them under valgrind")?;
    let mut targets = vec![contenders.gateway.address()];
    targets.extend(contenders.controls.iter().map(|control| control.address));
    for target in targets {
        let outcome = Load::get(target, "/goods").connections(CONNECTIONS).run_count(requests).await;
        ensure!(outcome.failed + outcome.refused == 0, "requests failed: {:?}", outcome.errors);
    }
    contenders.gateway.process().signal(Signal::SIGINT)?;
    contenders.gateway.wait_exit(PATIENCE).await?;
    let mut totals = vec![collected(contenders.gateway.process())?];
    for control in &mut contenders.controls {
        control.process.signal(Signal::SIGINT)?;
        control.process.wait_exit(PATIENCE).await?;
        totals.push(collected(&control.process)?);
    }
    Ok(totals)
}
