//! A body that a client sends over HTTP/2, and how long it may be silent within it.
//!
//! Pingora waits for such a body without a time of its own: `set_read_timeout` is for HTTP/1 alone. So whoever has it serve
//! a request waits beside it until the client [has stalled](Upload::stalled), and then lets go of it. h2 resets the stream,
//! and no other one of the connection.
//!
//! What counts is the time in which Pingora waits for the client. It tells of each piece that it has read, and not what it
//! does after that: as long as the instance takes nothing, it reads no further, and the client is not to blame. So a client
//! that is silent for too long within one body is spared while it is [busy with any](Bodies::busy); but not for longer than
//! what Pingora has read can be under way at all.

use std::os::fd::RawFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::StatusCode;
use pingora::http::RequestHeader;
use tokio::sync::Notify;

use super::bodies::{Bodies, lock};
use crate::gateway::Gateway;
use crate::gateway::cause::Ending;
use crate::gateway::request::Request;

/// So many pieces of a body wait within Pingora at most: four for their turn, one is being written, and one was just read.
const PIECES: u32 = 6;
const STALLED: &str = "the client was silent within the request's body";

/// A body that its client still sends.
#[derive(Debug)]
pub(super) struct Upload {
    state: Mutex<State>,
    /// Its client is waited for again.
    awaited: Notify,
    /// Those of its connection.
    bodies: Arc<Bodies>,
}

#[derive(Debug, Default)]
enum State {
    /// Nobody waits for the client.
    #[default]
    Idle,
    Awaited(Silence),
    /// It was silent for too long.
    Stalled,
}

/// How a client has been silent, and may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Silence {
    pub(super) since: Instant,
    /// How long it may be silent.
    pub(super) limit: Duration,
    /// How long each write to the instance may take.
    pub(super) write: Duration,
    /// The connection to the instance.
    pub(super) instance: RawFd,
}

impl Silence {
    /// After which time it is worth another look. None: it has been too long. `busy`: when the client has last sent a piece of
    /// any body, or could not.
    fn look_again(&self, now: Instant, busy: impl FnOnce() -> Option<Instant>) -> Option<Duration> {
        let silent = now.saturating_duration_since(self.since);
        if silent < self.limit {
            return Some(self.limit - silent);
        }
        let spared = self.limit.saturating_add(self.write.saturating_mul(PIECES)).saturating_sub(silent);
        let left = self.limit.saturating_sub(now.saturating_duration_since(busy()?));
        let left = left.min(spared);
        (!left.is_zero()).then_some(left)
    }
}

impl Upload {
    pub(super) fn new(bodies: Arc<Bodies>) -> Self {
        Self { state: Mutex::default(), awaited: Notify::new(), bodies }
    }

    /// From now on the client is waited for.
    pub(super) fn awaits(&self, silence: Silence) {
        self.becomes(State::Awaited(silence));
        self.bodies.add(silence.instance);
        self.awaited.notify_one();
    }

    /// A piece has come.
    fn went_on(&self, now: Instant) {
        if let State::Awaited(silence) = &mut *lock(&self.state) {
            silence.since = now;
        }
        self.bodies.went_on(now);
    }

    /// A piece of the answer is about to be written, which may take its time.
    fn writes(&self, now: Instant) {
        if let State::Awaited(silence) = &mut *lock(&self.state) {
            silence.since = now.checked_add(silence.write).unwrap_or(now);
        }
    }

    /// The client is not waited for.
    pub(super) fn rests(&self) {
        self.becomes(State::Idle);
    }

    fn becomes(&self, state: State) {
        let before = std::mem::replace(&mut *lock(&self.state), state);
        if let State::Awaited(silence) = before {
            self.bodies.remove(silence.instance);
        }
    }

    /// Ends when the client was silent for too long.
    pub(super) async fn stalled(&self) {
        loop {
            let silence = match *lock(&self.state) {
                State::Awaited(silence) => Some(silence),
                State::Idle | State::Stalled => None,
            };
            let Some(silence) = silence else {
                self.awaited.notified().await;
                continue;
            };
            let now = Instant::now();
            match silence.look_again(now, || self.bodies.busy(now)) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => break,
            }
        }
        self.becomes(State::Stalled);
    }

    fn has_stalled(&self) -> bool {
        matches!(*lock(&self.state), State::Stalled)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.rests();
    }
}

/// What is to be told of a request whose client stalls: Pingora, which is let go of then, cannot.
#[derive(Debug)]
pub(super) struct Witness {
    gateway: Arc<Gateway>,
    upload: Arc<Upload>,
    head: RequestHeader,
    /// Whether all of the request has come.
    has_ended: bool,
    /// The status that the client was answered with, and how much of a body.
    answered: Option<StatusCode>,
    sent: usize,
}

impl Witness {
    /// None: the request came whole, or not over HTTP/2.
    pub(super) fn of(gateway: &Arc<Gateway>, head: &RequestHeader) -> Option<Self> {
        let upload = head.extensions.get::<Arc<Upload>>()?.clone();
        let (gateway, head) = (gateway.clone(), head.clone());
        Some(Self { gateway, upload, head, has_ended: false, answered: None, sent: 0 })
    }

    pub(super) fn upload(&self) -> &Upload {
        &self.upload
    }

    /// Whether all of the request has come.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// A piece of the request was read, which may be the last one.
    pub(super) fn read(&mut self, is_end: bool, now: Instant) {
        self.has_ended = is_end;
        if is_end {
            self.upload.rests();
        } else {
            self.upload.went_on(now);
        }
    }

    /// This is the head of an answer.
    pub(super) fn answers(&mut self, status: StatusCode) {
        self.answered = Some(status).filter(|status| !status.is_informational());
    }

    /// A piece of the answer is about to be written. Until its client has taken it, nothing more is read.
    pub(super) fn writes(&mut self, count: usize, now: Instant) {
        self.sent += count;
        self.upload.writes(now);
    }

    /// Tells of the request's end, if its client has stalled.
    pub(super) fn tell(self, request: &mut Request, now: Instant) {
        if self.upload.has_stalled() {
            request.failed(Ending::ClientSilent, STALLED.into(), now);
            let answered = (self.answered.unwrap_or(StatusCode::REQUEST_TIMEOUT).as_u16(), self.sent);
            self.gateway.finish(request, &self.head, answered, Some(STALLED), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use tokio::time::timeout;

    const SECOND: Duration = Duration::from_secs(1);

    fn silence(limit: Duration, instance: &impl AsRawFd) -> Silence {
        Silence { since: Instant::now(), limit, write: SECOND, instance: instance.as_raw_fd() }
    }

    #[test]
    fn a_client_is_to_blame_unless_it_is_busy_with_another_body() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let silence = silence(30 * SECOND, &ours);
        let at = |after: u32| silence.since + after * SECOND;
        let look = |after, busy: Option<u32>| silence.look_again(at(after), || busy.map(at));
        for busy in [None, Some(0), Some(20)] {
            assert_eq!(look(0, busy), Some(30 * SECOND));
            assert_eq!(look(29, busy), Some(SECOND));
        }
        assert_eq!(look(30, None), None);
        assert_eq!(look(30, Some(0)), None);
        assert_eq!(look(30, Some(3)), Some(3 * SECOND));
        assert_eq!(look(30, Some(20)), Some(6 * SECOND), "its pieces may be under way for so long");
        assert_eq!(look(36, Some(36)), None, "and for no longer");
        let before = silence.since - SECOND;
        assert_eq!(silence.look_again(before, || None), Some(30 * SECOND));
    }

    #[test]
    fn no_time_is_too_long_to_be_waited_for() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        for limit in [Duration::ZERO, Duration::MAX] {
            let silence = Silence { write: Duration::MAX, ..silence(limit, &ours) };
            let now = silence.since + SECOND;
            assert_eq!(silence.look_again(now, || Some(now)).is_some(), !limit.is_zero());
        }
    }

    #[test]
    fn who_is_not_waited_for_sends_to_nobody() {
        let (mut ours, _theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        while ours.write(&[0; 4096]).is_ok() {}
        let bodies = Arc::new(Bodies::default());
        let is_known = |now| bodies.busy(now) == Some(now);
        let upload = Upload::new(bodies.clone());
        upload.awaits(silence(SECOND, &ours));
        assert!(is_known(Instant::now()));
        upload.rests();
        assert!(!is_known(Instant::now()));
        upload.awaits(silence(SECOND, &ours));
        drop(upload);
        assert!(!is_known(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_hears_of_a_stall_and_of_nothing_else() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let upload = Upload::new(Arc::default());
        let waits = async |limit| timeout(limit, upload.stalled()).await.is_err();
        assert!(waits(1000 * SECOND).await, "nobody waits for the client");
        upload.awaits(silence(30 * SECOND, &ours));
        assert!(waits(SECOND).await && !upload.has_stalled());
        upload.rests();
        assert!(waits(1000 * SECOND).await);
        upload.awaits(Silence { limit: Duration::ZERO, ..silence(SECOND, &ours) });
        upload.stalled().await;
        assert!(upload.has_stalled());
    }
}
