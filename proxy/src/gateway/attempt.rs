//! One attempt on one endpoint, which is told its outcome.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cause::{Cause, Circumstances, Ending};
use super::retry::Reach;
use crate::directory::Endpoint;
use crate::site::Route;
use crate::traffic::ejection::{Failure, Outcome, Trial};
use crate::traffic::in_flight::Permit;
use crate::traffic::waiting::{Place, Wait};

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
}

/// An attempt. It has one outcome at most; dropped without one, a trial is given back.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) route: Arc<Route>,
    pub(super) endpoint: Arc<Endpoint>,
    /// Whether it must not go over a connection that has served before.
    pub(super) on_new_connection: bool,
    begun: Instant,
    exchange: Exchange,
    report: Report,
    /// Its place among the requests in flight at the endpoint, until it fails.
    permit: Option<Permit>,
}

/// How far an attempt has come.
///
/// ```text
/// Chosen -> Connecting -> Waiting -> Answered     (the answer's body may still come, or break off)
///    |           |           |          |
///    +-----------+-----------+----------+------> Failed
/// ```
#[derive(Debug)]
enum Exchange {
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
    pub(super) fn new(chosen: Chosen, route: Arc<Route>, now: Instant) -> Self {
        let Chosen { endpoint, permit, trial, doubted: _ } = chosen;
        Self {
            route,
            endpoint,
            on_new_connection: false,
            begun: now,
            exchange: Exchange::Chosen,
            report: Report::Due(trial),
            permit: Some(permit),
        }
    }

    /// Goes on from the choice to a connection. False: it has done so before.
    pub(super) fn begin(&mut self) -> bool {
        let is_first = self.is_next();
        if is_first {
            self.exchange = Exchange::Connecting;
        }
        is_first
    }

    /// Whether it was not begun yet.
    pub(super) fn is_next(&self) -> bool {
        matches!(self.exchange, Exchange::Chosen)
    }

    /// There is a connection, on which the request waits from now on.
    pub(super) fn connected(&mut self, reused: bool, connection: RawFd, request: Wait) {
        let is_upload = request.since.is_none();
        let place = self.route.health.wait(&self.endpoint, connection, request);
        self.exchange = Exchange::Waiting(Pending { place, reused, is_upload, sent: None, heard: false });
    }

    /// Whether it has had a connection.
    pub(super) fn was_connected(&self) -> bool {
        match self.exchange {
            Exchange::Chosen | Exchange::Connecting => false,
            Exchange::Waiting(_) | Exchange::Answered(_) => true,
            Exchange::Failed { was_connected, .. } => was_connected,
        }
    }

    /// Whether it has a body to send and waits for an answer.
    pub(super) fn is_upload(&self) -> bool {
        matches!(self.exchange, Exchange::Waiting(Pending { is_upload: true, .. }))
    }

    /// The request was sent whole. An upload waits otherwise from now on.
    pub(super) fn sent(&mut self, request: Option<Wait>, now: Instant) {
        // Otherwise it was answered before it was sent whole.
        if let Exchange::Waiting(waiting) = &mut self.exchange {
            waiting.sent = Some(now);
            if let Some(request) = request {
                self.endpoint.traffic.waiting.sent(&waiting.place, request);
            }
        }
    }

    /// A head that goes before the answer's (1xx) is here.
    pub(super) fn heard(&mut self, now: Instant) {
        if let Exchange::Waiting(waiting) = &mut self.exchange {
            waiting.heard = true;
        }
        self.endpoint.traffic.waiting.heard(now);
    }

    /// The head of the answer is here.
    pub(super) fn answered(&mut self, status: u16, now: Instant) {
        let answered = Exchange::Answered(Answered { at: now, is_tunnel: status == 101 });
        let before = std::mem::replace(&mut self.exchange, answered);
        let mut sent = None;
        if let Exchange::Waiting(waiting) = before {
            sent = waiting.sent;
            self.endpoint.traffic.waiting.leave(waiting.place);
        }
        self.endpoint.traffic.waiting.heard(now);
        let failure = Failure::of_status(status);
        // An answer that came before the request was sent whole waited for the client, too.
        if let Some(waited) = sent.map(|sent| now.saturating_duration_since(sent)) {
            if failure.is_some() || self.route.retry.statuses.contains(&status) {
                self.was_not_faster(waited, now);
            } else {
                self.endpoint.traffic.latency.record(waited, now);
            }
        }
        if let Some(failure) = failure {
            self.tell(Outcome::Failed(failure), now);
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
        let failed = Exchange::Failed { was_connected: self.was_connected(), answered: self.answer() };
        let before = std::mem::replace(&mut self.exchange, failed);
        let has_answer = self.answer().is_some();
        let silence = match &before {
            Exchange::Chosen | Exchange::Connecting => Some(self.begun),
            Exchange::Waiting(waiting) => waiting.sent,
            Exchange::Answered(_) | Exchange::Failed { .. } => None,
        };
        let (mut reused, mut heard, mut broken_off) = (false, has_answer, None);
        if let Exchange::Waiting(waiting) = before {
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
            Ending::Broke if !heard => Reach::Sent,
            _ => Reach::Heard,
        }
    }

    /// Whether silence of this endpoint since then took the better part of the request's whole time. Then it is to
    /// blame that the time is over; otherwise a route of little time would never see who has fallen silent.
    fn spent_the_time(&self, since: Option<Instant>, now: Instant) -> bool {
        let silence = since.map(|since| now.saturating_duration_since(since));
        self.route.timeouts.total.zip(silence).is_some_and(|(total, silence)| silence >= total / 2)
    }

    /// Tells the endpoint's health how this has ended, if that was not done before.
    fn tell(&mut self, outcome: Outcome, now: Instant) {
        let Report::Due(trial) = std::mem::replace(&mut self.report, Report::Made) else { return };
        let health = &self.route.health;
        match (trial, outcome) {
            (Some(trial), outcome) => health.finish(&self.endpoint, trial, outcome, now),
            (None, Outcome::Succeeded) => health.succeeded(&self.endpoint),
            (None, Outcome::Failed(failure)) => health.failed(&self.endpoint, failure, now),
            (None, Outcome::GivenBack) => {}
        }
    }

    fn answer(&self) -> Option<Answered> {
        match self.exchange {
            Exchange::Answered(answered) => Some(answered),
            Exchange::Failed { answered, .. } => answered,
            Exchange::Chosen | Exchange::Connecting | Exchange::Waiting(_) => None,
        }
    }

    /// From the endpoint's choice to the head of its answer.
    pub(super) fn took(&self) -> Option<Duration> {
        self.answer().map(|answer| answer.at.saturating_duration_since(self.begun))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Exchange::Waiting(waiting) = std::mem::replace(&mut self.exchange, Exchange::Chosen) {
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
    use crate::directory::Finding;
    use crate::gateway::shop::{Shop, Stock};
    use crate::traffic::ejection::Grounds;

    const MS: Duration = Duration::from_millis(1);

    /// A shop with one endpoint, whose route has this whole time.
    struct Bench {
        shop: Shop,
        endpoint: Arc<Endpoint>,
        now: Instant,
    }

    impl Bench {
        fn new(total: Option<Duration>) -> Self {
            let shop = Stock { total, ..Stock::of(1) }.open();
            Self { endpoint: shop.endpoint(0), now: shop.now, shop }
        }

        /// An attempt that was not begun.
        fn chosen(&self) -> Attempt {
            Attempt::new(self.shop.chosen(0), self.shop.route.clone(), self.now)
        }

        /// An attempt that has a connection, and waits for nobody to break it off.
        fn attempt(&self) -> Attempt {
            let mut attempt = self.chosen();
            assert!(attempt.begin());
            let patience = Duration::MAX;
            let wait = Wait { since: Some(self.now), patience, repeatable: false };
            attempt.connected(true, -1, wait);
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

        fn ejections(&mut self) -> Vec<Finding> {
            std::iter::from_fn(|| self.shop.found.try_recv().ok()).map(|found| found.finding).collect()
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
    fn who_is_silent_for_the_better_part_of_the_whole_time_has_failed() {
        let mut bench = Bench::new(Some(400 * MS));
        for waited in [300 * MS, 190 * MS] {
            for _ in 0..5 {
                let mut attempt = bench.attempt();
                attempt.sent(None, bench.now);
                bench.now += waited;
                attempt.failed(Ending::Silent, true, bench.now);
            }
            let expected = if waited > 200 * MS { vec![Finding::Ejected(Grounds::Failures)] } else { vec![] };
            assert_eq!(bench.ejections(), expected, "{waited:?}");
        }
    }

    #[test]
    fn the_whole_time_of_a_slow_upload_is_nobodys_failure() {
        let mut bench = Bench::new(Some(400 * MS));
        for _ in 0..10 {
            let mut attempt = bench.attempt();
            bench.now += 400 * MS;
            attempt.failed(Ending::Silent, true, bench.now);
        }
        assert_eq!(bench.ejections(), []);
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
        attempt.connected(false, -1, Wait { since: None, patience: Duration::MAX, repeatable: false });
        assert!(attempt.is_upload());
        attempt.answered(413, bench.now);
        assert!(!attempt.is_upload());
        attempt.sent(None, bench.now);
        assert!(attempt.was_connected() && attempt.took().is_some());
    }
}
