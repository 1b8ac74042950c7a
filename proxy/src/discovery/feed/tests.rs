use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use super::*;
use crate::directory::{self, Directory, Entry, Policy, Rank, State};
use crate::discovery::{Adopting, Routing};
use crate::health::findings::{self, Findings};
use crate::snapshot::Saver;
use crate::traffic::ejection::Grounds;
use anyhow::{Context, Result, ensure};
use harness::{ports::free_address, wait::eventually};
use registry::connect::ConnectionSettings;
use registry::contract::{Instance, Record};
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

#[tokio::test]
async fn a_start_without_the_registry_serves_what_can_be_reached_of_the_snapshot() -> Result<()> {
    let (_a, a) = alive("a")?;
    let (_directory, path) = stored(&[a.clone(), dead("b")?])?;
    let mut fixture = Fixture::start(guard(SHORT, HOUR), Some(path))?;
    tokio::time::timeout(PATIENCE, &mut fixture.ready).await??;
    assert_eq!((fixture.directory.is_stale(), fixture.directory.is_synced()), (true, false));
    assert!(fixture.shows_metric("leaseway_stale 1")?);
    // Ready means probed: nothing that can be reached is refused from here on.
    let standings: Vec<_> = fixture.entries().iter().map(|e| e.standing).collect();
    assert_eq!(standings, [Standing::Stale(ProbeResult::Passed), Standing::Stale(ProbeResult::Failed)]);
    let id = fixture.entry("a").context("not there")?.endpoint.id;

    let (_c, c) = alive("c")?;
    fixture.list(&[a, c]).await?;
    fixture.until_standing("a", Standing::Registered).await?;
    fixture.until_standing("c", Standing::Registered).await?;
    fixture.until_gone("b").await?;
    assert_eq!(fixture.entry("a").context("not there")?.endpoint.id, id, "it keeps its connections");
    assert_eq!((fixture.directory.is_stale(), fixture.directory.is_synced()), (false, true));
    assert!(fixture.shows_metric("leaseway_stale 0")?);
    Ok(())
}

/// Routes by path adopt it a moment later: too late, if the registry's list without it has come before.
#[tokio::test]
async fn a_service_of_the_snapshot_that_is_to_be_adopted_is_probed_and_held_like_others() -> Result<()> {
    let (_listener, instance) = alive("a")?;
    let other = Instance { service: "other".into(), ..instance };
    let (_directory, path) = stored(std::slice::from_ref(&other))?;
    let adopting = Adopting::new(|instances| {
        instances.iter().map(|instance| (instance.service.clone(), Policy::default())).collect()
    });
    let goods = directory::new(["goods"]);
    let mut fixture = Fixture::start_with(goods, guard(SHORT, HOUR), (Some(path), Turn::First), adopting)?;
    fixture.list(&[]).await?;
    fixture.until_held(1).await?;
    let other = fixture.directory.service("other").context("no service")?;
    eventually("it is probed", PATIENCE, async || {
        let standings: Vec<_> = other.endpoints().entries().iter().map(|entry| entry.standing).collect();
        ensure!(standings == [Standing::Suspect(ProbeResult::Passed)], "{standings:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn of_the_snapshot_nobody_is_connected_to_for_a_service_that_no_route_names() -> Result<()> {
    let (listener, instance) = alive("a")?;
    let other = Instance { service: "other".into(), ..instance };
    let (_goods, goods) = alive("b")?;
    let (_directory, path) = stored(&[other, goods])?;
    let mut fixture = Fixture::start(guard(SHORT, HOUR), Some(path))?;
    fixture.until_standing("b", Standing::Stale(ProbeResult::Passed)).await?;
    let shown = fixture.directory.service("other").context("it is shown")?.endpoints().entries().to_vec();
    assert_eq!(shown.len(), 1);
    assert!(shown.iter().all(|entry| entry.rank().is_none()), "nothing goes there");
    fixture.list(&[]).await?;
    fixture.until_held(1).await?;
    assert!(!was_connected(&listener)?);
    Ok(())
}

#[tokio::test]
async fn what_the_first_list_does_not_confirm_goes_through_the_guard() -> Result<()> {
    let (_a, a) = alive("a")?;
    let (_directory, path) = stored(&[a])?;
    let mut fixture = Fixture::start(guard(SHORT, HOUR), Some(path))?;
    tokio::time::timeout(PATIENCE, &mut fixture.ready).await??;
    fixture.list(&[]).await?;
    fixture.until_held(1).await?;
    fixture.until_standing("a", Standing::Suspect(ProbeResult::Passed)).await
}

/// The list is there before the snapshot was read, as that of a registry in the same process is.
#[tokio::test]
async fn an_empty_registry_is_heard_after_the_snapshot_is_shown() -> Result<()> {
    let (_a, a) = alive("a")?;
    let (_directory, path) = stored(&[a.clone(), dead("b")?])?;
    let mut fixture = Fixture::start_in_turn(guard(SHORT, HOUR), Some(path), Turn::First)?;
    fixture.list(&[]).await?;
    tokio::time::timeout(PATIENCE, &mut fixture.ready).await??;
    assert_eq!(fixture.entry("a").context("not there")?.rank(), Some(Rank::Second));
    fixture.until_held(1).await?;
    fixture.until_gone("b").await?;
    fixture.put(&a).await?;
    fixture.until_standing("a", Standing::Registered).await
}

#[tokio::test]
async fn an_empty_registry_without_a_snapshot_is_heard_at_once() -> Result<()> {
    let directory = tempfile::tempdir()?;
    for path in [None, Some(directory.path().join("missing"))] {
        let mut fixture = Fixture::start_in_turn(guard(SHORT, HOUR), path, Turn::First)?;
        fixture.list(&[]).await?;
        tokio::time::timeout(PATIENCE, &mut fixture.ready).await??;
    }
    Ok(())
}

#[tokio::test]
async fn a_stale_endpoint_that_comes_up_is_used_then() -> Result<()> {
    let a = dead("a")?;
    let (_directory, path) = stored(std::slice::from_ref(&a))?;
    let fixture = Fixture::start(guard(SHORT, HOUR), Some(path))?;
    fixture.until_standing("a", Standing::Stale(ProbeResult::Failed)).await?;
    let _listener = TcpListener::bind(a.record.address)?;
    fixture.until_standing("a", Standing::Stale(ProbeResult::Passed)).await
}

#[tokio::test]
async fn the_snapshot_is_not_read_once_the_registry_was_heard() -> Result<()> {
    let (_a, a) = alive("a")?;
    let (_directory, path) = stored(&[a])?;
    let (_b, b) = alive("b")?;
    let mut fixture = Fixture::start(guard(HOUR, HOUR), Some(path))?;
    fixture.list(&[b]).await?;
    fixture.status.send_modify(|status| status.failures += 1);
    fixture.until_standing("b", Standing::Registered).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(fixture.entries().len(), 1);
    Ok(())
}

#[tokio::test]
async fn without_a_snapshot_or_with_an_empty_one_a_start_waits_for_the_registry() -> Result<()> {
    let (_directory, empty) = stored(&[])?;
    let missing = empty.with_extension("missing");
    for path in [empty, missing] {
        let mut fixture = Fixture::start(guard(SHORT, HOUR), Some(path))?;
        fixture.status.send_modify(|status| status.failures += 1);
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(!fixture.directory.is_filled() && fixture.ready.try_recv().is_err());
        fixture.list(&[]).await?;
        tokio::time::timeout(PATIENCE, &mut fixture.ready).await??;
    }
    Ok(())
}

/// What the snapshot holds, by instance.
fn kept(path: &std::path::Path) -> Result<Vec<String>> {
    let snapshot = File::new(path.to_owned()).load()?.context("no snapshot")?;
    Ok(snapshot.instances.iter().map(|i| i.id.to_string()).collect())
}

async fn until_kept(path: &std::path::Path, expected: &[&str]) -> Result<()> {
    eventually(&format!("{expected:?} are kept"), PATIENCE, async || {
        let kept = kept(path)?;
        ensure!(kept == expected, "{kept:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_is_shown_is_written_and_what_is_held_stays_in_it() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("snapshot");
    let (listener, a) = alive("a")?;
    let (_b, b) = alive("b")?;
    let mut fixture = Fixture::start(guard(SHORT, HOUR), Some(path.clone()))?;
    fixture.list(std::slice::from_ref(&a)).await?;
    until_kept(&path, &["a"]).await?;
    fixture.delete(&["a"]).await?;
    fixture.until_held(1).await?;
    // The next one is written because of b, and a is in it.
    fixture.put(&b).await?;
    until_kept(&path, &["a", "b"]).await?;
    drop(listener);
    until_kept(&path, &["b"]).await?;
    assert!(fixture.shows_metric("leaseway_snapshot_failures_total 0")?);
    Ok(())
}

#[tokio::test]
async fn a_snapshot_that_nobody_confirmed_is_not_written_back() -> Result<()> {
    let (_a, a) = alive("a")?;
    let (_directory, path) = stored(&[a])?;
    let mut fixture = Fixture::start(guard(SHORT, HOUR), Some(path.clone()))?;
    tokio::time::timeout(PATIENCE, &mut fixture.ready).await??;
    // Whoever writes now would undo this.
    File::new(path.clone()).store(4, [dead("z")?])?;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(kept(&path)?, ["z"]);
    Ok(())
}

#[tokio::test]
async fn what_is_shown_is_written_before_the_process_ends() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("snapshot");
    let (_a, a) = alive("a")?;
    let mut fixture = Fixture::start(guard(SHORT, HOUR), Some(path.clone()))?;
    fixture.list(&[a]).await?;
    until_kept(&path, &["a"]).await?;
    let (_b, b) = alive("b")?;
    let (_c, c) = alive("c")?;
    // The second is shown a moment after the first.
    fixture.put(&b).await?;
    fixture.put(&c).await?;
    fixture.until_standing("c", Standing::Registered).await?;
    fixture.saver.save().await;
    assert_eq!(kept(&path)?, ["a", "b", "c"]);
    Ok(())
}

#[tokio::test]
async fn the_end_waits_for_nothing_where_there_is_nothing_to_write() -> Result<()> {
    let fixture = Fixture::with(config::Guard::default(), &three()).await?;
    let mut unheard = Fixture::start(config::Guard::default(), Some("/nowhere/at/all".into()))?;
    for saver in [&fixture.saver, &unheard.saver] {
        tokio::time::timeout(SHORT, saver.save()).await?;
    }
    unheard.running.abort();
    let ended = (&mut unheard.running).await;
    assert!(ended.is_err());
    tokio::time::timeout(SHORT, unheard.saver.save()).await?;
    Ok(())
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

/// A policy for a service that no route named before.
fn policy_of(service: &str) -> Vec<(Arc<str>, Policy)> {
    vec![(service.into(), Policy::default())]
}

#[tokio::test]
async fn who_is_registered_can_be_sent_to_when_his_service_is_routed() -> Result<()> {
    let [a, b, c] = three();
    let mut fixture = Fixture::with(config::Guard::default(), &[a]).await?;
    let other = |instance: Instance| Instance { service: "other".into(), ..instance };
    fixture.put(&other(b)).await?;
    fixture.put(&other(c)).await?;
    eventually("both are known", PATIENCE, async || {
        let known = fixture.directory.service("other").context("no service")?.endpoints().entries().len();
        ensure!(known == 2, "{known}");
        Ok(())
    })
    .await?;
    let routed = fixture.routing.begin(policy_of("other")).await.context("it has ended")?;
    let service = routed.get("other").context("it is routed")?;
    assert!(service.is_routed() && service.endpoints().total() == 2);
    let found = fixture.directory.service("other").context("it is there")?;
    assert!(Arc::ptr_eq(service, &found));
    let again = fixture.routing.begin(policy_of("other")).await.context("it has ended")?;
    assert!(again.get("other").is_some_and(|again| Arc::ptr_eq(again, service)));
    Ok(())
}

#[tokio::test]
async fn services_are_routed_before_the_registry_is_heard_and_not_after_the_end() -> Result<()> {
    let (_listener, mut other) = alive("a")?;
    other.service = "other".into();
    let (_directory, path) = stored(&[other, dead("b")?])?;
    // The first: nothing is read, the second: the snapshot is, the third: it is not shown yet.
    let mut fixtures = vec![Fixture::start(guard(SHORT, HOUR), None)?];
    fixtures.push(Fixture::start_in_turn(guard(SHORT, HOUR), Some(path.clone()), Turn::IfLate)?);
    fixtures.push(Fixture::start_in_turn(guard(SHORT, HOUR), Some(path), Turn::First)?);
    for fixture in &mut fixtures {
        let routed = tokio::time::timeout(PATIENCE, fixture.routing.begin(policy_of("other"))).await?;
        assert!(routed.context("it has ended")?.contains_key("other"));
        fixture.running.abort();
        let ended = (&mut fixture.running).await;
        assert!(ended.is_err() && fixture.routing.begin(policy_of("other")).await.is_none());
        tokio::time::timeout(PATIENCE, fixture.routing.settle(Vec::new(), vec!["other".into()], PATIENCE))
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_stale_is_probed_when_its_service_is_routed() -> Result<()> {
    let (listener, mut other) = alive("a")?;
    other.service = "other".into();
    let (_directory, path) = stored(&[other])?;
    let mut fixture = Fixture::start(guard(SHORT, HOUR), Some(path))?;
    tokio::time::timeout(PATIENCE, &mut fixture.ready).await??;
    assert!(!was_connected(&listener)?);
    let service = |fixture: &Fixture| fixture.directory.service("other").context("it is shown");
    for _ in 0..2 {
        fixture.routing.begin(policy_of("other")).await.context("it has ended")?;
        eventually("its probe has passed", PATIENCE, async || {
            let entries = service(&fixture)?.endpoints().entries().to_vec();
            ensure!(
                entries.iter().all(|e| e.standing == Standing::Stale(ProbeResult::Passed)),
                "{entries:?}"
            );
            Ok(())
        })
        .await?;
        fixture.routing.settle(Vec::new(), vec!["other".into()], PATIENCE).await;
        let entries = service(&fixture)?.endpoints().entries().to_vec();
        assert!(entries.iter().all(|e| e.standing == Standing::Stale(ProbeResult::Pending)), "{entries:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_held_leaves_with_the_last_route_of_its_service() -> Result<()> {
    let (listener, a) = alive("a")?;
    let (_b, b) = alive("b")?;
    let mut fixture = Fixture::with(guard(SHORT, HOUR), &[a, b.clone()]).await?;
    fixture.delete(&["a", "b"]).await?;
    fixture.until_held(2).await?;
    fixture.put(&b).await?;
    fixture.until_held(1).await?;
    let held = fixture.directory.service("goods").context("it is there")?;
    fixture.routing.settle(Vec::new(), vec!["goods".into(), "unknown".into()], PATIENCE).await;
    fixture.until_held(0).await?;
    let entries = fixture.entries();
    assert_eq!(entries.iter().map(|e| &*e.endpoint.instance).collect::<Vec<_>>(), ["b"]);
    assert_eq!(held.endpoints().entries().len(), 2, "who holds it goes on with what it had");
    // A probe may be on its way; none comes after it.
    tokio::time::sleep(2 * SHORT).await;
    while was_connected(&listener)? {}
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(!was_connected(&listener)?);
    Ok(())
}

/// Of a service at this name.
fn named(name: &str) -> Policy {
    let addresses = vec![config::GivenAddress::parse(name).unwrap()];
    Policy { addresses: Some(addresses.into()), ..Policy::default() }
}

#[tokio::test]
async fn a_service_at_a_name_is_served_when_the_name_is_resolved_or_could_not_be() -> Result<()> {
    let fixture = Fixture::with(guard(SHORT, HOUR), &[]).await?;
    for (name, found) in [("localhost:80", true), ("nobody.invalid:80", false)] {
        let routed = fixture.routing.begin(vec![(name.into(), named(name))]).await.context("it has ended")?;
        assert_eq!(!routed[name].endpoints().entries().is_empty(), found, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn it_is_ready_when_the_names_of_the_start_are_resolved() -> Result<()> {
    let old = directory::with_routed([("old", named("localhost:80"))]);
    let mut fixture =
        Fixture::start_with(old, guard(SHORT, HOUR), (None, Turn::IfLate), Adopting::default())?;
    fixture.list(&[]).await?;
    tokio::time::timeout(PATIENCE, &mut fixture.ready).await??;
    let old = fixture.directory.service("old").context("no service")?;
    assert!(!old.endpoints().entries().is_empty());
    Ok(())
}
