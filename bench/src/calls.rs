//! Unary calls of gRPC, many at a time on few connections. Every answer is looked at: both of its statuses, and the length
//! of its message.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use h2::{RecvStream, client, client::SendRequest};
use http::{HeaderValue, Request, header};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    backend::{CALL, message},
    load::{End, Outcome},
    stream::tcp,
};

/// A call has so long for its answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// After a failure a caller pauses: a proxy that is gone is not asked without end.
const PAUSE: Duration = Duration::from_millis(10);
/// Room for answers, so that they do not wait for frames that grant it.
const WINDOW: u32 = 1 << 20;

/// Callers, each of which makes its next call when it has its answer. They share the connections.
pub(crate) struct Callers {
    connections: Vec<SendRequest<Bytes>>,
    count: usize,
    /// What moves the connections' bytes.
    _drivers: JoinSet<()>,
}

impl Callers {
    /// # Errors
    /// When a connection cannot be opened.
    pub(crate) async fn open(target: SocketAddr, connections: usize, count: usize) -> Result<Self> {
        let (mut opened, mut drivers) = (Vec::new(), JoinSet::new());
        for _ in 0..connections {
            let stream = tcp(target).await?;
            let mut builder = client::Builder::new();
            builder.enable_push(false).initial_connection_window_size(WINDOW);
            let (sender, connection) = timeout(PATIENCE, builder.handshake(stream)).await??;
            // Its end shows in the calls.
            drivers.spawn(async move { drop(connection.await) });
            opened.push(sender);
        }
        Ok(Self { connections: opened, count, _drivers: drivers })
    }

    /// Every caller finishes the call that it has begun.
    pub(crate) async fn run(&self, end: End) -> Outcome {
        let begin = Instant::now();
        let mut running = JoinSet::new();
        for connection in self.connections.iter().cycle().take(self.count) {
            running.spawn(calls(connection.clone(), begin, end));
        }
        let mut total = Outcome::default();
        for outcome in running.join_all().await {
            total.add(outcome);
        }
        total.end(begin.elapsed());
        total
    }
}

/// One after the other.
async fn calls(connection: SendRequest<Bytes>, begin: Instant, end: End) -> Outcome {
    let (request, message) = (request(), message());
    let (mut outcome, mut turn) = (Outcome::default(), 0);
    while !end.is_reached(turn, Instant::now(), begin) {
        turn += 1;
        let begun = Instant::now();
        let called = timeout(PATIENCE, call(connection.clone(), request.clone(), message.clone())).await;
        match called.context("no answer in time").and_then(|called| called) {
            Ok(()) => outcome.answer(begun.elapsed()),
            Err(error) => {
                outcome.fail(format!("{error:#}"));
                sleep(PAUSE).await;
            }
        }
    }
    outcome
}

fn request() -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from_static(CALL);
    let fields = request.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    fields.insert(header::TE, HeaderValue::from_static("trailers"));
    request
}

async fn call(connection: SendRequest<Bytes>, request: Request<()>, message: Bytes) -> Result<()> {
    let right = message.len();
    let mut connection = connection.ready().await.context("waiting for a stream")?;
    let (answer, mut body) = connection.send_request(request, false).context("sending a call")?;
    body.send_data(message, true).context("sending a message")?;
    let answer = answer.await.context("waiting for an answer")?;
    ensure!(answer.status() == 200, "status {}", answer.status());
    let (head, mut body) = answer.into_parts();
    let length = read(&mut body).await?;
    let trailers = body.trailers().await.context("reading trailers")?;
    // An answer without a message may have it in its head.
    let status = trailers.as_ref().unwrap_or(&head.headers).get("grpc-status");
    let Some(status) = status else { bail!("an answer without a grpc-status") };
    ensure!(status == "0", "grpc-status {status:?}");
    ensure!(length == right, "a message of {length} bytes in place of {right}");
    Ok(())
}

/// All of a body: how long it is.
async fn read(body: &mut RecvStream) -> Result<usize> {
    let mut length = 0;
    while let Some(part) = body.data().await {
        let part = part.context("reading an answer")?.len();
        body.flow_control().release_capacity(part)?;
        length += part;
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;

    #[tokio::test]
    async fn calls_of_the_backend_are_answered_on_few_connections() {
        let backend = Backend::start().await.unwrap();
        let [target, ..] = backend.calls;
        let callers = Callers::open(target, 2, 7).await.unwrap();
        for _ in 0..2 {
            let outcome = callers.run(End::Requests(5)).await;
            outcome.ensure_all_answered().unwrap();
            assert_eq!(outcome.answered, 35);
            assert!(outcome.milliseconds(0.5) > 0.0);
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_not_ok_is_a_failure() {
        let backend = Backend::start().await.unwrap();
        let [target, ..] = backend.calls;
        let callers = Callers::open(target, 1, 1).await.unwrap();
        let [connection] = &callers.connections[..] else { panic!() };
        let told = call(connection.clone(), request(), Bytes::from_static(b"short")).await.unwrap_err();
        assert!(told.to_string().contains("grpc-status \"3\""), "{told}");
    }
}
