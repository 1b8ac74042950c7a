//! One attempt on one endpoint, which is told its outcome.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cause::{Cause, Circumstances, Ending};
use super::grammar::SWITCHES;
use super::protocol::Speaks;
use super::retry::Reach;
use crate::directory::{Endpoint, Protocol};
use crate::grpc::Status;
use crate::site::Way;
use crate::traffic::ejection::{Failure, Outcome, Trial};
use crate::traffic::in_flight::Permit;
use crate::traffic::waiting::{Interrupt, Place, Wait};

/// An answer that has come for so long says enough, whatever its end: a stream may have none.
const LONG_ENOUGH: Duration = Duration::from_secs(1);

/// An endpoint for an attempt, and what the attempt holds there.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) endpoint: Arc<Endpoint>,
    /// Its place among the requests in flight at the endpoint.
    pub(super) permit: Permit,
    /// Whether something is known against the endpoint.
    pub(super) doubted: bool,
    /// Where the endpoint is ejected, and this is to show whether it works again.
    pub(super) trial: Option<Trial>,
    /// What it speaks, as its registration says.
    pub(super) protocol: Option<Protocol>,
}

/// An attempt. It has one outcome at most; dropped without one, a trial is given back.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) way: Way,
    pub(super) endpoint: Arc<Endpoint>,
    /// Whether it must not go over a connection that has served before.
    pub(super) on_new_connection: bool,
    begun: Instant,
    stage: Stage,
    report: Report,
    /// Its place among the requests in flight at the endpoint, until it fails.
    permit: Option<Permit>,
    /// What the endpoint speaks, as its registration said when it was chosen.
    protocol: Option<Protocol>,
}

/// How far an attempt has come.
///
/// ```text
/// Chosen -> Connecting -> Waiting -> Answered     (the answer's body may still come, or break off)
///    |           |           |          |
///    +-----------+-----------+----------+------> Failed
/// ```
#[derive(Debug)]
enum Stage {
    /// Nothing has been done yet.
    Chosen,
    /// A connection is being opened, or taken from those that are free.
    Connecting,
    /// There is a connection, and no head of an answer yet.
    Waiting(Pending),
    /// The head of the answer is here.
    Answered(Answered),
    /// It came to nothing, or its answer broke off.
    Failed { was_connected: bool, answered: Option<Answered> },
}

/// The head of an answer that came.
#[derive(Debug, Clone, Copy)]
struct Answered {
    at: Instant,
    /// Whether the exchange is a tunnel from then on.
    is_tunnel: bool,
    /// How long the endpoint took for it, where nobody knows yet whether it is an answer or a failure.
    waited: Option<Duration>,
}

/// What the head of an answer says of the endpoint.
#[derive(Debug, Clone, Copy)]
enum Verdict {
    Answer,
    /// It has not done what was asked of it; perhaps that is its failure.
    Failed(Option<Failure>),
    /// What follows will say it.
    Open,
}

/// What waits for the head of its answer.
#[derive(Debug)]
struct Pending {
    /// Its place among those that wait for a first byte.
    place: Place,
    /// Whether the connection had served before.
    reused: bool,
    /// Whether there is a body, which is sent over it.
    is_upload: bool,
    /// When the request was sent whole.
    sent: Option<Instant>,
    /// Whether a head came that goes before the answer's (1xx).
    heard: bool,
}

/// What its endpoint's health is told of it.
#[derive(Debug)]
enum Report {
    Due(Option<Trial>),
    Made,
}

impl Attempt {
    /// An attempt on an endpoint that was chosen.
    pub(super) fn new(chosen: Chosen, way: Way, now: Instant) -> Self {
        let Chosen { endpoint, permit, trial, protocol, doubted: _ } = chosen;
        Self {
            way,
            endpoint,
            on_new_connection: false,
            begun: now,
            stage: Stage::Chosen,
            report: Report::Due(trial),
            permit: Some(permit),
            protocol,
        }
    }

    /// Which version of HTTP it is made in. `is_grpc`: whether the request is a call of gRPC.
    pub(super) fn speaks(&self, is_grpc: bool) -> Speaks {
        Speaks::by(self.way.target.protocol, self.protocol, is_grpc)
    }

    /// Goes on from the choice to a connection. False: it has done so before.
    pub(super) fn begin(&mut self) -> bool {
        let is_first = self.is_next();
        if is_first {
            self.stage = Stage::Connecting;
        }
        is_first
    }

    /// Whether it was not begun yet.
    pub(super) fn is_next(&self) -> bool {
        matches!(self.stage, Stage::Chosen)
    }

    /// There is a connection, on which the request waits from now on. `interrupt` is how it is broken off.
    pub(super) fn connected(&mut self, reused: bool, interrupt: Interrupt, request: Wait) {
        // From any other state there may be a place already, which nobody would leave.
        if !matches!(self.stage, Stage::Connecting) {
            return;
        }
        let is_upload = request.since.is_none();
        let place = self.way.target.health.wait(&self.endpoint, interrupt, request);
        self.stage = Stage::Waiting(Pending { place, reused, is_upload, sent: None, heard: false });
    }

    /// Whether it has had a connection.
    pub(super) fn was_connected(&self) -> bool {
        match self.stage {
            Stage::Chosen | Stage::Connecting => false,
            Stage::Waiting(_) | Stage::Answered(_) => true,
            Stage::Failed { was_connected, .. } => was_connected,
        }
    }

    /// Whether it was broken off while it waits for the head of its answer.
    pub(in crate::gateway) fn is_broken_off(&self) -> bool {
        let waiting = &self.endpoint.traffic.waiting;
        matches!(&self.stage, Stage::Waiting(pending) if waiting.is_broken_off(&pending.place))
    }

    /// Whether it has a body to send and waits for an answer.
    pub(super) fn is_upload(&self) -> bool {
        matches!(self.stage, Stage::Waiting(Pending { is_upload: true, .. }))
    }

    /// The request was sent whole. `request`: how an upload waits from now on.
    pub(super) fn sent(&mut self, request: Option<Wait>, now: Instant) {
        // An endpoint may answer before all of the request was sent: then nothing waits any more.
        if let Stage::Waiting(waiting) = &mut self.stage {
            waiting.sent = Some(now);
            if let Some(request) = request {
                self.endpoint.traffic.waiting.sent(&waiting.place, request);
            }
        }
    }

    /// A head that goes before the answer's (1xx) is here.
    pub(super) fn heard(&mut self, now: Instant) {
        if let Stage::Waiting(waiting) = &mut self.stage {
            waiting.heard = true;
        }
        self.endpoint.traffic.waiting.heard(now);
    }

    /// The head of the answer is here. Whether the route has such a status tried elsewhere.
    pub(super) fn answered(&mut self, status: u16, now: Instant) -> bool {
        let failure = Failure::of_status(status);
        let is_tried_elsewhere = self.way.route.retry.statuses.contains(&status);
        let has_failed = failure.is_some() || is_tried_elsewhere;
        let verdict = if has_failed { Verdict::Failed(failure) } else { Verdict::Answer };
        self.hear_head(status == SWITCHES, verdict, now);
        is_tried_elsewhere
    }

    /// The same of a call's. `ended`: how the call has, if the head says that.
    pub(super) fn answered_call(&mut self, status: u16, ended: Option<Status>, now: Instant) -> bool {
        let failure = Failure::of_status(status).or_else(|| self.failure_of(ended?));
        let retry = &self.way.route.retry;
        let is_tried_elsewhere =
            retry.statuses.contains(&status) || ended.is_some_and(|ended| retry.grpc.contains(&ended));
        let verdict = match ended {
            _ if failure.is_some() || is_tried_elsewhere => Verdict::Failed(failure),
            Some(_) => Verdict::Answer,
            None => Verdict::Open,
        };
        self.hear_head(false, verdict, now);
        is_tried_elsewhere
    }

    fn hear_head(&mut self, is_tunnel: bool, verdict: Verdict, now: Instant) {
        let answered = Stage::Answered(Answered { at: now, is_tunnel, waited: None });
        let before = std::mem::replace(&mut self.stage, answered);
        let mut sent = None;
        if let Stage::Waiting(waiting) = before {
            sent = waiting.sent;
            self.endpoint.traffic.waiting.leave(waiting.place);
        }
        self.endpoint.traffic.waiting.heard(now);
        // An answer that came before the request was sent whole waited for the client, too.
        if let Some(waited) = sent.map(|sent| now.saturating_duration_since(sent)) {
            match verdict {
                Verdict::Answer => self.endpoint.traffic.latency.record(waited, now),
                Verdict::Failed(_) => self.was_not_faster(waited, now),
                Verdict::Open => {
                    self.stage = Stage::Answered(Answered { at: now, is_tunnel, waited: Some(waited) });
                }
            }
        }
        if let Verdict::Failed(Some(failure)) = verdict {
            self.tell(Outcome::Failed(failure), now);
        }
    }

    /// What the end of a call says of the endpoint: it counts as a 5xx does where the service's rules say so.
    fn failure_of(&self, ended: Status) -> Option<Failure> {
        let is_failure = ended != Status::Ok && self.way.target.health.counts_as_failure(ended);
        is_failure.then_some(Failure::Status)
    }

    /// The call has ended so.
    pub(super) fn ended_call(&mut self, status: Status, now: Instant) {
        let failure = self.failure_of(status);
        self.record_head(failure.is_some());
        self.tell(failure.map_or(Outcome::Succeeded, Outcome::Failed), now);
    }

    /// It is known now whether the head, when it came, was that of an answer.
    fn record_head(&mut self, has_failed: bool) {
        let Stage::Answered(answered) = &mut self.stage else { return };
        let (at, waited) = (answered.at, answered.waited.take());
        match waited {
            Some(waited) if has_failed => self.was_not_faster(waited, at),
            Some(waited) => self.endpoint.traffic.latency.record(waited, at),
            None => {}
        }
    }

    /// Whether it has become a tunnel.
    pub(super) fn is_tunnel(&self) -> bool {
        self.answer().is_some_and(|answer| answer.is_tunnel)
    }

    /// A failure may come fast, and says nothing of how long an answer would have taken: it counts as the
    /// usual, as the worst of late, or as what it took, whichever is longest. As it came, it would draw
    /// requests to the endpoint that fails; and without a sample the peak would fall with time, which does
    /// the same. What has never answered has nothing to keep. (The usual latency, by which a stall is known,
    /// is at worst overestimated so, at an endpoint that does little but fail.)
    fn was_not_faster(&self, waited: Duration, now: Instant) {
        let latency = &self.endpoint.traffic.latency;
        if let Some((usual, peak)) = latency.usual().zip(latency.peak(now)) {
            latency.record(waited.max(usual).max(Duration::from_secs_f64(peak)), now);
        }
    }

    /// A piece of the answer's body is here.
    pub(super) fn went_on(&mut self, now: Instant) {
        self.endpoint.traffic.waiting.heard(now);
        self.record_head(false);
        let is_on_trial = matches!(self.report, Report::Due(Some(_)));
        if is_on_trial
            && self.answer().is_some_and(|answer| now.saturating_duration_since(answer.at) >= LONG_ENOUGH)
        {
            self.succeeded(now);
        }
    }

    /// The answer is complete.
    pub(super) fn succeeded(&mut self, now: Instant) {
        self.tell(Outcome::Succeeded, now);
    }

    /// It has come to such an end. Says why, and how far it had come.
    pub(super) fn failed(&mut self, ending: Ending, is_over: bool, now: Instant) -> (Cause, Reach) {
        let failed = Stage::Failed { was_connected: self.was_connected(), answered: self.answer() };
        let before = std::mem::replace(&mut self.stage, failed);
        let has_answer = self.answer().is_some();
        let silence = match &before {
            Stage::Chosen | Stage::Connecting => Some(self.begun),
            Stage::Waiting(waiting) => waiting.sent,
            Stage::Answered(_) | Stage::Failed { .. } => None,
        };
        let (mut reused, mut heard, mut broken_off) = (false, has_answer, None);
        if let Stage::Waiting(waiting) = before {
            (reused, heard) = (waiting.reused, waiting.heard);
            broken_off = self.endpoint.traffic.waiting.leave(waiting.place);
        }
        let cause = Cause::of(ending, Circumstances { is_over, broken_off, reused, heard });
        // The next attempt may be on this endpoint again, and must find its place free.
        self.permit = None;
        let failure = match cause {
            Cause::Total => self.spent_the_time(silence, now).then_some(Failure::Timeout),
            cause => cause.failure(),
        };
        if let Some(failure) = failure {
            if !has_answer {
                self.was_not_faster(Duration::ZERO, now);
            }
            self.tell(Outcome::Failed(failure), now);
        }
        (cause, self.reach(ending, heard))
    }

    fn reach(&self, ending: Ending, heard: bool) -> Reach {
        match ending {
            _ if !self.was_connected() => Reach::Unconnected,
            Ending::Broke | Ending::Alerted | Ending::Reset(_) if !heard => Reach::Sent,
            Ending::Declined | Ending::WentAway if !heard => Reach::NotBegun,
            _ => Reach::Heard,
        }
    }

    /// Whether silence of this endpoint since then took the better part of the request's whole time. Then it is to
    /// blame that the time is over; otherwise a route of little time would never see who has fallen silent.
    fn spent_the_time(&self, since: Option<Instant>, now: Instant) -> bool {
        let silence = since.map(|since| now.saturating_duration_since(since));
        self.way.route.timeouts.total.zip(silence).is_some_and(|(total, silence)| silence >= total / 2)
    }

    /// Tells the endpoint's health how this has ended, if that was not done before.
    fn tell(&mut self, outcome: Outcome, now: Instant) {
        let Report::Due(trial) = std::mem::replace(&mut self.report, Report::Made) else { return };
        let health = &self.way.target.health;
        match (trial, outcome) {
            (Some(trial), outcome) => health.finish(&self.endpoint, trial, outcome, now),
            (None, Outcome::Succeeded) => health.succeeded(&self.endpoint),
            (None, Outcome::Failed(failure)) => health.failed(&self.endpoint, failure, now),
            (None, Outcome::GivenBack) => {}
        }
    }

    fn answer(&self) -> Option<Answered> {
        match self.stage {
            Stage::Answered(answered) => Some(answered),
            Stage::Failed { answered, .. } => answered,
            Stage::Chosen | Stage::Connecting | Stage::Waiting(_) => None,
        }
    }

    /// From the endpoint's choice to the head of its answer.
    pub(super) fn took(&self) -> Option<Duration> {
        self.answer().map(|answer| answer.at.saturating_duration_since(self.begun))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Stage::Waiting(waiting) = std::mem::replace(&mut self.stage, Stage::Chosen) {
            self.endpoint.traffic.waiting.leave(waiting.place);
        }
        if matches!(self.report, Report::Due(Some(_))) {
            self.tell(Outcome::GivenBack, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::directory::Finding;
    use crate::gateway::cause::Reset;
    use crate::gateway::fixture::{Fixture, Setup};
    use crate::traffic::ejection::{Grounds, NextTrial, Repeatable};

    const MS: Duration = Duration::from_millis(1);
    /// Nobody is at its end.
    const INTERRUPT: Interrupt = Interrupt::Descriptor(-1);
    /// Waits for nobody to break it off.
    const PATIENT: Wait = Wait { since: None, patience: Duration::MAX, repeatable: false };

    /// A service with one endpoint, whose route has this whole time.
    struct Bench {
        fixture: Fixture,
        endpoint: Arc<Endpoint>,
        now: Instant,
    }

    impl Bench {
        fn new(total: Option<Duration>) -> Self {
            Self::of(Setup { total, ..Setup::of(1) })
        }

        fn of(setup: Setup) -> Self {
            let fixture = setup.build();
            Self { endpoint: fixture.endpoint(0), now: fixture.now + 1_000 * MS, fixture }
        }

        /// An attempt that was not begun.
        fn chosen(&self) -> Attempt {
            Attempt::new(self.fixture.chosen(0), self.fixture.way.clone(), self.now)
        }

        /// An attempt that has a connection, and waits for nobody to break it off.
        fn attempt(&self) -> Attempt {
            let mut attempt = self.chosen();
            assert!(attempt.begin());
            attempt.connected(true, INTERRUPT, Wait { since: Some(self.now), ..PATIENT });
            attempt
        }

        /// The next answer, after the request was sent whole so long ago.
        fn answer(&mut self, status: u16, waited: Duration) {
            let mut attempt = self.attempt();
            attempt.sent(None, self.now);
            self.now += waited;
            attempt.answered(status, self.now);
            attempt.succeeded(self.now);
        }

        fn peak(&self) -> f64 {
            self.endpoint.traffic.latency.peak(self.now).unwrap()
        }

        /// An attempt that was sent whole, and waits.
        fn sent(&self) -> Attempt {
            let mut attempt = self.attempt();
            attempt.sent(None, self.now);
            attempt
        }

        fn somebody_waits(&self) -> bool {
            self.endpoint.traffic.waiting.break_off_overdue(self.now, |_| {})
        }

        fn last_failure(&self) -> String {
            self.endpoint.traffic.last_failure.get().unwrap().1.into()
        }

        /// When the youngest of the requests was sent that count for the latency.
        fn sampled(&self) -> Instant {
            self.endpoint.traffic.latency.youngest().unwrap()
        }

        /// An attempt that waits, and is the trial of the endpoint, which was ejected before.
        fn on_trial(&mut self) -> Attempt {
            self.fixture.way.target.health.failed(&self.endpoint, Failure::Refused, self.now);
            self.fixture.findings();
            self.now += Duration::from_secs(60);
            let (_, trial) = self.fixture.way.target.health.trial(Repeatable::Yes, self.now).unwrap();
            let chosen = Chosen { trial: Some(trial), ..self.fixture.chosen(0) };
            let mut attempt = Attempt::new(chosen, self.fixture.way.clone(), self.now);
            attempt.begin();
            attempt.connected(true, INTERRUPT, Wait { since: Some(self.now), ..PATIENT });
            attempt.sent(None, self.now);
            attempt
        }
    }

    /// How an attempt ends, which was sent whole.
    #[derive(Debug, Clone, Copy)]
    enum End {
        Dropped,
        Complete(u16),
        /// The head came, and the client left or the gateway did.
        Dangling(u16),
        Failed(Ending),
        /// A call, by what its head and its trailers say. Without either, the client left.
        Call(Option<Status>, Option<Status>),
    }

    impl End {
        fn of(self, mut attempt: Attempt, now: Instant) {
            match self {
                Self::Dropped => {}
                Self::Complete(status) => {
                    attempt.answered(status, now);
                    attempt.succeeded(now);
                }
                Self::Dangling(status) => {
                    attempt.answered(status, now);
                }
                Self::Failed(ending) => {
                    attempt.failed(ending, false, now);
                }
                Self::Call(in_head, in_trailers) => {
                    attempt.answered_call(200, in_head, now);
                    if let Some(status) = in_head.or(in_trailers) {
                        attempt.ended_call(status, now);
                    }
                }
            }
        }
    }

    #[test]
    fn each_end_tells_the_endpoint_what_it_says_of_it_and_leaves_nobody_waiting() {
        // Failures in a row, of which there was one before; the last failure; whether it says how fast the endpoint is.
        for (end, streak, last_failure, is_sample) in [
            (End::Dropped, 1, "before", false),
            (End::Complete(200), 0, "before", true),
            (End::Complete(404), 0, "before", true),
            (End::Complete(503), 2, "status", true),
            (End::Dangling(200), 1, "before", true),
            (End::Dangling(503), 2, "status", true),
            (End::Failed(Ending::Broke), 1, "before", false),
            (End::Failed(Ending::BrokeWithinHead), 2, "broken", true),
            (End::Failed(Ending::NotHttp), 2, "broken", true),
            (End::Failed(Ending::Reset(Reset::Other)), 2, "broken", true),
            (End::Failed(Ending::Declined), 1, "before", false),
            (End::Failed(Ending::WentAway), 1, "before", false),
            (End::Call(Some(Status::Ok), None), 0, "before", true),
            (End::Call(Some(Status::NotFound), None), 0, "before", true),
            (End::Call(Some(Status::Unavailable), None), 2, "status", true),
            (End::Call(None, Some(Status::Ok)), 0, "before", true),
            (End::Call(None, Some(Status::Unknown)), 2, "status", true),
            (End::Call(None, None), 1, "before", false),
            (End::Failed(Ending::Silent), 2, "timeout", true),
            (End::Failed(Ending::ClientLeft), 1, "before", false),
            (End::Failed(Ending::Fault), 1, "before", false),
        ] {
            let mut bench = Bench::new(None);
            bench.answer(200, 20 * MS);
            bench.fixture.way.target.health.failed(&bench.endpoint, Failure::Status, bench.now);
            bench.endpoint.traffic.last_failure.note("before", bench.now);
            bench.now += 1_000 * MS;
            let (attempt, before) = (bench.sent(), bench.now - 500 * MS);
            assert!(bench.somebody_waits());
            bench.now += 20 * MS;
            end.of(attempt, bench.now);
            assert!(!bench.somebody_waits(), "{end:?}");
            assert_eq!(bench.endpoint.traffic.streak.length(), streak, "{end:?}");
            assert_eq!(bench.last_failure(), last_failure, "{end:?}");
            assert_eq!(bench.sampled() > before, is_sample, "{end:?}");
            assert_eq!(bench.endpoint.traffic.in_flight.count(), 0, "{end:?}");
        }
    }

    #[test]
    fn each_end_of_a_trial_decides_or_leaves_it_to_the_next() {
        let ejected = Finding::Ejected(Grounds::Failures);
        for (end, expected) in [
            (End::Complete(200), vec![Finding::Returned]),
            (End::Complete(503), vec![ejected]),
            (End::Dangling(503), vec![ejected]),
            (End::Failed(Ending::NotHttp), vec![ejected]),
            (End::Dropped, vec![]),
            (End::Dangling(200), vec![]),
            (End::Failed(Ending::ClientLeft), vec![]),
            (End::Failed(Ending::Broke), vec![]),
        ] {
            let mut bench = Bench::new(None);
            let attempt = bench.on_trial();
            end.of(attempt, bench.now);
            assert_eq!(bench.fixture.findings(), expected, "{end:?}");
            let next = bench.endpoint.traffic.passive.lock().unwrap().next_trial();
            assert!(!matches!(next, Some(NextTrial::Running { .. })), "{end:?}");
        }
    }

    #[test]
    fn an_answer_that_comes_for_long_ends_a_trial_well() {
        let mut bench = Bench::new(None);
        let mut attempt = bench.on_trial();
        attempt.answered(200, bench.now);
        attempt.went_on(bench.now + 999 * MS);
        assert_eq!(bench.fixture.findings(), []);
        attempt.went_on(bench.now + 1_000 * MS);
        assert_eq!(bench.fixture.findings(), [Finding::Returned]);
    }

    #[test]
    fn an_answer_that_breaks_off_says_no_more_of_the_endpoints_speed() {
        let mut bench = Bench::new(None);
        let mut attempt = bench.sent();
        bench.now += 20 * MS;
        attempt.answered(200, bench.now);
        let before = bench.sampled();
        bench.now += 1_000 * MS;
        attempt.failed(Ending::Broke, false, bench.now);
        assert_eq!((bench.sampled(), &*bench.last_failure()), (before, "broken"));
    }

    #[test]
    fn a_status_that_is_tried_elsewhere_does_not_make_an_endpoint_look_fast() {
        let statuses = vec![429];
        let mut bench =
            Bench::of(Setup { retry: config::Retry { statuses, ..Default::default() }, ..Setup::of(1) });
        (0..100).for_each(|_| bench.answer(200, 20 * MS));
        let before = bench.peak();
        for _ in 0..100 {
            bench.answer(429, MS / 10);
            bench.now += 10 * MS;
        }
        assert!(bench.peak() > 0.95 * before, "{} after {before}", bench.peak());
        assert!(bench.sent().answered(429, bench.now) && !bench.sent().answered(503, bench.now));
    }

    #[test]
    fn a_calls_head_says_how_fast_its_endpoint_is_when_it_is_known_to_be_an_answers() {
        for (comes, looks_fast) in [
            (None, false),
            (Some(None), true),
            (Some(Some(Status::Ok)), true),
            (Some(Some(Status::Unavailable)), false),
        ] {
            let mut bench = Bench::new(None);
            (0..100).for_each(|_| bench.answer(200, 20 * MS));
            let before = bench.peak();
            for _ in 0..100 {
                let mut attempt = bench.sent();
                bench.now += MS / 10;
                attempt.answered_call(200, None, bench.now);
                match comes {
                    None => {}
                    Some(None) => attempt.went_on(bench.now),
                    Some(Some(status)) => attempt.ended_call(status, bench.now),
                }
                if !looks_fast {
                    bench.answer(200, 20 * MS);
                }
            }
            assert_eq!(
                bench.peak() < 0.95 * before,
                looks_fast,
                "{comes:?}: {} after {before}",
                bench.peak()
            );
        }
    }

    #[test]
    fn what_of_grpcs_statuses_is_a_failure_the_service_says() {
        let mut setup = Setup::of(1);
        let grpc = [Status::DataLoss].into_iter().collect();
        setup.service.ejection = Some(config::Ejection { grpc, ..Default::default() });
        let bench = Bench::of(setup);
        for (status, streak) in [(Status::Unavailable, 0), (Status::DataLoss, 1)] {
            let mut attempt = bench.sent();
            attempt.answered_call(200, None, bench.now);
            attempt.ended_call(status, bench.now);
            assert_eq!(bench.endpoint.traffic.streak.length(), streak, "{status}");
        }
        bench.sent().answered_call(503, Some(Status::Unavailable), bench.now);
        assert_eq!(bench.endpoint.traffic.streak.length(), 2, "a 5xx is one in any case");
    }

    #[test]
    fn who_was_broken_off_fails_for_that_reason() {
        let mut bench = Bench::new(None);
        let mut attempt = bench.chosen();
        attempt.begin();
        attempt.connected(
            false,
            INTERRUPT,
            Wait { since: Some(bench.now), patience: 10 * MS, repeatable: false },
        );
        bench.now += 10 * MS;
        assert!(!attempt.is_broken_off());
        assert!(bench.somebody_waits());
        assert!(attempt.is_broken_off());
        assert_eq!(attempt.failed(Ending::Broke, false, bench.now), (Cause::FirstByte, Reach::Sent));
        assert!(!attempt.is_broken_off(), "it does not wait any more");
        assert_eq!(bench.last_failure(), "timeout");
    }

    #[test]
    fn an_upload_waits_for_the_endpoint_from_when_it_was_sent() {
        let mut bench = Bench::new(None);
        let mut attempt = bench.chosen();
        attempt.begin();
        attempt.connected(false, INTERRUPT, Wait { since: None, patience: 10 * MS, repeatable: false });
        bench.now += 1_000 * MS;
        assert!(bench.somebody_waits());
        attempt.sent(Some(Wait { since: Some(bench.now), patience: 20 * MS, repeatable: false }), bench.now);
        bench.now += 20 * MS;
        assert!(bench.somebody_waits());
        assert_eq!(attempt.failed(Ending::Broke, false, bench.now).0, Cause::FirstByte);
    }

    #[test]
    fn an_attempt_waits_once_however_often_it_is_said_to_be_connected() {
        let mut bench = Bench::new(None);
        let mut attempt = bench.attempt();
        attempt.connected(true, INTERRUPT, PATIENT);
        attempt.answered(200, bench.now);
        attempt.connected(true, INTERRUPT, PATIENT);
        assert!(!bench.somebody_waits() && attempt.took().is_some());
        let mut early = bench.chosen();
        early.connected(true, INTERRUPT, PATIENT);
        assert!(!bench.somebody_waits() && !early.was_connected());
        bench.answer(200, MS);
        assert!(!bench.somebody_waits());
    }

    #[test]
    fn whatever_comes_from_an_endpoint_shows_that_it_has_not_stalled() {
        let nothing: fn(&mut Attempt, Instant) = |_, _| {};
        for (what, come, has_stalled) in [
            ("nothing", nothing, true),
            ("a 1xx", |attempt, now| attempt.heard(now), false),
            ("a head", |attempt, now| _ = attempt.answered(200, now), false),
            ("a piece of a body", |attempt, now| attempt.went_on(now), false),
        ] {
            let bench = Bench::new(None);
            let (_waits, mut other) = (bench.attempt(), bench.attempt());
            come(&mut other, bench.now + 900 * MS);
            let mut found = false;
            let (rules, now) = (config::Stall::default(), bench.now + 1_000 * MS);
            let waiting = &bench.endpoint.traffic.waiting;
            waiting.break_off_stalled(&rules, true, Some(20 * MS), now, || found = true, |_| {});
            assert_eq!(found, has_stalled, "{what}");
        }
    }

    #[test]
    fn an_endpoint_that_fails_fast_does_not_look_fast() {
        let mut bench = Bench::new(None);
        (0..100).for_each(|_| bench.answer(200, 20 * MS));
        let before = bench.peak();
        for _ in 0..100 {
            bench.answer(503, MS / 10);
            bench.attempt().failed(Ending::NotHttp, false, bench.now);
            bench.now += 10 * MS;
        }
        assert!(bench.peak() > 0.95 * before, "{} after {before}", bench.peak());
        let usual = bench.endpoint.traffic.latency.usual().unwrap();
        assert!((19 * MS..22 * MS).contains(&usual), "{usual:?}");
        bench.answer(500, 90 * MS);
        assert!(bench.peak() > 0.08, "slow as it failed: {}", bench.peak());
        bench.now += 600_000 * MS;
        bench.attempt().failed(Ending::NotHttp, false, bench.now);
        assert!(bench.peak() > 0.019, "after a long pause: {}", bench.peak());
    }

    #[test]
    fn the_speed_of_one_that_only_fails_is_not_known() {
        let mut bench = Bench::new(None);
        (0..3).for_each(|_| bench.answer(503, MS));
        assert_eq!(bench.endpoint.traffic.latency.peak(bench.now), None);
    }

    #[test]
    fn a_slow_client_does_not_make_an_endpoint_look_slow() {
        let mut bench = Bench::new(None);
        bench.answer(200, 20 * MS);
        let mut upload = bench.attempt();
        bench.now += 5_000 * MS;
        upload.answered(413, bench.now);
        assert!(bench.peak() <= 0.02, "{}", bench.peak());
    }

    #[test]
    fn who_is_silent_for_half_of_the_whole_time_is_to_blame_that_it_is_over() {
        for (waited, expected) in [(300, "timeout"), (200, "timeout"), (199, "before")] {
            let bench = Bench::new(Some(400 * MS));
            let mut connecting = bench.chosen();
            connecting.begin();
            for (mut attempt, ending) in
                [(bench.sent(), Ending::Silent), (connecting, Ending::ConnectTimeout)]
            {
                bench.endpoint.traffic.last_failure.note("before", bench.now);
                let (cause, _) = attempt.failed(ending, true, bench.now + waited * MS);
                assert_eq!((cause, &*bench.last_failure()), (Cause::Total, expected), "{waited} {ending:?}");
            }
        }
    }

    #[test]
    fn the_whole_time_of_a_slow_upload_is_nobodys_failure() {
        let mut bench = Bench::new(Some(400 * MS));
        let mut attempt = bench.attempt();
        bench.now += 400 * MS;
        attempt.failed(Ending::Silent, true, bench.now);
        assert_eq!(bench.endpoint.traffic.last_failure.get(), None);
    }

    #[test]
    fn a_failed_attempt_leaves_its_place_to_the_next_and_one_whose_answer_may_be_used_does_not() {
        let bench = Bench::new(None);
        let mut attempts = [bench.attempt(), bench.attempt()];
        attempts[0].failed(Ending::Broke, false, bench.now);
        attempts[1].answered(503, bench.now);
        assert_eq!(bench.endpoint.traffic.in_flight.count(), 1);
    }

    #[test]
    fn an_attempt_is_begun_once() {
        let bench = Bench::new(None);
        let mut attempt = bench.chosen();
        assert!(attempt.is_next() && !attempt.was_connected());
        assert!(attempt.begin());
        assert!(!attempt.begin() && !attempt.is_next());
    }

    #[test]
    fn how_far_an_attempt_had_come_is_known_from_what_was_seen_of_it() {
        let bench = Bench::new(None);
        let mut unconnected = bench.chosen();
        unconnected.begin();
        let refused = unconnected.failed(Ending::Refused, false, bench.now);
        assert_eq!(refused, (Cause::Refused, Reach::Unconnected));
        assert!(!unconnected.was_connected());
        let closed = bench.attempt().failed(Ending::Broke, false, bench.now);
        assert_eq!(closed, (Cause::Closed, Reach::Sent));
        let half_a_head = bench.attempt().failed(Ending::BrokeWithinHead, false, bench.now);
        assert_eq!(half_a_head, (Cause::Broken, Reach::Heard));
        let mut early = bench.attempt();
        early.heard(bench.now);
        let after_a_103 = early.failed(Ending::Broke, false, bench.now);
        assert_eq!(after_a_103, (Cause::Broken, Reach::Heard));
        let mut answered = bench.attempt();
        answered.answered(200, bench.now);
        let within_its_body = answered.failed(Ending::Broke, false, bench.now);
        assert_eq!(within_its_body, (Cause::Broken, Reach::Heard));
        assert!(answered.was_connected() && answered.took().is_some());
    }

    #[test]
    fn an_attempt_speaks_what_its_service_and_its_endpoint_say() {
        let speaks = |service: config::Protocol, registered: Option<Protocol>, is_grpc| {
            let mut setup = Setup::of(1);
            setup.service.protocol = service;
            let fixture = setup.build();
            let chosen = Chosen { protocol: registered, ..fixture.chosen(0) };
            Attempt::new(chosen, fixture.way.clone(), fixture.now).speaks(is_grpc)
        };
        assert_eq!(speaks(config::Protocol::Auto, None, true), Speaks::Http2);
        assert_eq!(speaks(config::Protocol::Auto, None, false), Speaks::Http1);
        assert_eq!(speaks(config::Protocol::Auto, Some(Protocol::Grpc), false), Speaks::Http2);
        assert_eq!(speaks(config::Protocol::Http1, Some(Protocol::Grpc), true), Speaks::Http1);
    }

    #[test]
    fn a_tunnel_is_one_to_its_end_however_it_ends() {
        let bench = Bench::new(None);
        let mut attempt = bench.attempt();
        attempt.answered(101, bench.now);
        assert!(attempt.is_tunnel());
        attempt.failed(Ending::Broke, false, bench.now);
        assert!(attempt.is_tunnel());
    }

    #[test]
    fn an_upload_that_is_answered_early_waits_for_nothing_when_it_is_sent() {
        let bench = Bench::new(None);
        let mut attempt = bench.chosen();
        attempt.begin();
        attempt.connected(false, INTERRUPT, Wait { since: None, patience: Duration::MAX, repeatable: false });
        assert!(attempt.is_upload());
        attempt.answered(413, bench.now);
        assert!(!attempt.is_upload());
        attempt.sent(None, bench.now);
        assert!(attempt.was_connected() && attempt.took().is_some());
    }
}
