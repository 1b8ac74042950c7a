//! The gateway's own answers in gRPC's shape: a head that says how the call has ended, and nothing behind it.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::answer::Answer;
use super::error_kind::Kind;
use super::grpc::{End, TYPE, last_fields, of_http};
use super::reply::{self, Reply};
use super::request::Request;
use crate::grpc::Status;
use crate::head::Head;

/// What this call gets in place of an answer of an instance, which is how it has ended then. A head without a body; for
/// gRPC-Web, which has no trailers, a body that says it. `head`: as it came from the client.
pub(super) fn own(answer: Answer, request: &mut Request, head: &impl Head) -> Reply {
    let status = status_of(answer);
    request.call_came_to(End::with(status));
    let message = match answer.error() {
        Some((_, message)) => reply::message_of(answer.status, message, request),
        None => "the gateway answers this itself, and not in gRPC".into(),
    };
    let last = last_fields(status, &message);
    let Some(form) = request.web_form(head) else {
        let fields = [(header::CONTENT_TYPE, TYPE)].into_iter().chain(last).collect();
        return Reply { status: StatusCode::OK, fields, body: Bytes::new() };
    };
    let body = form.last_piece(last.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
    let content_type = (header::CONTENT_TYPE, form.of_answer(TYPE.as_bytes()));
    let fields = vec![content_type, (header::CONTENT_LENGTH, body.len().into())];
    Reply { status: StatusCode::OK, fields, body }
}

/// What the answer to a call ends with that has begun, and of which this is the rest.
pub(super) fn last_of(answer: Answer, request: &mut Request) -> [(HeaderName, HeaderValue); 2] {
    let (status, (_, message)) =
        (status_of(answer), answer.error().unwrap_or((Kind::ProxyInternalError, "")));
    request.call_came_to(End::with(status));
    last_fields(status, &reply::message_of(answer.status, message, request))
}

/// What an answer means in gRPC. `INVALID_ARGUMENT`, `NOT_FOUND` and some more are for what is called alone, so that whoever
/// gets one knows who has said it: <https://grpc.io/docs/guides/status-codes>.
fn status_of(answer: Answer) -> Status {
    let Some((kind, _)) = answer.error() else { return of_http(answer.status) };
    match answer {
        Answer::RESET => return Status::Internal,
        Answer::RESET_CANCELLED => return Status::Cancelled,
        Answer::RESET_TOO_MUCH => return Status::ResourceExhausted,
        Answer::RESET_INSECURE => return Status::PermissionDenied,
        _ => {}
    }
    match (kind, answer.status) {
        (Kind::HttpRequestError, 413 | 431) => Status::ResourceExhausted,
        (Kind::HttpRequestError, 408) => Status::DeadlineExceeded,
        (Kind::HttpRequestError, 501) => Status::Unimplemented,
        (Kind::HttpRequestError, 401 | 403) => of_http(answer.status),
        (Kind::HttpRequestError | Kind::ProxyLoopDetected, _) => Status::Internal,
        (Kind::DestinationNotFound, _) => Status::Unimplemented,
        (Kind::ConnectionReadTimeout | Kind::HttpResponseTimeout, _) => Status::DeadlineExceeded,
        (Kind::ConnectionLimitReached, _) => Status::ResourceExhausted,
        (Kind::ProxyInternalError, 500) => Status::Internal,
        // It lacks ports or files, and no endpoint was asked.
        (Kind::ProxyInternalError, _) => Status::Unavailable,
        (
            Kind::DestinationUnavailable
            | Kind::ConnectionRefused
            | Kind::ConnectionTimeout
            | Kind::ConnectionTerminated
            | Kind::TlsCertificateError
            | Kind::TlsProtocolError
            | Kind::TlsAlertReceived
            | Kind::HttpProtocolError,
            _,
        ) => Status::Unavailable,
    }
}

#[cfg(test)]
mod tests;
