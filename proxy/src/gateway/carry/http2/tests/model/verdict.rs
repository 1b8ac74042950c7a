//! Whether all was right that the client and the instances have seen.
//!
//! What a stream may come to is said by what instances have made of it, one after the other, and by what its client has done:
//! by nothing that others have done, but for an instance that breaks a whole connection.

use super::bytes::{answer_body, answer_name, path, request_body, trailers};
use super::client::{End, Seen};
use super::instance::{Attempt, Fate};
use super::scenario::{AnswerPlan, Fault, PATIENCE, Scenario, StreamPlan};
use super::world::Outcome;

/// So much of a request's body is kept to be sent again.
const KEPT: usize = 64 << 10;
/// A request is sent so often at the most.
const ATTEMPTS: usize = 3;

/// How often something has happened, that it does happen.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) streams: u32,
    pub(super) whole: u32,
    pub(super) sent_again: u32,
    pub(super) broken_off: u32,
    pub(super) failed: u32,
    pub(super) left: u32,
    pub(super) not_begun: u32,
}

impl Tally {
    /// Whether all of it has happened often enough in so many cases.
    pub(super) fn is_varied(&self, cases: u32) -> bool {
        let Self { streams, whole, sent_again, broken_off, failed, left, not_begun } = *self;
        let rare = [sent_again, broken_off, failed, left, not_begun];
        streams > 3 * cases && whole > streams / 2 && rare.iter().all(|count| *count >= cases / 20)
    }
}

/// Panics if something was wrong.
pub(super) fn check(outcome: &Outcome, tally: &mut Tally) {
    let attempts = outcome.instances.attempts.lock().unwrap();
    let scenario = &outcome.instances.scenario;
    for (number, (plan, seen)) in scenario.streams.iter().zip(&outcome.seen).enumerate() {
        let attempts: Vec<_> = attempts.iter().filter(|attempt| attempt.stream == number).collect();
        let stream = Stream { outcome, scenario, plan, number, seen, attempts };
        stream.check();
        stream.count(tally);
    }
}

/// One stream, and what has come of it.
struct Stream<'s> {
    outcome: &'s Outcome,
    scenario: &'s Scenario,
    plan: &'s StreamPlan,
    number: usize,
    seen: &'s Seen,
    attempts: Vec<&'s Attempt>,
}

impl Stream<'_> {
    fn check(&self) {
        self.attempts.iter().for_each(|attempt| self.check_request(attempt));
        self.check_resent();
        match (self.seen.end, &self.seen.name) {
            (End::Whole, Some(name)) => self.check_answer(name),
            (End::Whole, None) => self.check_own_answer(),
            (End::Reset(_), name) => self.check_broken_off(name.as_deref()),
            (End::NotBegun | End::WentAway, _) => {
                assert!(self.attempts.is_empty(), "{self}: something was done with it");
                assert!(self.may_be_told_to_leave(), "{self}: nobody has ended its connection");
            }
            (End::Closed, _) => assert!(self.may_be_cut_off(), "{self}: its connection was closed"),
            (End::Left, _) => assert!(self.plan.resets.is_some(), "{self}"),
        }
        self.check_log();
    }

    /// What an instance got is the request, or its begin.
    fn check_request(&self, attempt: &Attempt) {
        let body = self.plan.body.as_ref();
        let whole = request_body(self.number, body.map_or(0, |body| body.size));
        assert_eq!(attempt.method, self.plan.method, "{self}");
        assert!(whole.starts_with(&attempt.heard), "{self}: bytes that are none of its body");
        if attempt.is_whole {
            assert_eq!(attempt.heard.len(), whole.len(), "{self}: it looks whole");
            let expected = body.filter(|body| body.trailers && self.may_have_trailers(attempt));
            assert_eq!(attempt.trailers, expected.map(|_| trailers()), "{self}");
        }
    }

    /// In HTTP/1, a body whose length is said has none.
    fn may_have_trailers(&self, attempt: &Attempt) -> bool {
        self.speaks_http2(attempt) || self.plan.body.is_some_and(|body| !body.has_length)
    }

    fn speaks_http2(&self, attempt: &Attempt) -> bool {
        self.scenario.instances[attempt.instance].speaks_http2
    }

    /// It is sent again only if nobody has begun with it, or if to do it twice is to do it once; and to somebody else, unless
    /// it was the connection alone that took no more.
    fn check_resent(&self) {
        assert!(self.attempts.len() <= ATTEMPTS, "{self}");
        for (at, attempt) in self.attempts.iter().enumerate().take(self.attempts.len().saturating_sub(1)) {
            let was_not_begun = matches!(attempt.fate, Fate::Refused | Fate::Above);
            let may_be_repeated = self.plan.is_idempotent() && self.is_broken(attempt);
            assert!(was_not_begun || may_be_repeated, "{self}: it was sent again");
            let before = &self.attempts[..=at];
            let next = self.attempts[at + 1].instance;
            let was_there = before.iter().any(|attempt| attempt.instance == next);
            let has_other = self.tried(at + 1) < self.scenario.instances.len();
            assert!(!(was_there && has_other) || self.has_unseen(), "{self}: it went to the same one again");
        }
    }

    /// How many instances the first so many attempts went to.
    fn tried(&self, count: usize) -> usize {
        let mut tried: Vec<_> = self.attempts[..count].iter().map(|attempt| attempt.instance).collect();
        tried.sort_unstable();
        tried.dedup();
        tried.len()
    }

    /// Whether its instance has broken this attempt off, by itself or with all of its connection.
    fn is_broken(&self, attempt: &Attempt) -> bool {
        attempt.fate == Fate::Broken || self.outcome.instances.broken.lock().unwrap()[attempt.connection]
    }

    fn check_answer(&self, name: &str) {
        let Some(last) = self.attempts.last() else { panic!("{self}: nobody has made its answer") };
        assert_eq!(name, answer_name(self.number, last.number), "{self}: somebody else's answer");
        let AnswerPlan { body, fault, .. } = self.plan.answer(last.number);
        assert_eq!(self.seen.status, Some(200), "{self}");
        let breaks_off = matches!(fault, Some(Fault::Resets(..) | Fault::Closes(_)));
        // Where it was broken by another's fault, that may have been afterwards.
        let was_whole = matches!(last.fate, Fate::Answered | Fate::Broken) && !breaks_off;
        assert!(was_whole, "{self}: what was broken off looks whole");
        let whole = answer_body(self.number, last.number, body.size);
        assert!(self.seen.data == whole, "{self}: {} bytes of {}", self.seen.data.len(), whole.len());
        assert_eq!(self.seen.trailers, body.trailers.then(trailers), "{self}");
    }

    fn check_own_answer(&self) {
        let status = self.seen.status.unwrap();
        assert!((500..600).contains(&status), "{self}: {status}");
        assert!(self.may_fail(), "{self}: an answer that nobody has made: {status}");
    }

    fn check_broken_off(&self, name: Option<&str>) {
        if let Some(name) = name {
            let Some(last) = self.attempts.last() else { panic!("{self}: nobody has made its answer") };
            assert_eq!(name, answer_name(self.number, last.number), "{self}: somebody else's answer");
            let whole = answer_body(self.number, last.number, self.plan.answer(last.number).body.size);
            assert!(whole.starts_with(&self.seen.data), "{self}: bytes that are none of its answer");
        }
        let was_broken = self.attempts.last().is_some_and(|last| self.is_broken(last));
        assert!(was_broken || self.is_slow(), "{self}: nobody has broken it off");
    }

    /// Whether its client takes nothing for longer than that is waited for.
    fn is_slow(&self) -> bool {
        self.plan.pauses.is_some_and(|(_, length)| u128::from(length) > PATIENCE.as_millis())
    }

    /// Whether it may have come to nothing, without anything of an instance's answer.
    fn may_fail(&self) -> bool {
        let Some(last) = self.attempts.last() else { return self.has_unseen() };
        let is_kept = self.plan.body.is_none_or(|body| body.size <= KEPT && !body.trailers);
        let is_spent = self.begun() >= ATTEMPTS;
        let is_last = self.tried(self.attempts.len()) == self.scenario.instances.len();
        match last.fate {
            Fate::Refused => is_spent || is_last || !is_kept || self.has_unseen(),
            // If there is nobody else, the same is asked over another connection.
            Fate::Above => is_spent || !is_kept || self.has_unseen(),
            _ if self.is_broken(last) => {
                let is_repeatable = self.plan.is_idempotent() && is_kept;
                is_spent || is_last || !is_repeatable || self.has_unseen()
            }
            _ => self.has_unseen(),
        }
    }

    /// Whether it was sent over a connection that an instance had broken, or had ended, before it came there.
    fn has_unseen(&self) -> bool {
        let has_broken = self.outcome.instances.broken.lock().unwrap().iter().any(|broken| *broken);
        self.begun() > self.attempts.len() && has_broken
    }

    /// How many attempts the gateway has begun.
    fn begun(&self) -> usize {
        self.line().map_or(0, |line| {
            let (_, attempts) = line.split_once("\"attempts\":").unwrap_or(("", "0"));
            attempts.split([',', '}']).next().unwrap().parse().unwrap()
        })
    }

    fn line(&self) -> Option<&str> {
        let path = format!("\"path\":\"{}\"", path(self.number));
        let mut lines = self.outcome.log.lines().filter(|line| line.contains(&path));
        let line = lines.next();
        assert_eq!(lines.next(), None, "{self:#}: two lines in the log");
        line
    }

    fn check_log(&self) {
        let line = self.line();
        assert!(line.is_some() || self.attempts.is_empty(), "{self}: no line in the log");
        if self.seen.end == End::Whole {
            let told = format!("\"status\":{}", self.seen.status.unwrap());
            assert!(line.is_some_and(|line| line.contains(&told)), "{self}: {line:?}");
        }
    }

    fn may_be_told_to_leave(&self) -> bool {
        self.scenario.stops.is_some() || self.scenario.leaves.is_some()
    }

    /// What came too late for a gateway that stops was cut off, and nobody has seen it.
    fn may_be_cut_off(&self) -> bool {
        self.outcome.has_left
            || self.scenario.leaves.is_some() && self.number + 1 == self.scenario.streams.len()
            || self.scenario.stops.is_some() && self.attempts.is_empty()
    }

    fn count(&self, tally: &mut Tally) {
        tally.streams += 1;
        tally.sent_again += u32::from(self.attempts.len() > 1);
        *match (self.seen.end, &self.seen.name) {
            (End::Whole, Some(_)) => &mut tally.whole,
            (End::Whole, None) => &mut tally.failed,
            (End::Reset(_), _) => &mut tally.broken_off,
            (End::Left | End::Closed, _) => &mut tally.left,
            (End::NotBegun | End::WentAway, _) => &mut tally.not_begun,
        } += 1;
    }
}

impl std::fmt::Display for Stream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Seen { status, name, data, end, .. } = self.seen;
        write!(f, "stream {}: {end:?} {status:?} {name:?} {} bytes", self.number, data.len())?;
        for Attempt { instance, connection, heard, is_whole, fate, .. } in &self.attempts {
            write!(f, "; at {instance} over {connection}: {} {is_whole} {fate:?}", heard.len())?;
        }
        // The line asks for it to be shown.
        if f.alternate() { Ok(()) } else { write!(f, "; {:?}", self.line()) }
    }
}
