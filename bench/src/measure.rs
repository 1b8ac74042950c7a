//! One case of one proxy, which has just been started.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    abuse::Abusers,
    backend::{Backend, HOLD},
    calls::Callers,
    case::{Case, Measure, Scale},
    load::{End, Idle, Load, Outcome},
    peer::Running,
    stream::{Handshakes, Tls},
    usage::{Memory, cpu, memory},
};

/// What was measured of one proxy in one round.
pub(crate) type Figures = Vec<(Measure, f64)>;

/// Calls of gRPC at a time, in all.
const CALLS: usize = 64;
/// Connections of a load that is to run beside something else.
const BESIDE: usize = 64;
/// Of the well-behaved clients beside those that are not: so many, and so many requests a second in all. Little enough for
/// each proxy, so that what they feel is what the others do to them.
const OTHERS: usize = 16;
const OTHERS_RATE: u32 = 500;
/// How often every busy connection has its request held and answered: buffers for both ways have been needed then.
const WAVES: usize = 3;
/// For all requests to be held at the backend.
const PATIENCE: Duration = Duration::from_secs(20);

/// Measures it.
///
/// # Errors
/// When a request failed that should not, or the proxy ended.
pub(crate) async fn measure(
    case: Case,
    running: &Running,
    backend: &Backend,
    scale: Scale,
) -> Result<Figures> {
    match case {
        Case::Idle | Case::TlsIdle => idle(case, running, scale).await,
        Case::Busy => busy(case, running, backend, scale).await,
        Case::GrpcUnary => calls(case, running, scale).await,
        Case::Http2Idle => http2_idle(case, running, scale).await,
        case if case.is_abuse() => abuse(case, running, scale).await,
        _ => cost(case, load(case, running, scale)?, running, scale).await,
    }
}

fn load(case: Case, running: &Running, scale: Scale) -> Result<Load> {
    let connections = scale.connections(case.connections());
    let (path, size) = case.asks();
    Ok(match case {
        Case::Post => Load::post(running.address, path, size, connections),
        Case::Fresh | Case::TlsNew | Case::TlsResumed => get(case, running, connections)?.fresh(),
        _ => get(case, running, connections)?,
    })
}

/// Answers to GET, in clear or with TLS, as the case has it.
fn get(case: Case, running: &Running, connections: usize) -> Result<Load> {
    Ok(match case.tls() {
        Some(handshakes) => {
            Load::get(running.tls_address, case.asks(), connections).over(Tls::new(handshakes)?)
        }
        None => Load::get(running.address, case.asks(), connections),
    })
}

/// What a load costs, and how it is served.
async fn cost(case: Case, load: Load, running: &Running, scale: Scale) -> Result<Figures> {
    let mut load = load.open().await;
    cost_of(case, async |end| load.run(end).await, running, scale).await
}

/// What calls of gRPC cost.
async fn calls(case: Case, running: &Running, scale: Scale) -> Result<Figures> {
    let connections = scale.connections(case.connections());
    let callers = Callers::open(running.http2_address, connections, scale.connections(CALLS)).await?;
    cost_of(case, async |end| callers.run(end).await, running, scale).await
}

async fn cost_of(
    case: Case,
    mut run: impl AsyncFnMut(End) -> Outcome,
    running: &Running,
    scale: Scale,
) -> Result<Figures> {
    run(End::After(scale.warm)).await.ensure_all_answered()?;
    let before = cpu(running.process.pid())?;
    let outcome = run(End::After(scale.load)).await;
    let took = cpu(running.process.pid())?.since(before);
    outcome.ensure_all_answered()?;
    let (resumed, all) = (outcome.resumed, outcome.answered);
    let is_as_meant = case.tls() != Some(Handshakes::Resumed) || resumed == all;
    ensure!(is_as_meant, "{resumed} of {all} handshakes were resumed");
    let each = |time: Duration| time.as_secs_f64() * 1e6 / outcome.answered as f64;
    let mut figures = vec![
        (Measure::Cpu, each(took.user + took.kernel)),
        (Measure::User, each(took.user)),
        (Measure::Kernel, each(took.kernel)),
        (Measure::Rate, outcome.answered as f64 / outcome.took.as_secs_f64()),
    ];
    figures.extend(latencies(&outcome));
    Ok(figures)
}

fn latencies(outcome: &Outcome) -> [(Measure, f64); 3] {
    [(Measure::P50, 0.5), (Measure::P99, 0.99), (Measure::P999, 0.999)]
        .map(|(measure, share)| (measure, outcome.milliseconds(share)))
}

/// The same small answers before the memory is looked at: a process that has served is no longer a fresh one.
async fn warm(case: Case, running: &Running, scale: Scale) -> Result<()> {
    let load = get(case, running, scale.connections(BESIDE))?;
    load.run(End::After(scale.warm)).await.ensure_all_answered()?;
    sleep(scale.calm).await;
    Ok(())
}

/// Memory of idle connections, and what a load costs beside them.
async fn idle(case: Case, running: &Running, scale: Scale) -> Result<Figures> {
    let count = scale.connections(case.connections());
    warm(case, running, scale).await?;
    let before = memory(running.process.pid(), Memory::Proportional)?;
    let idle = Idle::open(&get(case, running, count)?).await?;
    sleep(scale.calm).await;
    let after = memory(running.process.pid(), Memory::Proportional)?;
    let load = get(case, running, scale.connections(BESIDE))?;
    let mut figures = cost(case, load, running, scale).await?;
    idle.ensure_open()?;
    figures.push(kilobytes(before, after, count));
    Ok(figures)
}

/// Memory of idle connections of HTTP/2.
async fn http2_idle(case: Case, running: &Running, scale: Scale) -> Result<Figures> {
    let count = scale.connections(case.connections());
    warm(case, running, scale).await?;
    let open = async |count| Idle::open_http2(running.http2_address, case.asks(), count).await;
    drop(open(scale.connections(BESIDE)).await?);
    sleep(scale.calm).await;
    let before = memory(running.process.pid(), Memory::Proportional)?;
    let idle = open(count).await?;
    sleep(scale.calm).await;
    let after = memory(running.process.pid(), Memory::Proportional)?;
    idle.ensure_open()?;
    Ok(vec![kilobytes(before, after, count)])
}

/// Memory of connections that each have a request in flight, and have had answers before.
async fn busy(case: Case, running: &Running, backend: &Backend, scale: Scale) -> Result<Figures> {
    let count = scale.connections(case.connections());
    warm(case, running, scale).await?;
    let before = memory(running.process.pid(), Memory::Proportional)?;
    let load = Load::get(running.address, HOLD, count);
    // What a proxy that failed may have left.
    backend.release();
    let mut clients = tokio::spawn(async move { load.run(End::Requests(WAVES as u64)).await });
    let most = most_of_waves(running, backend, count).await;
    let outcome = loop {
        tokio::select! {
            outcome = &mut clients => break outcome?,
            () = sleep(scale.warm) => backend.release(),
        }
    };
    // If requests failed that says why they were not held.
    outcome.ensure_all_answered()?;
    Ok(vec![kilobytes(before, most?, count)])
}

/// The most memory while all requests are held, of several times.
async fn most_of_waves(running: &Running, backend: &Backend, count: usize) -> Result<u64> {
    let mut most = 0;
    for _ in 0..WAVES {
        backend.wait_held(count, PATIENCE).await?;
        most = most.max(memory(running.process.pid(), Memory::Proportional)?);
        backend.release();
    }
    Ok(most)
}

fn kilobytes(before: u64, after: u64, connections: usize) -> (Measure, f64) {
    (Measure::Kilobytes, after.saturating_sub(before) as f64 / 1024.0 / connections as f64)
}

/// What clients that behave badly cost in memory, and how others are served from when they come.
async fn abuse(case: Case, running: &Running, scale: Scale) -> Result<Figures> {
    warm(case, running, scale).await?;
    let pid = running.process.pid();
    let before = memory(pid, Memory::Resident)?;
    let others = get(case, running, OTHERS)?.per_second(OTHERS_RATE);
    let others = tokio::spawn(async move { others.run(End::After(scale.abuse)).await });
    let count = scale.connections(case.connections());
    let arrival = scale.abuse / 2;
    let all_are_there = Instant::now() + arrival;
    let target = match case {
        case if case.tls().is_some() => running.tls_address,
        case if case.is_http2() => running.http2_address,
        _ => running.address,
    };
    let mut abusers = Abusers::start(case, target, count, arrival)?;
    if let Case::Flood(_) = case {
        // Whom it leaves nothing is answered when it is over.
        sleep_until(all_are_there + arrival).await;
        abusers.stop();
    }
    let outcome = others.await?;
    if case.falls_silent() {
        abusers.wait_gone(all_are_there + scale.silence).await;
    }
    let open = abusers.open();
    let most = memory(pid, Memory::Peak)?;
    let mut figures = Vec::from(latencies(&outcome));
    match case {
        Case::Flood(_) => figures.push((Measure::Unanswered, outcome.failed as f64)),
        _ => outcome.ensure_all_answered()?,
    }
    let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    figures.extend([
        (Measure::Megabytes, megabytes(most.saturating_sub(before))),
        (Measure::Resident, megabytes(most)),
        (Measure::Open, open as f64),
    ]);
    Ok(figures)
}
