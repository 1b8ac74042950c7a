//! Calls of the gRPC side from within: the same messages, limits and refusals as for those who speak gRPC.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use tonic::{
    Status,
    body::Body,
    codegen::{Service, http},
};

use super::paths::Method;
use crate::{client::Client, room::Paid, service::Api};

/// In front of each message: one byte that says whether it is compressed, four for its length.
const PREFIX: usize = 5;

/// Who calls, with the token of a login, if the request has one.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub client: Arc<Client>,
    pub token: Option<http::HeaderValue>,
}

/// Calls a method with these messages, and no more.
pub(super) async fn call(
    mut api: Api,
    method: Method,
    caller: Caller,
    messages: &[Vec<u8>],
) -> Result<Answers, Status> {
    let mut frames = BytesMut::new();
    for message in messages {
        let length = u32::try_from(message.len()).map_err(|_| broken())?;
        frames.put_u8(0);
        frames.put_u32(length);
        frames.extend_from_slice(message);
    }
    let mut request = http::Request::new(Body::new(Full::new(frames.freeze())));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from_static(method.path);
    *request.version_mut() = http::Version::HTTP_2;
    let grpc = http::HeaderValue::from_static("application/grpc");
    request.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
    request.headers_mut().extend(caller.token.map(|token| (http::header::AUTHORIZATION, token)));
    request.extensions_mut().insert(caller.client);

    let Ok(mut answer) = api.call(request).await;
    let paid = answer.extensions_mut().remove::<Paid>().unwrap_or_default();
    match Status::from_header_map(answer.headers()) {
        Some(status) => Err(status),
        None => Ok(Answers { body: answer.into_body(), received: BytesMut::new(), paid }),
    }
}

/// The messages of an answer, as they come.
#[derive(Debug)]
pub(super) struct Answers {
    body: Body,
    received: BytesMut,
    /// Their room.
    pub paid: Paid,
}

impl Answers {
    /// The next one. None when all was said; an error is the last.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        loop {
            if let Some(message) = self.take() {
                return Some(Ok(message));
            }
            let frame = match self.body.frame().await? {
                Ok(frame) => frame,
                Err(status) => return Some(Err(status)),
            };
            match frame.into_data() {
                Ok(data) => self.received.extend_from_slice(&data),
                Err(trailers) => {
                    let status = trailers.trailers_ref().and_then(Status::from_header_map);
                    return status.filter(|status| status.code() != tonic::Code::Ok).map(Err);
                }
            }
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        let &[_, a, b, c, d] = self.received.first_chunk::<PREFIX>()?;
        let length = PREFIX + usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
        if self.received.len() < length {
            return None;
        }
        let mut frame = self.received.split_to(length);
        frame.advance(PREFIX);
        Some(frame.freeze())
    }
}

/// Never to be seen.
pub(super) fn broken() -> Status {
    Status::internal("the embedded registry's answer cannot be written as JSON")
}
