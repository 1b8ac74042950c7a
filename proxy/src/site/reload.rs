//! The reload: a file that has changed becomes the next site, or is told with its mistakes and changes nothing.
//!
//! ```text
//! a look each second  --looks-->  read -> check -> nothing fixed differs? -> build -> swap
//! SIGHUP  ------------------------^                    |                      |
//!                                                      +--- rejected: told once, shown by /readyz
//! ```
//!
//! It has a thread of its own: nothing here keeps a request waiting, and a site that no request holds any more is freed
//! here.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::looks::{Looks, Step};
use super::refusal::Refusal;
use super::replacement::Replacement;
use super::source::{Loaded, Source};
use super::status::{Rejected, Status, StatusCell};
use super::{Revision, Site};
use crate::config::{Config, ConfigError};
use crate::metrics::Metrics;
use crate::tasks::joined;

/// From one look at the file to the next.
const LOOK: Duration = Duration::from_secs(1);
/// A reload begins no sooner after another than this many times what that one took, and no sooner than the shortest
/// rest: however often somebody asks, most of the thread's time is left, and the log stays readable.
const SHARE: u32 = 4;
const SHORTEST_REST: Duration = Duration::from_millis(20);
/// But one that took long keeps nobody waiting for longer than this.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// What was refused for a file that it names is considered again after so long: a Secret may come after what names it.
const AGAIN: Duration = Duration::from_secs(5);
/// How long reading the file may take before that is told.
const PATIENCE: Duration = Duration::from_secs(10);

/// What takes a changed file over.
pub(crate) struct Reload {
    source: Source,
    /// Whether the source can be looked at again.
    is_file: bool,
    /// A reading that has not ended: no other begins beside it, or a disk that hangs would take a thread each second.
    reading: Option<JoinHandle<Result<Vec<u8>, ConfigError>>>,
    /// What serves. Whatever a running process cannot take over is as it was at the start.
    serving: Config,
    replacement: Arc<Replacement>,
    looks: Looks,
    /// When what was refused last is considered again, though it has not changed.
    again: Option<Instant>,
    status: StatusCell,
    /// Told at each SIGHUP.
    asked: Arc<Notify>,
    metrics: Arc<Metrics>,
    /// Sites that no longer serve, but that a request may still hold.
    retired: Vec<Arc<Site>>,
}

impl Reload {
    /// `loaded`: what the process started with, as it was read.
    pub(crate) fn new(
        loaded: Loaded,
        replacement: Arc<Replacement>,
        status: StatusCell,
        asked: Arc<Notify>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let Loaded { config: serving, revision, source, .. } = loaded;
        let source = source.absolute();
        let (is_file, looks) = (source.is_file(), Looks::new(revision));
        Self {
            source,
            is_file,
            reading: None,
            serving,
            replacement,
            looks,
            again: None,
            status,
            asked,
            metrics,
            retired: Vec::new(),
        }
    }

    /// Runs until the process ends.
    pub(crate) async fn run(mut self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rested = Instant::now();
        loop {
            let is_asked = tokio::select! {
                () = self.asked.notified() => true,
                _ = looks.tick() => false,
            };
            self.retired.retain(|site| Arc::strong_count(site) > 1);
            sleep_until(rested).await;
            let begun = Instant::now();
            if is_asked {
                self.take().await;
            } else if self.serving.gateway.reload && self.is_file {
                self.look().await;
            }
            rested = Instant::now() + (begun.elapsed() * SHARE).clamp(SHORTEST_REST, LONGEST_REST);
        }
    }

    /// Somebody says that the file is as it is to be.
    async fn take(&mut self) {
        match self.read().await {
            Ok(content) => self.consider(&content, false).await,
            Err(error) => {
                self.looks.told_unreadable();
                self.reject(None, &Refusal::Config(error));
            }
        }
    }

    /// On a thread that may wait for a disk.
    async fn read(&mut self) -> Result<Vec<u8>, ConfigError> {
        let source = self.source.clone();
        let reading = self.reading.get_or_insert_with(|| spawn_blocking(move || source.read()));
        match timeout(PATIENCE, reading).await {
            Ok(read) => {
                self.reading = None;
                joined(read).unwrap_or_else(|| Err(self.source.takes_too_long()))
            }
            Err(_) => Err(self.source.takes_too_long()),
        }
    }

    async fn look(&mut self) {
        let read = self.read().await;
        let revision = read.as_ref().ok().map(|content| Revision::of(content));
        match (self.looks.found(revision.as_ref()), read) {
            (Step::Consider, Ok(content)) => self.consider(&content, false).await,
            (Step::Rest, Ok(content)) if self.is_due_again(&content) => self.consider(&content, true).await,
            (Step::TellUnreadable, Err(error)) => self.reject(None, &Refusal::Config(error)),
            _ => {}
        }
    }

    fn is_due_again(&self, content: &[u8]) -> bool {
        let rejected = |status: &Status| status.rejected.as_ref()?.revision.clone();
        self.again.is_some_and(|due| due <= Instant::now())
            && rejected(&self.status.get()) == Some(Revision::of(content))
    }

    /// `is_again`: nobody has asked, and nothing has changed. What was told is not told again then.
    async fn consider(&mut self, content: &[u8], is_again: bool) {
        let (revision, begun) = (Revision::of(content), Instant::now());
        self.looks.considered(revision.clone());
        self.again = None;
        let status = self.status.get();
        // Also if it was read before: the files that it names may have other contents now.
        let checked = self.check(content);
        let is_served = checked.as_ref().is_ok_and(|config| config.gateway == self.serving.gateway);
        if revision == status.revision && is_served {
            tracing::info!(%revision, "the configuration says what it said: nothing changes");
            self.status.confirmed();
            self.metrics.config_applied(revision.as_str(), status.loaded);
            return;
        }
        let was_told = |rejected: &Rejected| rejected.revision.as_ref() == Some(&revision);
        if checked.is_err() && status.rejected.as_ref().is_some_and(was_told) {
            tracing::error!(%revision, "the configuration still has the mistakes that were told: serving on");
            return;
        }
        let applied = match checked {
            Ok(config) => self.apply(config).await,
            Err(refusal) => Err(refusal),
        };
        match applied {
            Ok(()) => {
                let (took, loaded) = (begun.elapsed(), SystemTime::now());
                self.tell_applied(&revision, took);
                self.metrics.config_applied(revision.as_str(), loaded);
                self.status.applied(revision, loaded);
            }
            Err(refusal) => {
                self.again = refusal.may_pass().then(|| Instant::now() + AGAIN);
                let is_told = |rejected: &Rejected| rejected.mistakes == refusal.mistakes();
                if !(is_again && status.rejected.as_ref().is_some_and(is_told)) {
                    self.reject(Some(revision), &refusal);
                }
            }
        }
    }

    /// What a content says, if this process can take it over.
    fn check(&self, content: &[u8]) -> Result<Config, Refusal> {
        let config = self.source.check(content)?;
        let fixed = config.fixed_differences(&self.serving);
        if fixed.is_empty() { Ok(config) } else { Err(Refusal::Fixed(fixed)) }
    }

    async fn apply(&mut self, config: Config) -> Result<(), Refusal> {
        let former = self.replacement.replace(&config.gateway).await?;
        self.retired.push(former);
        self.serving = config;
        Ok(())
    }

    fn tell_applied(&self, revision: &Revision, took: Duration) {
        let routes = self.serving.gateway.routes.len();
        let (services, without_endpoint) = self.replacement.counts();
        let took_ms = took.as_micros() as f64 / 1000.0;
        tracing::info!(%revision, routes, services, without_endpoint, took_ms, "configuration applied");
    }

    fn reject(&self, revision: Option<Revision>, refusal: &Refusal) {
        let mistakes = refusal.mistakes();
        self.metrics.config_rejected();
        match &revision {
            Some(revision) => {
                tracing::error!(
                    %revision,
                    mistakes = mistakes.len(),
                    "the configuration was not taken: serving on with the one before"
                );
                mistakes.iter().for_each(|mistake| tracing::error!(mistake, "mistake in the configuration"));
            }
            None => tracing::error!(
                error = mistakes.join("; "),
                "the configuration cannot be read: serving on with the one before"
            ),
        }
        self.status.rejected(Rejected::new(revision, SystemTime::now(), &mistakes));
    }
}
