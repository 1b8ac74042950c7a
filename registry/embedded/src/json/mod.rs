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

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, LengthLimitError, Limited, StreamBody};
use hyper::body::{Body as _, Frame};
use tokio::time::timeout;
use tonic::{
    Code, Status,
    body::Body,
    codegen::http::{
        HeaderValue, Method as Verb, Request, StatusCode, header::AUTHORIZATION, request::Parts,
    },
};

pub(crate) use self::answer::Answer;
use self::{
    calls::{Answers, broken},
    messages::Message,
    paths::Method,
};
use crate::{
    observer::Memory,
    service::{Api, VERSION},
};

/// The largest body: the largest message of the gRPC side, 2 MiB, is a third larger in base64.
const MAX_BODY: usize = 3 * 1024 * 1024;
/// How long a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(30);

/// What answers over HTTP/1.
#[derive(Clone, Debug)]
pub(crate) struct JsonGateway {
    api: Api,
    memory: Arc<Memory>,
    /// Names by which the registry is known.
    hosts: Arc<[String]>,
}

impl JsonGateway {
    pub fn new(api: Api, memory: Arc<Memory>, hosts: &[String]) -> Self {
        let hosts = hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        Self { api, memory, hosts }
    }

    pub async fn answer(self, request: Request<Body>) -> Answer {
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
        let body = match door::check_type(head) {
            Ok(()) => whole(body).await,
            Err(refused) => Err(refused),
        };
        let body = match body {
            Ok(body) => body,
            Err(refused) => return self.turn_away(&refused),
        };
        let token = head.headers.get(AUTHORIZATION).cloned();
        let answered = if method.is_stream {
            self.stream(method, token, &body).await
        } else {
            self.unary(method, token, &body).await
        };
        answered.unwrap_or_else(|refusal| answer::refusal(&refusal))
    }

    /// Of what the gRPC side never hears it is counted here.
    fn turn_away(&self, (status, refusal): &door::Refused) -> Answer {
        self.memory.count_refusal(format!("HTTP {}", status.as_u16()));
        answer::error(*status, refusal)
    }

    async fn unary(self, method: Method, token: Option<HeaderValue>, body: &[u8]) -> Result<Answer, Status> {
        let request = decode::first(method.request, body);
        let request = request.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let mut answers = calls::call(self.api, method, token, &[request]).await?;
        let message = answers.next().await.ok_or_else(broken)??;
        let mut json = String::new();
        encode::message(method.answer, &message, &mut json).ok_or_else(broken)?;
        Ok(answer::json(StatusCode::OK, json))
    }

    /// As in etcd, a first request that is none is refused, and what follows a later one is passed over.
    async fn stream(self, method: Method, token: Option<HeaderValue>, body: &[u8]) -> Result<Answer, Status> {
        let mut requests = decode::each(method.request, body);
        let first = requests.next().transpose().map_err(|error| Status::unknown(error.to_string()))?;
        let requests: Vec<_> = first.into_iter().chain(requests.map_while(Result::ok)).collect();
        match calls::call(self.api, method, token, &requests).await {
            Ok(answers) => Ok(answer::stream(lines(method.answer, answers))),
            Err(refusal) => {
                Ok(answer::json(answer::http_status(refusal.code()), answer::last_line(&refusal)))
            }
        }
    }
}

/// All of a body, within its bounds.
async fn whole(body: Body) -> Result<Bytes, door::Refused> {
    let too_large = || {
        let text = format!("the body is larger than {MAX_BODY} bytes");
        (StatusCode::PAYLOAD_TOO_LARGE, Status::resource_exhausted(text))
    };
    // Told before anybody is asked to send it (`Expect: 100-continue`).
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    match timeout(BODY_TIME, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => {
            Err((StatusCode::BAD_REQUEST, Status::invalid_argument(format!("the body breaks off: {error}"))))
        }
        Err(_) => {
            let text = format!("the body did not come within {} s", BODY_TIME.as_secs());
            Err((StatusCode::REQUEST_TIMEOUT, Status::new(Code::DeadlineExceeded, text)))
        }
    }
}

/// The answers of a stream, one a line, as they come.
fn lines(message: &'static Message, answers: Answers) -> Body {
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

fn line(message: &'static Message, answer: &[u8]) -> Option<String> {
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
