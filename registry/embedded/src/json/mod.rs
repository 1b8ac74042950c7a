//! etcd's JSON gateway, and its `/health`, `/version` and `/metrics`: what is asked over HTTP/1.
//!
//! A method is called as over gRPC: JSON becomes its message ([`decode`]), its answer becomes JSON ([`encode`]).
//! So the two sides cannot differ in what they do.

mod answer;
mod calls;
mod decode;
mod door;
mod encode;
mod messages;
mod paths;
#[cfg(test)]
mod tests;

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, LengthLimitError, Limited, StreamBody};
use hyper::body::{Body as _, Frame};
use tokio::time::timeout;
use tonic::{
    Code, Status,
    body::Body,
    codegen::http::{Method as Verb, Request, StatusCode, header::AUTHORIZATION, request::Parts},
};

pub(crate) use self::answer::Answer;
use self::{
    calls::{Answers, Caller, broken},
    messages::MessageType,
    paths::Method,
};
use crate::{
    client::Client,
    observer::Memory,
    refusal::Refusal,
    room::{CALL_TIME, Room},
    service::{Api, VERSION},
};

/// The largest body: the largest message of the gRPC side, 2 MiB, is a third larger in base64.
const MAX_BODY: usize = 3 * 1024 * 1024;
/// The largest body of a watch or a keep-alive, which goes on for ever.
const MAX_STREAM_BODY: usize = 64 * 1024;

/// What answers over HTTP/1.
#[derive(Clone, Debug)]
pub(crate) struct JsonGateway {
    api: Api,
    memory: Arc<Memory>,
    room: Arc<Room>,
    /// Names by which the registry is known.
    hosts: Arc<[String]>,
}

impl JsonGateway {
    pub(crate) fn new(api: Api, memory: Arc<Memory>, room: Arc<Room>, hosts: &[String]) -> Self {
        let hosts = hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        Self { api, memory, room, hosts }
    }

    /// A refusal of whatever was asked, counted.
    pub(crate) fn refuse(&self, refusal: Refusal) -> Answer {
        self.memory.count_refusal(refusal.reason());
        answer::refusal(&refusal.into())
    }

    pub(crate) async fn answer(self, request: Request<Body>) -> Answer {
        let (head, body) = request.into_parts();
        if let Err(refused) = door::admit(&head, &self.hosts) {
            return self.turn_away(&refused);
        }
        let path = head.uri.path();
        match (path, paths::find(path)) {
            (_, Some(method)) if head.method == Verb::POST => self.call(method, &head, body).await,
            (_, Some(_)) => answer::not_allowed("POST"),
            ("/health" | "/version" | "/metrics", _) if head.method != Verb::GET => {
                answer::not_allowed("GET")
            }
            ("/health", _) => answer::text(StatusCode::OK, r#"{"health":"true","reason":""}"#),
            ("/version", _) => answer::json(StatusCode::OK, version()),
            ("/metrics", _) => answer::metrics(self.memory.counts().to_prometheus()),
            _ => answer::not_found(paths::is_below_a_prefix(path)),
        }
    }

    async fn call(self, method: Method, head: &Parts, body: Body) -> Answer {
        let client = Client::of(&head.extensions);
        let most = if method.is_stream { MAX_STREAM_BODY } else { MAX_BODY };
        if let Err(refused) = door::check_type(head).and_then(|()| check_size(&body, most)) {
            return self.turn_away(&refused);
        }
        // Who does not say how much it will be may send the most.
        let bytes = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(most);
        let _room = match self.room.for_request(&client, bytes).await {
            Ok(room) => room,
            Err(refusal) => return self.refuse(refusal),
        };
        let body = match whole(body, most).await {
            Ok(body) => body,
            Err(refused) => return self.turn_away(&refused),
        };
        let caller = Caller { client, token: head.headers.get(AUTHORIZATION).cloned() };
        let answered = if method.is_stream {
            self.stream(method, caller, &body).await
        } else {
            self.unary(method, caller, &body).await
        };
        answered.unwrap_or_else(|refusal| answer::refusal(&refusal))
    }

    /// Of what the gRPC side never hears it is counted here.
    fn turn_away(&self, (status, refusal): &door::TurnedAway) -> Answer {
        self.memory.count_refusal(format!("HTTP {}", status.as_u16()));
        answer::error(*status, refusal)
    }

    async fn unary(self, method: Method, caller: Caller, body: &[u8]) -> Result<Answer, Status> {
        let request = decode::first(method.request, body);
        let request = request.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let mut answers = calls::call(self.api, method, caller, &[request]).await?;
        let message = answers.next().await.ok_or_else(broken)??;
        let mut json = String::new();
        encode::message(method.answer, &message, &mut json).ok_or_else(broken)?;
        Ok(answer::paid(answers.paid, answer::json(StatusCode::OK, json)))
    }

    /// As in etcd, a first request that is none is refused, and what follows a later one is passed over.
    async fn stream(self, method: Method, caller: Caller, body: &[u8]) -> Result<Answer, Status> {
        let mut requests = decode::each(method.request, body);
        let first = requests.next().transpose().map_err(|error| Status::unknown(error.to_string()))?;
        let requests: Vec<_> = first.into_iter().chain(requests.map_while(Result::ok)).collect();
        match calls::call(self.api, method, caller, &requests).await {
            Ok(answers) => {
                Ok(answer::paid(answers.paid.clone(), answer::stream(lines(method.answer, answers))))
            }
            Err(refusal) => {
                Ok(answer::json(answer::http_status(refusal.code()), answer::last_line(&refusal)))
            }
        }
    }
}

/// Whether a body is within its bound as far as it says. Told before anybody is asked to send it
/// (`Expect: 100-continue`).
fn check_size(body: &Body, most: usize) -> Result<(), door::TurnedAway> {
    if body.size_hint().lower() > most as u64 { Err(too_large(most)) } else { Ok(()) }
}

fn too_large(most: usize) -> door::TurnedAway {
    let text = format!("the body is larger than {most} bytes");
    (StatusCode::PAYLOAD_TOO_LARGE, Status::resource_exhausted(text))
}

/// All of a body, within its bounds.
async fn whole(body: Body, most: usize) -> Result<Bytes, door::TurnedAway> {
    match timeout(CALL_TIME, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(most)),
        Ok(Err(error)) => {
            Err((StatusCode::BAD_REQUEST, Status::invalid_argument(format!("the body breaks off: {error}"))))
        }
        Err(_) => {
            let text = format!("the body did not come within {} s", CALL_TIME.as_secs());
            Err((StatusCode::REQUEST_TIMEOUT, Status::new(Code::DeadlineExceeded, text)))
        }
    }
}

/// The answers of a stream, one a line, as they come.
fn lines(message: &'static MessageType, answers: Answers) -> Body {
    let lines = stream::unfold(Some(answers), move |answers| async move {
        let mut answers = answers?;
        let line = answers.next().await?.and_then(|answer| line(message, &answer).ok_or_else(broken));
        Some(match line {
            Ok(line) => (line, Some(answers)),
            Err(status) => (answer::last_line(&status), None),
        })
    });
    Body::new(StreamBody::new(lines.map(|line| Ok::<_, Infallible>(Frame::data(Bytes::from(line))))))
}

fn line(message: &'static MessageType, answer: &[u8]) -> Option<String> {
    let mut line = String::from(r#"{"result":"#);
    encode::message(message, answer, &mut line)?;
    line.push_str("}\n");
    Some(line)
}

/// Of the release alone: clients read three numbers.
fn version() -> String {
    let release = VERSION.split('+').next().unwrap_or(VERSION);
    let cluster = release.rsplit_once('.').map_or(release, |(minor, _)| minor);
    format!(r#"{{"etcdserver":"{release}","etcdcluster":"{cluster}.0"}}"#)
}
