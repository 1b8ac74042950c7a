//! When the snapshot is read and written. Both happen beside the loop: they wait for the disk.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use registry::networks::Networks;
use registry::status::Status;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use super::snapshot::{File, LoadError, Snapshot, StoreError};
use super::{joined, now, sleep_until};
use crate::directory::Directory;
use crate::metrics::Metrics;

/// How long the registry has for its first list before the snapshot is read.
const PATIENCE: Duration = Duration::from_millis(300);
/// From the end of writing the snapshot to the next begin, at least.
const STORE_INTERVAL: Duration = Duration::from_secs(5);
/// At most one line about a snapshot that cannot be written in this time.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(300);

/// When the snapshot is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Before the registry is heard.
    First,
    /// If the registry is late.
    IfLate,
}

/// Reads the snapshot, at most once, when it is its turn.
#[derive(Debug)]
pub(super) struct Loader {
    stage: Stage,
    networks: Networks,
    status: watch::Receiver<Status>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
enum Stage {
    /// Until the registry is late. The time is set when the waiting begins.
    Waiting(File, Option<Instant>),
    Loading(JoinHandle<Result<Option<Snapshot>, LoadError>>),
    /// It has been read, is not needed, or there is none.
    Over,
}

impl Loader {
    /// Takes only instances in permitted `networks`. `status` is that of the watch.
    pub fn new(
        file: Option<File>,
        turn: Turn,
        networks: Networks,
        status: watch::Receiver<Status>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let stage = match (file, turn) {
            (Some(file), Turn::First) => Stage::Waiting(file, Some(now())),
            (Some(file), Turn::IfLate) => Stage::Waiting(file, None),
            (None, _) => Stage::Over,
        };
        Self { stage, networks, status, metrics }
    }

    /// The snapshot is not needed.
    pub fn stop(&mut self) {
        self.stage = Stage::Over;
    }

    /// Whether the snapshot may still come.
    pub fn is_awaited(&self) -> bool {
        !matches!(self.stage, Stage::Over)
    }

    /// Waits until the snapshot is needed, and reads it. None if there is none, or nothing in it; asked again,
    /// waits for ever. May be dropped while it waits.
    pub async fn snapshot(&mut self) -> Option<Snapshot> {
        loop {
            match &mut self.stage {
                Stage::Waiting(file, until) => {
                    let until = *until.get_or_insert_with(|| now() + PATIENCE);
                    tokio::select! {
                        () = sleep_until(Some(until)) => {}
                        Ok(_) = self.status.wait_for(|status| status.failures > 0) => {}
                    }
                    let file = file.clone();
                    self.stage = Stage::Loading(spawn_blocking(move || file.load()));
                }
                Stage::Loading(loading) => {
                    let loaded = joined(loading.await);
                    self.stage = Stage::Over;
                    return loaded.and_then(|loaded| self.take(loaded));
                }
                Stage::Over => return std::future::pending().await,
            }
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
        let found = snapshot.instances.len();
        snapshot.instances.retain(|i| self.networks.refusal(i.record.address.ip()).is_none());
        let refused = found - snapshot.instances.len();
        if refused > 0 {
            tracing::warn!(refused, "left out instances of the snapshot: their networks are not permitted");
        }
        Some(snapshot).filter(|snapshot| !snapshot.instances.is_empty())
    }
}

/// Writes the snapshot after the directory has changed.
#[derive(Debug)]
pub(super) struct Storer {
    /// None: it is written nowhere.
    file: Option<File>,
    directory: Arc<Directory>,
    metrics: Arc<Metrics>,
    changed: bool,
    not_before: Option<Instant>,
    storing: Option<JoinHandle<Result<(), StoreError>>>,
    complained: Option<Instant>,
}

impl Storer {
    pub fn new(file: Option<File>, directory: Arc<Directory>, metrics: Arc<Metrics>) -> Self {
        Self { file, directory, metrics, changed: false, not_before: None, storing: None, complained: None }
    }

    /// A registration came, changed or left for good.
    pub fn changed(&mut self) {
        self.changed = true;
    }

    /// What has changed is written without another wait.
    pub fn hurry(&mut self) {
        self.not_before = None;
    }

    /// Begins to write, if it is time. Returns when to call again, if that is known.
    pub fn store(&mut self, now: Instant) -> Option<Instant> {
        let file = self.file.as_ref()?;
        // What comes from the snapshot alone is not written back.
        if !self.changed || self.storing.is_some() || !self.directory.is_synced() {
            return None;
        }
        if let Some(at) = self.not_before.filter(|at| *at > now) {
            return Some(at);
        }
        self.changed = false;
        let (file, directory) = (file.clone(), self.directory.clone());
        self.storing = Some(spawn_blocking(move || file.store(&picture(&directory))));
        None
    }

    /// Waits until the snapshot that is being written is written; for ever if none is. May be dropped
    /// while it waits.
    pub async fn stored(&mut self) {
        let Some(storing) = &mut self.storing else {
            return std::future::pending().await;
        };
        let stored = joined(storing.await);
        self.storing = None;
        let now = now();
        self.not_before = Some(now + STORE_INTERVAL);
        match stored {
            Some(Ok(())) => self.metrics.snapshot_stored(SystemTime::now()),
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
        if self.complained.is_none_or(|at| now.saturating_duration_since(at) >= COMPLAINT_INTERVAL) {
            self.complained = Some(now);
            tracing::warn!(%error, "the snapshot was not written: trying again, the former one stays");
        }
    }
}

/// What readers see, of which the endpoints in doubt are a part.
fn picture(directory: &Directory) -> Snapshot {
    let revision = directory.revision();
    let services = directory.services();
    let endpoints: Vec<_> = services.values().map(|service| service.endpoints()).collect();
    let entries = endpoints.iter().flat_map(|endpoints| endpoints.entries());
    Snapshot { revision, instances: entries.map(|entry| entry.to_instance()).collect() }
}

#[cfg(test)]
mod tests;
