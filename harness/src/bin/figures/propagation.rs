//! From the moment etcd answered a put (or a delete) to the first request served (or the last routed).
//!
//! Each change is of a fresh service with one instance, so that the first request that could be served
//! is. One connection asks back to back all the while. A request counts as served when its answer was in, and
//! as routed when it reached the backend. The control is a bare etcd watch in this process, on a connection of its
//! own as the gateway's is, over the same changes. What was seen before etcd's answer came counts as zero,
//! on both sides.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use etcd_client::{Client, EventType, WatchOptions, WatchStream};
use harness::{
    backend::{Backend, Reply},
    etcd::{Etcd, PREFIX, key},
    http::{Connection, Request},
    quantile::quantile,
    stack::{Gateway, GatewayOptions},
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::{Scale, heading, row, spread::Spread};

const ROUNDS: usize = 5;
const GOAL_MS: f64 = 10.0;
const GOAL_RATIO: f64 = 3.0;
/// Longer than what the gateway may hold changes back for, so that each change meets a quiet service.
const QUIET: Duration = Duration::from_millis(25);
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn show(scale: Scale) -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(Round::run(&etcd, scale.changes).await?);
    }
    heading(&format!("propagation: {ROUNDS} rounds of {} puts and as many deletes", scale.changes));
    show_kind("put", rounds.iter().map(|round| &round.puts).collect())?;
    show_kind("delete", rounds.iter().map(|round| &round.deletes).collect())
}

fn show_kind(kind: &str, rounds: Vec<&Delays>) -> Result<()> {
    let of = |delays: fn(&Delays) -> &Vec<Duration>, share: f64| {
        Spread::of_times(rounds.iter().filter_map(|round| quantile(delays(round), share)))
    };
    let p99 = of(|delays| &delays.gateway, 0.99);
    let ratios = rounds.iter().filter_map(|round| {
        let [gateway, bare] = [quantile(&round.gateway, 0.99)?, quantile(&round.bare, 0.99)?];
        Some(gateway.as_secs_f64() / bare.as_secs_f64())
    });
    let ratio = Spread::of("x", ratios);
    row(&format!("{kind}: gateway, p50"), of(|delays| &delays.gateway, 0.5));
    row(&format!("{kind}: bare etcd watch, p50"), of(|delays| &delays.bare, 0.5));
    row(&format!("{kind}: gateway, p99"), p99.against(GOAL_MS));
    row(&format!("{kind}: bare etcd watch, p99"), of(|delays| &delays.bare, 0.99));
    row(&format!("{kind}: gateway after the bare watch, p50"), of(|delays| &delays.behind, 0.5));
    row(&format!("{kind}: gateway after the bare watch, p99"), of(|delays| &delays.behind, 0.99));
    row(&format!("{kind}: p99 over the bare watch's"), ratio.against(GOAL_RATIO));
    ensure!(p99.median() <= 10.0 * GOAL_MS, "a {kind} took {p99} to arrive");
    Ok(())
}

/// The delays of one kind of change, ascending.
#[derive(Default)]
struct Delays {
    gateway: Vec<Duration>,
    bare: Vec<Duration>,
    /// The gateway's beyond the bare watch's, change by change.
    behind: Vec<Duration>,
}

impl Delays {
    fn push(&mut self, answered: Instant, acted: Instant, noticed: Instant) {
        self.gateway.push(acted.saturating_duration_since(answered));
        self.bare.push(noticed.saturating_duration_since(answered));
        self.behind.push(acted.saturating_duration_since(noticed));
    }

    fn sort(&mut self) {
        self.gateway.sort_unstable();
        self.bare.sort_unstable();
        self.behind.sort_unstable();
    }
}

#[derive(Default)]
struct Round {
    puts: Delays,
    deletes: Delays,
}

impl Round {
    async fn run(etcd: &Etcd, changes: usize) -> Result<Self> {
        let services: Vec<_> = (0..changes).map(|number| format!("service-{number}")).collect();
        // The guard would keep the last instance of a service, as long as it can be connected to.
        let mut options = GatewayOptions::without_routes()
            .route("/first", "first")
            .set("gateway/registry/guard/share", 1)
            .discard_log();
        for service in &services {
            options = options.route(&format!("/{service}"), service);
        }
        let gateway = Gateway::start(&etcd.endpoint(), options).await?;
        let backend = Backend::start("a", Reply::ok("")).await?;
        let mut changer = Changer::connect(etcd, &gateway, &backend).await?;
        // Not counted. The gateway's watch starts at a revision that etcd has already, the bare one does not:
        // etcd brings such a watch up to date every 100 ms, and its first event comes no sooner.
        changer.put_and_delete("first", &mut Self::default()).await?;
        let mut round = Self::default();
        for service in &services {
            changer.put_and_delete(service, &mut round).await?;
        }
        round.puts.sort();
        round.deletes.sort();
        Ok(round)
    }
}

/// Makes changes and times who learns of them when.
struct Changer<'a> {
    client: Client,
    watch: mpsc::UnboundedReceiver<(EventType, Instant)>,
    connection: Connection,
    backend: &'a Backend,
}

impl<'a> Changer<'a> {
    async fn connect(etcd: &Etcd, gateway: &Gateway, backend: &'a Backend) -> Result<Self> {
        let (sender, watch) = mpsc::unbounded_channel();
        tokio::spawn(watch_bare(open_watch(etcd).await?, sender));
        Ok(Self {
            client: etcd.client().await?,
            watch,
            connection: Connection::open(gateway.address()).await?,
            backend,
        })
    }

    async fn put_and_delete(&mut self, service: &str, round: &mut Round) -> Result<()> {
        self.put(service, &mut round.puts).await?;
        sleep(QUIET).await;
        self.delete(service, &mut round.deletes).await?;
        sleep(QUIET).await;
        Ok(())
    }

    async fn put(&mut self, service: &str, delays: &mut Delays) -> Result<()> {
        ensure!(ask(&mut self.connection, service).await? == 503, "{service} is served before it is there");
        let (key, value) = (key(service, "a"), self.backend.address().to_string());
        let change = async {
            self.client.put(key, value, None).await?;
            anyhow::Ok(Instant::now())
        };
        let served = ask_until(&mut self.connection, service, 200);
        let noticed = next_event(&mut self.watch, EventType::Put);
        let (answered, served, noticed) = tokio::try_join!(change, served, noticed)?;
        delays.push(answered, served, noticed);
        Ok(())
    }

    async fn delete(&mut self, service: &str, delays: &mut Delays) -> Result<()> {
        ensure!(ask(&mut self.connection, service).await? == 200, "{service} is not served");
        let key = key(service, "a");
        let change = async {
            self.client.delete(key, None).await?;
            anyhow::Ok(Instant::now())
        };
        let refused = ask_until(&mut self.connection, service, 503);
        let noticed = next_event(&mut self.watch, EventType::Delete);
        let (answered, _, noticed) = tokio::try_join!(change, refused, noticed)?;
        delays.push(answered, self.backend.last()?.at, noticed);
        Ok(())
    }
}

/// When the first answer of this status was in.
async fn ask_until(connection: &mut Connection, service: &str, status: u16) -> Result<Instant> {
    let asking = async {
        while ask(connection, service).await? != status {}
        anyhow::Ok(Instant::now())
    };
    timeout(PATIENCE, asking).await.with_context(|| format!("{service} never answered {status}"))?
}

async fn ask(connection: &mut Connection, service: &str) -> Result<u16> {
    let request = Request::get(format!("/{service}")).body(Bytes::new())?;
    Ok(connection.send(request).await?.status)
}

async fn open_watch(etcd: &Etcd) -> Result<WatchStream> {
    let mut client = etcd.client().await?;
    let mut watch = client.watch(PREFIX, Some(WatchOptions::new().with_prefix())).await?;
    let created = watch.message().await?.context("the bare watch ended")?;
    ensure!(created.created(), "the bare watch did not open: {created:?}");
    Ok(watch)
}

/// Passes on when each event came. Whoever reads notices the end of the watch as silence.
async fn watch_bare(mut watch: WatchStream, events: mpsc::UnboundedSender<(EventType, Instant)>) {
    while let Ok(Some(message)) = watch.message().await {
        let now = Instant::now();
        for event in message.events() {
            let _ = events.send((event.event_type(), now));
        }
    }
}

/// When the bare watch showed its next event.
async fn next_event(
    watch: &mut mpsc::UnboundedReceiver<(EventType, Instant)>,
    expected: EventType,
) -> Result<Instant> {
    let event = timeout(PATIENCE, watch.recv()).await.context("the bare watch is silent")?;
    let (kind, at) = event.context("the bare watch ended")?;
    ensure!(kind == expected, "the bare watch showed {kind:?} instead of {expected:?}");
    Ok(at)
}
