//! Many clients that keep a connection open and ask for nothing: what one costs, and how they end.

use std::{
    fs,
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::{join_all, try_join_all};
use harness::{
    backend::{Backend, Reply},
    etcd::{Etcd, key},
    stack::{Carrier, Gateway, GatewayOptions},
    wait::eventually,
    wire::{End, Wire},
};

use crate::{
    clients::{count_open, wait_open},
    context::{Context, load},
    measured::Measured,
};

const CLIENTS: usize = 10_000;
/// Of resident memory, for one of them.
const GOAL_MEMORY: u64 = 4_096;
/// How many connect at the same time.
const AT_A_TIME: usize = 100;
/// What else this process and the gateway have open.
const MORE_DESCRIPTORS: usize = 1_000;
const KEEPALIVE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let count = CLIENTS / context.scale.one_client_of;
    have_descriptors(count + MORE_DESCRIPTORS)?;
    let etcd = Etcd::start().await?;
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    etcd.put(&key("goods", "only"), backend.address().to_string()).await?;
    measured.note(format_args!("{count} connections"));
    stay(&etcd, count, context, measured).await?;
    end_by_themselves(&etcd, count, measured).await
}

/// They stay while others are served, until SIGTERM ends them.
async fn stay(etcd: &Etcd, count: usize, context: &Context, measured: &mut Measured) -> Result<()> {
    let mut gateway = start(etcd, "10m").await?;
    // What so many need who connect at the same time is not theirs alone.
    drop(open(gateway.address(), AT_A_TIME).await?);
    load(&gateway, "/goods").run_for(context.scale.calm).await;
    let before = gateway.process().resident_memory()?;
    let mut clients = open(gateway.address(), count).await?;
    wait_open(gateway.process(), count).await?;
    context.say(format_args!("{count} clients are connected"));
    let outcome = load(&gateway, "/goods").run_for(3 * context.scale.calm).await;
    let more = gateway.process().resident_memory()?.saturating_sub(before) / count as u64;
    measured.none_failed_of("other requests", &outcome)?;
    let verdict = if more <= GOAL_MEMORY { "" } else { " (goal MISSED)" };
    measured.note(format_args!("{:.1} KB each{verdict}", more as f64 / 1e3));
    // Of fewer, more of it is chance. The other carrier's buffers are not ours to bound.
    let bound = if context.scale.one_client_of == 1 { GOAL_MEMORY } else { 2 * GOAL_MEMORY };
    ensure!(more <= bound || Carrier::tested() == Carrier::Pingora, "each takes {more} bytes");

    let silent = join_all(clients.iter_mut().map(|client| client.is_silent_for(Duration::ZERO))).await;
    ensure!(silent.iter().all(|is_silent| *is_silent), "a connection has ended, or been sent something");
    let status = gateway.stop(PATIENCE).await?;
    ensure!(status.success(), "the gateway ended with {status}");
    try_join_all(clients.into_iter().map(closed)).await?;
    measured.note("all stay, and are closed at SIGTERM");
    Ok(())
}

/// Without a request they end after a time that is set, with all they took.
async fn end_by_themselves(etcd: &Etcd, count: usize, measured: &mut Measured) -> Result<()> {
    let gateway = start(etcd, &format!("{}s", KEEPALIVE.as_secs())).await?;
    let before = count_open(gateway.process())?;
    let mut closing = Vec::new();
    for opened in 0..count.div_ceil(AT_A_TIME) {
        let clients = open(gateway.address(), AT_A_TIME.min(count - opened * AT_A_TIME)).await?;
        let idle_since = Instant::now();
        closing.extend(clients.into_iter().map(|client| {
            tokio::spawn(async move {
                closed(client).await?;
                anyhow::Ok(idle_since.elapsed())
            })
        }));
    }
    let mut times = Vec::new();
    for client in closing {
        times.push(client.await??);
    }
    let shortest = times.iter().min().context("nobody was there")?;
    ensure!(*shortest >= KEEPALIVE / 2, "one was closed after {shortest:?}, not after {KEEPALIVE:?}");
    measured.times(&format!("closed after {} s:", KEEPALIVE.as_secs()), &times, 2 * KEEPALIVE)?;
    eventually("their descriptors are free", PATIENCE, async || {
        let open = count_open(gateway.process())?;
        // Connections to the instance are kept, at most one for each request that was under way.
        ensure!(open <= before + AT_A_TIME, "{open} descriptors are open, {before} were before");
        Ok(())
    })
    .await
}

async fn start(etcd: &Etcd, keepalive: &str) -> Result<Gateway> {
    let options = GatewayOptions::default().set("gateway/timeouts/keepalive", keepalive).discard_log();
    let gateway = Gateway::start(&etcd.endpoint(), options).await?;
    gateway.wait_instances("goods", &["only"]).await?;
    Ok(gateway)
}

/// Opens so many connections. Every other one has had an answer, the others have sent nothing yet.
async fn open(gateway: SocketAddr, count: usize) -> Result<Vec<Wire>> {
    let mut clients = Vec::new();
    while clients.len() < count {
        let batch = AT_A_TIME.min(count - clients.len());
        clients.extend(try_join_all((0..batch).map(|number| connect(gateway, number % 2 == 0))).await?);
    }
    Ok(clients)
}

async fn connect(gateway: SocketAddr, asks: bool) -> Result<Wire> {
    let mut wire = Wire::connect(gateway).await?;
    if asks {
        let answer = wire.get("/goods", "").await?;
        ensure!(answer.head.status() == 200, "the gateway answered {}", answer.head.status());
    }
    Ok(wire)
}

/// Waits for its end, and for nothing else.
async fn closed(mut client: Wire) -> Result<()> {
    let (rest, end) = client.rest().await?;
    ensure!(rest.is_empty() && end == End::Closed, "it ended with {end:?} after {}", rest.escape_ascii());
    Ok(())
}

/// Has this process, and the gateways that it starts, be allowed so many descriptors.
fn have_descriptors(count: usize) -> Result<()> {
    let limits = fs::read_to_string("/proc/self/limits").context("reading this process's limits")?;
    let line =
        limits.lines().find_map(|line| line.strip_prefix("Max open files")).context("no limit of files")?;
    let mut limits = line.split_whitespace().map(|limit| limit.parse().unwrap_or(usize::MAX));
    let [soft, hard] = [limits.next(), limits.next()].map(Option::unwrap_or_default);
    ensure!(hard >= count, "{count} descriptors are needed, and {hard} allowed: raise `ulimit -H -n`");
    if soft >= count {
        return Ok(());
    }
    let arguments = [format!("--pid={}", std::process::id()), format!("--nofile={count}:{hard}")];
    let status = Command::new("prlimit").args(arguments).status().context("running prlimit")?;
    ensure!(status.success(), "prlimit allows no {count} descriptors: {status}");
    Ok(())
}
