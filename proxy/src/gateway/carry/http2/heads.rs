//! What an instance gets of a request's head, and a client of an answer's.

use std::time::{Instant, SystemTime};

use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};

use super::head::{StreamHead, ToSend, leave_out_of_connection};
use super::web;
use crate::gateway::Gateway;
use crate::gateway::answer::Answer;
use crate::gateway::edits::{AnswerEdits, RequestEdits};
use crate::gateway::protocol::Speaks;
use crate::gateway::proxy_status;
use crate::gateway::reply::Reply;
use crate::gateway::request::Request as OnItsWay;
use crate::head::Head;

const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// What cannot be sent: a route has made it so.
#[derive(Debug, thiserror::Error)]
#[error("the gateway: the route makes a head that cannot be sent: {0}")]
pub(super) struct NoHead(String);

/// The head for the instance of the request's attempt.
pub(super) fn for_instance(
    head: &StreamHead,
    request: &OnItsWay,
    speaks: Speaks,
    now: Instant,
) -> Result<Request<()>, NoHead> {
    let edits = RequestEdits::of(request, head, now);
    let mut fields = head.headers().clone();
    leave_out(&mut fields, request, speaks);
    let host = match edits.host() {
        Some(host) => host.as_bytes().to_vec(),
        None => head.authority().or_else(|| head.host()).unwrap_or_default().to_vec(),
    };
    fields.remove(header::HOST);
    edits.apply(&mut ToSend(&mut fields)).map_err(because)?;
    leave_out_of_connection(&mut fields);
    if let Some(form) = request.web_form(head) {
        web::fit_call(form, speaks, &mut fields);
    }
    let target = edits.target().unwrap_or(head.target());
    let uri = Uri::builder()
        // Instances are told by X-Forwarded-Proto what the client speaks; this is what is spoken to them.
        .scheme(scheme(request))
        .authority(Authority::try_from(&*host).map_err(because)?)
        .path_and_query(PathAndQuery::try_from(target).map_err(because)?)
        .build()
        .map_err(because)?;
    let mut sent = Request::new(());
    (*sent.method_mut(), *sent.uri_mut()) = (head.method().clone(), uri);
    *sent.version_mut() = match speaks {
        Speaks::Http1 => Version::HTTP_11,
        Speaks::Http2 => Version::HTTP_2,
    };
    *sent.headers_mut() = fields;
    Ok(sent)
}

/// By what the connection to the instance is: RFC 9113, 8.3.1.
fn scheme(request: &OnItsWay) -> Scheme {
    let is_under_tls = request.target().is_some_and(|target| target.tls.is_some());
    if is_under_tls { Scheme::HTTPS } else { Scheme::HTTP }
}

/// Leaves out what is of the client's connection. `TE: trailers` is of each connection, and is said again over HTTP/2, as
/// trailers go on (RFC 9110, 10.1.4): calls of gRPC need it.
fn leave_out(fields: &mut HeaderMap, request: &OnItsWay, speaks: Speaks) {
    if !request.fields.are_hop_by_hop() {
        return;
    }
    let wants_trailers = fields.remove(header::TE).is_some_and(|te| te == TRAILERS);
    for name in ["http2-settings", "proxy-authenticate", "proxy-authorization"] {
        fields.remove(name);
    }
    if wants_trailers && speaks == Speaks::Http2 {
        fields.insert(header::TE, TRAILERS);
    }
}

/// The head of an instance's answer, be it one that goes before the answer's (1xx), for the client.
pub(super) fn for_client(
    mut answer: Response<()>,
    head: &StreamHead,
    request: &OnItsWay,
    gateway: &Gateway,
) -> Result<Response<()>, NoHead> {
    let (status, version) = (answer.status(), answer.version());
    let edits = AnswerEdits::of_instance(request, head, status, version);
    edits.apply(&mut ToSend(answer.headers_mut())).map_err(because)?;
    finish(&mut answer, gateway);
    Ok(answer)
}

/// An answer of the gateway's own, and its body.
pub(super) fn of_gateway(
    answer: Answer,
    Reply { status, fields, body }: Reply,
    head: &StreamHead,
    request: &OnItsWay,
    gateway: &Gateway,
) -> Result<(Response<()>, bytes::Bytes), NoHead> {
    let mut sent = Response::new(());
    *sent.status_mut() = status;
    for (name, value) in fields {
        sent.headers_mut().append(name, value);
    }
    if let Some(status) = proxy_status::of(request, answer) {
        sent.headers_mut().insert("proxy-status", status);
    }
    AnswerEdits::of_gateway(request, head, status).apply(&mut ToSend(sent.headers_mut())).map_err(because)?;
    finish(&mut sent, gateway);
    let body = if *head.method() == Method::HEAD { bytes::Bytes::new() } else { body };
    Ok((sent, body))
}

/// What each head has, and what none may have. The instance's date is the answer's; where there is none, RFC 9110, 6.6.1,
/// wants one.
fn finish(answer: &mut Response<()>, gateway: &Gateway) {
    *answer.version_mut() = Version::HTTP_2;
    let is_final = !answer.status().is_informational();
    let fields = answer.headers_mut();
    leave_out_of_connection(fields);
    fields.remove(header::TE);
    if is_final
        && !fields.contains_key(header::DATE)
        && let Ok(date) = HeaderValue::from_bytes(&gateway.clock.date(SystemTime::now()))
    {
        fields.insert(header::DATE, date);
    }
}

/// What is sent where the head of an answer cannot be.
pub(super) fn fault() -> Response<()> {
    let mut sent = Response::new(());
    *sent.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    sent
}

fn because(error: impl std::fmt::Display) -> NoHead {
    NoHead(error.to_string())
}
