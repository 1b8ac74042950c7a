//! How much later a server's events reach a client through the gateway than directly: from the moment at which the instance
//! writes a piece of its answer to that at which the client has it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use harness::{
    etcd::{Etcd, key},
    quantile::quantile,
    stack::{Gateway, GatewayOptions},
    wire::{Instance, Wire},
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::{Scale, heading, row, spread::Spread};

const ROUNDS: usize = 5;
/// Of each answer; the first comes with the head.
const EVENTS: usize = 5;
/// Between two of them: neither side is busy with the one before.
const PAUSE: Duration = Duration::from_millis(2);
const GOAL_MS: f64 = 1.0;
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn show(scale: Scale) -> Result<()> {
    let (written, when) = mpsc::unbounded_channel();
    let instance = Instance::start(move |wire| serve(wire, written.clone())).await?;
    let etcd = Etcd::start().await?;
    etcd.put(&key("goods", "one"), instance.address().to_string()).await?;
    let gateway = Gateway::start(&etcd.endpoint(), GatewayOptions::default().discard_log()).await?;
    gateway.wait_instances("goods", &["one"]).await?;

    let mut reader = Reader { when };
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        direct.push(reader.read(instance.address(), scale.changes).await?);
        through.push(reader.read(gateway.address(), scale.changes).await?);
    }
    heading(&format!("{ROUNDS} rounds of {} answers with {EVENTS} events each", scale.changes));
    show_piece("first byte", &direct, &through, |delays| &delays.first)?;
    show_piece("a later event", &direct, &through, |delays| &delays.later)
}

fn show_piece(
    what: &str,
    direct: &[Delays],
    through: &[Delays],
    of: impl Fn(&Delays) -> &Vec<Duration>,
) -> Result<()> {
    let spread = |rounds: &[Delays], share: f64| {
        Spread::of_times(rounds.iter().filter_map(|round| quantile(of(round), share)))
    };
    for (way, rounds) in [("directly", direct), ("through the gateway", through)] {
        row(&format!("{what} {way}, p50"), spread(rounds, 0.5));
        row(&format!("{what} {way}, p99"), spread(rounds, 0.99));
    }
    let more = through.iter().zip(direct).filter_map(|(through, direct)| {
        let [through, direct] = [quantile(of(through), 0.5)?, quantile(of(direct), 0.5)?];
        Some((through.as_secs_f64() - direct.as_secs_f64()) * 1000.0)
    });
    let more = Spread::of(" ms", more);
    row(&format!("{what}, later by, round by round"), more.against(GOAL_MS));
    ensure!(more.median() <= 10.0 * GOAL_MS, "{what} came {more} later");
    Ok(())
}

/// Answers each request with events, and says when it wrote each.
async fn serve(mut wire: Wire, written: mpsc::UnboundedSender<Instant>) -> Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    while wire.next_request().await?.is_some() {
        for number in 0..EVENTS {
            let event = format!("data: {number}\n\n");
            let chunk = format!("{:x}\r\n{event}\r\n", event.len());
            let piece = if number == 0 { format!("{head}{chunk}") } else { chunk };
            written.send(Instant::now())?;
            wire.send(piece).await?;
            sleep(PAUSE).await;
        }
        wire.send("0\r\n\r\n").await?;
    }
    Ok(())
}

/// From the instance's write to the client's having it, ascending.
#[derive(Default)]
struct Delays {
    first: Vec<Duration>,
    later: Vec<Duration>,
}

struct Reader {
    /// When each piece was written.
    when: mpsc::UnboundedReceiver<Instant>,
}

impl Reader {
    /// So many answers, one after the other on one connection.
    async fn read(&mut self, target: SocketAddr, answers: usize) -> Result<Delays> {
        let mut wire = Wire::connect(target).await?;
        let mut delays = Delays::default();
        for _ in 0..answers {
            wire.send("GET /goods HTTP/1.1\r\nHost: a\r\n\r\n").await?;
            wire.bytes(1).await?;
            delays.first.push(self.since_written().await?);
            wire.until("data: 0\n\n").await?;
            for number in 1..EVENTS {
                wire.until(&format!("data: {number}\n\n")).await?;
                delays.later.push(self.since_written().await?);
            }
            wire.until("\r\n0\r\n\r\n").await?;
        }
        delays.first.sort_unstable();
        delays.later.sort_unstable();
        Ok(delays)
    }

    async fn since_written(&mut self) -> Result<Duration> {
        let now = Instant::now();
        let written = timeout(PATIENCE, self.when.recv()).await.context("the instance wrote nothing")?;
        Ok(now.saturating_duration_since(written.context("the instance has ended")?))
    }
}
