//! Answers over HTTP/1, as etcd 3.5 writes them.

use bytes::Bytes;
use http_body_util::Full;
use tonic::{
    Code, Status,
    body::Body,
    codegen::http::{HeaderValue, Response, StatusCode, header},
};

use super::encode;
use crate::room::Paid;

pub(crate) type Answer = Response<Body>;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

pub(super) fn json(status: StatusCode, json: impl Into<Bytes>) -> Answer {
    of_type(JSON, status, Body::new(Full::new(json.into())))
}

pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    of_type(TEXT, status, Body::new(Full::new(text.into())))
}

/// What Prometheus reads.
pub(super) fn metrics(text: String) -> Answer {
    of_type("text/plain; version=0.0.4; charset=utf-8", StatusCode::OK, Body::new(Full::from(text)))
}

/// An answer of JSON that comes bit by bit.
pub(super) fn stream(body: Body) -> Answer {
    of_type(JSON, StatusCode::OK, body)
}

/// An answer that carries its room to who sends it.
pub(super) fn paid(paid: Paid, mut answer: Answer) -> Answer {
    answer.extensions_mut().insert(paid);
    answer
}

pub(super) fn not_found(path_is_etcds: bool) -> Answer {
    // One is said by etcd's gateway, the other by Go.
    text(StatusCode::NOT_FOUND, if path_is_etcds { "Not Found\n" } else { "404 page not found\n" })
}

/// Only this method is taken.
pub(super) fn not_allowed(only: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(only));
    answer
}

/// A refusal, with the status that fits its code.
pub(super) fn refusal(refusal: &Status) -> Answer {
    error(http_status(refusal.code()), refusal)
}

/// A refusal with a status of its own.
pub(super) fn error(status: StatusCode, refusal: &Status) -> Answer {
    let mut message = String::new();
    encode::text(refusal.message(), &mut message);
    let code = i32::from(refusal.code());
    json(status, format!(r#"{{"error":{message},"code":{code},"message":{message}}}"#))
}

/// The line with which a stream ends that is refused, or fails.
pub(super) fn last_line(refusal: &Status) -> String {
    let (code, http) = (i32::from(refusal.code()), http_status(refusal.code()));
    let mut message = String::new();
    encode::text(refusal.message(), &mut message);
    let reason = http.canonical_reason().unwrap_or_default();
    format!(
        r#"{{"error":{{"grpc_code":{code},"http_code":{},"message":{message},"http_status":"{reason}"}}}}{}"#,
        http.as_u16(),
        '\n'
    )
}

/// As grpc-gateway's table has it.
pub(super) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn of_type(kind: &'static str, status: StatusCode, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // So that no browser takes it for something else, such as a script.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
