//! The bodies that a client sends over one connection of HTTP/2.
//!
//! What a client may send before it is read is one sum for all of them (RFC 9113, 5.2.1), and in which order it sends is its
//! own affair. So one that is not read, or that comes, may be why nothing comes of another one.

use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use filedescriptor::{POLLOUT, poll, pollfd};

/// The bodies that a client sends over one connection.
#[derive(Debug, Default)]
pub(super) struct Bodies(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    /// The connections over which they go on. One may be closed, and another one have its number by now: then that exchange is
    /// about to end, and a look at the wrong one does no harm.
    instances: Vec<RawFd>,
    /// When the client has last sent a piece, or perhaps could not.
    busy: Option<Instant>,
}

impl Bodies {
    pub(super) fn add(&self, instance: RawFd) {
        lock(&self.0).instances.push(instance);
    }

    pub(super) fn remove(&self, instance: RawFd) {
        let instances = &mut lock(&self.0).instances;
        if let Some(at) = instances.iter().position(|one| *one == instance) {
            instances.swap_remove(at);
        }
    }

    /// A piece of one has come.
    pub(super) fn went_on(&self, now: Instant) {
        lock(&self.0).busy = Some(now);
    }

    /// When the client has last sent a piece, or perhaps could not: an instance takes nothing, as far as that was seen.
    pub(super) fn busy(&self, now: Instant) -> Option<Instant> {
        let mut all = lock(&self.0);
        let look = |fd: &RawFd| pollfd { fd: *fd, events: POLLOUT, revents: 0 };
        let mut looks: Vec<_> = all.instances.iter().map(look).collect();
        // Where a connection is closed, a write is over at once.
        let take = poll(&mut looks, Some(Duration::ZERO)).is_ok_and(|ready| ready == looks.len());
        if !take {
            all.busy = Some(now);
        }
        all.busy
    }
}

/// None of those who hold one panics in between.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_client_is_busy_with_what_comes_and_with_what_no_instance_takes() {
        let now = Instant::now();
        let [first, second, third] = [1, 2, 3].map(|seconds| now + Duration::from_secs(seconds));
        let ((mut ours, theirs), (another, _its)) =
            (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        let bodies = Bodies::default();
        assert_eq!(bodies.busy(now), None);
        bodies.add(ours.as_raw_fd());
        bodies.add(another.as_raw_fd());
        assert_eq!(bodies.busy(now), None);
        bodies.went_on(now);
        assert_eq!(bodies.busy(first), Some(now));
        ours.set_nonblocking(true).unwrap();
        while ours.write(&[0; 4096]).is_ok() {}
        assert_eq!(bodies.busy(first), Some(first));
        bodies.remove(ours.as_raw_fd());
        assert_eq!(bodies.busy(second), Some(first), "it is none of them any more");
        bodies.add(ours.as_raw_fd());
        assert_eq!(bodies.busy(second), Some(second));
        drop(theirs);
        bodies.add(RawFd::MAX);
        assert_eq!(bodies.busy(third), Some(second), "one is closed, and one is none");
    }
}
