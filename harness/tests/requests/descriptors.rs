//! A gateway that has as many descriptors open as it may.

use std::{
    collections::BTreeSet,
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use harness::{
    backend::{Backend, Reply},
    process::Process,
    stack::GatewayOptions,
    wait::eventually,
    wire::Wire,
};
use serde_json::Value;
use tokio::task::JoinSet;

use super::{Fixture, assert_own_answer, malformed::PATIENCE};

/// The descriptors that the process has open, once it no longer opens or closes any.
async fn descriptors(process: &Process) -> Result<BTreeSet<usize>> {
    let directory = format!("/proc/{}/fd", process.pid());
    let list = || -> Result<BTreeSet<usize>> {
        let entries = fs::read_dir(&directory).with_context(|| format!("reading {directory}"))?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().parse()?)).collect()
    };
    let mut before = list()?;
    eventually("its descriptors stay the same", PATIENCE, async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = list()?;
        let same = std::mem::replace(&mut before, now.clone()) == now;
        ensure!(same, "it has {now:?} now");
        Ok(now)
    })
    .await
}

/// Leaves the process so many descriptors that it may still open.
async fn leave(process: &Process, free: usize) -> Result<()> {
    let open = descriptors(process).await?;
    // The lowest numbers are taken first, so this many are left below it.
    let limit = (0..).filter(|number| !open.contains(number)).nth(free).context("no number")?;
    let status = Command::new("prlimit")
        .args([format!("--pid={}", process.pid()), format!("--nofile={limit}:{limit}")])
        .status()
        .context("running prlimit")?;
    ensure!(status.success(), "prlimit says {status}");
    Ok(())
}

#[tokio::test]
async fn a_request_that_takes_the_last_descriptors_still_waits_no_longer_than_first_byte() -> Result<()> {
    let options = GatewayOptions::default()
        .set("gateway/timeouts/first_byte", "500ms")
        .set("gateway/timeouts/idle", "1m");
    let fixture = Fixture::start(options).await?;
    let silent = Backend::start("a", Reply::Hang).await?;
    fixture.register("goods", &[&silent]).await?;
    let process = fixture.gateway.process();
    // One for the client's connection, one for the endpoint's.
    leave(process, 2).await?;
    assert_own_answer(&fixture.gateway.get("/goods").await?, 504)?;
    assert_eq!(silent.count(), 1, "it was sent");
    let line = process.wait_for_line(|line| line.contains("\"status\":504"), PATIENCE).await?;
    let line: Value = serde_json::from_str(&line)?;
    assert_eq!(line["failed"][0]["reason"], "first_byte", "{line}");
    Ok(())
}

/// What is answered without a connection to an instance.
const NOWHERE: &str = "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n";

/// Clients that wait are served as descriptors become free, and told so if none does: one is kept for that.
#[tokio::test]
async fn who_waits_for_a_descriptor_is_served_when_one_is_free_and_else_told() -> Result<()> {
    const FREE: usize = 40;
    const FREED: usize = 20;
    let fixture = Fixture::start(GatewayOptions::default().set("gateway/timeouts/keepalive", "5m")).await?;
    let address = fixture.gateway.address();
    leave(fixture.gateway.process(), FREE).await?;
    let mut holding = Vec::new();
    for _ in 0..FREE {
        let mut wire = Wire::connect(address).await?;
        wire.send(NOWHERE).await?;
        assert_eq!(wire.answer("GET").await?.head.status(), 404);
        holding.push(wire);
    }
    let mut waiting = JoinSet::new();
    for _ in 0..2 * FREED {
        let mut wire = Wire::connect(address).await?;
        wire.send(NOWHERE).await?;
        waiting.spawn(async move {
            let answer = wire.answer("GET").await?;
            // The connection stays open: nobody else gets its descriptor.
            anyhow::Ok((answer.head.status(), wire))
        });
    }
    let freed = Instant::now();
    holding.truncate(FREE - FREED);
    let mut statuses = Vec::new();
    while let Some(answered) = waiting.join_next().await {
        let (status, wire) = answered??;
        holding.push(wire);
        statuses.push(status);
        if statuses.len() == FREED {
            // Ten times the goal, and what a busy machine takes.
            assert!(freed.elapsed() < Duration::from_secs(3), "{:?}", freed.elapsed());
        }
    }
    let told = statuses.iter().filter(|&&status| status == 503).count();
    assert_eq!((statuses.len(), told), (2 * FREED, FREED), "{statuses:?}");
    drop(holding);
    assert_eq!(fixture.gateway.get("/nowhere").await?.status, 404, "all are free again");
    let declined = fixture.gateway.metric("leaseway_connections_declined_total", &[]).await?;
    assert_eq!(declined, FREED as f64);
    Ok(())
}
