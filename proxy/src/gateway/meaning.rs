//! What the head of an answer means for the request that it came to.

use std::time::Instant;

use super::grammar::{SWITCHES, is_interim};
use super::grpc::End;
use super::request::Request;
use super::resend;
use super::retry::Replay;
use crate::grpc::Status;
use crate::head::Head;

/// What the head of an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It goes before the answer's.
    Interim,
    /// Another endpoint is asked in its place, which is chosen.
    Elsewhere,
    /// The connection becomes a tunnel.
    Tunnel,
    /// The client is answered with it.
    Answer,
}

/// What a head with this status means, which the request's attempt is told of. (Whether a tunnel was asked for, its carrier
/// has found out.)
pub(super) fn of(
    request: &mut Request,
    head: &impl Head,
    status: u16,
    replay: Replay,
    now: Instant,
) -> Meaning {
    if is_interim(status) {
        if let Some(attempt) = request.attempt_mut() {
            attempt.heard(now);
        }
        return Meaning::Interim;
    }
    let is_tried_elsewhere = request.attempt_mut().is_some_and(|attempt| attempt.answered(status, now));
    if is_tried_elsewhere
        && resend::try_elsewhere(request, head, format_args!("status {status}"), replay, now)
    {
        Meaning::Elsewhere
    } else if status == SWITCHES {
        Meaning::Tunnel
    } else {
        Meaning::Answer
    }
}

/// The same of the head of an answer to a call of gRPC. If it says how the call has ended (`end`), that is noted; else
/// [`Request::call_ended`] is told when the trailers are here.
pub(super) fn of_call(
    request: &mut Request,
    head: &impl Head,
    (status, end): (u16, Option<End>),
    replay: Replay,
    now: Instant,
) -> Meaning {
    if is_interim(status) {
        return of(request, head, status, replay, now);
    }
    let (ended, attempt) = (end.map(|end| end.status), request.attempt_mut());
    if attempt.is_some_and(|attempt| attempt.answered_call(status, ended, now)) {
        let ended = ended.map_or("unknown yet", Status::as_str);
        let said = format_args!("status {status}, grpc-status {ended}");
        if resend::try_elsewhere(request, head, said, replay, now) {
            return Meaning::Elsewhere;
        }
    }
    if let Some(end) = end {
        request.call_came_to(end);
    }
    Meaning::Answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::gateway::fixture::{Setup, from, get};
    use crate::gateway::grpc::AnswerHead;
    use crate::gateway::retry::is_idempotent;
    use crate::head::tests::head;
    use http::Method;

    #[test]
    fn a_status_means_this() {
        for (endpoints, status, expected) in [
            (2, 100, Meaning::Interim),
            (2, 199, Meaning::Interim),
            (2, 101, Meaning::Tunnel),
            (2, 200, Meaning::Answer),
            (2, 500, Meaning::Answer),
            (2, 503, Meaning::Elsewhere),
            (1, 503, Meaning::Answer),
        ] {
            let retry = config::Retry { statuses: vec![503], ..config::Retry::default() };
            let fixture = Setup { retry, ..Setup::of(endpoints) }.build();
            let mut request = fixture.sent_to(0);
            let idempotent = is_idempotent(&Method::GET, &fixture.way.route.retry);
            let replay = Replay { idempotent, whole: true, unanswered: true };
            let meaning = of(&mut request, &get(), status, replay, fixture.now);
            assert_eq!(meaning, expected, "{status} of one of {endpoints}");
            let is_next = request.attempt().is_some_and(|attempt| attempt.is_next());
            assert_eq!(is_next, meaning == Meaning::Elsewhere);
        }
    }

    /// What the answer to a call means: trailers alone with this status, or a head that others follow.
    fn of_trailers_alone(endpoints: u8, value: Option<&str>, replay: Replay) -> (Meaning, Request) {
        let retry = config::Retry { idempotent: true, grpc: vec![Status::Unavailable], ..Default::default() };
        let fixture = Setup { retry, ..Setup::of(endpoints) }.build();
        let mut request = fixture.sent_to(0);
        let call =
            head(Method::POST, "/shop.v1.Goods/List", &[("content-type", b"application/grpc")]).over_http2();
        request.begin(&call, from("192.0.2.7"));
        let answer = AnswerHead {
            status: 200,
            content_type: Some(b"application/grpc"),
            grpc_status: value.map(str::as_bytes),
            is_end: value.is_some(),
        };
        let meaning = of_call(&mut request, &call, (200, answer.end()), replay, fixture.now);
        (meaning, request)
    }

    #[test]
    fn a_call_that_has_failed_at_once_is_tried_elsewhere_if_its_route_says_so() {
        let safe = Replay { idempotent: true, whole: true, unanswered: true };
        for (endpoints, value, replay, expected) in [
            (2, Some("14"), safe, Meaning::Elsewhere),
            (1, Some("14"), safe, Meaning::Answer),
            (2, Some("14"), Replay { whole: false, ..safe }, Meaning::Answer),
            (2, Some("14"), Replay { unanswered: false, ..safe }, Meaning::Answer),
            (2, Some("13"), safe, Meaning::Answer),
            (2, Some("0"), safe, Meaning::Answer),
            (2, None, safe, Meaning::Answer),
        ] {
            let (meaning, request) = of_trailers_alone(endpoints, value, replay);
            assert_eq!(meaning, expected, "{value:?} of one of {endpoints}, {replay:?}");
            let is_known = value.is_some() && meaning == Meaning::Answer;
            let status = value.filter(|_| is_known).and_then(|value| Status::of_value(value.as_bytes()));
            assert_eq!(request.grpc_status(200), status.unwrap_or(Status::Unknown));
            let told = "the endpoint: status 200, grpc-status UNAVAILABLE: tried elsewhere";
            assert_eq!(request.error(), (meaning == Meaning::Elsewhere).then_some(told));
        }
    }
}
