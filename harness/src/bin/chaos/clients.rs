//! Clients that take what they can get and give nothing back: what they cost the gateway, and its other clients.

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use harness::{
    backend::{Backend, Reply},
    etcd::{Etcd, key},
    process::Process,
    stack::{Carrier, Gateway, GatewayOptions},
    wait::eventually,
};
use socket2::SockRef;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::sleep,
};

use crate::{
    context::{Context, load},
    measured::{Measured, ensure_none_failed},
};

const GOAL_MEMORY: u64 = 40_000_000;
const PATIENCE: Duration = Duration::from_secs(60);
/// What nobody reads.
const ANSWER: usize = 10_000_000;
const SEGMENT: u32 = 1_460;
/// Between two bytes of somebody slow.
const PAUSE: Duration = Duration::from_millis(500);
const HEAD: &str = "GET /goods HTTP/1.1\r\nHost: a\r\n";

/// What such a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abuse {
    /// It asks for much and reads nothing.
    Readers,
    /// It sends a head byte by byte.
    SlowHeads,
    /// It sends a head of a megabyte.
    BigHeads,
    /// It sends a body byte by byte.
    SlowBodies,
}

impl Abuse {
    fn clients(self) -> usize {
        match self {
            Self::Readers => 1_000,
            Self::BigHeads => 200,
            Self::SlowHeads | Self::SlowBodies => 2_000,
        }
    }

    /// Does it until the connection breaks, and keeps what is left of that.
    async fn perform(self, gateway: SocketAddr) -> Result<()> {
        let mut stream = connect(gateway).await?;
        match self {
            Self::Readers => stream.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await?,
            Self::SlowHeads => {
                stream.write_all(format!("{HEAD}X: ").as_bytes()).await?;
                trickle(&mut stream).await?;
            }
            Self::BigHeads => {
                let lines = "X-Name: value\r\n".repeat(70_000);
                stream.write_all(format!("{HEAD}{lines}").as_bytes()).await?;
            }
            Self::SlowBodies => {
                let begin = "POST /goods HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
                stream.write_all(format!("{begin}{}", "x".repeat(1_000)).as_bytes()).await?;
                trickle(&mut stream).await?;
            }
        }
        std::future::pending().await
    }
}

/// With the segments of a network: of loopback's 64 KiB the kernel would keep more than a megabyte for each client.
async fn connect(gateway: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    SockRef::from(&socket).set_tcp_mss(SEGMENT)?;
    Ok(socket.connect(gateway).await?)
}

async fn trickle(stream: &mut TcpStream) -> Result<()> {
    loop {
        sleep(PAUSE).await;
        stream.write_all(b"x").await?;
    }
}

pub(crate) async fn run(abuse: Abuse, context: &Context, measured: &mut Measured) -> Result<()> {
    let etcd = Etcd::start().await?;
    let backends = [
        ("goods", Backend::start("a", Reply::ok("hello")).await?),
        ("big", Backend::start("big", Reply::ok(vec![b'x'; ANSWER])).await?),
    ];
    for (service, backend) in &backends {
        etcd.put(&key(service, "only"), backend.address().to_string()).await?;
    }
    let options = GatewayOptions::default().route("/big", "big").discard_log();
    let gateway = Gateway::start(&etcd.endpoint(), options).await?;
    for (service, _) in &backends {
        gateway.wait_instances(service, &["only"]).await?;
    }
    let calm = load(&gateway, "/goods").run_for(context.scale.calm).await;
    let before = gateway.process().resident_memory()?;

    let mut clients = JoinSet::new();
    let count = abuse.clients() / context.scale.one_client_of;
    for _ in 0..count {
        clients.spawn(abuse.perform(gateway.address()));
    }
    if abuse != Abuse::BigHeads {
        wait_open(gateway.process(), count).await?;
    }
    context.say(format_args!("{count} clients are there"));
    let others = load(&gateway, "/goods").start();
    let most = most_memory(gateway.process(), 3 * context.scale.calm).await?;
    let outcome = others.stop().await;
    drop(clients);
    ensure!(gateway.get("/goods").await?.status == 200, "it does not serve any more");

    let more = most.saturating_sub(before);
    measured.note(format_args!("{count} clients"));
    let verdict = if more <= GOAL_MEMORY { "" } else { " (goal MISSED)" };
    measured.note(format_args!("{:.1} MB more resident{verdict}", more as f64 / 1e6));
    let p99 = |outcome: &harness::load::Outcome| outcome.latency(0.99).as_secs_f64() * 1000.0;
    measured.note(format_args!("p99 of others {:.2} ms, {:.2} without them", p99(&outcome), p99(&calm)));
    measured.note(format_args!("{} of {} of others failed", outcome.failed + outcome.refused, outcome.sent));
    if Carrier::tested() == Carrier::Pingora {
        // Its connections have buffers that are not ours to bound, and filling them takes all there is.
        return Ok(());
    }
    ensure!(more <= GOAL_MEMORY, "{more} bytes more are resident");
    ensure_none_failed(&outcome)
}

/// How many descriptors it has open.
pub(crate) fn count_open(process: &Process) -> Result<usize> {
    let directory = format!("/proc/{}/fd", process.pid());
    Ok(fs::read_dir(&directory).with_context(|| format!("reading {directory}"))?.count())
}

/// Waits until the gateway has so many descriptors at least.
pub(crate) async fn wait_open(process: &Process, count: usize) -> Result<()> {
    eventually("all of them are connected", PATIENCE, async || {
        let open = count_open(process)?;
        ensure!(open >= count, "{open} descriptors are open");
        Ok(())
    })
    .await
}

/// The most memory that is resident at any moment of this time.
async fn most_memory(process: &Process, time: Duration) -> Result<u64> {
    let (begun, mut most) = (Instant::now(), 0);
    while begun.elapsed() < time {
        most = most.max(process.resident_memory()?);
        sleep(Duration::from_millis(50)).await;
    }
    Ok(most)
}
