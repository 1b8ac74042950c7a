//! The registry's updates and health's findings -> the directory. The only holder of its writer.
//!
//! ```text
//! feed      the loop: takes updates and outcomes, publishes the directory
//! guard     what becomes of an endpoint whose registration vanishes; pure
//! journal   what the log says of it
//! names     where the services are whose addresses the configuration gives
//! probes    whether endpoints in doubt can be connected to
//! routing   which services are routed, as whoever replaces the configuration tells
//! rivals    whether processes seem to share an instance's id; pure
//! ```

mod feed;
mod guard;
mod journal;
mod names;
mod probes;
mod rivals;
mod routing;

use std::sync::Arc;
use std::time::Duration;

use registry::watch::{Admission, Driver, Reread, Update, Watch, WatchStatus, source::Source};
use tokio::sync::{mpsc, watch};

use crate::config;
use crate::directory::Writer;
use crate::health::findings::{self, Found};
use crate::lookout::FirstLook;
use crate::metrics::Metrics;
use crate::snapshot::{File, Loader, Save, Saver, Turn};
use feed::{Feed, Inputs};
use routing::Asked;

pub(crate) use routing::{Adopting, Routing};

/// Feeds a directory from a watch.
pub struct Discovery<S: Source> {
    driver: Driver<S>,
    updates: mpsc::Receiver<Update>,
    findings: mpsc::UnboundedReceiver<Found>,
    status: watch::Receiver<WatchStatus>,
    reread: Reread,
    adopting: Adopting,
    admission: Admission,
    first_look: Option<FirstLook>,
    writer: Writer,
    settings: config::Registry,
    connect: Duration,
    metrics: Arc<Metrics>,
    turn: Turn,
    saver: Saver,
    saves: mpsc::Receiver<Save>,
    routing: Routing,
    asked: mpsc::Receiver<Asked>,
}

impl<S: Source> Discovery<S> {
    /// Discovery, and the watch's own status for those who report it. A probe's connect may take `connect`.
    pub fn new(
        (watch, driver): (Watch, Driver<S>),
        writer: Writer,
        settings: config::Registry,
        connect: Duration,
        metrics: Arc<Metrics>,
    ) -> (Self, watch::Receiver<WatchStatus>) {
        let Watch { updates, status, reread, admission } = watch;
        let (_, findings) = findings::channel();
        let (saver, saves) = Saver::new();
        let (routing, asked) = Routing::new();
        let discovery = Self {
            driver,
            updates,
            findings,
            status: status.clone(),
            reread,
            adopting: Adopting::default(),
            admission,
            first_look: None,
            writer,
            settings,
            connect,
            metrics,
            turn: Turn::IfLate,
            saver,
            saves,
            routing,
            asked,
        };
        (discovery, status)
    }

    /// Takes what health finds, too.
    pub(crate) fn with_findings(self, findings: mpsc::UnboundedReceiver<Found>) -> Self {
        Self { findings, ..self }
    }

    /// Reads nothing before it is known which addresses are the gateway's and the registry's own.
    pub(crate) fn after(self, first_look: FirstLook) -> Self {
        Self { first_look: Some(first_look), ..self }
    }

    /// For a registry that starts with this process, and empty: the snapshot is read before the registry's first list.
    /// So the list counts as a change to the snapshot, and the guard decides about the endpoints that it lacks.
    pub(crate) fn with_the_snapshot_first(self) -> Self {
        Self { turn: Turn::First, ..self }
    }

    /// Has services of the snapshot routed that no route names.
    pub(crate) fn adopting(self, adopting: Adopting) -> Self {
        Self { adopting, ..self }
    }

    /// For who ends the process: has the snapshot written.
    pub(crate) fn saver(&self) -> Saver {
        self.saver.clone()
    }

    /// For who replaces the configuration: has services routed, and routed no more.
    pub(crate) fn routing(&self) -> Routing {
        self.routing.clone()
    }

    /// Runs until the process ends; calls `ready` once, when there is a directory to serve from.
    pub async fn run(self, ready: impl FnOnce() + Send) {
        let Self {
            driver,
            updates,
            findings,
            status,
            reread,
            adopting,
            admission,
            first_look,
            writer,
            settings,
            connect,
            metrics,
            turn,
            saves,
            asked,
            ..
        } = self;
        let most = settings.bounds.registrations;
        let file = settings.snapshot.clone().map(|path| File::new(path).within(most));
        let loader = Loader::new(file, turn, admission.clone(), status, metrics.clone());
        let feed = Feed::new(writer, settings, (loader, admission), connect, metrics, ready);
        let feed = feed.asking(reread).adopting(adopting);
        let watching = async {
            if let Some(first_look) = first_look {
                first_look.over().await;
            }
            driver.run().await;
        };
        tokio::join!(watching, feed.run(Inputs { updates, findings, saves, asked }));
    }
}
