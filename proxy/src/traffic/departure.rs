//! Whether an endpoint has left, and who wants to hear of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;

use super::bell::Bell;

/// Whether an endpoint has left for good, and who wants to hear of it.
#[derive(Debug, Default)]
pub(crate) struct Departure(Mutex<Attending>);

#[derive(Debug)]
enum Attending {
    /// It is there. These are rung when it leaves.
    There(Slab<Arc<Bell>>),
    Left,
}

impl Default for Attending {
    fn default() -> Self {
        Self::There(Slab::new())
    }
}

/// A place among those who are told of the departure, until it is dropped.
#[derive(Debug)]
#[must_use = "who drops it hears nothing"]
pub(crate) struct Attendance {
    at: Arc<Departure>,
    /// None: it had left already.
    place: Option<usize>,
}

impl Departure {
    /// It has left, for good: all who attend are rung.
    pub(super) fn leave(&self) {
        let attending = std::mem::replace(&mut *self.lock(), Attending::Left);
        if let Attending::There(bells) = attending {
            bells.iter().for_each(|(_, bell)| bell.ring());
        }
    }

    pub(crate) fn has_left(&self) -> bool {
        matches!(*self.lock(), Attending::Left)
    }

    /// Has the bell rung when it leaves; at once, if it has left.
    pub(crate) fn attend(self: &Arc<Self>, bell: Arc<Bell>) -> Attendance {
        let place = match &mut *self.lock() {
            Attending::There(bells) => Some(bells.insert(bell)),
            Attending::Left => {
                bell.ring();
                None
            }
        };
        Attendance { at: self.clone(), place }
    }

    fn lock(&self) -> MutexGuard<'_, Attending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        if let Some(place) = self.place
            && let Attending::There(bells) = &mut *self.at.lock()
        {
            bells.try_remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Poll, Waker};

    fn was_rung(bell: &Bell) -> bool {
        bell.poll_rung(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn all_who_attend_are_rung_once_and_who_has_gone_before_is_not() {
        let departure = Arc::new(Departure::default());
        let bells = [(); 3].map(|()| Arc::new(Bell::default()));
        let [first, gone, last] = bells.each_ref().map(|bell| departure.attend(bell.clone()));
        drop(gone);
        assert!(!departure.has_left() && !bells.iter().any(|bell| was_rung(bell)));
        departure.leave();
        assert!(departure.has_left());
        assert_eq!(bells.each_ref().map(|bell| was_rung(bell)), [true, false, true]);
        departure.leave();
        assert_eq!(bells.each_ref().map(|bell| was_rung(bell)), [false; 3]);
        drop((first, last));
        assert_eq!(bells.each_ref().map(Arc::strong_count), [1; 3]);
    }

    #[test]
    fn who_comes_when_it_has_left_is_rung_at_once() {
        let departure = Arc::new(Departure::default());
        departure.leave();
        let bell = Arc::new(Bell::default());
        let attendance = departure.attend(bell.clone());
        assert!(was_rung(&bell));
        drop(attendance);
    }

    #[test]
    fn a_place_that_was_left_is_another_s() {
        let departure = Arc::new(Departure::default());
        let [one, other] = [(); 2].map(|()| Arc::new(Bell::default()));
        drop(departure.attend(one.clone()));
        let _attendance = departure.attend(other.clone());
        departure.leave();
        assert!(!was_rung(&one) && was_rung(&other));
    }
}
