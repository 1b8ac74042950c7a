//! The gateway's own answers, and what may be tried again.

use bytes::Bytes;
use http::{Method, header};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType, Result};
use serde_json::json;

use super::Request;

/// An answer of the gateway's own: `{"code":-1,"message":"...","trace_id":"..."}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub status: u16,
    pub message: &'static str,
}

impl Answer {
    pub const fn bad_request(message: &'static str) -> Self {
        Self { status: 400, message }
    }

    pub const NO_ROUTE: Self = Self { status: 404, message: "no route takes this path" };
    pub const NO_ENDPOINT: Self = Self { status: 503, message: "the service has no endpoint at the moment" };
    pub const LIMITED: Self = Self { status: 503, message: "too many requests are in flight at the moment" };
    pub const NOT_REACHED: Self = Self { status: 502, message: "no endpoint could be reached" };
    const BROKE_OFF: Self = Self { status: 502, message: "the endpoint broke off before it answered" };
    const BAD_ANSWER: Self = Self { status: 502, message: "the endpoint's answer is not valid HTTP" };
    const TIMED_OUT: Self = Self { status: 504, message: "the endpoint did not answer in time" };
    const CLIENT_TIMED_OUT: Self = Self { status: 408, message: "the request did not arrive in time" };
    const BAD_NOMINATION: Self = Self::bad_request("the Connection header names what it must not");
    const BAD_BODY: Self = Self::bad_request("the request's body is not valid");
    const INTERNAL: Self = Self { status: 500, message: "the gateway failed" };

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
            _ if request.is_over() || request.was_silent() => Some(Self::TIMED_OUT),
            (ErrorSource::Upstream, _) if !request.is_connected() => Some(Self::NOT_REACHED),
            (ErrorSource::Upstream, ReadTimedout | WriteTimedout) => Some(Self::TIMED_OUT),
            (ErrorSource::Upstream, ConnectionClosed | ReadError | WriteError) => Some(Self::BROKE_OFF),
            (ErrorSource::Upstream, _) => Some(Self::BAD_ANSWER),
            _ => Some(Self::INTERNAL),
        }
    }

    /// Whether what is left of the request's body is read beside the answer. Where a body that is not valid
    /// ends nobody knows; who waits for `100 Continue` never sends it, and who stalls may never do.
    pub fn leaves_body(self, session: &Session) -> bool {
        !matches!(self.status, 400 | 408) && !session.req_header().headers.contains_key(header::EXPECT)
    }

    /// Sends the answer as the whole response.
    pub async fn send(self, session: &mut Session, request: &Request, trace_header: &Bytes) -> Result<()> {
        let body = json!({"code": -1, "message": self.message, "trace_id": request.trace.id()}).to_string();
        let mut head = ResponseHeader::build(self.status, Some(5))?;
        head.insert_header(header::CONTENT_TYPE, "application/json")?;
        head.insert_header(header::CONTENT_LENGTH, body.len())?;
        head.insert_header(trace_header.clone(), request.trace.id_value())?;
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
