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
        assert_eq!(bench.peak() < 0.95 * before, looks_fast, "{comes:?}: {} after {before}", bench.peak());
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
        for (mut attempt, ending) in [(bench.sent(), Ending::Silent), (connecting, Ending::ConnectTimeout)] {
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
