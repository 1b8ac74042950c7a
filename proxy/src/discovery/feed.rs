//! The loop that changes the directory: updates, probes, the guard's and health's verdicts and the snapshot
//! meet here.

mod given;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use registry::timing::sleep_until;
use registry::watch::{Admission, Reread, Update};
use tokio::sync::{mpsc, oneshot};

use super::guard::{self, Guard};
use super::journal::Journal;
use super::names::Names;
use super::probes::{Probed, Probes};
use super::routing::{Adopting, Asked};
use crate::config;
use crate::directory::{
    Endpoint, Entry, Finding, Novelty, ProbeResult, Routed, Services, Standing, Transition, TransitionKind,
    Writer,
};
use crate::health::findings::Found;
use crate::lookout::ThisMachine;
use crate::metrics::Metrics;
use crate::snapshot::{File, Loader, Save, Snapshot, Storer, Turn};
use crate::tasks::{self, now};

/// How long the endpoints of the snapshot have for their first probes before readers see them: the gateway
/// is ready then, and what is not yet probed gets no request.
const OPENING: Duration = Duration::from_millis(500);

/// How long new names have for their first answers before a service whose names they are serves all the same.
const FIRST_ANSWERS: Duration = Duration::from_secs(5);

/// The loop, and all that it alone may touch.
#[derive(Debug)]
pub(super) struct Feed<R> {
    writer: Writer,
    guard: Guard,
    probes: Probes,
    names: Names<ThisMachine>,
    admission: Admission,
    /// Given addresses that are refused, and were told: service and instance.
    refused: HashSet<(Arc<str>, Arc<str>)>,
    journal: Journal,
    reread: Reread,
    adopting: Adopting,
    loader: Loader,
    storer: Storer,
    metrics: Arc<Metrics>,
    /// The endpoints of the snapshot that are still to be shown, if there are any.
    opening: Option<Opening>,
    /// Called once, when there is something to serve from.
    ready: Option<R>,
    /// Until when it waits for names.
    ready_by: Instant,
    /// Services that are routed, and whose names are still to be resolved.
    begun: Vec<Begun>,
}

/// Somebody waits until he can send requests to services.
#[derive(Debug)]
struct Begun {
    services: Services,
    until: Instant,
    answer: oneshot::Sender<Services>,
}

/// What the loop hears, beside what it began itself.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(crate) updates: mpsc::Receiver<Update>,
    pub(crate) findings: mpsc::UnboundedReceiver<Found>,
    pub(crate) asked: mpsc::Receiver<Asked>,
    /// They come when the process ends: what is not in the snapshot yet is written then.
    pub(crate) saves: mpsc::Receiver<Save>,
}

/// The snapshot was read, but is not shown yet.
#[derive(Debug)]
pub(super) struct Opening {
    until: Instant,
    unprobed: HashSet<u64>,
}

impl<R: FnOnce()> Feed<R> {
    pub(super) fn new(
        writer: Writer,
        settings: config::Registry,
        (loader, admission): (Loader, Admission),
        connect: Duration,
        metrics: Arc<Metrics>,
        ready: R,
    ) -> Self {
        let config::Registry { watch, guard, snapshot, .. } = settings;
        Self {
            journal: Journal::new(watch.prefix, guard.hold),
            guard: Guard::new(guard),
            probes: Probes::new(connect),
            names: Names::new(ThisMachine),
            admission,
            refused: HashSet::new(),
            reread: Reread::default(),
            adopting: Adopting::default(),
            loader,
            storer: Storer::new(snapshot.map(File::new), writer.directory().clone(), metrics.clone()),
            writer,
            metrics,
            opening: None,
            ready: Some(ready),
            ready_by: now() + FIRST_ANSWERS,
            begun: Vec::new(),
        }
    }

    /// The same, which has the registry read again where that brings back who was left out.
    pub(super) fn asking(self, reread: Reread) -> Self {
        Self { reread, ..self }
    }

    /// The same, which has services of the snapshot routed that no route names.
    pub(super) fn adopting(self, adopting: Adopting) -> Self {
        Self { adopting, ..self }
    }

    pub(super) async fn run(mut self, inputs: Inputs) {
        let Inputs { mut updates, mut findings, mut saves, mut asked } = inputs;
        self.follow_given();
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
                outcomes = self.names.outcomes() => self.resolved(outcomes),
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
        let is_list = matches!(update, Update::Reset { .. });
        if is_list {
            self.loader.stop();
            self.opening = None;
        }
        let now = now();
        for transition in self.writer.stage(update, now) {
            self.follow(&transition, now);
        }
        if is_list {
            self.give_all();
        }
    }

    /// Tells the guard and the probes what a change means to them. Nothing is sent to a service that no route names, so
    /// nothing is lost with its endpoints: those that vanish are not held, and never connected to. (Otherwise whoever
    /// may register could use the gateway to find out which addresses somebody listens on.)
    fn follow(&mut self, transition: &Transition, now: Instant) {
        let Transition { kind, service, instance, before, after, .. } = transition;
        match kind {
            TransitionKind::Vanished if self.guard.is_on() && self.writer.is_routed(service) => {
                self.guard.vanished(service, instance, now);
                after.iter().for_each(|endpoint| self.probes.start(endpoint));
                self.journal.became(transition, now);
                return;
            }
            TransitionKind::Vanished => {
                self.writer.remove(service, instance);
                let deleted = Transition { kind: TransitionKind::Deleted, after: None, ..transition.clone() };
                self.journal.became(&deleted, now);
            }
            TransitionKind::Deleted => self.journal.became(transition, now),
            TransitionKind::Refused => {
                self.guard.refused(service, instance);
                self.journal.became(transition, now);
            }
            TransitionKind::Renewed => {
                self.journal.became(transition, now);
                return;
            }
            TransitionKind::Put | TransitionKind::TakenOver | TransitionKind::Confirmed => {
                self.guard.registered(service, instance);
                self.journal.became(transition, now);
                if let Some(why) = self.writer.left_out_metadata(service, instance) {
                    self.journal.left_out_metadata(transition, why, now);
                }
                if let Some(unknown) = self.writer.unknown_protocol(service, instance) {
                    self.journal.unknown_protocol(transition, &unknown, now);
                }
            }
        }
        before.iter().for_each(|endpoint| self.probes.stop(endpoint.id));
        self.storer.changed();
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
        if let Finding::Ejected(why) = finding {
            // A trial that failed counts as another ejection, so that an endpoint that goes on failing shows in the
            // rate.
            self.metrics.ejected(&endpoint.service, why);
        }
        if novelty == Novelty::New {
            self.journal.found(&endpoint, finding);
        }
    }

    /// Another configuration names other services. (Who asked may be gone by the time of the answer.)
    fn asked(&mut self, asked: Asked) {
        match asked {
            Asked::Begin { services, answer } => {
                let Routed { services, stale } = self.writer.route(services);
                self.probe_stale(&stale);
                self.follow_given();
                self.begun.push(Begun { services, until: now() + FIRST_ANSWERS, answer });
            }
            Asked::Settle { services, gone, connect, answer } => {
                self.writer.change_policies(services);
                self.unroute(&gone);
                self.follow_given();
                self.probes.within(connect);
                // What has no room in the snapshot are services without a route.
                self.storer.changed();
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
        self.writer.route(self.adopting.of(&instances));
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
        let begun_at = self.answer_begun(now);
        match &self.opening {
            Some(opening) if !opening.unprobed.is_empty() && opening.until > now => {
                return Some(begun_at.map_or(opening.until, |at| at.min(opening.until)));
            }
            _ => self.opening = None,
        }
        let publish_at = self.writer.publish(tasks::now);
        self.writer.news_of_left_out().iter().for_each(|instance| self.journal.left_out(instance, now));
        if self.writer.has_room_again() {
            self.reread.ask();
        }
        let ready_at = self.get_ready(now);
        let store_at = self.storer.store(now, publish_at);
        [begun_at, publish_at, ready_at, store_at, self.guard.next_deadline()].into_iter().flatten().min()
    }

    /// Answers those whose services have nothing left to be resolved, or who have waited long enough. Returns when the
    /// next one has.
    fn answer_begun(&mut self, now: Instant) -> Option<Instant> {
        let names = &self.names;
        let waits = |begun: &Begun| begun.services.keys().any(|service| names.are_awaited(service));
        for Begun { services, answer, .. } in
            self.begun.extract_if(.., |begun| begun.until <= now || !waits(begun))
        {
            let _ = answer.send(services);
        }
        self.begun.iter().map(|begun| begun.until).min()
    }

    /// Says once that there is something to serve from, and of the names all that is known soon. Returns when to ask again.
    fn get_ready(&mut self, now: Instant) -> Option<Instant> {
        if self.ready.is_none() || !self.writer.directory().is_filled() {
            return None;
        }
        if self.ready_by > now && self.names.are_any_awaited() {
            return Some(self.ready_by);
        }
        self.ready.take().into_iter().for_each(|ready| ready());
        None
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
                self.journal.alarm(&service, held, vanished, of);
            }
            guard::Ruling::Settled { service, returned, dropped } => {
                self.journal.settled(&service, returned, dropped);
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
        self.journal.dropped(entry, reason);
    }
}

#[cfg(test)]
mod tests;
