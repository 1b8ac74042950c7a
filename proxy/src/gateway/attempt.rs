//! One attempt on one endpoint, which is told its outcome.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::carry::Connection;
use super::cause::Cause;
use crate::directory::{Endpoint, Entry};
use crate::site::Route;
use crate::traffic::ejection::{Failure, Outcome, Trial};
use crate::traffic::in_flight::Permit;
use crate::traffic::waiting::{self, Broken, Place};

/// An answer that has come for so long says enough, whatever its end: a stream may have none.
const LONG_ENOUGH: Duration = Duration::from_secs(1);

/// An attempt. It has one outcome at most; dropped without one, a trial is given back.
#[derive(Debug)]
pub(super) struct Attempt {
    pub endpoint: Arc<Endpoint>,
    /// The connection that it opens, if no other is free.
    pub connection: Connection,
    /// Whether there is a connection.
    pub connected: bool,
    /// Whether that connection had served before.
    pub reused: bool,
    /// Whether the request has a body, which is sent over it.
    pub upload: bool,
    /// Whether something was known against the endpoint when it was chosen.
    pub doubted: bool,
    route: Arc<Route>,
    trial: Option<Trial>,
    begun: Instant,
    /// When the request was sent whole.
    sent: Option<Instant>,
    /// When the head of the answer came.
    answered: Option<Instant>,
    /// Whether anything came: the head of the answer, or one of those that go before it (1xx).
    heard: bool,
    settled: bool,
    /// Its place among those that wait for a first byte.
    place: Option<Place>,
    /// Its place among the requests in flight at the endpoint.
    permit: Option<Permit>,
}

impl Attempt {
    /// An attempt on an endpoint that balance has chosen.
    pub fn new(entry: &Entry, route: Arc<Route>, permit: Permit, now: Instant) -> Self {
        let mut attempt = Self::on(entry.endpoint.clone(), route, permit, now);
        attempt.doubted = entry.health.is_out();
        attempt
    }

    /// The trial of an ejected endpoint.
    pub fn on_trial(
        endpoint: Arc<Endpoint>,
        route: Arc<Route>,
        permit: Permit,
        trial: Trial,
        now: Instant,
    ) -> Self {
        let mut attempt = Self::on(endpoint, route, permit, now);
        (attempt.doubted, attempt.trial) = (true, Some(trial));
        attempt
    }

    fn on(endpoint: Arc<Endpoint>, route: Arc<Route>, permit: Permit, now: Instant) -> Self {
        Self {
            connection: Connection::new(endpoint.clone()),
            endpoint,
            connected: false,
            reused: false,
            upload: false,
            doubted: false,
            route,
            trial: None,
            begun: now,
            sent: None,
            answered: None,
            heard: false,
            settled: false,
            place: None,
            permit: Some(permit),
        }
    }

    /// There is a connection, on which the request waits from now on.
    pub fn connected(&mut self, reused: bool, connection: RawFd, request: waiting::Request) {
        (self.connected, self.reused) = (true, reused);
        if !reused {
            self.connection.opened(connection);
        }
        self.upload = request.since.is_none();
        self.place = Some(self.route.health.wait(&self.endpoint, connection, request));
    }

    /// The request was sent whole. An upload waits otherwise from now on.
    pub fn sent(&mut self, request: Option<waiting::Request>, now: Instant) {
        self.sent = Some(now);
        if let Some((place, request)) = self.place.as_ref().zip(request) {
            self.endpoint.traffic.waiting.sent(place, request);
        }
    }

    /// The request waits no more: before its connection is used for anything else. Says why, if it was
    /// broken off.
    pub fn stop_waiting(&mut self) -> Option<Broken> {
        self.endpoint.traffic.waiting.leave(self.place.take()?)
    }

    /// A head that goes before the answer's (1xx) is here.
    pub fn heard(&mut self, now: Instant) {
        self.heard = true;
        self.endpoint.traffic.waiting.heard(now);
    }

    /// The head of the answer is here.
    pub fn answered(&mut self, status: u16, now: Instant) {
        self.stop_waiting();
        self.heard(now);
        self.answered = Some(now);
        let failure = Failure::of_status(status);
        // An answer that came before the request was sent whole waited for the client, too.
        if let Some(waited) = self.sent.map(|sent| now.saturating_duration_since(sent)) {
            if failure.is_some() || self.route.retry.statuses.contains(&status) {
                self.was_not_faster(waited, now);
            } else {
                self.endpoint.traffic.latency.record(waited, now);
            }
        }
        if let Some(failure) = failure {
            self.fail(failure, now);
        }
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
    pub fn went_on(&mut self, now: Instant) {
        self.endpoint.traffic.waiting.heard(now);
        let long = self.answered.is_some_and(|at| now.saturating_duration_since(at) >= LONG_ENOUGH);
        if long && self.trial.is_some() {
            self.succeeded(now);
        }
    }

    /// The answer is complete.
    pub fn succeeded(&mut self, now: Instant) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        match self.trial.take() {
            Some(trial) => self.route.health.finish(&self.endpoint, trial, Outcome::Succeeded, now),
            None => self.route.health.succeeded(&self.endpoint),
        }
    }

    /// The attempt has failed, be it by the endpoint's fault or not.
    pub fn failed(&mut self, cause: Cause, now: Instant) {
        // The next attempt may be on this endpoint again, and must find its place free. The answer of a
        // status may yet be the one that the client gets.
        if cause != Cause::Status {
            self.permit = None;
        }
        let failure = match cause {
            Cause::Total => self.spent_the_time(now).then_some(Failure::Timeout),
            cause => cause.failure(),
        };
        if let Some(failure) = failure {
            if self.answered.is_none() {
                self.was_not_faster(Duration::ZERO, now);
            }
            self.fail(failure, now);
        }
    }

    /// Whether silence of this endpoint took the better part of the request's whole time. Then it is to
    /// blame that the time is over; otherwise a route of little time would never see who has fallen silent.
    fn spent_the_time(&self, now: Instant) -> bool {
        let since = if self.connected { self.sent } else { Some(self.begun) };
        let silence =
            since.filter(|_| self.answered.is_none()).map(|since| now.saturating_duration_since(since));
        self.route.timeouts.total.zip(silence).is_some_and(|(total, silence)| silence >= total / 2)
    }

    fn fail(&mut self, failure: Failure, now: Instant) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        match self.trial.take() {
            Some(trial) => self.route.health.finish(&self.endpoint, trial, Outcome::Failed(failure), now),
            None => self.route.health.failed(&self.endpoint, failure, now),
        }
    }

    /// Whether the endpoint has said anything.
    pub fn was_heard(&self) -> bool {
        self.heard
    }

    /// From the endpoint's choice to the head of its answer.
    pub fn took(&self) -> Option<Duration> {
        self.answered.map(|at| at.saturating_duration_since(self.begun))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.stop_waiting();
        if let Some(trial) = self.trial.take() {
            self.route.health.finish(&self.endpoint, trial, Outcome::GivenBack, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::directory;
    use crate::directory::Finding;
    use crate::health::findings::{self, Found};
    use crate::health::service_health::of_services;
    use crate::metrics::Metrics;
    use crate::traffic::ejection::Reason;
    use tokio::sync::mpsc::UnboundedReceiver;

    const MS: Duration = Duration::from_millis(1);

    /// An endpoint, and a route of this whole time that leads to it.
    struct Bench {
        endpoint: Arc<Endpoint>,
        route: Arc<Route>,
        found: UnboundedReceiver<Found>,
        now: Instant,
    }

    impl Bench {
        fn new(total: Option<Duration>) -> Self {
            let now = Instant::now();
            let (directory, _writer) = directory::new(["goods"]);
            let (sender, found) = findings::channel();
            let health = of_services(&directory, &config::Services::default(), &sender, &Arc::default());
            let mut timeouts: config::RouteTimeouts = (&config::Timeouts::default()).into();
            timeouts.total = total;
            let route = Route {
                service: directory.service("goods").unwrap().clone(),
                health: health["goods"].clone(),
                timeouts,
                retry: config::Retry::default(),
                limits: config::Limits::default(),
                budget: config::Budget::default(),
                metrics: Metrics::new().unwrap().service("goods"),
                counts_requests: false,
            };
            let endpoint = Endpoint::new(1, "goods".into(), "1".into(), ([10, 0, 0, 1], 80).into());
            Self { endpoint: Arc::new(endpoint), route: Arc::new(route), found, now }
        }

        /// An attempt that has a connection, and waits for nobody to break it off.
        fn attempt(&self) -> Attempt {
            let permit = self.endpoint.traffic.in_flight.try_acquire(None).unwrap();
            let mut attempt = Attempt::on(self.endpoint.clone(), self.route.clone(), permit, self.now);
            attempt.connected = true;
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
            std::iter::from_fn(|| self.found.try_recv().ok()).map(|found| found.finding).collect()
        }
    }

    #[test]
    fn an_endpoint_that_fails_fast_does_not_look_fast() {
        let mut bench = Bench::new(None);
        (0..100).for_each(|_| bench.answer(200, 20 * MS));
        let before = bench.peak();
        for _ in 0..100 {
            bench.answer(503, MS / 10);
            bench.attempt().failed(Cause::Refused, bench.now);
            bench.now += 10 * MS;
        }
        assert!(bench.peak() > 0.95 * before, "{} after {before}", bench.peak());
        let usual = bench.endpoint.traffic.latency.usual().unwrap();
        assert!((19 * MS..22 * MS).contains(&usual), "{usual:?}");
        bench.answer(500, 90 * MS);
        assert!(bench.peak() > 0.08, "slow as it failed: {}", bench.peak());
        bench.now += 600_000 * MS;
        bench.attempt().failed(Cause::Refused, bench.now);
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
                attempt.failed(Cause::Total, bench.now);
            }
            let expected = if waited > 200 * MS { vec![Finding::Ejected(Reason::Failures)] } else { vec![] };
            assert_eq!(bench.ejections(), expected, "{waited:?}");
        }
    }

    #[test]
    fn the_whole_time_of_a_slow_upload_is_nobodys_failure() {
        let mut bench = Bench::new(Some(400 * MS));
        for _ in 0..10 {
            let mut attempt = bench.attempt();
            bench.now += 400 * MS;
            attempt.failed(Cause::Total, bench.now);
        }
        assert_eq!(bench.ejections(), []);
    }

    #[test]
    fn a_failed_attempt_leaves_its_place_to_the_next_and_one_whose_answer_may_be_used_does_not() {
        let bench = Bench::new(None);
        let mut attempts = [bench.attempt(), bench.attempt()];
        attempts[0].failed(Cause::Closed, bench.now);
        attempts[1].failed(Cause::Status, bench.now);
        assert_eq!(bench.endpoint.traffic.in_flight.count(), 1);
    }
}
