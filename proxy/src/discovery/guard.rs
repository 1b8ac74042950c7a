//! The guard: what becomes of an endpoint whose registration vanishes. Pure: `now` is passed in.
//!
//! The registry cannot tell a wish from an accident: a revoked lease, an expired one and a wiped prefix look
//! alike. So an endpoint whose registration vanishes is in doubt first:
//!
//! ```text
//! suspect   window over, few of its service vanished with it -> dropped;  many -> held
//! held      hold over -> dropped
//! both      registered again -> no doubt is left;  its probe fails -> dropped
//! ```
//!
//! Holding alone is no alarm. An instance that stops in order withdraws first and serves on for a while, which may
//! well be longer than the window: the last one of a service is held then, until it has stopped listening. So the
//! alarm is for what can still be connected to a whole window after it was held: that does not stop.
//!
//! Those that vanished with it are those that did so at most a window before or after: a wave of
//! disappearances takes its time, and one that takes somewhat longer than a window is still seen as one.
//! They count even if they are back or gone by then.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use crate::config;

/// What the guard has decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ruling {
    /// The endpoint goes.
    Drop { service: Arc<str>, instance: Arc<str>, reason: DropReason },
    /// More endpoints of the service vanished together than anybody can have meant, and they do not stop: they
    /// are held, and somebody should look. Said once, until none is held any more.
    Alarm {
        service: Arc<str>,
        /// How many are held.
        held: usize,
        vanished: usize,
        /// Of how many endpoints that the service had.
        of: usize,
    },
    /// After an alarm: no endpoint of the service is held any more.
    Settled {
        service: Arc<str>,
        /// How many of those that were held are registered again.
        returned: usize,
        /// How many of them were dropped.
        dropped: usize,
    },
}

/// Why an endpoint is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum DropReason {
    /// Its window passed, and few of its service had vanished with it.
    WindowPassed,
    /// It is neither registered nor reachable.
    ProbeFailed,
    /// It was held for as long as one may be.
    HoldOver,
}

impl DropReason {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            DropReason::WindowPassed => "its window passed",
            DropReason::ProbeFailed => "its probe failed",
            DropReason::HoldOver => "the hold is over",
        }
    }
}

/// An instance's disappearance: when, of which service, which one. The names give those of one instant an
/// order that does not depend on how they arrived.
type Timed = (Instant, Arc<str>, Arc<str>);

/// Remembers what vanished, and decides when it is time.
#[derive(Debug)]
pub(super) struct Guard {
    settings: config::Guard,
    waves: HashMap<Arc<str>, Wave>,
    /// When the next decision over an instance is due: the end of its window, or of its hold.
    due: BTreeSet<Timed>,
    /// The disappearances that a decision to come may count.
    recent: BTreeSet<Timed>,
    rulings: Vec<Ruling>,
    held: usize,
}

/// What vanished of one service.
#[derive(Debug, Default)]
struct Wave {
    /// Those that are recent, and those that are in doubt.
    instances: HashMap<Arc<str>, Disappearance>,
    /// How many are among the recent ones.
    vanished: usize,
    /// How many of those are registered again.
    returned: usize,
    /// How many are held, and what became of others that were, since the first one was.
    held: usize,
    held_returned: usize,
    held_dropped: usize,
    /// How many had vanished, of how many, when the last one was held.
    loss: (usize, usize),
    /// Whether that has raised an alarm.
    is_alarmed: bool,
}

/// The latest disappearance of an instance.
#[derive(Debug, Clone, Copy)]
struct Disappearance {
    since: Instant,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Suspect,
    Held,
    Returned,
    Dropped,
}

impl Guard {
    pub(super) fn new(settings: config::Guard) -> Self {
        Self {
            settings,
            waves: HashMap::new(),
            due: BTreeSet::new(),
            recent: BTreeSet::new(),
            rulings: Vec::new(),
            held: 0,
        }
    }

    /// Whether it doubts anything at all. If not, a disappearance is a removal.
    pub(super) fn is_on(&self) -> bool {
        self.settings.share < 1.0
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// The registration of an instance vanished. Nothing new if it already had.
    pub(super) fn vanished(&mut self, service: &Arc<str>, instance: &Arc<str>, now: Instant) {
        let wave = self.waves.entry(service.clone()).or_default();
        let doubt = Disappearance { since: now, phase: Phase::Suspect };
        match wave.instances.entry(instance.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(doubt);
            }
            Entry::Occupied(mut entry) => {
                let former = entry.get_mut();
                if former.phase.is_doubt() {
                    return;
                }
                // An instance counts once, however often it comes and goes.
                wave.vanished -= 1;
                wave.returned -= usize::from(former.phase == Phase::Returned);
                self.recent.remove(&(former.since, service.clone(), instance.clone()));
                *former = doubt;
            }
        }
        wave.vanished += 1;
        self.recent.insert((now, service.clone(), instance.clone()));
        self.due.insert((now + self.settings.window, service.clone(), instance.clone()));
    }

    /// An instance is registered, whether or not it was in doubt.
    pub(super) fn registered(&mut self, service: &Arc<str>, instance: &Arc<str>) {
        if self.phase(service, instance).is_some_and(|phase| phase != Phase::Returned) {
            self.end(service, instance, Phase::Returned);
        }
    }

    /// An instance is registered, but refused: its endpoint is gone, and with it any doubt.
    pub(super) fn refused(&mut self, service: &Arc<str>, instance: &Arc<str>) {
        if self.phase(service, instance).is_some_and(Phase::is_doubt) {
            self.end(service, instance, Phase::Dropped);
        }
    }

    /// No request goes to a service any more: nothing of it is in doubt, and nothing of it is remembered.
    pub(super) fn forget(&mut self, service: &Arc<str>) {
        let Some(wave) = self.waves.get(service) else { return };
        let known: Vec<_> =
            wave.instances.iter().map(|(instance, doubt)| (instance.clone(), *doubt)).collect();
        for (instance, doubt) in known {
            self.recent.remove(&(doubt.since, service.clone(), instance.clone()));
            self.end(service, &instance, Phase::Dropped);
        }
    }

    /// The endpoint of an instance cannot be connected to. One that is in doubt goes at once.
    pub(super) fn probe_failed(&mut self, service: &Arc<str>, instance: &Arc<str>) {
        if self.phase(service, instance).is_some_and(Phase::is_doubt) {
            self.drop(service, instance, DropReason::ProbeFailed);
        }
    }

    /// The endpoint of an instance can be connected to.
    pub(super) fn probe_passed(&mut self, service: &Arc<str>, instance: &str, now: Instant) {
        let window = self.settings.window;
        let doubt = self.waves.get(&**service).and_then(|wave| wave.instances.get(instance));
        if doubt.is_some_and(|doubt| doubt.phase == Phase::Held && now >= doubt.since + 2 * window) {
            self.alarm(service);
        }
    }

    /// Decides what is due, and returns all rulings since the last call. `up` tells how many endpoints of
    /// a service are registered and take requests.
    pub(super) fn decide(&mut self, now: Instant, up: impl Fn(&str) -> usize) -> Vec<Ruling> {
        while self.due.first().is_some_and(|(at, ..)| *at <= now) {
            let Some((at, service, instance)) = self.due.pop_first() else { break };
            if self.phase(&service, &instance) == Some(Phase::Suspect) {
                self.forget_before(at.checked_sub(2 * self.settings.window));
                self.judge(&service, &instance, up(&service));
            } else {
                // It has not stopped in all that time, even if it is less than a window.
                self.alarm(&service);
                self.drop(&service, &instance, DropReason::HoldOver);
            }
        }
        self.forget_before(now.checked_sub(2 * self.settings.window));
        std::mem::take(&mut self.rulings)
    }

    /// When [`Guard::decide`] is to be called again, if nothing else happens.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, ..)| *at)
    }

    /// The window of a suspect is over.
    fn judge(&mut self, service: &Arc<str>, instance: &Arc<str>, up: usize) {
        let Some(wave) = self.waves.get(service) else { return };
        // An instance that is back counts as vanished and as up: it must not be counted twice.
        let of = wave.vanished + up.saturating_sub(wave.returned);
        if wave.vanished as f64 / of as f64 <= self.settings.share {
            self.drop(service, instance, DropReason::WindowPassed);
        } else {
            self.hold(service, instance, of);
        }
    }

    fn hold(&mut self, service: &Arc<str>, instance: &Arc<str>, of: usize) {
        let Some(wave) = self.waves.get_mut(service) else { return };
        let Some(doubt) = wave.instances.get_mut(instance) else { return };
        doubt.phase = Phase::Held;
        if let Some(at) = doubt.deadline(&self.settings) {
            self.due.insert((at, service.clone(), instance.clone()));
        }
        wave.loss = (wave.vanished, of);
        wave.held += 1;
        self.held += 1;
    }

    fn alarm(&mut self, service: &Arc<str>) {
        let Some(wave) = self.waves.get_mut(service).filter(|wave| !wave.is_alarmed) else { return };
        wave.is_alarmed = true;
        let (vanished, of) = wave.loss;
        self.rulings.push(Ruling::Alarm { service: service.clone(), held: wave.held, vanished, of });
    }

    fn drop(&mut self, service: &Arc<str>, instance: &Arc<str>, reason: DropReason) {
        let (of, which) = (service.clone(), instance.clone());
        self.rulings.push(Ruling::Drop { service: of, instance: which, reason });
        self.end(service, instance, Phase::Dropped);
    }

    fn phase(&self, service: &str, instance: &str) -> Option<Phase> {
        self.waves.get(service)?.instances.get(instance).map(|doubt| doubt.phase)
    }

    /// Ends a doubt. What is recent is remembered, because decisions to come count it.
    fn end(&mut self, service: &Arc<str>, instance: &Arc<str>, phase: Phase) {
        let Some(wave) = self.waves.get_mut(service) else { return };
        let Some(doubt) = wave.instances.get_mut(instance) else { return };
        if let Some(at) = doubt.deadline(&self.settings) {
            self.due.remove(&(at, service.clone(), instance.clone()));
        }
        let former = std::mem::replace(&mut doubt.phase, phase);
        if self.recent.contains(&(doubt.since, service.clone(), instance.clone())) {
            wave.returned += usize::from(phase == Phase::Returned);
        } else {
            wave.instances.remove(instance);
        }
        if former == Phase::Held {
            self.held -= 1;
            self.rulings.extend(wave.release(service, phase));
        }
        self.clean_up(service);
    }

    /// No decision to come counts what vanished earlier than `time`.
    fn forget_before(&mut self, time: Option<Instant>) {
        while self.recent.first().is_some_and(|(since, ..)| Some(*since) < time) {
            let Some((_, service, instance)) = self.recent.pop_first() else { break };
            if let Some(wave) = self.waves.get_mut(&service) {
                wave.forget(&instance);
            }
            self.clean_up(&service);
        }
    }

    fn clean_up(&mut self, service: &str) {
        if self.waves.get(service).is_some_and(|wave| wave.instances.is_empty()) {
            self.waves.remove(service);
        }
    }
}

impl Wave {
    /// A held one is held no more.
    fn release(&mut self, service: &Arc<str>, phase: Phase) -> Option<Ruling> {
        self.held -= 1;
        match phase {
            Phase::Returned => self.held_returned += 1,
            _ => self.held_dropped += 1,
        }
        if self.held > 0 {
            return None;
        }
        let returned = std::mem::take(&mut self.held_returned);
        let dropped = std::mem::take(&mut self.held_dropped);
        let was_alarmed = std::mem::take(&mut self.is_alarmed);
        was_alarmed.then(|| Ruling::Settled { service: service.clone(), returned, dropped })
    }

    fn forget(&mut self, instance: &str) {
        self.vanished -= 1;
        let phase = self.instances.get(instance).map(|doubt| doubt.phase);
        self.returned -= usize::from(phase == Some(Phase::Returned));
        if !phase.is_some_and(Phase::is_doubt) {
            self.instances.remove(instance);
        }
    }
}

impl Disappearance {
    fn deadline(self, settings: &config::Guard) -> Option<Instant> {
        match self.phase {
            Phase::Suspect => Some(self.since + settings.window),
            Phase::Held => Some(self.since + settings.window + settings.hold),
            Phase::Returned | Phase::Dropped => None,
        }
    }
}

impl Phase {
    fn is_doubt(self) -> bool {
        matches!(self, Phase::Suspect | Phase::Held)
    }
}

#[cfg(test)]
mod tests;
