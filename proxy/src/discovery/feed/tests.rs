mod routing;
mod snapshot;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use super::*;
use crate::directory::{self, Directory, Entry, Policy, Rank, State};
use crate::discovery::{Adopting, Routing};
use crate::health::findings::{self, Findings};
use crate::logging::{Form, Output};
use crate::snapshot::Saver;
use crate::traffic::ejection::Grounds;
use anyhow::{Context, Result, ensure};
use harness::{ports::free_address, wait::eventually};
use registry::connect::ConnectionSettings;
use registry::contract::{Instance, Metadata, Record};
use registry::watch::{Admission, Change, InstanceName, WatchSettings, WatchStatus, nothing_reserved};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than any test.
const HOUR: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(100);

/// A feed, with a test in the place of the watch.
struct Fixture {
    directory: Arc<Directory>,
    updates: mpsc::Sender<Update>,
    findings: Findings,
    status: watch::Sender<WatchStatus>,
    metrics: Arc<Metrics>,
    ready: oneshot::Receiver<()>,
    saver: Saver,
    routing: Routing,
    running: JoinHandle<()>,
    revision: i64,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Fixture {
    fn start(guard: config::Guard, snapshot: Option<PathBuf>) -> Result<Self> {
        Self::start_in_turn(guard, snapshot, Turn::IfLate)
    }

    fn start_in_turn(guard: config::Guard, snapshot: Option<PathBuf>, turn: Turn) -> Result<Self> {
        Self::start_with(directory::new(["goods"]), guard, (snapshot, turn), Adopting::default())
    }

    fn start_with(
        (directory, writer): (Arc<Directory>, Writer),
        guard: config::Guard,
        (snapshot, turn): (Option<PathBuf>, Turn),
        adopting: Adopting,
    ) -> Result<Self> {
        let connection = ConnectionSettings::to(["http://127.0.0.1:1"]);
        let (watch, bounds) = (WatchSettings::default(), config::Bounds::default());
        let settings = config::Registry { embedded: None, connection, watch, bounds, guard, snapshot };
        let (updates, to_take) = mpsc::channel(16);
        let (status, followed) = watch::channel(WatchStatus::default());
        let (is_ready, ready) = oneshot::channel();
        let (saver, saves) = Saver::new();
        let (routing, asked) = Routing::new();
        let metrics = Arc::new(Metrics::new()?);
        let connect = Duration::from_secs(5);
        let when_ready = move || is_ready.send(()).unwrap_or_default();
        let admission = Admission::new(&settings.watch, nothing_reserved());
        let file = settings.snapshot.clone().map(File::new);
        let loader = Loader::new(file, turn, admission.clone(), followed, metrics.clone());
        let feed = Feed::new(writer, settings, (loader, admission), connect, metrics.clone(), when_ready);
        let feed = feed.adopting(adopting);
        let (findings, found) = findings::channel();
        let running = tokio::spawn(feed.run(Inputs { updates: to_take, findings: found, saves, asked }));
        Ok(Self {
            directory,
            updates,
            findings,
            status,
            metrics,
            ready,
            saver,
            routing,
            running,
            revision: 10,
        })
    }

    /// A feed whose registry has these instances of `goods`.
    async fn with(guard: config::Guard, instances: &[Instance]) -> Result<Self> {
        let mut fixture = Self::start(guard, None)?;
        fixture.list(instances).await?;
        fixture.eventually("the list is shown", |entries| entries.len() == instances.len()).await?;
        Ok(fixture)
    }

    async fn list(&mut self, instances: &[Instance]) -> Result<()> {
        let update =
            Update::Reset { instances: instances.to_vec(), refused: Vec::new(), revision: self.revision };
        Ok(self.updates.send(update).await?)
    }

    async fn apply(&mut self, changes: Vec<Change>) -> Result<()> {
        self.revision += 1;
        Ok(self.updates.send(Update::Apply { changes, revision: self.revision }).await?)
    }

    async fn delete(&mut self, ids: &[&str]) -> Result<()> {
        let revision = self.revision + 1;
        let gone = |id: &&str| Change::Delete { service: "goods".into(), id: (*id).into(), revision };
        self.apply(ids.iter().map(gone).collect()).await
    }

    async fn put(&mut self, instance: &Instance) -> Result<()> {
        self.apply(vec![Change::Put(instance.clone())]).await
    }

    fn entries(&self) -> Vec<Entry> {
        let service = self.directory.service("goods");
        service.map(|service| service.endpoints().entries().to_vec()).unwrap_or_default()
    }

    fn entry(&self, id: &str) -> Option<Entry> {
        self.entries().into_iter().find(|entry| &*entry.endpoint.instance == id)
    }

    async fn eventually(&self, what: &str, is_so: impl Fn(&[Entry]) -> bool) -> Result<()> {
        eventually(what, PATIENCE, async || {
            ensure!(is_so(&self.entries()), "{:?}", self.entries());
            Ok(())
        })
        .await
    }

    async fn until_gone(&self, id: &str) -> Result<()> {
        self.eventually("it is gone", |entries| entries.iter().all(|e| &*e.endpoint.instance != id)).await
    }

    async fn until_standing(&self, id: &str, standing: Standing) -> Result<()> {
        self.eventually(&format!("{id} is {standing:?}"), |entries| {
            entries.iter().any(|e| &*e.endpoint.instance == id && e.standing == standing)
        })
        .await
    }

    async fn until_held(&self, held: i64) -> Result<()> {
        eventually("so many are held", PATIENCE, async || {
            let found = self.metrics.guard_held().get();
            ensure!(found == held, "{found}");
            Ok(())
        })
        .await
    }

    async fn until_alarmed(&self) -> Result<()> {
        eventually("the guard raises its alarm", PATIENCE, async || {
            ensure!(self.shows_metric("leaseway_guard_alarms_total 1")?, "it has not");
            Ok(())
        })
        .await
    }

    fn shows_metric(&self, line: &str) -> Result<bool> {
        let text = self.metrics.render(&self.directory, &self.status.borrow(), 0)?;
        Ok(String::from_utf8(text)?.lines().any(|found| found == line))
    }
}

fn guard(window: Duration, hold: Duration) -> config::Guard {
    config::Guard { window, share: 0.5, hold }
}

fn instance(id: &str, address: SocketAddr) -> Instance {
    Instance { service: "goods".into(), id: id.into(), record: Record::new(address), lease: 7, revision: 3 }
}

/// An instance that can be connected to for as long as the listener is kept.
fn alive(id: &str) -> Result<(TcpListener, Instance)> {
    // Not the system's choice: an outgoing connection might take that port once the listener is dropped.
    let listener = TcpListener::bind(free_address()?)?;
    let instance = instance(id, listener.local_addr()?);
    Ok((listener, instance))
}

/// An instance that refuses connections.
fn dead(id: &str) -> Result<Instance> {
    Ok(instance(id, free_address()?))
}

#[tokio::test]
async fn the_last_one_is_held_while_it_lives_and_is_up_again_when_it_returns() -> Result<()> {
    let (_listener, a) = alive("a")?;
    let mut fixture = Fixture::with(guard(SHORT, HOUR), std::slice::from_ref(&a)).await?;
    let id = fixture.entry("a").context("not there")?.endpoint.id;
    fixture.delete(&["a"]).await?;
    fixture.until_held(1).await?;
    fixture.until_standing("a", Standing::Suspect(ProbeResult::Passed)).await?;
    fixture.until_alarmed().await?;
    assert!(fixture.shows_metric(r#"leaseway_endpoints{service="goods",state="suspect"} 1"#)?);

    fixture.put(&a).await?;
    fixture.until_standing("a", Standing::Registered).await?;
    fixture.until_held(0).await?;
    assert_eq!(fixture.entry("a").context("not there")?.endpoint.id, id, "it keeps its connections");
    Ok(())
}

#[tokio::test]
async fn what_is_refused_is_gone_at_once_although_it_lives_and_was_the_last() -> Result<()> {
    let (_a, a) = alive("a")?;
    let mut fixture = Fixture::with(guard(SHORT, HOUR), std::slice::from_ref(&a)).await?;
    let name = InstanceName { service: "goods".into(), id: "a".into() };
    fixture.apply(vec![Change::Refused { name: name.clone(), revision: 11 }]).await?;
    fixture.until_gone("a").await?;

    fixture.put(&a).await?;
    fixture.delete(&["a"]).await?;
    fixture.until_held(1).await?;
    let update = Update::Reset { instances: Vec::new(), refused: vec![name], revision: fixture.revision };
    fixture.updates.send(update).await?;
    fixture.until_gone("a").await?;
    fixture.until_held(0).await
}

#[tokio::test]
async fn one_of_many_is_dropped_after_its_window_although_it_lives() -> Result<()> {
    let (_a, a) = alive("a")?;
    let (_b, b) = alive("b")?;
    let mut fixture = Fixture::with(guard(SHORT, HOUR), &[a, b]).await?;
    fixture.delete(&["a"]).await?;
    fixture.until_gone("a").await?;
    assert_eq!(fixture.entry("b").context("not there")?.state(), State::Up);
    assert!(fixture.shows_metric("leaseway_guard_alarms_total 0")?);
    Ok(())
}

#[tokio::test]
async fn what_is_suspect_gets_no_request_while_another_is_up() -> Result<()> {
    let (_a, a) = alive("a")?;
    let (_b, b) = alive("b")?;
    let mut fixture = Fixture::with(guard(HOUR, HOUR), &[a, b]).await?;
    fixture.delete(&["a"]).await?;
    fixture.until_standing("a", Standing::Suspect(ProbeResult::Passed)).await?;
    let endpoints = fixture.directory.service("goods").context("no service")?.endpoints();
    assert_eq!((endpoints.best(), endpoints.cumulative()), (Some(Rank::First), &[0, 1][..]));
    Ok(())
}

#[tokio::test]
async fn what_is_neither_registered_nor_reachable_is_dropped_at_once() -> Result<()> {
    let mut fixture = Fixture::with(guard(HOUR, HOUR), &[dead("a")?]).await?;
    fixture.delete(&["a"]).await?;
    fixture.until_gone("a").await
}

#[tokio::test]
async fn what_is_held_is_dropped_when_it_dies() -> Result<()> {
    let (listener, a) = alive("a")?;
    let mut fixture = Fixture::with(guard(SHORT, HOUR), &[a]).await?;
    fixture.delete(&["a"]).await?;
    fixture.until_held(1).await?;
    fixture.until_standing("a", Standing::Suspect(ProbeResult::Passed)).await?;
    drop(listener);
    fixture.until_gone("a").await?;
    fixture.until_held(0).await
}

#[tokio::test]
async fn what_is_held_is_dropped_when_the_hold_is_over() -> Result<()> {
    let (_listener, a) = alive("a")?;
    let mut fixture = Fixture::with(guard(SHORT, SHORT), &[a]).await?;
    fixture.delete(&["a"]).await?;
    fixture.until_gone("a").await?;
    fixture.until_alarmed().await?;
    Ok(())
}

#[tokio::test]
async fn a_guard_that_is_off_drops_what_vanishes() -> Result<()> {
    let (_listener, a) = alive("a")?;
    let off = config::Guard { share: 1.0, ..guard(HOUR, HOUR) };
    let mut fixture = Fixture::with(off, &[a]).await?;
    fixture.delete(&["a"]).await?;
    fixture.until_gone("a").await
}

/// Whether anybody has connected.
fn was_connected(listener: &TcpListener) -> Result<bool> {
    listener.set_nonblocking(true)?;
    Ok(listener.accept().is_ok())
}

#[tokio::test]
async fn nobody_is_connected_to_for_a_service_that_no_route_names() -> Result<()> {
    let (listener, instance) = alive("a")?;
    let other = Instance { service: "other".into(), ..instance };
    let (_held, held) = alive("held")?;
    let mut fixture = Fixture::with(guard(SHORT, HOUR), std::slice::from_ref(&held)).await?;
    fixture.put(&other).await?;
    let revision = fixture.revision + 1;
    let gone = Change::Delete { service: "other".into(), id: "a".into(), revision };
    fixture.apply(vec![gone]).await?;
    // What comes after it, of a service that a route names, has long been probed twice.
    fixture.delete(&["held"]).await?;
    fixture.until_alarmed().await?;
    assert!(!was_connected(&listener)?);
    let other = fixture.directory.service("other");
    assert!(other.is_none_or(|other| other.endpoints().entries().is_empty()), "nor is it held");
    assert!(fixture.shows_metric("leaseway_guard_held 1")?);
    Ok(())
}

#[tokio::test]
async fn a_draining_endpoint_leaves_with_its_registration() -> Result<()> {
    let (_listener, mut a) = alive("a")?;
    a.record.weight = 0;
    let mut fixture = Fixture::with(guard(HOUR, HOUR), &[a]).await?;
    fixture.delete(&["a"]).await?;
    fixture.until_gone("a").await
}

#[tokio::test]
async fn a_protocol_that_is_none_is_told_when_it_is_registered_and_not_with_each_lease() -> Result<()> {
    let output = Output::waiting(Form::Text);
    let lines = tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::WARN);
    let lines = lines.with_writer(output.clone());
    let _default = tracing::subscriber::set_default(lines.finish());
    let ((_a, mut a), (_b, b)) = (alive("a")?, alive("b")?);
    a.record.metadata = Metadata::new([("protocol", "thrift")])?;
    let mut fixture = Fixture::with(guard(HOUR, HOUR), std::slice::from_ref(&a)).await?;
    fixture.put(&Instance { lease: 8, revision: 11, ..a }).await?;
    fixture.put(&b).await?;
    fixture.eventually("both are shown", |entries| entries.len() == 2).await?;
    let lines = output.take_lines();
    let told: Vec<_> = lines.lines().filter(|line| line.contains("no protocol")).collect();
    let [line] = told[..] else { anyhow::bail!("{lines}") };
    ensure!(line.contains("instance=\"a\"") && line.contains("thrift"), "{line}");
    Ok(())
}

#[tokio::test]
async fn absence_from_a_list_is_a_disappearance() -> Result<()> {
    let (_listener, a) = alive("a")?;
    let mut fixture = Fixture::with(guard(SHORT, HOUR), &[a]).await?;
    fixture.list(&[]).await?;
    fixture.until_held(1).await
}

#[tokio::test]
async fn a_return_at_another_address_is_another_endpoint() -> Result<()> {
    let (_former, a) = alive("a")?;
    let (_later, moved) = alive("a")?;
    let mut fixture = Fixture::with(guard(SHORT, HOUR), &[a]).await?;
    let id = fixture.entry("a").context("not there")?.endpoint.id;
    fixture.delete(&["a"]).await?;
    fixture.until_held(1).await?;
    fixture.put(&moved).await?;
    fixture.until_standing("a", Standing::Registered).await?;
    let entry = fixture.entry("a").context("not there")?;
    assert!(entry.endpoint.id != id && entry.endpoint.address == moved.record.address);
    fixture.until_held(0).await
}

/// A snapshot in a directory that is there for as long as the test.
fn stored(instances: &[Instance]) -> Result<(tempfile::TempDir, PathBuf)> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("snapshot");
    File::new(path.clone()).store(4, instances.to_vec())?;
    Ok((directory, path))
}

/// Three registered instances of `goods`.
fn three() -> [Instance; 3] {
    let port = |n: u16| ([127, 0, 0, 1], n).into();
    let instance = |(id, n): (&str, u16)| Instance {
        service: "goods".into(),
        id: id.into(),
        record: Record::new(port(n)),
        lease: 7,
        revision: 3,
    };
    [("a", 1), ("b", 2), ("c", 3)].map(instance)
}

#[tokio::test]
async fn an_ejected_endpoint_ranks_last_survives_a_list_and_returns() -> Result<()> {
    let instances = three();
    let mut fixture = Fixture::with(config::Guard::default(), &instances).await?;
    let _counted = fixture.metrics.service("goods");
    let endpoint = fixture.entry("a").context("it is there")?.endpoint;
    fixture.findings.tell(&endpoint, Finding::Ejected(Grounds::Refused));
    let is_ejected = |entries: &[Entry]| {
        entries.iter().any(|e| e.state() == State::Ejected && e.rank() == Some(Rank::Third))
    };
    fixture.eventually("it is ejected", is_ejected).await?;
    assert!(fixture.shows_metric("leaseway_ejections_total{reason=\"refused\",service=\"goods\"} 1")?);
    fixture.findings.tell(&endpoint, Finding::Ejected(Grounds::Refused));
    let mut renewed = instances.clone();
    renewed.iter_mut().for_each(|instance| (instance.lease, instance.revision) = (8, 12));
    fixture.list(&renewed).await?;
    fixture
        .eventually("the list is shown", |entries| entries.iter().all(|e| e.tenure.get().lease == 8))
        .await?;
    assert!(is_ejected(&fixture.entries()));
    let twice = "leaseway_ejections_total{reason=\"refused\",service=\"goods\"} 2";
    assert!(fixture.shows_metric(twice)?, "a trial failed");
    fixture.findings.tell(&endpoint, Finding::Returned);
    let all_up = |entries: &[Entry]| entries.iter().all(|e| e.state() == State::Up);
    fixture.eventually("it is back", all_up).await
}

#[tokio::test]
async fn more_than_half_out_means_that_all_are_used() -> Result<()> {
    let fixture = Fixture::with(config::Guard::default(), &three()).await?;
    for id in ["a", "b"] {
        let endpoint = fixture.entry(id).context("it is there")?.endpoint;
        fixture.findings.tell(&endpoint, Finding::Ejected(Grounds::Failures));
    }
    let panics = |entries: &[Entry]| {
        let ejected = entries.iter().filter(|e| e.state() == State::Ejected).count();
        ejected == 2 && entries.iter().all(|e| e.rank() == Some(Rank::First))
    };
    fixture.eventually("all are used", panics).await?;
    assert!(fixture.shows_metric("leaseway_balance_panic{service=\"goods\"} 1")?);
    Ok(())
}

#[tokio::test]
async fn a_finding_of_an_endpoint_that_was_replaced_changes_nothing() -> Result<()> {
    let [a, ..] = three();
    let mut fixture = Fixture::with(config::Guard::default(), std::slice::from_ref(&a)).await?;
    let replaced = fixture.entry("a").context("it is there")?.endpoint;
    let record = Record::new(([127, 0, 0, 1], 9).into());
    fixture.put(&Instance { record, revision: 11, ..a }).await?;
    fixture.eventually("it has moved", |e| e.iter().any(|e| e.endpoint.address.port() == 9)).await?;
    fixture.findings.tell(&replaced, Finding::Ejected(Grounds::Refused));
    let current = fixture.entry("a").context("it is there")?.endpoint;
    fixture.findings.tell(&current, Finding::Unhealthy);
    let is_unhealthy = |entries: &[Entry]| entries.iter().all(|e| e.state() == State::Unhealthy);
    fixture.eventually("the second finding is in", is_unhealthy).await
}
