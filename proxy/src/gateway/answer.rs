//! The gateway's own answers, and what may be tried again.

use std::borrow::Cow;

use bytes::Bytes;
use http::{Method, header};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType, Result};
use serde_json::json;

use super::Request;
use crate::directory::{Directory, Service};

/// An answer of the gateway's own: `{"code":-1,"message":"...","trace_id":"..."}`. From 502 on, the message
/// names the service before it says what is wrong there. It names no instance and no address: these are for the
/// log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub status: u16,
    message: &'static str,
}

impl Answer {
    pub const fn bad_request(message: &'static str) -> Self {
        Self { status: 400, message }
    }

    pub const NO_ROUTE: Self = Self { status: 404, message: "no route takes this path" };
    const NOT_READ: Self = Self::unavailable("the registry has not been read yet, so no endpoint is known");
    const NONE_REGISTERED: Self = Self::unavailable("no endpoint is registered");
    const NONE_USABLE: Self = Self::unavailable(
        "endpoints are registered, but none takes requests: each is draining or cannot be connected to",
    );
    pub const FULL_GATEWAY: Self =
        Self::unavailable("too many requests are in flight in the gateway at the moment");
    pub const FULL_SERVICE: Self =
        Self::unavailable("too many requests of the service are in flight at the moment");
    pub const FULL_ENDPOINTS: Self =
        Self::unavailable("each endpoint that is well has too many requests in flight at the moment");
    pub const LOOP: Self =
        Self { status: 508, message: "the request has gone through 8 gateways, so it goes round in circles" };
    const NOT_REACHED: Self = Self { status: 502, message: "no endpoint could be reached" };
    const BROKE_OFF: Self = Self { status: 502, message: "the endpoint broke off before it answered" };
    const BAD_ANSWER: Self = Self { status: 502, message: "the endpoint's answer is not valid HTTP" };
    const TIMED_OUT: Self = Self { status: 504, message: "the endpoint did not answer in time" };
    const OVER: Self = Self { status: 504, message: "the time for the whole request is over" };
    const CLIENT_TIMED_OUT: Self = Self { status: 408, message: "the request did not arrive in time" };
    const BAD_NOMINATION: Self = Self::bad_request("the Connection header names what it must not");
    const BAD_BODY: Self = Self::bad_request("the request's body is not valid");
    const INTERNAL: Self = Self { status: 500, message: "the gateway failed" };

    const fn unavailable(message: &'static str) -> Self {
        Self { status: 503, message }
    }

    /// Why a service has no endpoint for a request.
    pub fn no_endpoint(directory: &Directory, service: &Service) -> Self {
        let endpoints = service.endpoints();
        if !endpoints.entries().is_empty() {
            Self::NONE_USABLE
        } else if directory.is_filled() {
            Self::NONE_REGISTERED
        } else {
            Self::NOT_READ
        }
    }

    /// What a failed request gets. None: the client is gone.
    pub fn to(error: &Error, request: &Request) -> Option<Self> {
        use ErrorType::{
            ConnectionClosed, InvalidHTTPHeader, ReadError, ReadTimedout, WriteError, WriteTimedout,
        };
        if let Some(answer) = request.answer {
            return Some(answer);
        }
        match (error.esource(), error.etype()) {
            (ErrorSource::Downstream, ConnectionClosed | ReadError | WriteError | WriteTimedout) => None,
            (ErrorSource::Downstream, ReadTimedout) => Some(Self::CLIENT_TIMED_OUT),
            (ErrorSource::Downstream, InvalidHTTPHeader) => Some(Self::BAD_NOMINATION),
            (ErrorSource::Downstream, _) => Some(Self::BAD_BODY),
            _ if request.was_silent() => Some(Self::TIMED_OUT),
            _ if request.is_over() => Some(Self::OVER),
            (ErrorSource::Upstream, _) if !request.is_connected() => Some(Self::NOT_REACHED),
            (ErrorSource::Upstream, ReadTimedout | WriteTimedout) => Some(Self::TIMED_OUT),
            (ErrorSource::Upstream, ConnectionClosed | ReadError | WriteError) => Some(Self::BROKE_OFF),
            (ErrorSource::Upstream, _) => Some(Self::BAD_ANSWER),
            _ => Some(Self::INTERNAL),
        }
    }

    /// What the access log says went wrong: where it was not the client's request.
    pub fn fault(self) -> Option<&'static str> {
        (self.status >= 500).then_some(self.message)
    }

    fn message(self, request: &Request) -> Cow<'static, str> {
        match &request.route {
            Some(route) if self.status >= 502 => {
                Cow::Owned(format!("service {}: {}", route.service.name(), self.message))
            }
            _ => Cow::Borrowed(self.message),
        }
    }

    /// Whether what is left of the request's body is read beside the answer. Where a body that is not valid
    /// ends nobody knows; who waits for `100 Continue` never sends it, and who stalls may never do.
    pub fn leaves_body(self, session: &Session) -> bool {
        !matches!(self.status, 400 | 408) && !session.req_header().headers.contains_key(header::EXPECT)
    }

    /// Sends the answer as the whole response.
    pub async fn send(self, session: &mut Session, request: &Request) -> Result<()> {
        let message = self.message(request);
        let body = json!({"code": -1, "message": message, "trace_id": request.trace.id()}).to_string();
        let mut head = ResponseHeader::build(self.status, Some(5))?;
        head.insert_header(header::CONTENT_TYPE, "application/json")?;
        head.insert_header(header::CONTENT_LENGTH, body.len())?;
        head.insert_header(request.site.trace_header.clone(), request.trace.id_value())?;
        if self.status == 503 {
            head.insert_header(header::RETRY_AFTER, "1")?;
        }
        session.write_response_header(Box::new(head), false).await?;
        session.write_response_body(Some(Bytes::from(body)), true).await
    }
}

/// Whether a request that was sent may be sent again: doing it twice is the same as doing it once, the
/// client has seen nothing of the first answer, and the whole body is there to be replayed.
pub(super) fn may_repeat(session: &Session) -> bool {
    is_idempotent(&session.req_header().method)
        && session.response_written().is_none()
        && !session.as_ref().retry_buffer_truncated()
}

/// RFC 9110, 9.2.2.
pub(super) fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}
