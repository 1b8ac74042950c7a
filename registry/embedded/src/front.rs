//! What is served on one connection: gRPC over HTTP/2, JSON over HTTP/1. Here requests are let in, and answers out,
//! as far as there is room.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{
    Error,
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    service,
};
use tokio::time::timeout;
use tonic::{
    Status,
    body::Body,
    codegen::{
        BoxFuture, Service,
        http::{Request, Response, Version},
    },
};

use crate::{
    client::{Call, Calls, Client},
    json::JsonGateway,
    observer::Memory,
    refusal::Refusal,
    room::{CALL_TIME, Paid, Room},
    service::{Api, MAX_MESSAGE, is_stream},
};

/// What gRPC has in front of each message: a byte that says whether it is compressed, and four with its length.
const PREFIX: usize = 5;

/// What all connections share.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    pub api: Api,
    pub json: JsonGateway,
    pub memory: Arc<Memory>,
    pub room: Arc<Room>,
    pub calls: Calls,
}

/// One connection, and what it shares with all others.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub front: Front,
    pub client: Arc<Client>,
}

impl service::Service<Request<Incoming>> for Served {
    type Response = Response<Sent>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Sent>, Infallible>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let served = self.clone();
        Box::pin(async move { Ok(served.answer(request).await) })
    }
}

impl Served {
    async fn answer(self, mut request: Request<Incoming>) -> Response<Sent> {
        let is_grpc = request.version() == Version::HTTP_2;
        // Over HTTP/1 there is one call at a time, so that one place is enough, even for a stream.
        let call = self.front.calls.begin(&self.client, is_grpc && is_stream(request.uri().path()));
        request.extensions_mut().insert(Arc::clone(&self.client));
        let answer = match &call {
            None if is_grpc => self.refuse(Refusal::TooManyRequests),
            None => self.front.json.refuse(Refusal::TooManyRequests),
            Some(_) if is_grpc => self.grpc(request).await,
            Some(_) => self.front.json.answer(request.map(Body::new)).await,
        };
        let (mut head, body) = answer.into_parts();
        let paid = head.extensions.remove::<Paid>().unwrap_or_default();
        Response::from_parts(head, Sent { body, paid, _call: call })
    }

    async fn grpc(mut self, request: Request<Incoming>) -> Response<Body> {
        if is_stream(request.uri().path()) {
            let Ok(answer) = self.front.api.call(request.map(Body::new)).await;
            return answer;
        }
        match timeout(CALL_TIME, self.unary(request)).await {
            Ok(answer) => answer,
            Err(_) => {
                self.front.memory.count_refusal("too slow".to_owned());
                let text = format!("the request did not come within {} s, or no room", CALL_TIME.as_secs());
                Status::deadline_exceeded(text).into_http()
            }
        }
    }

    /// A call of one message, for which there is room until it is carried out.
    async fn unary(&mut self, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = match Begun::read(body).await {
            Ok(body) => body,
            Err(error) => return Status::cancelled(format!("the request breaks off: {error}")).into_http(),
        };
        let room = match self.front.room.for_request(&self.client, body.message_bytes()).await {
            Ok(room) => room,
            Err(refusal) => return self.refuse(refusal),
        };
        let Ok(answer) = self.front.api.call(Request::from_parts(head, Body::new(body))).await;
        drop(room);
        answer
    }

    fn refuse(&self, refusal: Refusal) -> Response<Body> {
        self.front.memory.count_refusal(refusal.reason());
        Status::from(refusal).into_http()
    }
}

/// A request's body of which the beginning was read.
struct Begun {
    beginning: Bytes,
    rest: Incoming,
}

impl Begun {
    /// Reads as far as the message tells how long it is.
    async fn read(mut rest: Incoming) -> Result<Self, Error> {
        let mut beginning = BytesMut::new();
        while beginning.len() < PREFIX
            && let Some(frame) = rest.frame().await
        {
            let Ok(data) = frame?.into_data() else { break };
            beginning.extend_from_slice(&data);
        }
        Ok(Self { beginning: beginning.freeze(), rest })
    }

    /// How many bytes the message will take. 0 if it is too large: it is refused without being read, and needs no room.
    fn message_bytes(&self) -> usize {
        match self.beginning.first_chunk::<PREFIX>() {
            Some([0, length @ ..]) => {
                let bytes = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
                if bytes > MAX_MESSAGE { 0 } else { bytes }
            }
            // It is compressed: how large it is shows only once it is decompressed.
            Some(_) => MAX_MESSAGE,
            None => 0,
        }
    }
}

impl HttpBody for Begun {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        if !this.beginning.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.beginning)))));
        }
        Pin::new(&mut this.rest).poll_frame(context)
    }
}

/// An answer's body on its way out. Its bytes keep their room until they are sent, and its call counts until then.
pub(crate) struct Sent {
    body: Body,
    paid: Paid,
    _call: Option<Call>,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(context);
        polled.map_ok(|frame| frame.map_data(|bytes| this.paid.hold(bytes)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
