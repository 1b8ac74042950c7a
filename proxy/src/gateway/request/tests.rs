use super::*;
use crate::gateway::cause::Cause;
use crate::gateway::fixture::{Fixture, NOWHERE, Setup, from, get};
use crate::gateway::grpc::End;
use crate::gateway::retry::{Replay, Tries};
use crate::grpc::Status;
use crate::head::tests::head;
use crate::traffic::in_flight::InFlight;

const MS: Duration = Duration::from_millis(1);
const SAFE: Replay = Replay { idempotent: true, whole: true, unanswered: true };

/// A service whose requests may take 400 ms, and a request whose first attempt has begun.
fn within_400_ms(endpoints: u8) -> (Fixture, Request, Instant) {
    let fixture = Setup { total: Some(400 * MS), ..Setup::of(endpoints) }.build();
    let request = fixture.sent_to(0);
    let started = request.started;
    (fixture, request, started)
}

#[test]
fn a_request_that_was_not_let_in_has_nothing_to_begin_and_nothing_to_lose() {
    let fixture = Setup::of(1).build();
    let mut request = fixture.request();
    let later = Instant::now() + Duration::from_secs(1_000);
    for _ in 0..2 {
        assert!(request.begin_attempt().is_none() && request.attempt_mut().is_none());
        assert!(request.failed(Ending::Fault, "as it was".into(), later).is_none());
        assert_eq!((request.attempts_begun(), request.failures().len(), request.tried()), (0, 0, &[][..]));
        assert!(!request.is_over(later), "nothing bounds it");
        request.declined(fixture.way.route.clone(), None, Some("too many"));
    }
    assert_eq!(request.error(), Some("too many"));
}

#[test]
fn a_request_knows_its_client_by_one_name() {
    let fixture = Setup::of(1).build();
    let mut request = fixture.request();
    request.begin(&get(), from("::ffff:192.0.2.7"));
    assert_eq!(request.client.as_str(), "192.0.2.7", "as it is known where IPv6 is not spoken");
    request.begin(&get(), NOWHERE);
    assert_eq!(request.trace.id().len(), 32);
}

#[test]
fn an_endpoint_that_failed_is_not_chosen_again_and_one_whose_client_left_is_not_held_against_it() {
    let fixture = Setup::of(2).build();
    let mut request = fixture.sent_to(0);
    request.failed(Ending::Refused, "refused".into(), fixture.now);
    assert_eq!(request.tried(), [fixture.endpoint(0).id]);
    request.goes_to(fixture.chosen(1), false, fixture.now);
    assert!(request.begin_attempt().is_some() && request.begin_attempt().is_none());
    request.failed(Ending::ClientLeft, "left".into(), fixture.now);
    assert_eq!(request.tried(), [fixture.endpoint(0).id]);
    let causes: Vec<_> = request.failures().iter().map(|failed| failed.cause).collect();
    assert_eq!(causes, [Cause::Refused, Cause::Client]);
    assert_eq!((request.attempts_begun(), request.error()), (2, Some("left")));
    request.forgive();
    assert!(request.tried().is_empty());
}

#[test]
fn an_answer_that_is_used_after_all_leaves_what_failed_before_it() {
    let fixture = Setup::of(2).build();
    let mut request = fixture.sent_to(0);
    request.failed(Ending::Refused, "refused".into(), fixture.now);
    request.goes_to(fixture.chosen(1), false, fixture.now);
    request.begin_attempt();
    request.attempt_mut().unwrap().answered(503, fixture.now);
    request.answered_with_failure();
    assert_eq!(request.failures().len(), 2);
    request.keep_answer();
    assert_eq!(request.failures().len(), 1);
    assert_eq!(request.error(), Some("refused"));
}

#[test]
fn the_whole_time_bounds_a_request_until_it_is_a_tunnel() {
    let (_fixture, mut request, started) = within_400_ms(1);
    assert_eq!(request.left(started + 100 * MS), Some(300 * MS));
    assert!(!request.is_over(started + 399 * MS) && request.is_over(started + 400 * MS));
    let Tries { begun, permitted, is_over } = request.tries(started + 400 * MS);
    assert_eq!((begun, permitted, is_over), (1, 3, true));
    request.attempt_mut().unwrap().answered(101, started);
    assert_eq!(request.left(started + 1_000 * MS), None);
}

/// A call with these fields, whose first attempt has begun.
fn call(fixture: &Fixture, fields: &[(&'static str, &[u8])]) -> Request {
    let mut request = fixture.sent_to(0);
    request.begin(&head(Method::POST, "/shop.v1.Goods/List", fields).over_http2(), NOWHERE);
    request
}

#[test]
fn a_calls_own_time_bounds_it_as_its_routes_does_and_goes_on_as_what_is_left_of_it() {
    let grpc = ("content-type", &b"application/grpc"[..]);
    for (total, timeout, left, goes_on) in [
        (None, None, None, None),
        (Some(400), None, Some(300), None),
        (None, Some("2S"), Some(1_900), Some("1900000u")),
        (Some(400), Some("2S"), Some(300), Some("300000u")),
        (Some(400), Some("150m"), Some(50), Some("50000000n")),
        (Some(400), Some("1n"), Some(0), Some("1n")),
    ] {
        let fixture = Setup { total: total.map(|total| total * MS), ..Setup::of(1) }.build();
        let timeout = timeout.map(|timeout: &str| ("grpc-timeout", timeout.as_bytes()));
        let request = call(&fixture, &[grpc].into_iter().chain(timeout).collect::<Vec<_>>());
        let now = request.started + 100 * MS;
        assert_eq!(request.left(now), left.map(|left| left * MS), "{timeout:?} of {total:?}");
        assert_eq!(request.call_timeout(now).as_deref(), goes_on, "{timeout:?} of {total:?}");
        assert_eq!(request.is_over(now), left == Some(0));
    }
    let fixture = Setup::of(1).build();
    let no_call = call(&fixture, &[("grpc-timeout", b"1n")]);
    assert_eq!(no_call.left(no_call.started), None, "it means nothing to others");
}

#[test]
fn a_call_whose_time_is_malformed_is_declined_by_whatever_route_takes_it() {
    for (content_type, grpc_web, timeout, is_declined) in [
        ("application/grpc", false, "123456789m", true),
        ("application/grpc", false, "12345678m", false),
        ("application/grpc-web", false, "123456789m", false),
        ("application/grpc-web", true, "123456789m", true),
        ("application/json", true, "123456789m", false),
    ] {
        let mut fixture = Setup::of(1).build();
        Arc::get_mut(&mut fixture.way.route).unwrap().grpc_web = grpc_web;
        let fields = [("content-type", content_type.as_bytes()), ("grpc-timeout", timeout.as_bytes())];
        let head = head(Method::POST, "/shop.v1.Goods/List", &fields).over_http2();
        let mut request = fixture.request();
        request.begin(&head, NOWHERE);
        let expected = if is_declined { Err(Answer::BAD_TIMEOUT) } else { Ok(()) };
        assert_eq!(request.is_taken_by(&fixture.way.route, &head), expected, "{content_type} {timeout}");
        assert_eq!(
            request.is_call(),
            content_type != "application/json" && (grpc_web || content_type.ends_with("grpc"))
        );
        assert_eq!(request.web_form(&head).is_some(), grpc_web && content_type.ends_with("web"));
    }
}

#[test]
fn a_call_of_which_nobody_said_how_it_ended_ended_so() {
    let fixture = Setup::of(2).build();
    let mut request = call(&fixture, &[("content-type", b"application/grpc")]);
    assert_eq!(request.grpc_status(200), Status::Unknown);
    assert_eq!(request.grpc_status(0), Status::Cancelled, "it left before it was answered");
    request.failed(Ending::ClientLeft, "left".into(), fixture.now);
    assert_eq!(request.grpc_status(200), Status::Cancelled, "and within its answer");
    request.call_ended(End::of_trailers(None), fixture.now);
    assert_eq!(request.grpc_status(200), Status::Unknown);
    assert!(request.call_fault().is_some());
}

#[test]
fn a_request_waits_for_as_long_as_it_has_and_can_move_where_there_is_somewhere_to_go() {
    for (endpoints, can_move) in [(1, false), (2, true)] {
        let (_fixture, request, started) = within_400_ms(endpoints);
        let now = started + 150 * MS;
        let waits = request.waits(Some(now), SAFE, now);
        assert_eq!((waits.patience, waits.repeatable), (250 * MS, can_move));
        let post = Replay { idempotent: false, ..SAFE };
        assert!(!request.waits(Some(now), post, now).repeatable);
        assert!(!request.waits(None, SAFE, now).repeatable, "it is still being sent");
    }
}

#[test]
fn whoever_was_broken_off_is_told_that_the_endpoint_did_not_answer_in_time() {
    for (cause, status) in [(Cause::Stalled, 504), (Cause::FirstByte, 504), (Cause::Broken, 502)] {
        let fixture = Setup::of(1).build();
        let mut request = fixture.sent_to(0);
        request.attempts_mut().unwrap().note(cause);
        let answer = request.answer_to_failed(Ending::Broke, fixture.now).unwrap();
        assert_eq!(answer.status, status, "{cause:?}");
    }
}

#[test]
fn a_request_that_is_answered_has_left_its_service() {
    let fixture = Setup::of(1).build();
    let in_flight = Arc::new(InFlight::default());
    let mut request = fixture.request();
    let permit = in_flight.try_acquire(None).unwrap();
    request.admitted(fixture.way.clone(), fixture.chosen(0), permit, fixture.now);
    assert_eq!(in_flight.count(), 1);
    request.leaves_service();
    assert_eq!(in_flight.count(), 0);
    request.was_answered(request.started + 5 * MS);
    assert_eq!(request.took(request.started + 900 * MS), 5 * MS, "what comes after is its client's");
}

#[test]
fn a_panic_counts_against_its_request_and_leaves_nothing_in_flight() {
    let fixture = Setup::of(1).build();
    let request = fixture.sent_to(0);
    let serving = std::thread::spawn(move || {
        let _request = request;
        panic!("while serving");
    });
    assert!(serving.join().is_err());
    assert_eq!(fixture.in_flight(), 0);
    assert_eq!(fixture.endpoint(0).traffic.in_flight.count(), 0);
    assert!(fixture.counts("leaseway_panics_total 1"));
}
