//! The second stage: who is there, and what keeps that true.

use std::sync::Arc;

use embedded_registry::Visitors;
use registry::connect::InProcess;
use registry::watch::{Reread, WatchStatus, source::EtcdSource, watch as watch_registry};
use tokio::sync::watch;

use crate::config;
use crate::directory::{self, Directory};
use crate::discovery::{Adopting, Discovery};
use crate::health::findings::{self, Findings};
use crate::lookout::{Lookout, ThisMachine};
use crate::metrics::Metrics;
use crate::site;

/// The directory, and what feeds it.
pub(super) struct Picture {
    pub(super) directory: Arc<Directory>,
    /// How the watch on the registry is.
    pub(super) status: watch::Receiver<WatchStatus>,
    pub(super) discovery: Discovery<EtcdSource>,
    /// Where health tells discovery what it found.
    pub(super) findings: Findings,
    pub(super) lookout: Lookout<ThisMachine>,
    /// For when other addresses are reserved than before.
    pub(super) reread: Reread,
    /// The gateway itself, as it comes into an embedded registry.
    pub(super) visitors: Visitors,
}

impl Picture {
    /// `starts_empty`: the registry is embedded, and begins with this process.
    pub(super) fn new(config: &config::Gateway, starts_empty: bool, metrics: &Arc<Metrics>) -> Self {
        let policies = site::policies(config);
        let services = policies.iter().map(|(name, policy)| (&**name, policy.clone()));
        let (directory, writer) = directory::with_routed(services);
        let writer = writer.within(config.registry.bounds);
        let mut registry = config.registry.clone();
        let (door, visitors) = embedded_registry::door();
        if registry.embedded.is_some() {
            registry.connection.in_process = Some(InProcess::new(move || door.enter()));
        }
        let (lookout, reserved, first_look) = Lookout::new(config, ThisMachine);
        let watch = watch_registry(registry.connection.clone(), registry.watch.clone(), reserved);
        let reread = watch.0.reread.clone();
        let connect = config.timeouts.connect;
        let (discovery, status) = Discovery::new(watch, writer, registry, connect, metrics.clone());
        let (findings, found) = findings::channel();
        let mut discovery = discovery.with_findings(found).after(first_look);
        discovery = discovery.adopting(Adopting::new(site::adopted_of(config)));
        if starts_empty {
            discovery = discovery.with_the_snapshot_first();
        }
        Self { directory, status, discovery, findings, lookout, reread, visitors }
    }
}
