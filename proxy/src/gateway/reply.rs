//! An answer of the gateway's own, as it is sent.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

use super::answer::{Answer, Said};
use super::edits::Facts;
use super::request::Request;
use crate::config::{ErrorAnswer, Piece, Template, Variable};
use crate::head::Head;
use crate::site::Action;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer of the gateway's own as it is sent: with its length. What every answer has, and what its route says of
/// answers, is not in it yet.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    /// In their order.
    pub(super) fields: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Bytes,
}

/// A field's name as it is usually written: `Content-Type`.
pub(super) fn written(name: &HeaderName) -> Bytes {
    let mut is_first = true;
    let letter = |byte: u8| {
        let letter = if is_first { byte.to_ascii_uppercase() } else { byte };
        is_first = byte == b'-';
        letter
    };
    name.as_str().bytes().map(letter).collect()
}

/// What is said of an error with this status: it names the service where the fault may be there.
pub(super) fn message_of<'m>(status: u16, message: &'m str, request: &Request) -> Cow<'m, str> {
    let service = request.target().map(|target| &**target.service.name());
    match service {
        Some(service) if status >= 502 => Cow::Owned(format!("service {service}: {message}")),
        _ => Cow::Borrowed(message),
    }
}

impl Reply {
    /// What this request gets. `head`: as it came from the client.
    pub(super) fn of(answer: Answer, request: &Request, head: &impl Head) -> Self {
        match answer.said() {
            Said::Plain(text) => {
                let content_type = HeaderValue::from_static("text/plain");
                Self::with_body(answer.status, content_type, Bytes::from_static(text.as_bytes()))
            }
            Said::Message(_, message) => Self::of_error(answer.status, message, request, head),
            Said::AsRoute => Self::of_route(answer.status, request),
        }
    }

    fn of_error(status: u16, message: &str, request: &Request, head: &impl Head) -> Self {
        let message = message_of(status, message, request);
        let of_route = request.route().and_then(|route| route.errors.get(status));
        let mut reply = match of_route.or_else(|| request.common.errors.get(status)).as_deref() {
            None => {
                let body = json!({"code": -1, "message": message, "trace_id": request.trace.id()});
                Self::with_body(status, JSON, body.to_string().into())
            }
            Some(ErrorAnswer::Json(members)) => {
                let facts = Facts { status: Some(status), message: &message, ..Facts::of(request, head) };
                Self::with_body(status, JSON, object(members, &facts).into())
            }
            Some(ErrorAnswer::File { content_type, body }) => {
                Self::with_body(status, content_type.clone(), body.clone())
            }
        };
        if status == 503 {
            reply.fields.push((header::RETRY_AFTER, HeaderValue::from_static("1")));
        }
        reply
    }

    /// What the request's route says.
    fn of_route(status: u16, request: &Request) -> Self {
        let (fields, body) = match request.route().map(|route| &route.action) {
            Some(Action::Answer(answer)) => (answer.headers.clone(), answer.body.clone()),
            _ => {
                let location = request.location().cloned();
                (location.into_iter().map(|location| (header::LOCATION, location)).collect(), Bytes::new())
            }
        };
        Self::new(status, fields, body)
    }

    fn with_body(status: u16, content_type: HeaderValue, body: Bytes) -> Self {
        Self::new(status, vec![(header::CONTENT_TYPE, content_type)], body)
    }

    /// With its length, if it may say one: RFC 9110, 8.6, 15.3.6 and 15.4.5.
    fn new(status: u16, mut fields: Vec<(HeaderName, HeaderValue)>, mut body: Bytes) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if matches!(status.as_u16(), 204 | 205 | 304) {
            body.clear();
        }
        if !matches!(status.as_u16(), 204 | 304) {
            fields.push((header::CONTENT_LENGTH, body.len().into()));
        }
        Self { status, fields, body }
    }
}

/// An object of JSON, its members in their order. They are texts, but for one that is the status and no more: a number,
/// as RFC 9457 has it.
fn object(members: &[(String, Template)], facts: &Facts<'_>) -> String {
    let text = |text: String| json!(text).to_string();
    let member = |(name, template): &(String, Template)| {
        let value = match (&template.pieces[..], facts.status) {
            ([Piece::Variable(Variable::Status)], Some(status)) => status.to_string(),
            _ => text(facts.text(template)),
        };
        format!("{}:{value}", text(name.clone()))
    };
    format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ErrorAnswers, FixedAnswer, Redirect};
    use crate::gateway::fixture::{Fixture, Setup};
    use crate::head::tests::{FakeHead, head};
    use http::Method;
    use serde_json::Value;
    use std::sync::Arc;

    fn of_path(path: &'static str) -> FakeHead {
        head(Method::GET, path, &[("host", b"shop.example:80")])
    }

    fn field(reply: &Reply, name: HeaderName) -> Option<&str> {
        let (_, value) = reply.fields.iter().find(|(known, _)| *known == name)?;
        Some(value.to_str().unwrap())
    }

    fn json_of(reply: &Reply) -> Value {
        serde_json::from_slice(&reply.body).unwrap()
    }

    /// The reply to a request whose route has taken it to this service, or to none.
    fn reply(fixture: &Fixture, answer: Answer, has_service: bool) -> Reply {
        let mut request = fixture.request();
        let target = has_service.then(|| fixture.way.target.clone());
        request.declined(fixture.way.route.clone(), target, None);
        Reply::of(answer, &request, &of_path("/goods"))
    }

    fn members(members: &[(&str, &[Piece])]) -> Arc<ErrorAnswer> {
        let member =
            |(name, pieces): &(&str, &[Piece])| ((*name).to_owned(), Template { pieces: pieces.to_vec() });
        Arc::new(ErrorAnswer::Json(members.iter().map(member).collect()))
    }

    fn file(text: &'static str) -> Arc<ErrorAnswer> {
        let content_type = HeaderValue::from_static("text/html");
        Arc::new(ErrorAnswer::File { content_type, body: Bytes::from_static(text.as_bytes()) })
    }

    #[test]
    fn an_error_names_the_service_only_where_the_fault_may_be_there() {
        let fixture = Setup::of(1).build();
        let said = |answer, has_service| {
            let json = json_of(&reply(&fixture, answer, has_service));
            assert_eq!(json["code"], json!(-1));
            json["message"].as_str().unwrap().to_owned()
        };
        assert_eq!(
            said(Answer::FULL_ENDPOINTS, false),
            said(Answer::FULL_ENDPOINTS, true).replace("service goods: ", "")
        );
        assert!(said(Answer::FULL_SERVICE, true).starts_with("service goods: "));
        assert_eq!(said(Answer::NO_ROUTE, false), "no route takes this request");
        assert_eq!(said(Answer::bad_request("no"), true), "no");
    }

    #[test]
    fn an_answer_has_its_length_and_says_when_to_come_back_if_that_helps() {
        let fixture = Setup::of(1).build();
        for (answer, retry_after) in
            [(Answer::FULL_SERVICE, Some("1")), (Answer::LOOP, None), (Answer::NO_ROUTE, None)]
        {
            let reply = reply(&fixture, answer, true);
            assert_eq!(field(&reply, header::CONTENT_LENGTH), Some(&*reply.body.len().to_string()));
            assert_eq!(field(&reply, header::CONTENT_TYPE), Some("application/json"));
            assert_eq!(field(&reply, header::RETRY_AFTER), retry_after);
        }
    }

    #[test]
    fn the_gateway_says_of_itself_its_name_and_whether_it_is_ready() {
        for (is_ready, status) in [(true, 200), (false, 503)] {
            let fixture = Setup::of(0).build();
            let reply = Reply::of(Answer::itself(is_ready), &fixture.request(), &of_path("/"));
            assert_eq!((reply.status.as_u16(), &reply.body[..]), (status, &b"gateway"[..]));
            assert_eq!(field(&reply, header::CONTENT_TYPE), Some("text/plain"));
            assert_eq!(field(&reply, header::RETRY_AFTER), None);
        }
    }

    #[test]
    fn an_error_is_as_its_route_says_it_else_as_the_gateway_does_and_a_status_goes_before_its_hundred() {
        let of = |by_status: &[u16], by_hundred: &[u16], name: &'static str| ErrorAnswers {
            by_status: by_status.iter().map(|status| (*status, file(name))).collect(),
            by_hundred: by_hundred.iter().map(|digit| (*digit, file(name))).collect(),
        };
        for (route, gateway, expected) in [
            (of(&[404], &[4], "route"), of(&[404], &[4], "gateway"), Some("route")),
            (of(&[], &[4], "route"), of(&[404], &[], "gateway"), Some("route")),
            (of(&[403], &[5], "route"), of(&[404], &[], "gateway"), Some("gateway")),
            (of(&[], &[], ""), of(&[], &[4], "gateway"), Some("gateway")),
            (of(&[], &[], ""), of(&[403], &[5], "gateway"), None),
        ] {
            let fixture = Setup { errors: route, gateway_errors: gateway, ..Setup::of(1) }.build();
            let reply = reply(&fixture, Answer::NO_ROUTE, false);
            let html = (field(&reply, header::CONTENT_TYPE) == Some("text/html")).then_some(&reply.body[..]);
            assert_eq!(html, expected.map(str::as_bytes));
        }
    }

    #[test]
    fn an_object_keeps_its_order_and_escapes_what_a_client_has_written() {
        let [path, status, message] =
            [Variable::Path, Variable::Status, Variable::Message].map(Piece::Variable);
        let text = |text: &str| Piece::Text(text.into());
        let errors = ErrorAnswers {
            by_hundred: vec![(
                5,
                members(&[
                    ("z\"", &[text("at "), path]),
                    ("status", std::slice::from_ref(&status)),
                    ("a", &[text("HTTP "), status.clone()]),
                    ("detail", &[message]),
                ]),
            )],
            ..ErrorAnswers::default()
        };
        let fixture = Setup { errors, ..Setup::of(1) }.build();
        let mut request = fixture.request();
        request.declined(fixture.way.route.clone(), Some(fixture.way.target.clone()), None);
        let reply = Reply::of(Answer::FULL_SERVICE, &request, &of_path("/\",\"admin\":\"\u{7f}\\"));
        let expected = r#"{"z\"":"at /\",\"admin\":\""#;
        assert!(reply.body.starts_with(expected.as_bytes()), "{reply:?}");
        let json = json_of(&reply);
        assert_eq!((&json["status"], &json["a"]), (&json!(503), &json!("HTTP 503")));
        assert!(json["detail"].as_str().unwrap().starts_with("service goods: "), "{json}");
        assert_eq!(json.as_object().unwrap().len(), 4);
        assert_eq!(field(&reply, header::RETRY_AFTER), Some("1"));
    }

    #[test]
    fn a_route_answers_as_it_says_whatever_errors_look_like() {
        let fixed = |status, body: &'static str| FixedAnswer {
            status,
            headers: vec![(header::CONTENT_TYPE, HeaderValue::from_static("text/css"))],
            body: Bytes::from_static(body.as_bytes()),
        };
        for (status, body, sent, length) in [
            (200, "ok", "ok", Some("2")),
            (503, "", "", Some("0")),
            (204, "ok", "", None),
            (205, "ok", "", Some("0")),
            (304, "ok", "", None),
        ] {
            let errors = ErrorAnswers { by_hundred: vec![(5, file("error"))], ..ErrorAnswers::default() };
            let action = Some(Action::Answer(fixed(status, body)));
            let fixture = Setup { errors, action, ..Setup::of(1) }.build();
            let reply = reply(&fixture, Answer::as_route(status), false);
            assert_eq!((reply.status.as_u16(), &reply.body[..]), (status, sent.as_bytes()));
            assert_eq!(field(&reply, header::CONTENT_LENGTH), length, "{status}");
            assert_eq!(field(&reply, header::CONTENT_TYPE), Some("text/css"));
            assert_eq!(field(&reply, header::RETRY_AFTER), None);
        }
    }

    #[test]
    fn a_redirect_says_where_to_and_no_more() {
        let to =
            Redirect { scheme: None, host: None, path: Some("/b".into()), status: 308, is_by_client: false };
        let action = Action::Redirect { to, hosts: Box::default() };
        let fixture = Setup { action: Some(action), ..Setup::of(1) }.build();
        let mut request = fixture.request();
        request.goes_elsewhere(fixture.way.route.clone(), HeaderValue::from_static("/b"));
        let reply = Reply::of(Answer::as_route(308), &request, &of_path("/goods"));
        assert_eq!((reply.status.as_u16(), reply.body.len()), (308, 0));
        assert_eq!(field(&reply, header::LOCATION), Some("/b"));
        assert_eq!(field(&reply, header::CONTENT_LENGTH), Some("0"));
    }
}
