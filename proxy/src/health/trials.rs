//! Which endpoints of a service are ejected, and when the next of them is to be tried.
//!
//! Every choice of an endpoint asks whether a trial is due: one relaxed read. The list is looked at only
//! when one is, or may be.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::directory::Endpoint;

/// When to look again after a look that found a trial due and nobody to make it.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// For how long a trial waits for a client who is nowhere at home: 10 s. Every such client makes it at once, so there is
/// hardly any.
const OVERDUE_NANOS: u64 = 10_000_000_000;

/// The ejected endpoints of a service.
#[derive(Debug)]
pub(crate) struct Trials {
    origin: Instant,
    /// When the earliest is due, in nanoseconds since `origin`; the greatest number: never. It may be
    /// earlier than the truth, never later.
    due: AtomicU64,
    ejected: Mutex<Vec<Arc<Endpoint>>>,
}

impl Trials {
    /// None is ejected. `origin` is any moment before the first.
    pub(crate) fn new(origin: Instant) -> Self {
        Self { origin, due: AtomicU64::new(u64::MAX), ejected: Mutex::default() }
    }

    pub(crate) fn may_be_due(&self, now: Instant) -> bool {
        self.due.load(Ordering::Relaxed) <= self.nanos(now)
    }

    /// Whether the earliest may be due for so long that there seems to be nobody who would make the trial.
    pub(crate) fn may_be_overdue(&self, now: Instant) -> bool {
        self.due.load(Ordering::Relaxed).saturating_add(OVERDUE_NANOS) <= self.nanos(now)
    }

    /// An endpoint is ejected, and to be tried at `due`.
    pub(crate) fn add(&self, endpoint: &Arc<Endpoint>, due: Instant) {
        let mut ejected = self.list();
        if ejected.iter().all(|other| other.id != endpoint.id) {
            ejected.push(endpoint.clone());
        }
        drop(ejected);
        self.due_at(due);
    }

    /// An endpoint is ejected no more, or gone.
    pub(crate) fn remove(&self, endpoint: &Endpoint) {
        self.list().retain(|other| other.id != endpoint.id);
    }

    pub(crate) fn clear(&self) {
        self.list().clear();
    }

    /// A trial is due at this time, too.
    pub(crate) fn due_at(&self, due: Instant) {
        self.due.fetch_min(self.nanos(due), Ordering::SeqCst);
    }

    /// Offers the ejected endpoints to `claim`, one after the other, until it takes one. For one that it does not take
    /// it says when to offer it again; none: soon.
    pub(crate) fn look<T>(
        &self,
        now: Instant,
        mut claim: impl FnMut(&Arc<Endpoint>) -> Result<T, Option<Instant>>,
    ) -> Option<T> {
        // Before the list is read: an ejection is in the list before its time is told, so what this
        // forgets is seen below.
        self.due.store(u64::MAX, Ordering::SeqCst);
        let ejected = self.list().clone();
        let mut claimed = None;
        for endpoint in &ejected {
            if claimed.is_some() {
                self.due_at(now);
                break;
            }
            match claim(endpoint) {
                Ok(claim) => claimed = Some(claim),
                Err(due) => self.due_at(due.unwrap_or(now).max(now + LOOK_AGAIN)),
            }
        }
        claimed
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    fn list(&self) -> MutexGuard<'_, Vec<Arc<Endpoint>>> {
        self.ejected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(id: u64) -> Arc<Endpoint> {
        Arc::new(Endpoint::new(id, "goods".into(), id.to_string().into(), ([10, 0, 0, 1], 80).into()))
    }

    #[test]
    fn nothing_is_due_before_the_earliest_ejection_is_over() {
        let now = Instant::now();
        let trials = Trials::new(now);
        assert!(!trials.may_be_due(now + Duration::from_secs(3600)));
        let (late, early) = (now + Duration::from_secs(2), now + Duration::from_secs(1));
        trials.add(&endpoint(1), late);
        trials.add(&endpoint(2), early);
        assert!(!trials.may_be_due(early - LOOK_AGAIN));
        assert!(trials.may_be_due(early));
    }

    #[test]
    fn a_trial_that_nobody_makes_is_overdue_until_somebody_looks() {
        let now = Instant::now();
        let trials = Trials::new(now);
        let due = now + Duration::from_secs(1);
        assert!(!trials.may_be_overdue(now + Duration::from_secs(3600)), "nobody is ejected");
        trials.add(&endpoint(1), due);
        let late = due + Duration::from_secs(10);
        assert!(!trials.may_be_overdue(late - LOOK_AGAIN) && trials.may_be_overdue(late));
        assert_eq!(trials.look(late, |_| Err::<(), _>(None)), None);
        assert!(!trials.may_be_overdue(late + Duration::from_secs(9)));
    }

    #[test]
    fn a_look_asks_each_until_one_is_claimed_and_the_others_stay_due() {
        let now = Instant::now();
        let trials = Trials::new(now);
        (1..=3).for_each(|id| trials.add(&endpoint(id), now));
        let claimed = trials.look(now, |endpoint| if endpoint.id == 2 { Ok(2) } else { Err(None) });
        assert_eq!(claimed, Some(2));
        assert!(trials.may_be_due(now));
    }

    #[test]
    fn a_look_in_vain_is_not_repeated_at_once_nor_forgotten() {
        let now = Instant::now();
        let trials = Trials::new(now);
        trials.add(&endpoint(1), now);
        assert_eq!(trials.look(now, |_| Err::<(), _>(None)), None);
        assert!(!trials.may_be_due(now));
        assert!(trials.may_be_due(now + LOOK_AGAIN));
        let later = now + Duration::from_secs(1);
        assert_eq!(trials.look(now, |_| Err::<(), _>(Some(later))), None);
        assert!(!trials.may_be_due(later - LOOK_AGAIN) && trials.may_be_due(later));
    }

    #[test]
    fn what_returned_is_not_asked() {
        let now = Instant::now();
        let trials = Trials::new(now);
        let endpoint = endpoint(1);
        trials.add(&endpoint, now);
        trials.remove(&endpoint);
        assert_eq!(trials.look(now, |_| Ok(())), None);
        assert!(!trials.may_be_due(now + Duration::from_secs(3600)));
    }
}
