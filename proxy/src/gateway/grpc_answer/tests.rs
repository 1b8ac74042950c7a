use super::*;
use crate::gateway::cause::{Ending, Reset};
use crate::gateway::fixture::{Fixture, Setup, from};
use crate::gateway::grammar::Refusal;
use crate::head::tests::{FakeHead, head};
use http::Method;
use std::sync::Arc;

/// A call of this type.
fn call(content_type: &'static [u8]) -> FakeHead {
    head(Method::POST, "/shop.v1.Goods/List", &[("content-type", content_type)]).over_http2()
}

/// What a call gets whose route has taken it to the service.
fn answered(fixture: &Fixture, answer: Answer, head: &FakeHead) -> (Reply, Request) {
    let mut request = fixture.request();
    request.begin(head, from("192.0.2.7"));
    request.declined(fixture.way.route.clone(), Some(fixture.way.target.clone()), None);
    request.is_taken_by(&fixture.way.route, head).unwrap();
    let reply = own(answer, &mut request, head);
    (reply, request)
}

fn shown(reply: &Reply) -> Vec<(&str, &str)> {
    reply.fields.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
}

#[test]
fn an_answer_of_the_gateways_own_to_a_call_is_a_head_that_says_its_status() {
    let fixture = Setup::of(1).build();
    let answer = Answer::to(Ending::Refused, false, false).unwrap();
    let (reply, request) = answered(&fixture, answer, &call(b"application/grpc+proto"));
    assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 0));
    let expected = [
        ("content-type", "application/grpc"),
        ("grpc-status", "14"),
        ("grpc-message", "service goods: no endpoint could be reached"),
    ];
    assert_eq!(shown(&reply), expected);
    assert_eq!(request.grpc_status(200), Status::Unavailable);
}

#[test]
fn a_browser_finds_the_same_in_the_body() {
    let mut fixture = Setup::of(1).build();
    Arc::get_mut(&mut fixture.way.route).unwrap().grpc_web = true;
    for (asked, content_type) in [
        (&b"application/grpc-web+proto"[..], "application/grpc-web"),
        (b"application/grpc-web-text", "application/grpc-web-text"),
    ] {
        let (reply, request) = answered(&fixture, Answer::FULL_SERVICE, &call(asked));
        let length = reply.body.len().to_string();
        assert_eq!(shown(&reply), [("content-type", content_type), ("content-length", &*length)]);
        let last = last_fields(
            Status::ResourceExhausted,
            &format!("service goods: {}", Answer::FULL_SERVICE.error().unwrap().1),
        );
        let last = last.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let form = request.web_form(&call(asked)).unwrap().is_text;
        assert_eq!(form, content_type.ends_with("text"));
        assert_eq!(reply.body, crate::gateway::grpc::Form::of(asked).unwrap().last_piece(last));
    }
}

#[test]
fn each_answer_has_the_status_that_its_caller_can_go_by() {
    let to = |ending| Answer::to(ending, false, false).unwrap();
    let refused = |status| Answer::refused(Refusal { status, why: "as it was" });
    for (answer, expected) in [
        (Answer::NO_ROUTE, Status::Unimplemented),
        (Answer::FULL_GATEWAY, Status::ResourceExhausted),
        (Answer::FULL_SERVICE, Status::ResourceExhausted),
        (Answer::FULL_ENDPOINTS, Status::ResourceExhausted),
        (Answer::LOOP, Status::Internal),
        (Answer::NO_HOST, Status::Internal),
        (Answer::NOT_READ, Status::Unavailable),
        (Answer::to(Ending::Broke, true, false).unwrap(), Status::DeadlineExceeded),
        (Answer::to(Ending::Broke, false, true).unwrap(), Status::DeadlineExceeded),
        (to(Ending::ClientSilent), Status::DeadlineExceeded),
        (to(Ending::BadBody), Status::Internal),
        (to(Ending::Refused), Status::Unavailable),
        (to(Ending::ConnectTimeout), Status::Unavailable),
        (to(Ending::NoConnection), Status::Unavailable),
        (to(Ending::Silent), Status::DeadlineExceeded),
        (to(Ending::Broke), Status::Unavailable),
        (to(Ending::Reset(Reset::Cancelled)), Status::Cancelled),
        (to(Ending::Reset(Reset::TooMuch)), Status::ResourceExhausted),
        (to(Ending::Reset(Reset::Insecure)), Status::PermissionDenied),
        (to(Ending::Reset(Reset::Other)), Status::Internal),
        (to(Ending::Declined), Status::Unavailable),
        (to(Ending::WentAway), Status::Unavailable),
        (to(Ending::NotHttp), Status::Unavailable),
        (to(Ending::Fault), Status::Internal),
        (refused(400), Status::Internal),
        (refused(413), Status::ResourceExhausted),
        (refused(431), Status::ResourceExhausted),
        (Answer::as_route(403), Status::PermissionDenied),
        (Answer::as_route(401), Status::Unauthenticated),
        (Answer::as_route(404), Status::Unimplemented),
        (Answer::as_route(200), Status::Unknown),
        (Answer::as_route(308), Status::Unknown),
    ] {
        assert_eq!(status_of(answer), expected, "{answer:?}");
    }
}
