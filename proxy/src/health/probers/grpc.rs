//! gRPC's own health checks: <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::uri::{Scheme, Uri};
use http::{HeaderMap, Request, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v2::client::Http2Session;
use pingora::{Error, ErrorType, OrErr, Result};
use pingora_load_balancing::Backend;
use pingora_load_balancing::health_check::HealthCheck;
use prost::Message;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::{Dialer, expect};
use crate::grpc::Status;

const METHOD: &str = "/grpc.health.v1.Health/Check";
const CONTENT_TYPE: &str = "application/grpc";
const STATUS: &str = "grpc-status";
const BAD: ErrorType = ErrorType::new("bad answer");
/// The message of an answer has two bytes, and five before it.
const LARGEST: usize = 1024;

/// Calls on a connection of its own, and expects that a service is being served.
pub(super) struct GrpcProber {
    dialer: Dialer,
    head: RequestHeader,
    /// The one message of the call.
    body: Bytes,
}

impl GrpcProber {
    /// `service`: the name of those who are asked. `asked`: what they are asked for.
    ///
    /// # Errors
    /// The service's name has no place in a request.
    pub(super) fn new(dialer: Dialer, service: &str, asked: &str, limit: Duration) -> Result<Self> {
        let scheme = if dialer.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        let uri = Uri::builder().scheme(scheme).authority(service).path_and_query(METHOD).build();
        let uri =
            uri.or_err(ErrorType::InvalidHTTPHeader, "the service's name as the authority of a call")?;
        let head = Request::post(uri)
            .header(header::CONTENT_TYPE, CONTENT_TYPE)
            .header(header::TE, "trailers")
            .header("grpc-timeout", format!("{}m", limit.as_millis()))
            .body(())
            .or_err(ErrorType::InvalidHTTPHeader, "the head of a call")?;
        let request = HealthCheckRequest { service: asked.to_owned() };
        Ok(Self { dialer, head: head.into_parts().0.into(), body: framed(&request)? })
    }

    async fn call(&self, session: &mut Http2Session) -> Result<()> {
        session.write_request_header(Box::new(self.head.clone()), false)?;
        session.write_request_body(self.body.clone(), true).await?;
        session.read_response_header().await?;
        let Some(head) = session.response_header().cloned() else {
            return Error::e_explain(ErrorType::InvalidHTTPHeader, "there is no answer to a check");
        };
        expect(&head, &[200])?;
        expect_grpc(&head)?;
        let mut body = Vec::new();
        while let Some(part) = session.read_response_body().await? {
            if body.len() + part.len() > LARGEST {
                return Err(Fault::Message.into());
            }
            body.extend_from_slice(&part);
        }
        // A call that fails may have its status in the head, which is all that there is then.
        let trailers = session.read_trailers().await?;
        Ok(judge(trailers.as_ref().unwrap_or(&head.headers), &body)?)
    }
}

#[async_trait]
impl HealthCheck for GrpcProber {
    async fn check(&self, target: &Backend) -> Result<()> {
        match self.dialer.open(target, 2).await? {
            HttpSession::H2(mut session) => self.call(&mut session).await.map_err(explained),
            _ => Err(Fault::NoHttp2.into()),
        }
    }

    /// As for HTTP.
    fn health_threshold(&self, _success: bool) -> usize {
        1
    }
}

/// Why an answer does not say that a service is being served.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("the instance does not speak HTTP/2")]
    NoHttp2,
    #[error("the connection ended before it, perhaps because the instance does not speak HTTP/2")]
    Ended,
    #[error("its content-type is {0:?}, not {CONTENT_TYPE}")]
    NoGrpc(String),
    #[error("it does not end with a grpc-status")]
    NoStatus,
    #[error("the instance does not know the service ({})", Status::NotFound)]
    NotKnown,
    #[error("the instance does not have grpc.health.v1.Health ({})", Status::Unimplemented)]
    NotThere,
    #[error("the call failed with {0}")]
    Failed(Status),
    #[error("its message is no HealthCheckResponse")]
    Message,
    #[error("the service is {0}")]
    NotServing(&'static str),
}

impl From<Fault> for Box<Error> {
    fn from(fault: Fault) -> Self {
        Error::explain(BAD, fault.to_string())
    }
}

/// Says what an error means that servers of HTTP/1 bring about: some answer in their own way, others close.
fn explained(error: Box<Error>) -> Box<Error> {
    let fault = match error.root_cause().downcast_ref::<h2::Error>() {
        Some(cause) if cause.is_go_away() && cause.is_library() => Fault::NoHttp2,
        Some(cause) if cause.is_io() => Fault::Ended,
        _ => return error,
    };
    Error::because(BAD, fault.to_string(), error)
}

fn expect_grpc(head: &ResponseHeader) -> Result<(), Fault> {
    let found = head.headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes()).unwrap_or_default();
    if found.starts_with(CONTENT_TYPE.as_bytes()) {
        return Ok(());
    }
    Err(Fault::NoGrpc(String::from_utf8_lossy(found).into_owned()))
}

/// Of an answer that is gRPC's, with the fields that end it.
fn judge(end: &HeaderMap, body: &[u8]) -> Result<(), Fault> {
    let status = end.get(STATUS).and_then(|value| Status::of_value(value.as_bytes()));
    match status.ok_or(Fault::NoStatus)? {
        Status::Ok => (),
        Status::NotFound => return Err(Fault::NotKnown),
        Status::Unimplemented => return Err(Fault::NotThere),
        other => return Err(Fault::Failed(other)),
    }
    let response = message(body).ok_or(Fault::Message)?;
    match ServingStatus::try_from(response.status).map_err(|_| Fault::Message)? {
        ServingStatus::Serving => Ok(()),
        other => Err(Fault::NotServing(other.as_str_name())),
    }
}

/// A message as it is sent: not compressed, its length, and itself.
fn framed(message: &impl Message) -> Result<Bytes> {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).or_err(ErrorType::InternalError, "a message of gRPC")?;
    Ok([&[0], &length.to_be_bytes()[..], &message].concat().into())
}

/// The one message of an answer.
fn message(body: &[u8]) -> Option<HealthCheckResponse> {
    let (&[0, ref length @ ..], message) = body.split_first_chunk::<5>()? else { return None };
    let is_whole = usize::try_from(u32::from_be_bytes(*length)) == Ok(message.len());
    HealthCheckResponse::decode(message).ok().filter(|_| is_whole)
}

#[cfg(test)]
mod tests;
