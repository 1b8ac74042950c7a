//! The loop that changes the directory: updates, probes, the guard's and health's verdicts and the snapshot
//! meet here.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use registry::contract::Prefix;
use registry::log_line::{Quota, Say};
use registry::timing::sleep_until;
use registry::watch::{Reread, Update};
use tokio::sync::mpsc;

use super::guard::{self, Guard};
use super::probes::{Probed, Probes};
use super::rivals::Rivals;
use super::routing::Asked;
use crate::config;
use crate::directory::{
    Endpoint, Entry, Finding, LeftOutInstance, Novelty, ProbeResult, Routed, Standing, Transition,
    TransitionKind, Writer,
};
use crate::health::findings::Found;
use crate::metrics::Metrics;
use crate::snapshot::{File, Loader, Save, Snapshot, Storer, Turn};
use crate::tasks::{self, now};

/// How long the endpoints of the snapshot have for their first probes before readers see them: the gateway
/// is ready then, and what is not yet probed gets no request.
const OPENING: Duration = Duration::from_millis(500);

/// The loop, and all that it alone may touch.
#[derive(Debug)]
pub(super) struct Feed<R> {
    prefix: Prefix,
    hold: Duration,
    writer: Writer,
    guard: Guard,
    probes: Probes,
    rivals: Rivals,
    /// Bounds the lines about those that are left out,
    quota: Quota,
    /// and about those whose metadata are.
    metadata_quota: Quota,
    reread: Reread,
    loader: Loader,
    storer: Storer,
    metrics: Arc<Metrics>,
    /// The endpoints of the snapshot that are still to be shown, if there are any.
    opening: Option<Opening>,
    /// Called once, when there is something to serve from.
    ready: Option<R>,
}

/// What the loop hears, beside what it began itself.
#[derive(Debug)]
pub(super) struct Inputs {
    pub updates: mpsc::Receiver<Update>,
    pub findings: mpsc::UnboundedReceiver<Found>,
    pub asked: mpsc::Receiver<Asked>,
    /// They come when the process ends: what is not in the snapshot yet is written then.
    pub saves: mpsc::Receiver<Save>,
}

/// The snapshot was read, but is not shown yet.
#[derive(Debug)]
pub(super) struct Opening {
    until: Instant,
    unprobed: HashSet<u64>,
}

impl<R: FnOnce()> Feed<R> {
    pub fn new(
        writer: Writer,
        settings: config::Registry,
        loader: Loader,
        connect: Duration,
        metrics: Arc<Metrics>,
        ready: R,
    ) -> Self {
        let config::Registry { watch, guard, snapshot, .. } = settings;
        Self {
            prefix: watch.prefix,
            hold: guard.hold,
            guard: Guard::new(guard),
            probes: Probes::new(connect),
            rivals: Rivals::default(),
            quota: Quota::default(),
            metadata_quota: Quota::default(),
            reread: Reread::default(),
            loader,
            storer: Storer::new(snapshot.map(File::new), writer.directory().clone(), metrics.clone()),
            writer,
            metrics,
            opening: None,
            ready: Some(ready),
        }
    }

    /// The same, which has the registry read again where that brings back who was left out.
    pub fn asking(self, reread: Reread) -> Self {
        Self { reread, ..self }
    }

    /// Runs until there are no more updates.
    pub async fn run(mut self, inputs: Inputs) {
        let Inputs { mut updates, mut findings, mut saves, mut asked } = inputs;
        let mut wake_at = None;
        loop {
            tokio::select! {
                update = updates.recv(), if !self.is_opening() => match update {
                    Some(update) => self.update(update),
                    None => return,
                },
                Some(found) = findings.recv() => {
                    self.judged(found);
                    while let Ok(found) = findings.try_recv() {
                        self.judged(found);
                    }
                }
                outcomes = self.probes.outcomes() => self.probed(outcomes),
                snapshot = self.loader.snapshot() => snapshot.into_iter().for_each(|s| self.open(s)),
                () = self.storer.stored() => {}
                Some(asked) = asked.recv() => self.asked(asked),
                Some(save) = saves.recv() => self.storer.hurry(save),
                () = sleep_until(wake_at) => {}
            }
            wake_at = self.settle(now());
        }
    }

    /// Whether the registry's updates wait until the snapshot is shown.
    fn is_opening(&self) -> bool {
        self.loader.turn() == Turn::First && (self.loader.is_awaited() || self.opening.is_some())
    }

    fn update(&mut self, update: Update) {
        if matches!(update, Update::Reset { .. }) {
            self.loader.stop();
            self.opening = None;
        }
        let now = now();
        for transition in self.writer.stage(update, now) {
            self.follow(&transition, now);
        }
    }

    /// What a change means to the others. To a service that no route names nothing is sent, so nothing is lost with
    /// its endpoints: who vanishes there is not held, and never connected to. (Whoever may register could otherwise
    /// have the gateway look for him who listens where.)
    fn follow(&mut self, transition: &Transition, now: Instant) {
        let Transition { kind, service, instance, before, after, .. } = transition;
        match kind {
            TransitionKind::Vanished if self.guard.is_on() && self.writer.is_routed(service) => {
                self.guard.vanished(service, instance, now);
                after.iter().for_each(|endpoint| self.probes.start(endpoint));
                self.log("endpoint suspect", transition);
            }
            TransitionKind::Vanished | TransitionKind::Deleted => {
                self.writer.remove(service, instance);
                before.iter().for_each(|endpoint| self.probes.stop(endpoint.id));
                self.storer.changed();
                self.log("endpoint deleted", &Transition { after: None, ..transition.clone() });
            }
            TransitionKind::Refused => {
                self.guard.refused(service, instance);
                before.iter().for_each(|endpoint| self.probes.stop(endpoint.id));
                self.storer.changed();
                self.log("endpoint refused", transition);
            }
            TransitionKind::Renewed => {
                let (service, instance, revision) = (&**service, &**instance, transition.revision);
                tracing::debug!(service, instance, revision, "endpoint renewed");
            }
            TransitionKind::Put | TransitionKind::TakenOver | TransitionKind::Confirmed => {
                self.guard.registered(service, instance);
                if *kind == TransitionKind::TakenOver {
                    self.warn_of_rivals(transition, now);
                }
                before.iter().for_each(|endpoint| self.probes.stop(endpoint.id));
                self.storer.changed();
                let is_news = *kind != TransitionKind::Confirmed;
                self.log(if is_news { "endpoint put" } else { "endpoint confirmed" }, transition);
                self.warn_of_metadata(transition, now);
            }
        }
    }

    fn probed(&mut self, outcomes: Vec<Probed>) {
        for Probed { endpoint, probe } in outcomes {
            if let Some(opening) = &mut self.opening {
                opening.unprobed.remove(&endpoint.id);
            }
            let (service, instance) = (&endpoint.service, &endpoint.instance);
            match self.writer.probed(&endpoint, probe) {
                Some(Standing::Suspect(ProbeResult::Failed)) => self.guard.probe_failed(service, instance),
                Some(Standing::Suspect(ProbeResult::Passed)) => {
                    self.guard.probe_passed(service, instance, now())
                }
                _ => {}
            }
        }
    }

    /// Health has found something. Of an endpoint that is gone or was replaced, nobody wants to know.
    fn judged(&mut self, Found { endpoint, finding }: Found) {
        let Some(novelty) = self.writer.judged(&endpoint, finding, now()) else { return };
        let (service, instance) = (&*endpoint.service, &*endpoint.instance);
        if let Finding::Ejected(why) = finding {
            // A trial that failed is one more: what goes on failing shows in the rate.
            self.metrics.ejected(service, why);
        }
        if novelty == Novelty::Known {
            return;
        }
        let address = endpoint.address.to_string();
        match finding {
            Finding::Ejected(why) => {
                tracing::warn!(service, instance, address, reason = why.as_str(), "endpoint ejected");
            }
            Finding::Returned => tracing::info!(service, instance, address, "endpoint returned"),
            Finding::Unhealthy => tracing::warn!(service, instance, address, "endpoint unhealthy"),
            Finding::Healthy => tracing::info!(service, instance, address, "endpoint healthy"),
        }
    }

    /// Another configuration names other services. (Who asked may be gone by the time of the answer.)
    fn asked(&mut self, asked: Asked) {
        match asked {
            Asked::Route { services, answer } => {
                let Routed { services, stale } = self.writer.route(services);
                self.probe_stale(&stale);
                let _ = answer.send(services);
            }
            Asked::Unroute { names, answer } => {
                self.unroute(&names);
                let _ = answer.send(());
            }
        }
    }

    fn unroute(&mut self, names: &[Arc<str>]) {
        for entry in self.writer.unroute(names) {
            self.probes.stop(entry.endpoint.id);
            if let Some(opening) = &mut self.opening {
                opening.unprobed.remove(&entry.endpoint.id);
            }
            if entry.standing.is_suspect() {
                self.dropped(&entry, "no route names its service any more");
            }
        }
        names.iter().filter(|name| !self.writer.is_routed(name)).for_each(|name| self.guard.forget(name));
    }

    /// The registry is late, or starts empty: what it once held will do until it answers.
    fn open(&mut self, snapshot: Snapshot) {
        let Snapshot { revision, instances, .. } = snapshot;
        let mut endpoints = self.writer.stage_stale(instances, revision);
        endpoints.retain(|endpoint| self.writer.is_routed(&endpoint.service));
        self.opening = Some(Opening { until: now() + OPENING, unprobed: HashSet::new() });
        self.probe_stale(&endpoints);
    }

    /// What the registry does not vouch for gets no request before its first probe.
    fn probe_stale(&mut self, endpoints: &[Arc<Endpoint>]) {
        endpoints.iter().for_each(|endpoint| self.probes.start(endpoint));
        if let Some(opening) = &mut self.opening {
            opening.unprobed.extend(endpoints.iter().map(|endpoint| endpoint.id));
        }
    }

    /// After each event: decides, shows and stores what is due. Returns when the next is.
    fn settle(&mut self, now: Instant) -> Option<Instant> {
        self.decide(now);
        match &self.opening {
            Some(opening) if !opening.unprobed.is_empty() && opening.until > now => {
                return Some(opening.until);
            }
            _ => self.opening = None,
        }
        let publish_at = self.writer.publish(tasks::now);
        self.tell_left_out(now);
        if self.writer.has_room_again() {
            self.reread.ask();
        }
        if self.writer.directory().is_filled()
            && let Some(ready) = self.ready.take()
        {
            ready();
        }
        let store_at = self.storer.store(now, publish_at);
        [publish_at, store_at, self.guard.next_deadline()].into_iter().flatten().min()
    }

    fn decide(&mut self, now: Instant) {
        let writer = &self.writer;
        let rulings = self.guard.decide(now, |service| writer.up(service));
        for ruling in rulings {
            self.obey(ruling);
        }
        self.metrics.guard_held().set(self.guard.held().try_into().unwrap_or(i64::MAX));
    }

    fn obey(&mut self, ruling: guard::Ruling) {
        match ruling {
            guard::Ruling::Drop { service, instance, reason } => self.drop(&service, &instance, reason),
            guard::Ruling::Alarm { service, held, vanished, of } => {
                self.metrics.guard_alarmed();
                tracing::warn!(
                    service = &*service,
                    held,
                    vanished,
                    of,
                    hold = ?self.hold,
                    "more registrations of the service vanished than registry.guard permits, and their endpoints \
                     do not stop: they are held, for so long at most, while they can be connected to"
                );
            }
            guard::Ruling::Settled { service, returned, dropped } => {
                tracing::info!(
                    service = &*service,
                    returned,
                    dropped,
                    "no endpoint of the service is held any more"
                );
            }
        }
    }

    fn drop(&mut self, service: &Arc<str>, instance: &str, reason: guard::DropReason) {
        let Some(entry) = self.writer.remove(service, instance) else { return };
        self.probes.stop(entry.endpoint.id);
        self.dropped(&entry, reason.as_str());
    }

    fn dropped(&mut self, entry: &Entry, reason: &str) {
        self.storer.changed();
        let Endpoint { service, instance, address, .. } = &*entry.endpoint;
        let key = self.prefix.key(service, instance);
        let (service, instance) = (&**service, &**instance);
        let (before, revision) = (address.to_string(), entry.tenure.get().revision);
        tracing::info!(service, instance, key, before, revision, reason, "endpoint dropped");
    }

    fn warn_of_rivals(&mut self, transition: &Transition, now: Instant) {
        let Transition { service, instance, before, after, revision, .. } = transition;
        match self.rivals.took(service, instance, now) {
            Say::All => {}
            Say::ThatThereIsMore => {
                tracing::warn!(
                    "other addresses took the keys of more instances than are named in a minute: see the lines \
                     \"endpoint put\""
                );
                return;
            }
            Say::Nothing => return,
        }
        tracing::warn!(
            service = &**service,
            instance = &**instance,
            key = self.prefix.key(service, instance),
            before = shown(before),
            after = shown(after),
            revision,
            "another address took the key of an instance that was still registered. After a crash this is as it \
             should be; if both processes live, give each its own instance id: only one of them gets requests"
        );
    }

    fn warn_of_metadata(&mut self, transition: &Transition, now: Instant) {
        let Transition { service, instance, revision, .. } = transition;
        let Some(why) = self.writer.left_out(service, instance) else { return };
        let key = self.prefix.key(service, instance);
        let (service, instance) = (&**service, &**instance);
        match self.metadata_quota.next(now) {
            Say::All => {
                tracing::warn!(service, instance, key, revision, %why, "the endpoint is used without its metadata");
            }
            Say::ThatThereIsMore => tracing::warn!("more endpoints are used without their metadata"),
            Say::Nothing => {}
        }
    }

    fn tell_left_out(&mut self, now: Instant) {
        for LeftOutInstance { service, instance, bound, revision } in self.writer.news_of_left_out() {
            let key = self.prefix.key(&service, &instance);
            let (service, instance) = (&*service, &*instance);
            match self.quota.next(now) {
                Say::All => {
                    tracing::warn!(service, instance, key, revision, reason = %bound, "left out an instance");
                }
                Say::ThatThereIsMore => {
                    tracing::warn!("left out more instances: leaseway_instances_left_out has their number");
                }
                Say::Nothing => {}
            }
        }
    }

    fn log(&self, message: &str, transition: &Transition) {
        let Transition { service, instance, before, after, revision, .. } = transition;
        let key = self.prefix.key(service, instance);
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

fn shown(endpoint: &Option<Arc<Endpoint>>) -> Option<String> {
    endpoint.as_ref().map(|endpoint| endpoint.address).as_ref().map(SocketAddr::to_string)
}

#[cfg(test)]
mod tests;
