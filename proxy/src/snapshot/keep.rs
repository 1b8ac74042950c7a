//! When the snapshot is read and written. Both happen beside the loop: they wait for the disk.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use registry::contract::Instance;
use registry::timing::{Pace, sleep_until};
use registry::watch::{Admission, WatchStatus};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{timeout, timeout_at};

use super::file::{File, LoadError, StoreError};
use super::format::{SkippedLines, Snapshot, Stored};
use crate::directory::{Directory, Entry, Standing};
use crate::metrics::Metrics;
use crate::tasks::{joined, now};

/// How long the registry has for its first list before the snapshot is read.
const PATIENCE: Duration = Duration::from_millis(300);
/// How long reading the snapshot may take: a disk that hangs must not keep the gateway from its start.
const LOAD_TIMEOUT: Duration = Duration::from_secs(10);
/// From the end of writing the snapshot to the next begin: a hundred thousand endpoints must not keep the disk and a
/// core busy.
const PACE: Pace = Pace { interval: Duration::from_millis(500), times: 10 };
/// How long the end of the process waits for the last changes to be written.
const SAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// At most one line about a snapshot that cannot be written in this time.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    First,
    IfLate,
}

/// Reads the snapshot, at most once, when it is its turn.
#[derive(Debug)]
pub(crate) struct Loader {
    turn: Turn,
    stage: Stage,
    admission: Admission,
    status: watch::Receiver<WatchStatus>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
enum Stage {
    /// Waits for its turn. The time is that from which the registry counts as late; it is set when the waiting begins.
    Waiting(File, Option<Instant>),
    /// It is being read, which may take until then.
    Loading(JoinHandle<Result<Option<Snapshot>, LoadError>>, Instant),
    /// It has been read, is not needed, or there is none.
    Over,
}

impl Loader {
    /// Takes only instances that the watch would take. `status` is that of the watch.
    pub(crate) fn new(
        file: Option<File>,
        turn: Turn,
        admission: Admission,
        status: watch::Receiver<WatchStatus>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let stage = file.map_or(Stage::Over, |file| Stage::Waiting(file, None));
        Self { turn, stage, admission, status, metrics }
    }

    pub(crate) fn stop(&mut self) {
        self.stage = Stage::Over;
    }

    pub(crate) fn turn(&self) -> Turn {
        self.turn
    }

    /// Whether the snapshot may still come.
    pub(crate) fn is_awaited(&self) -> bool {
        !matches!(self.stage, Stage::Over)
    }

    /// Waits until the snapshot is needed, and reads it. None if there is none, or nothing in it; asked again,
    /// waits for ever. May be dropped while it waits.
    pub(crate) async fn snapshot(&mut self) -> Option<Snapshot> {
        loop {
            match &mut self.stage {
                Stage::Waiting(file, late_at) => {
                    if self.turn == Turn::IfLate {
                        let late_at = *late_at.get_or_insert_with(|| now() + PATIENCE);
                        tokio::select! {
                            () = sleep_until(Some(late_at)) => {}
                            Ok(_) = self.status.wait_for(|status| status.failures > 0) => {}
                        }
                    }
                    let file = file.clone();
                    let loading = spawn_blocking(move || file.load());
                    self.stage = Stage::Loading(loading, now() + LOAD_TIMEOUT);
                }
                Stage::Loading(loading, until) => {
                    let ended = timeout_at((*until).into(), loading).await;
                    self.stage = Stage::Over;
                    return match ended {
                        Ok(loaded) => joined(loaded).and_then(|loaded| self.take(loaded)),
                        Err(_) => self.give_up(),
                    };
                }
                Stage::Over => return std::future::pending().await,
            }
        }
    }

    fn give_up(&self) -> Option<Snapshot> {
        self.metrics.snapshot_failed();
        tracing::warn!(
            "the snapshot was not read within {LOAD_TIMEOUT:?}: the gateway starts without it; look at its disk"
        );
        None
    }

    /// Leaves out the instances that the configuration permitted once, and does no more.
    fn leave_out_refused(&self, instances: &mut Vec<Instance>) {
        let found = instances.len();
        let mut first = None;
        instances.retain(|instance| match self.admission.check(instance) {
            Ok(()) => true,
            Err(reason) => {
                first.get_or_insert_with(|| (format!("{}/{}", instance.service, instance.id), reason));
                false
            }
        });
        if let Some((instance, reason)) = first {
            let refused = found - instances.len();
            tracing::warn!(
                refused,
                instance,
                %reason,
                "left out instances of the snapshot that are refused: the first one is named"
            );
        }
    }

    fn take(&self, loaded: Result<Option<Snapshot>, LoadError>) -> Option<Snapshot> {
        let mut snapshot = match loaded {
            Ok(snapshot) => snapshot?,
            Err(error) => {
                self.metrics.snapshot_failed();
                tracing::warn!(%error, "there is no snapshot to serve from");
                return None;
            }
        };
        if let Some(SkippedLines { count, first }) = &snapshot.skipped {
            tracing::warn!(count, %first, "skipped lines of the snapshot that are no instances to this gateway");
        }
        self.leave_out_refused(&mut snapshot.instances);
        let snapshot = Some(snapshot).filter(|snapshot| !snapshot.instances.is_empty())?;
        let (revision, endpoints) = (snapshot.revision, snapshot.instances.len());
        match self.turn {
            Turn::First => {
                tracing::info!(revision, endpoints, "the registry starts empty: serving from the snapshot");
            }
            Turn::IfLate => {
                tracing::warn!(
                    revision,
                    endpoints,
                    "the registry has not answered yet: serving from the snapshot"
                );
            }
        }
        Some(snapshot)
    }
}

/// Has what is not in the snapshot yet written before the process ends.
#[derive(Debug, Clone)]
pub(crate) struct Saver(mpsc::Sender<Save>);

/// Dropped when all is written.
pub(crate) type Save = oneshot::Sender<()>;

impl Saver {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Save>) {
        let (asking, asked) = mpsc::channel(1);
        (Self(asking), asked)
    }

    /// Waits until the snapshot shows what readers see, but at most for a second.
    pub(crate) async fn save(&self) {
        let (save, saved) = oneshot::channel();
        let saving = async {
            // An error means that discovery has ended: nothing is written any more.
            if self.0.send(save).await.is_ok() {
                let _ = saved.await;
            }
        };
        if timeout(SAVE_TIMEOUT, saving).await.is_err() {
            tracing::warn!(
                "the last changes were not written to the snapshot within {SAVE_TIMEOUT:?}: the former one stays"
            );
        }
    }
}

/// Writes the snapshot after the directory has changed.
#[derive(Debug)]
pub(crate) struct Storer {
    file: Option<File>,
    directory: Arc<Directory>,
    metrics: Arc<Metrics>,
    changed: bool,
    not_before: Option<Instant>,
    /// Since when it is being written.
    storing: Option<(Instant, JoinHandle<Result<Stored, StoreError>>)>,
    save: Option<Save>,
    complained: Complained,
}

/// When a line was last logged, for each kind of trouble: one kind must not silence the other.
#[derive(Debug, Default)]
struct Complained {
    of_room: Option<Instant>,
    of_disk: Option<Instant>,
}

impl Storer {
    pub(crate) fn new(file: Option<File>, directory: Arc<Directory>, metrics: Arc<Metrics>) -> Self {
        Self {
            file,
            directory,
            metrics,
            changed: false,
            not_before: None,
            storing: None,
            save: None,
            complained: Complained::default(),
        }
    }

    /// A registration came, changed or left for good.
    pub(crate) fn changed(&mut self) {
        self.changed = true;
    }

    /// What has changed is written without another wait.
    pub(crate) fn hurry(&mut self, save: Save) {
        self.not_before = None;
        self.save = Some(save);
    }

    /// Begins to write, if it is time. `rest`: when changes that readers do not see yet will be published; none: there
    /// are none. It is written after that. Returns when to call again, if that is known.
    pub(crate) fn store(&mut self, now: Instant, rest: Option<Instant>) -> Option<Instant> {
        let next = self.begin(now, rest);
        if next.is_none() && self.storing.is_none() {
            self.save = None;
        }
        next
    }

    fn begin(&mut self, now: Instant, rest: Option<Instant>) -> Option<Instant> {
        let file = self.file.as_ref()?;
        // What comes from the snapshot alone is not written back.
        if !self.changed || self.storing.is_some() || !self.directory.is_synced() {
            return None;
        }
        if let Some(at) = self.not_before.filter(|at| *at > now) {
            return Some(at);
        }
        self.changed = rest.is_some();
        let (file, directory) = (file.clone(), self.directory.clone());
        self.storing = Some((now, spawn_blocking(move || store(&file, &directory))));
        None
    }

    /// Waits until the snapshot that is being written is written; for ever if none is. May be dropped
    /// while it waits.
    pub(crate) async fn stored(&mut self) {
        let Some((begun, storing)) = &mut self.storing else {
            return std::future::pending().await;
        };
        let stored = joined(storing.await);
        let now = now();
        let took = now.saturating_duration_since(*begun);
        self.storing = None;
        self.not_before = Some(now + PACE.rest(took));
        match stored {
            Some(Ok(Stored { without_room })) => {
                self.metrics.snapshot_stored(SystemTime::now());
                if without_room > 0 && may_complain(&mut self.complained.of_room, now) {
                    tracing::warn!(
                        without_room,
                        "the snapshot is full: it lacks instances, of services without a route first"
                    );
                }
                // At the end what has changed meanwhile is written at once. After a failure it is not: a disk
                // that is full would be asked without a pause.
                self.not_before = self.not_before.filter(|_| self.save.is_none());
            }
            Some(Err(error)) => self.fail(&error, now),
            None => {}
        }
    }

    fn fail(&mut self, error: &StoreError, now: Instant) {
        self.changed = true;
        // Another process writes what we would have.
        if matches!(error, StoreError::Busy(_)) {
            return;
        }
        self.metrics.snapshot_failed();
        if may_complain(&mut self.complained.of_disk, now) {
            tracing::warn!(%error, "the snapshot was not written: trying again, the former one stays");
        }
    }
}

fn may_complain(last: &mut Option<Instant>, now: Instant) -> bool {
    let may = last.is_none_or(|at| now.saturating_duration_since(at) >= COMPLAINT_INTERVAL);
    if may {
        *last = Some(now);
    }
    may
}

/// Writes what readers see, of which the endpoints in doubt are a part. First the services that routes lead to: if
/// there is no room for all, these are what a start needs.
fn store(file: &File, directory: &Directory) -> Result<Stored, StoreError> {
    let revision = directory.revision();
    let services = directory.services();
    let (routed, others): (Vec<_>, Vec<_>) = services.values().partition(|service| service.is_routed());
    let endpoints: Vec<_> =
        routed.into_iter().chain(others).map(|service| Arc::clone(&service.endpoints())).collect();
    let entries = endpoints.iter().flat_map(|endpoints| endpoints.entries());
    // What the configuration gives, it gives at the next start, too.
    let entries = entries.filter(|entry| entry.standing != Standing::Given);
    file.store(revision, entries.map(Entry::to_instance))
}

#[cfg(test)]
mod tests;
