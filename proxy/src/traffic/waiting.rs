//! The requests that wait at an endpoint for the first byte of their answers, and how they are broken off.
//!
//! The task that carries a request is rung, and gives the attempt up. Pingora cannot be told to. So the connection on
//! which a request of Pingora's waits is shut down, which looks to it as if the endpoint had closed the connection.
//!
//! Such a connection is named by its file descriptor, so it must never be shut down after it was closed: the number may
//! be another connection's by then. A request leaves the list before its connection goes back to the pool. But when an
//! exchange fails or is cancelled, Pingora closes the connection before it tells us (`HttpProxy::proxy_to_upstream`
//! drops the session before it calls `error_while_proxy`). So whoever closes a connection says so first
//! ([`Waiting::closing`]), and connections are shut down while the list is locked. (A second descriptor of the
//! connection would do as well, but costs two system calls a request, and there is none left when the process has as
//! many as it may.)

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use slab::Slab;

use super::bell::Bell;
use super::stall::{self, Seen};
use crate::config::Stall;

/// Why a request was broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Its endpoint has stalled.
    Stalled,
    /// The first byte did not come in time.
    FirstByte,
}

/// How a request that waits is broken off.
#[derive(Debug, Clone)]
pub(crate) enum Interrupt {
    /// The connection on which it waits, which is shut down.
    Descriptor(RawFd),
    /// It looks for itself whether it [was broken off](Waiting::is_broken_off).
    Bell(Arc<Bell>),
}

/// A request that waits.
#[derive(Debug)]
struct Waiter {
    wait: Wait,
    /// Whether it was counted when its endpoint was found stalled: it is not counted a second time.
    counted: bool,
    broken: Option<Broken>,
    /// None: its connection is closed already, and the request is about to be told.
    interrupt: Option<Interrupt>,
}

impl Waiter {
    /// Says how; none: it was broken off before, or its connection is closed already.
    fn break_off(&mut self, why: Broken) -> Option<&Interrupt> {
        let interrupt = self.interrupt.as_ref().filter(|_| self.broken.is_none())?;
        self.broken = Some(why);
        Some(interrupt)
    }
}

/// How a request waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    /// When it was sent whole; none: it is still being sent.
    pub(crate) since: Option<Instant>,
    /// How long it may wait from then on.
    pub(crate) patience: Duration,
    /// Whether it can go elsewhere, and is broken off when its endpoint stalls.
    pub(crate) repeatable: bool,
}

/// A waiting request's place in the list.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a place is to be left before the connection is used for anything else"]
pub(crate) struct Place(usize);

/// The waiting requests of one endpoint.
#[derive(Debug)]
pub(crate) struct Waiting {
    origin: Instant,
    /// When the last byte came from it, in nanoseconds since `origin`; 0: none came.
    last_byte: AtomicU64,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    waiters: Slab<Waiter>,
    /// Whether the watch knows that somebody may wait here.
    watched: bool,
}

impl Waiting {
    /// Nobody waits. `origin` is any moment before the first does.
    pub(crate) fn new(origin: Instant) -> Self {
        Self { origin, last_byte: AtomicU64::new(0), list: Mutex::default() }
    }

    /// A request waits from now on. If it is reached by its connection's descriptor, the connection's end is told by
    /// [`Waiting::closing`]. Whether the watch is to be told.
    pub(crate) fn enter(&self, interrupt: Interrupt, wait: Wait) -> (Place, bool) {
        let waiter = Waiter { wait, counted: false, broken: None, interrupt: Some(interrupt) };
        let mut list = self.list();
        let place = Place(list.waiters.insert(waiter));
        (place, !std::mem::replace(&mut list.watched, true))
    }

    /// This connection is about to be closed. At most one request waits on it; most often none does, as an answer
    /// has come.
    pub(crate) fn closing(&self, connection: RawFd) {
        let mut list = self.list();
        let is_its = |interrupt: &Interrupt| matches!(interrupt, Interrupt::Descriptor(descriptor) if *descriptor == connection);
        let waiter =
            list.waiters.iter_mut().find(|(_, waiter)| waiter.interrupt.as_ref().is_some_and(is_its));
        if let Some((_, waiter)) = waiter {
            waiter.interrupt = None;
        }
    }

    /// The request was sent whole, and waits like this from now on.
    pub(crate) fn sent(&self, place: &Place, wait: Wait) {
        if let Some(waiter) = self.list().waiters.get_mut(place.0) {
            waiter.wait = wait;
        }
    }

    /// Whether a request was broken off.
    pub(crate) fn is_broken_off(&self, place: &Place) -> bool {
        self.list().waiters.get(place.0).is_some_and(|waiter| waiter.broken.is_some())
    }

    /// A request waits no more. Says why, if it was broken off.
    pub(crate) fn leave(&self, place: Place) -> Option<Broken> {
        self.list().waiters.try_remove(place.0)?.broken
    }

    /// A byte came from the endpoint.
    pub(crate) fn heard(&self, now: Instant) {
        let nanos = now.saturating_duration_since(self.origin).as_nanos();
        self.last_byte.store(u64::try_from(nanos).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Breaks off what has waited too long for its first byte. False: nobody waits here, and the next who does has to
    /// tell the watch.
    ///
    /// `break_off` shuts a connection down, or rings. It is called while the list is locked, so that the connection is
    /// still what it was.
    pub(crate) fn break_off_overdue(&self, now: Instant, mut break_off: impl FnMut(&Interrupt)) -> bool {
        let mut list = self.list();
        if list.waiters.is_empty() {
            list.watched = false;
            return false;
        }
        let is_overdue = |wait: &Wait| {
            wait.since.is_some_and(|since| now.saturating_duration_since(since) >= wait.patience)
        };
        for (_, waiter) in list.waiters.iter_mut().filter(|(_, waiter)| is_overdue(&waiter.wait)) {
            waiter.break_off(Broken::FirstByte).into_iter().for_each(&mut break_off);
        }
        true
    }

    /// If the endpoint has stalled, breaks off what can go elsewhere, and calls `stalled` before: who moves on finds
    /// it ejected. `doubted`, `usual`: see [`Seen`]; `break_off` as above.
    pub(crate) fn break_off_stalled(
        &self,
        rules: &Stall,
        doubted: bool,
        usual: Option<Duration>,
        now: Instant,
        stalled: impl FnOnce(),
        mut break_off: impl FnMut(&Interrupt),
    ) {
        let mut list = self.list();
        let counts =
            |waiter: &Waiter| waiter.wait.since.filter(|_| !waiter.counted && waiter.broken.is_none());
        let mut waiting: Vec<_> = list.waiters.iter().filter_map(|(_, waiter)| counts(waiter)).collect();
        waiting.sort_unstable();
        let seen = Seen { doubted, waiting: &waiting, last_byte: self.last_byte(), usual };
        let oldest = stall::stalled(rules, seen, now);
        let Some(youngest) = oldest.checked_sub(1).and_then(|last| waiting.get(last)) else { return };
        stalled();
        let has_stalled = |wait: &Wait| wait.since.is_some_and(|since| since <= *youngest);
        for (_, waiter) in list.waiters.iter_mut().filter(|(_, waiter)| has_stalled(&waiter.wait)) {
            waiter.counted = true;
            if waiter.wait.repeatable {
                waiter.break_off(Broken::Stalled).into_iter().for_each(&mut break_off);
            }
        }
    }

    fn last_byte(&self) -> Option<Instant> {
        let nanos = self.last_byte.load(Ordering::Relaxed);
        (nanos > 0).then(|| self.origin + Duration::from_nanos(nanos))
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{Shutdown, shutdown};
    use std::cell::Cell;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::task::{Context, Waker};

    const SECOND: Duration = Duration::from_secs(1);

    /// As the watch does.
    fn break_off(interrupt: &Interrupt) {
        match interrupt {
            Interrupt::Descriptor(connection) => shutdown(*connection, Shutdown::Both).expect("it is open"),
            Interrupt::Bell(bell) => bell.ring(),
        }
    }

    fn interrupt(connection: &impl AsRawFd) -> Interrupt {
        Interrupt::Descriptor(connection.as_raw_fd())
    }

    fn wait(since: Instant, repeatable: bool) -> Wait {
        Wait { since: Some(since), patience: 30 * SECOND, repeatable }
    }

    fn look(waiting: &Waiting, now: Instant) -> bool {
        let stalled = Cell::new(false);
        let usual = Some(Duration::from_millis(20));
        let rules = Stall::default();
        waiting.break_off_overdue(now, break_off);
        waiting.break_off_stalled(&rules, false, usual, now, || stalled.set(true), break_off);
        stalled.get()
    }

    #[test]
    fn a_stall_breaks_off_what_can_go_elsewhere_and_is_told_once() {
        let now = Instant::now();
        let waiting = Waiting::new(now);
        let pairs = [(); 3].map(|()| UnixStream::pair().unwrap());
        let enter = |(n, (ours, _)): (usize, &(UnixStream, UnixStream))| {
            waiting.enter(interrupt(ours), wait(now, n > 0)).0
        };
        let places: Vec<_> = pairs.iter().enumerate().map(enter).collect();
        assert!(!look(&waiting, now + SECOND / 2));
        assert!(look(&waiting, now + SECOND));
        assert!(!look(&waiting, now + 2 * SECOND), "told again");
        let broken: Vec<_> = places.into_iter().map(|place| waiting.leave(place)).collect();
        assert_eq!(broken, [None, Some(Broken::Stalled), Some(Broken::Stalled)]);
        let mut byte = [0];
        for (mut ours, _theirs) in pairs.into_iter().skip(1) {
            assert_eq!(ours.read(&mut byte).unwrap(), 0, "the end of the stream");
        }
    }

    #[test]
    fn a_connection_that_was_left_is_never_shut_down() {
        let now = Instant::now();
        let waiting = Waiting::new(now);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (place, is_first) = waiting.enter(interrupt(&ours), wait(now, true));
        assert!(is_first);
        assert_eq!(waiting.leave(place), None);
        look(&waiting, now + 100 * SECOND);
        theirs.write_all(b"x").unwrap();
        let mut byte = [0];
        assert_eq!((&ours).read(&mut byte).unwrap(), 1);
        assert!(waiting.enter(interrupt(&ours), wait(now, true)).1, "the watch is told again");
    }

    #[test]
    fn a_connection_that_is_about_to_be_closed_is_not_shut_down_and_its_request_not_broken_off() {
        let now = Instant::now();
        let waiting = Waiting::new(now);
        let pairs = [(); 2].map(|()| UnixStream::pair().unwrap());
        let [closed, open] = &pairs;
        let places = [closed, open].map(|(ours, _)| waiting.enter(interrupt(ours), wait(now, true)).0);
        waiting.closing(closed.0.as_raw_fd());
        look(&waiting, now + 100 * SECOND);
        assert_eq!(places.map(|place| waiting.leave(place)), [None, Some(Broken::FirstByte)]);
        (&closed.1).write_all(b"x").unwrap();
        let mut byte = [0];
        assert_eq!((&closed.0).read(&mut byte).unwrap(), 1, "whose number it is now");
    }

    #[test]
    fn one_that_is_still_being_sent_waits_for_nothing() {
        let now = Instant::now();
        let waiting = Waiting::new(now);
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let upload = Wait { since: None, ..wait(now, true) };
        let (place, _) = waiting.enter(interrupt(&ours), upload);
        look(&waiting, now + 100 * SECOND);
        waiting.sent(&place, wait(now + 100 * SECOND, true));
        look(&waiting, now + 129 * SECOND);
        assert_eq!(waiting.leave(place), None);
    }

    #[test]
    fn a_first_byte_that_does_not_come_ends_any_request() {
        let now = Instant::now();
        let waiting = Waiting::new(now);
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (place, _) = waiting.enter(interrupt(&ours), wait(now, false));
        look(&waiting, now + 30 * SECOND);
        assert_eq!(waiting.leave(place), Some(Broken::FirstByte));
    }

    #[test]
    fn who_is_rung_finds_that_it_was_broken_off_and_nobody_else_does() {
        let now = Instant::now();
        let waiting = Waiting::new(now);
        let bells = [(); 2].map(|()| Arc::new(Bell::default()));
        let enter =
            |n: usize, since: Instant| waiting.enter(Interrupt::Bell(bells[n].clone()), wait(since, true)).0;
        let places = [enter(0, now), enter(1, now + SECOND)];
        let was_rung = |n: usize| bells[n].poll_rung(&mut Context::from_waker(Waker::noop())).is_ready();
        waiting.break_off_overdue(now + 30 * SECOND, |interrupt| {
            assert!(matches!(interrupt, Interrupt::Bell(bell) if Arc::ptr_eq(bell, &bells[0])));
            break_off(interrupt);
        });
        assert_eq!([was_rung(0), was_rung(1)], [true, false]);
        assert_eq!(places.each_ref().map(|place| waiting.is_broken_off(place)), [true, false]);
        waiting.break_off_overdue(now + 30 * SECOND, |_| panic!("it was told before"));
        assert_eq!(places.map(|place| waiting.leave(place)), [Some(Broken::FirstByte), None]);
    }
}
