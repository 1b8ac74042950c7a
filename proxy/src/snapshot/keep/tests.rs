use std::path::PathBuf;

use super::*;
use crate::directory::{self, Writer};
use anyhow::{Context, Result};
use registry::contract::{Instance, Record};
use registry::networks::{Networks, Reserved};
use registry::watch::{Change, Update, WatchSettings, nothing_reserved};
use tokio::sync::oneshot::error::TryRecvError;

fn instance(id: &str, address: &str) -> Result<Instance> {
    let record = Record::new(address.parse()?);
    Ok(Instance { service: "goods".into(), id: id.into(), record, lease: 7, revision: 3 })
}

struct Fixture {
    directory: tempfile::TempDir,
    status: watch::Sender<WatchStatus>,
    metrics: Arc<Metrics>,
    writer: Writer,
}

impl Fixture {
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let (status, _) = watch::channel(WatchStatus::default());
        let (_, writer) = directory::new(["routed"]);
        Ok(Self { directory, status, metrics: Arc::new(Metrics::new()?), writer })
    }

    /// The registry has listed one instance, `a`; what writes the snapshot does not know yet.
    fn listed() -> Result<(Self, Storer)> {
        let mut fixture = Self::new()?;
        let storer = fixture.storer();
        fixture.show(Update::Reset {
            instances: vec![instance("a", "10.0.0.1:80")?],
            refused: Vec::new(),
            revision: 4,
        });
        Ok((fixture, storer))
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("snapshot")
    }

    fn keep(&self, instances: Vec<Instance>) -> Result<()> {
        File::new(self.path()).store(4, instances)?;
        Ok(())
    }

    fn kept(&self) -> Result<Option<Vec<String>>> {
        let snapshot = File::new(self.path()).load()?;
        Ok(snapshot.map(|s| s.instances.iter().map(|i| i.id.to_string()).collect()))
    }

    fn loader(&self, networks: Networks) -> Loader {
        self.loader_in_turn(Turn::IfLate, networks)
    }

    fn loader_in_turn(&self, turn: Turn, networks: Networks) -> Loader {
        let file = File::new(self.path());
        let settings = WatchSettings { networks, ..WatchSettings::default() };
        let admission = Admission::new(&settings, nothing_reserved());
        Loader::new(Some(file), turn, admission, self.status.subscribe(), self.metrics.clone())
    }

    fn storer(&self) -> Storer {
        let directory = self.writer.directory().clone();
        Storer::new(Some(File::new(self.path())), directory, self.metrics.clone())
    }

    fn show(&mut self, update: Update) {
        self.writer.hear(update);
        // Whatever was published when.
        let later = Instant::now() + Duration::from_secs(3600);
        self.writer.publish(|| later);
    }

    fn put(&mut self, id: &str) -> Result<()> {
        let changes = vec![Change::Put(instance(id, "10.0.0.1:80")?)];
        self.writer.hear(Update::Apply { changes, revision: 5 });
        let later = Instant::now() + Duration::from_secs(7200);
        self.writer.publish(|| later);
        Ok(())
    }

    fn failures(&self) -> Result<String> {
        let text = self.metrics.render(self.writer.directory(), &WatchStatus::default(), 0)?;
        let text = String::from_utf8(text)?;
        let line = text.lines().find(|line| line.starts_with("leaseway_snapshot_failures_total"));
        Ok(line.context("no such metric")?.to_owned())
    }
}

fn is_pending<T>(outcome: &Result<T, tokio::time::error::Elapsed>) -> bool {
    outcome.is_err()
}

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn the_registry_has_a_moment_before_the_snapshot_is_read() -> Result<()> {
    let fixture = Fixture::new()?;
    fixture.keep(vec![instance("a", "10.0.0.1:80")?])?;
    let mut loader = fixture.loader(Networks::default());
    let begun = now();
    assert!(is_pending(&timeout(Duration::from_millis(299), loader.snapshot()).await));
    let snapshot = loader.snapshot().await.context("no snapshot")?;
    assert_eq!((now() - begun, snapshot.instances.len()), (PATIENCE, 1));
    assert!(is_pending(&timeout(LONG, loader.snapshot()).await), "it is read once");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_first_failure_ends_the_wait() -> Result<()> {
    let fixture = Fixture::new()?;
    fixture.keep(vec![instance("a", "10.0.0.1:80")?])?;
    let mut loader = fixture.loader(Networks::default());
    let begun = now();
    assert!(is_pending(&timeout(Duration::from_millis(100), loader.snapshot()).await));
    fixture.status.send_modify(|status| status.failures = 1);
    loader.snapshot().await;
    assert_eq!(now() - begun, Duration::from_millis(100));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_comes_first_waits_for_nobody() -> Result<()> {
    let fixture = Fixture::new()?;
    fixture.keep(vec![instance("a", "10.0.0.1:80")?])?;
    let mut loader = fixture.loader_in_turn(Turn::First, Networks::default());
    assert!(loader.is_awaited());
    let begun = now();
    let snapshot = loader.snapshot().await.context("no snapshot")?;
    assert_eq!((now() - begun, snapshot.instances.len()), (Duration::ZERO, 1));
    assert!(!loader.is_awaited());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_is_not_waited_for_longer_than_ten_seconds() -> Result<()> {
    let fixture = Fixture::new()?;
    let mut loader = fixture.loader_in_turn(Turn::First, Networks::default());
    let begun = now();
    loader.stage = Stage::Loading(tokio::spawn(std::future::pending()), begun + LOAD_TIMEOUT);
    // The feed asks anew after each event.
    assert!(is_pending(&timeout(Duration::from_secs(9), loader.snapshot()).await));
    assert!(loader.is_awaited());
    assert_eq!(loader.snapshot().await, None);
    assert_eq!((now() - begun, loader.is_awaited()), (Duration::from_secs(10), false));
    assert_eq!(fixture.failures()?, "leaseway_snapshot_failures_total 1");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_corrupt_snapshot_is_counted_and_not_served() -> Result<()> {
    let fixture = Fixture::new()?;
    std::fs::write(fixture.path(), "nonsense")?;
    let mut loader = fixture.loader(Networks::default());
    assert_eq!(loader.snapshot().await, None);
    assert!(!loader.is_awaited());
    assert_eq!(fixture.failures()?, "leaseway_snapshot_failures_total 1");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn addresses_that_are_no_longer_permitted_are_left_out() -> Result<()> {
    let fixture = Fixture::new()?;
    fixture.keep(vec![instance("a", "10.0.0.1:80")?, instance("b", "192.168.0.1:80")?])?;
    let networks = Networks { deny: vec!["10.0.0.0/8".parse()?], ..Networks::default() };
    let snapshot = fixture.loader(networks).snapshot().await.context("no snapshot")?;
    let ids: Vec<_> = snapshot.instances.iter().map(|i| &*i.id).collect();
    assert_eq!(ids, ["b"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn addresses_that_are_reserved_by_now_are_left_out() -> Result<()> {
    let fixture = Fixture::new()?;
    fixture.keep(vec![instance("a", "10.0.0.1:80")?, instance("b", "10.0.0.1:81")?])?;
    let mut reserved = Reserved::default();
    reserved.add("10.0.0.1:80".parse()?, "is the registry");
    let mut loader = fixture.loader(Networks::default());
    loader.admission = Admission::new(&WatchSettings::default(), watch::channel(Arc::new(reserved)).1);
    let snapshot = loader.snapshot().await.context("no snapshot")?;
    let ids: Vec<_> = snapshot.instances.iter().map(|i| &*i.id).collect();
    assert_eq!(ids, ["b"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_change_is_written_at_once_and_the_next_after_a_while() -> Result<()> {
    let (mut fixture, mut storer) = Fixture::listed()?;
    assert_eq!(storer.store(now(), None), None);
    assert!(storer.storing.is_none(), "nothing has changed");
    storer.changed();
    storer.store(now(), None);
    storer.stored().await;
    assert_eq!(fixture.kept()?.context("not written")?, ["a"]);

    let written = now();
    fixture.put("b")?;
    storer.changed();
    assert_eq!(storer.store(now(), None), Some(written + PACE.interval));
    tokio::time::advance(PACE.interval).await;
    assert_eq!(storer.store(now(), None), None);
    storer.stored().await;
    assert_eq!(fixture.kept()?.context("not written")?, ["a", "b"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_routes_lead_to_is_written_first() -> Result<()> {
    let mut fixture = Fixture::new()?;
    let mut storer = fixture.storer();
    let [first, routed, last] = [("a", "1"), ("routed", "2"), ("z", "3")]
        .map(|(service, id)| Ok(Instance { service: service.into(), ..instance(id, "10.0.0.1:80")? }));
    let instances: Result<_> = [first, routed, last].into_iter().collect();
    fixture.show(Update::Reset { instances: instances?, refused: Vec::new(), revision: 4 });
    storer.changed();
    storer.store(now(), None);
    storer.stored().await;
    assert_eq!(fixture.kept()?.context("not written")?, ["2", "1", "3"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn lines_that_are_no_instances_cost_the_others_nothing() -> Result<()> {
    let fixture = Fixture::new()?;
    let good = r#"{"service":"goods","id":"a","value":"10.0.0.1:80","lease":1,"revision":1}"#;
    let bad = good.replace("10.0.0.1", "0.0.0.0");
    let rest = format!(" revision=4 instances=2\n{bad}\n{good}\n");
    let text = format!("leaseway-snapshot version=1 crc32={:08x}{rest}", crc32fast::hash(rest.as_bytes()));
    std::fs::write(fixture.path(), text)?;
    let snapshot = fixture.loader(Networks::default()).snapshot().await.context("no snapshot")?;
    assert_eq!(snapshot.instances.iter().map(|i| &*i.id).collect::<Vec<_>>(), ["a"]);
    assert_eq!(fixture.failures()?, "leaseway_snapshot_failures_total 0");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_change_while_one_is_written_is_not_lost_and_waits_for_its_end() -> Result<()> {
    let (_fixture, mut storer) = Fixture::listed()?;
    storer.changed();
    storer.store(now(), None);
    storer.changed();
    assert_eq!(storer.store(now() + LONG, None), None, "never two at a time");
    assert!(storer.changed);
    storer.stored().await;
    assert!(storer.store(now(), None).is_some());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_ten_times_as_long_as_the_writing_was() -> Result<()> {
    let (_fixture, mut storer) = Fixture::listed()?;
    storer.changed();
    storer.store(now(), None);
    tokio::time::advance(Duration::from_secs(2)).await;
    storer.stored().await;
    storer.changed();
    assert_eq!(storer.store(now(), None), Some(now() + Duration::from_secs(20)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_readers_do_not_see_yet_is_written_another_time() -> Result<()> {
    let (_fixture, mut storer) = Fixture::listed()?;
    storer.changed();
    storer.store(now(), Some(now() + LONG));
    storer.stored().await;
    assert_eq!(storer.store(now(), None), Some(now() + PACE.interval));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn at_the_end_nothing_is_waited_for_but_the_disk() -> Result<()> {
    let (mut fixture, mut storer) = Fixture::listed()?;
    storer.changed();
    storer.store(now(), None);
    storer.changed();
    let (save, mut saved) = oneshot::channel();
    storer.hurry(save);
    assert_eq!(storer.store(now(), None), None);
    assert_eq!(saved.try_recv(), Err(TryRecvError::Empty), "it is being written");
    fixture.put("b")?;
    storer.stored().await;
    assert_eq!(storer.store(now(), None), None);
    assert_eq!(saved.try_recv(), Err(TryRecvError::Empty), "the change since then is being written");
    storer.stored().await;
    assert_eq!(storer.store(now(), None), None);
    assert_eq!(saved.try_recv(), Err(TryRecvError::Closed));
    assert_eq!(fixture.kept()?.context("not written")?, ["a", "b"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_failure_at_the_end_is_not_tried_again_without_a_pause() -> Result<()> {
    let (fixture, mut storer) = Fixture::listed()?;
    std::fs::create_dir(fixture.path())?;
    storer.changed();
    let (save, mut saved) = oneshot::channel();
    storer.hurry(save);
    storer.store(now(), None);
    storer.stored().await;
    assert_eq!(storer.store(now(), None), Some(now() + PACE.interval));
    assert_eq!(saved.try_recv(), Err(TryRecvError::Empty), "it has not been written");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_for_a_second_at_most() {
    let (saver, _unheard) = Saver::new();
    let begun = now();
    saver.save().await;
    assert_eq!(now() - begun, SAVE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_written_is_counted_and_tried_again() -> Result<()> {
    let (fixture, mut storer) = Fixture::listed()?;
    std::fs::create_dir(fixture.path())?;
    storer.changed();
    storer.store(now(), None);
    storer.stored().await;
    assert_eq!(fixture.failures()?, "leaseway_snapshot_failures_total 1");
    std::fs::remove_dir(fixture.path())?;
    tokio::time::advance(PACE.interval).await;
    storer.store(now(), None);
    storer.stored().await;
    assert_eq!(fixture.kept()?.context("not written")?, ["a"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_was_never_confirmed_is_not_written() -> Result<()> {
    let mut fixture = Fixture::new()?;
    let mut storer = fixture.storer();
    fixture.writer.stage_stale(vec![instance("a", "10.0.0.1:80")?], 4);
    fixture.writer.publish(Instant::now);
    storer.changed();
    assert_eq!(storer.store(now(), None), None);
    assert!(storer.storing.is_none());
    Ok(())
}

#[test]
fn what_one_line_is_about_silences_no_other() {
    let (mut complained, start) = (Complained::default(), now());
    assert!(may_complain(&mut complained.of_room, start) && !may_complain(&mut complained.of_room, start));
    assert!(may_complain(&mut complained.of_disk, start));
    assert!(may_complain(&mut complained.of_room, start + COMPLAINT_INTERVAL));
}
