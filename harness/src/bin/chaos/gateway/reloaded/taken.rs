//! What the gateway has taken of the machine and of its registry.

use std::{fmt, fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use harness::{http, wait::eventually};

use super::{MEMORY, Scene};
use crate::measured::Measured;

/// For threads that wait for work of a kind that there is no more.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it has taken at one moment.
#[derive(Debug)]
pub(super) struct Taken {
    resident: u64,
    threads: usize,
    /// Descriptors that are no connection to an instance: of those there are as many as requests need at once.
    descriptors: usize,
    /// Watches that the registry has.
    watches: u64,
    /// Connections for requests to the instances that stay: how many there ever were.
    connections: usize,
}

impl Taken {
    pub(super) async fn by(scene: &Scene) -> Result<Self> {
        let process = scene.gateway.process();
        let entries = |name: &str| {
            let path = format!("/proc/{}/{name}", process.pid());
            Ok::<_, anyhow::Error>(fs::read_dir(&path).with_context(|| format!("reading {path}"))?.count())
        };
        let descriptors = entries("fd")?;
        let to_instances: usize = scene.backends.iter().map(|backend| backend.connections().open).sum();
        Ok(Self {
            resident: process.resident_memory()?,
            threads: entries("task")?,
            descriptors: descriptors.saturating_sub(to_instances),
            watches: watches(scene).await?,
            connections: scene.connections(),
        })
    }

    /// Notes what is more than before.
    ///
    /// # Errors
    /// When memory was not given back, or connections to instances were not used again.
    pub(super) fn note_against(&self, before: &Self, warm: u32, measured: &mut Measured) -> Result<()> {
        let more = self.resident.saturating_sub(before.resident);
        measured.note(format_args!(
            "resident {:.1} MiB after {warm} reloads, {:.1} MiB in the end",
            mebibytes(before.resident),
            mebibytes(self.resident)
        ));
        let opened = self.connections.saturating_sub(before.connections);
        measured
            .note(format_args!("{opened} connections to the instances that stay were opened after those"));
        ensure!(more <= MEMORY, "{more} bytes more are resident");
        ensure!(opened <= 32, "{opened} connections to instances that stay were opened");
        Ok(())
    }
}

/// Waits until there are no more threads, descriptors and watches than before.
///
/// # Errors
/// When there are after a minute.
pub(super) async fn wait_no_more(scene: &Scene, before: &Taken) -> Result<()> {
    eventually("nothing more is taken than after the first reloads", PATIENCE, async || {
        let now = Taken::by(scene).await?;
        let is_more = now.threads > before.threads
            || now.descriptors > before.descriptors
            || now.watches > before.watches;
        ensure!(!is_more, "before: {before}; now: {now}");
        Ok(())
    })
    .await
}

/// How many watches etcd has, by its own metrics.
async fn watches(scene: &Scene) -> Result<u64> {
    const NAME: &str = "etcd_debugging_mvcc_watcher_total ";
    let text = http::get(scene.etcd.address(), "/metrics").await?.text();
    let value = text.lines().find_map(|line| line.strip_prefix(NAME));
    let value = value.with_context(|| format!("etcd shows no {NAME}"))?;
    Ok(value.trim().parse::<f64>()? as u64)
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl fmt::Display for Taken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resident, threads, descriptors, watches, connections } = self;
        let resident = mebibytes(*resident);
        write!(
            formatter,
            "{resident:.1} MiB resident, {threads} threads, {descriptors} descriptors, {watches} watches, \
             {connections} connections to instances so far"
        )
    }
}
