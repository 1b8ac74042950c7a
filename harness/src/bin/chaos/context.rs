//! What every case runs with.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use harness::{
    load::Load,
    stack::{Gateway, Services},
    wait::eventually,
};

/// Requests a second through the gateway, during every fault of the registry.
pub(crate) const RATE: u32 = 500;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// How long all of etcd is dead.
    pub(crate) outage: Duration,
    /// How long a fault of one member, or of the connection to it, lasts at least.
    pub(crate) fault: Duration,
    /// How long requests are watched before and after a fault.
    pub(crate) calm: Duration,
    /// Whether faults that differ only in detail are all done, or one of them.
    pub(crate) variants: Variants,
    /// How many tokens expire.
    pub(crate) expiries: u32,
    /// How many keys a cold start meets.
    pub(crate) keys: u32,
    /// How many changes a second a storm of changes makes; a multiple of 100.
    pub(crate) changes_per_second: u32,
    /// How long a storm of changes lasts.
    pub(crate) changes_for: Duration,
    /// How many registrars there are.
    pub(crate) registrars: usize,
    /// How many hostile records are written.
    pub(crate) hostile: u32,
    /// How many goods or other backends there are, when one of them, or each, has a fault.
    pub(crate) goods: usize,
    /// Requests a second, when backends or the gateway have a fault.
    pub(crate) rate: u32,
    /// How many requests are sent after an address has moved.
    pub(crate) requests: u64,
    /// How many times the gateway is upgraded.
    pub(crate) upgrades: u32,
    /// How many times the configuration is replaced; an even number.
    pub(crate) reloads: u32,
    /// Of how many clients that take what they can get there is one.
    pub(crate) one_client_of: usize,
    /// How long a large body is.
    pub(crate) body: u64,
    /// How long a storm of faults lasts.
    pub(crate) storm: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variants {
    All,
    First,
}

pub(crate) const FULL: Scale = Scale {
    outage: Duration::from_secs(120),
    fault: Duration::from_secs(15),
    calm: Duration::from_secs(3),
    variants: Variants::All,
    expiries: 20,
    keys: 100_000,
    changes_per_second: 10_000,
    changes_for: Duration::from_secs(60),
    registrars: 1_000,
    hostile: 10_000,
    goods: 10,
    rate: RATE,
    requests: 10_000,
    upgrades: 10,
    reloads: 1_000,
    one_client_of: 1,
    body: 2 << 30,
    storm: Duration::from_secs(600),
};

/// What two cores and debug builds do in two or three minutes.
pub(crate) const SHORT: Scale = Scale {
    outage: Duration::from_secs(5),
    fault: Duration::from_secs(3),
    calm: Duration::from_secs(1),
    variants: Variants::First,
    expiries: 3,
    keys: 10_000,
    changes_per_second: 2_000,
    changes_for: Duration::from_secs(3),
    registrars: 100,
    hostile: 1_000,
    goods: 4,
    rate: 250,
    requests: 2_000,
    upgrades: 2,
    reloads: 50,
    one_client_of: 4,
    body: 64 << 20,
    storm: Duration::from_secs(60),
};

/// What a case runs with.
#[derive(Debug)]
pub(crate) struct Context {
    name: String,
    pub(crate) scale: Scale,
    seed: u64,
    begun: Instant,
}

impl Context {
    pub(crate) fn new(name: String, scale: Scale, seed: u64) -> Self {
        Self { name, scale, seed, begun: Instant::now() }
    }

    /// Prints a line, with the time since the case began: every fault is one.
    pub(crate) fn say(&self, what: impl Display) {
        println!("{:>10} {:8.2} s  {what}", self.name, self.begun.elapsed().as_secs_f64());
    }

    /// The same chance for the same seed.
    pub(crate) fn chance(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed)
    }

    /// Some of the variants of a fault, the plainest first.
    pub(crate) fn variants<T: Copy>(&self, all: &[T]) -> Vec<T> {
        match self.scale.variants {
            Variants::All => all.to_vec(),
            Variants::First => all.iter().take(1).copied().collect(),
        }
    }
}

/// A load on one path of the gateway, at [`RATE`].
pub(crate) fn load(gateway: &Gateway, path: &str) -> Load {
    Load::get(gateway.address(), path).rate(RATE)
}

/// A metric without labels, which is there from the start: a name that is not there would read as zero.
///
/// # Errors
/// When it is not there.
pub(crate) async fn counter(gateway: &Gateway, name: &str) -> Result<f64> {
    let text = gateway.admin("/metrics").await?.text();
    let is_there = text.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    ensure!(is_there, "/metrics shows no {name}");
    gateway.metric(name, &[]).await
}

/// Waits until the gateway has seen this revision of the registry; how long after `since` that was.
///
/// # Errors
/// When it has not within `within`.
pub(crate) async fn seen(
    gateway: &Gateway,
    revision: i64,
    since: Instant,
    within: Duration,
) -> Result<Duration> {
    eventually("the last change is seen", within, async || {
        let ready = gateway.admin("/readyz").await?.json()?;
        let seen = ready["revision"].as_i64().context("/readyz shows no revision")?;
        ensure!(seen >= revision, "the gateway is at {seen}, the last change at {revision}");
        Ok(since.elapsed())
    })
    .await
}

/// Waits until `/services` is as `wanted`; how long after `since` that was.
///
/// # Errors
/// When it is not within `within`; the error shows `what` and the gateway's last lines.
pub(crate) async fn shown(
    gateway: &Gateway,
    what: &str,
    since: Instant,
    within: Duration,
    wanted: impl Fn(&Services) -> bool,
) -> Result<Duration> {
    let shown = eventually(what, within, async || {
        let services = gateway.services().await?;
        ensure!(wanted(&services), "/services shows {services:?}");
        Ok(since.elapsed())
    });
    shown.await
}

/// Whether these instances of a service are all there is of it, and up.
pub(crate) fn all_up(services: &Services, service: &str, instances: &[&str]) -> bool {
    let endpoints = services.endpoints(service);
    services.instances(service) == instances && endpoints.iter().all(|endpoint| endpoint.state == "up")
}
