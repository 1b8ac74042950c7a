//! The registry's updates -> the directory. The only holder of its writer.

mod service_discovery;
pub mod snapshot;

use std::time::Instant;

use registry::contract::Prefix;
use registry::status::Status;
use registry::watch::{Driver, Update, Watch, source::Source};
use tokio::sync::{mpsc, watch};

use crate::directory::{Changed, Kind, Writer};
pub use service_discovery::ServiceEndpoints;

/// Feeds a directory from a watch.
pub struct Discovery<S: Source> {
    driver: Driver<S>,
    updates: mpsc::Receiver<Update>,
    feed: Feed,
}

impl<S: Source> Discovery<S> {
    /// Discovery, and the watch's own status for those who report it.
    pub fn new(
        (watch, driver): (Watch, Driver<S>),
        prefix: Prefix,
        writer: Writer,
    ) -> (Self, watch::Receiver<Status>) {
        let feed = Feed { prefix, writer };
        let discovery = Self { driver, updates: watch.updates, feed };
        (discovery, watch.status)
    }

    /// Runs until the process ends; calls `synced` once, when the directory is filled for the first time.
    pub async fn run(self, synced: impl FnOnce() + Send) {
        tokio::join!(self.driver.run(), self.feed.run(self.updates, synced));
    }
}

struct Feed {
    prefix: Prefix,
    writer: Writer,
}

impl Feed {
    async fn run(mut self, mut updates: mpsc::Receiver<Update>, synced: impl FnOnce()) {
        let mut synced = Some(synced);
        let mut publish_at = None;
        loop {
            let update = tokio::select! {
                update = updates.recv() => match update {
                    Some(update) => Some(update),
                    None => return,
                },
                () = sleep_until(publish_at) => None,
            };
            let is_list = matches!(update, Some(Update::Reset { .. }));
            for changed in update.map(|u| self.writer.stage(u)).unwrap_or_default() {
                self.log(&changed);
            }
            publish_at = self.writer.publish(Instant::now());
            if is_list && let Some(synced) = synced.take() {
                synced();
            }
        }
    }

    fn log(&self, changed: &Changed) {
        let Changed { kind, service, instance, before, after, revision } = changed;
        let message = match kind {
            Kind::Put => "endpoint put",
            Kind::Delete => "endpoint deleted",
        };
        let key = self.prefix.key(service, instance);
        let shown = |address: &Option<_>| address.map(|a: std::net::SocketAddr| a.to_string());
        let (before, after) = (shown(before), shown(after));
        tracing::info!(
            service = &**service,
            instance = &**instance,
            key,
            before,
            after,
            revision,
            "{message}"
        );
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
