//! Whether the peer of a connection still lives: when it is asked by a ping, and when it is given up.
//!
//! gRPC's servers count the pings that they get while they send nothing of an answer: of those that are less than five
//! minutes after the one before, two are suffered, and with the third the connection is closed with all of its calls
//! (`too_many_pings`; gRFC A8, and `keepalive.md` of gRPC's core; without calls two hours count, so nothing is asked
//! then). What they send of an answer lets them begin anew. A call may be quiet for hours, so pings are rare, and the two
//! are kept for when a request has begun since the last one: its host may be gone. Of a connection on which nothing is
//! under way the kernel learns that.

use std::task::{Context, Waker};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::Instant;

use super::life::Life;

/// How long nothing comes before a ping asks. With [`ANSWER`]: a host that is gone is noticed within 16 s.
const QUIET: Duration = Duration::from_secs(10);
/// A peer that lives answers a ping, or a connection with its SETTINGS, long before.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// How far pings are apart that no server counts: the five minutes, and what the network may take from them.
const APART: Duration = Duration::from_secs(5 * 60 + 10);
/// How many that are nearer servers suffer.
const SUFFERED: u8 = 2;

/// When the peer is asked.
pub(super) struct Pulse {
    pings: Option<PingPong>,
    heard: Instant,
    /// When a ping was sent to which nothing has come yet.
    asked: Option<Instant>,
    /// When the last ping was sent since something of an answer came.
    last: Option<Instant>,
    suffered: u8,
    /// Since when there is a request that began after the last ping.
    waits: Option<Instant>,
}

impl Pulse {
    pub(super) fn new(pings: Option<PingPong>, now: Instant) -> Self {
        Self { pings, heard: now, asked: None, last: None, suffered: 0, waits: None }
    }

    /// Asks a peer that is quiet. False: it does not answer.
    pub(super) fn is_alive(&mut self, life: &Life, now: Instant) -> bool {
        self.note(life, now);
        if life.streams() > 0 && self.is_due(now) {
            self.ask(now);
        }
        self.asked.is_none_or(|asked| now.duration_since(asked) < ANSWER)
    }

    /// What has happened since the last look.
    fn note(&mut self, life: &Life, now: Instant) {
        let seen = life.look();
        if seen.was_heard {
            (self.heard, self.asked) = (now, None);
        }
        if seen.has_answered {
            (self.last, self.suffered, self.waits) = (None, 0, None);
        }
        if seen.has_begun {
            self.waits.get_or_insert(now);
        }
        if life.streams() == 0 {
            self.waits = None;
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        let is_quiet = |since: Instant| now.duration_since(since) >= QUIET;
        if self.asked.is_some() || !is_quiet(self.heard) {
            return false;
        }
        match (self.last, self.waits) {
            // One that begins after a silence has its time first.
            (None, waits) => waits.is_none_or(is_quiet),
            (Some(_), Some(waits)) if self.suffered < SUFFERED && is_quiet(waits) => true,
            (Some(last), _) => is_apart(last, now),
        }
    }

    fn ask(&mut self, now: Instant) {
        if let Some(pings) = &mut self.pings {
            // The last answer is taken, so that another can be asked for.
            let _ = pings.poll_pong(&mut Context::from_waker(Waker::noop()));
            let _ = pings.send_ping(Ping::opaque());
        }
        self.suffered += u8::from(self.last.is_some_and(|last| !is_apart(last, now)));
        (self.asked, self.last, self.waits) = (Some(now), Some(now), None);
    }
}

fn is_apart(last: Instant, now: Instant) -> bool {
    now.duration_since(last) >= APART
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection, and who looks at it each second: when it was asked, of a peer that answers each ping at once.
    struct Watched {
        pulse: Pulse,
        life: Life,
        now: Instant,
        begun: Instant,
        asked: Vec<u64>,
    }

    impl Watched {
        fn with_a_stream() -> Self {
            let now = Instant::now();
            let watched =
                Self { pulse: Pulse::new(None, now), life: Life::new(), now, begun: now, asked: Vec::new() };
            watched.life.add_stream();
            watched
        }

        fn second(&mut self) {
            self.now += Duration::from_secs(1);
            assert!(self.pulse.is_alive(&self.life, self.now));
            if self.pulse.asked.is_some() {
                self.asked.push(self.now.duration_since(self.begun).as_secs());
                self.life.heard();
            }
        }

        fn seconds(&mut self, count: u64) -> &mut Self {
            (0..count).for_each(|_| self.second());
            self
        }
    }

    #[test]
    fn a_call_that_is_quiet_for_long_is_asked_for_so_rarely_that_no_server_minds() {
        assert_eq!(Watched::with_a_stream().seconds(1000).asked, [11, 321, 631, 941]);
    }

    #[test]
    fn requests_that_begin_are_asked_for_twice_until_something_of_an_answer_comes() {
        let mut watched = Watched::with_a_stream();
        for _ in 0..10 {
            watched.seconds(10);
            watched.life.add_stream();
        }
        assert_eq!(watched.asked, [11, 31, 51], "two are suffered");
        watched.life.heard();
        watched.life.has_answered();
        assert_eq!(watched.seconds(20).asked, [11, 31, 51, 111]);
    }

    #[test]
    fn nothing_is_asked_while_something_comes_or_nothing_is_under_way() {
        let mut watched = Watched::with_a_stream();
        for _ in 0..100 {
            watched.life.heard();
            watched.seconds(9);
        }
        watched.life.remove_stream();
        assert!(watched.seconds(10_000).asked.is_empty());
    }

    #[test]
    fn a_request_that_begins_after_a_silence_is_not_asked_for_at_once() {
        let mut watched = Watched::with_a_stream();
        watched.life.remove_stream();
        watched.life.heard();
        watched.life.has_answered();
        watched.seconds(50).life.add_stream();
        assert_eq!(watched.seconds(15).asked, [61]);
    }

    #[test]
    fn who_does_not_answer_is_given_up() {
        let Watched { mut pulse, life, now, .. } = Watched::with_a_stream();
        let is_alive = |after| pulse.is_alive(&life, now + Duration::from_secs(after));
        assert_eq!([1, 11, 15, 16].map(is_alive), [true, true, true, false]);
    }
}
