//! A client's connection, and each of its streams by its plan.

use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::{HeaderMap, Request};
use tokio::time::sleep;

use super::bytes::{path, request_body};
use super::peer::{Pace, at, hear, send};
use super::scenario::{Scenario, StreamPlan, Window};
use crate::link::Link;

/// What a client has heard on a stream.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) status: Option<u16>,
    /// Who has made the answer; none: the gateway.
    pub(super) name: Option<String>,
    pub(super) data: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) end: End,
}

/// How a stream has ended, as its client saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum End {
    /// Nothing was sent: the client was told before that it should not.
    #[default]
    NotBegun,
    Whole,
    /// It was reset.
    Reset(Reason),
    /// Nothing was done with it, said the gateway by GOAWAY.
    WentAway,
    /// Its connection has ended.
    Closed,
    /// The client itself has reset it.
    Left,
}

/// Opens a connection.
pub(super) async fn open(scenario: &Scenario, link: Link) -> (SendRequest<Bytes>, Connection<Link, Bytes>) {
    let Window { size, then } = scenario.window;
    // One stream that is not read must not hold the others up: that would be the client's own doing.
    let all = size.max(then.map_or(0, |(_, then)| then)).max(65_535) * (scenario.streams.len() as u32 + 2);
    let mut builder = Builder::new();
    builder.initial_window_size(size).initial_connection_window_size(all);
    builder.handshake(link).await.unwrap()
}

/// What a connection itself does, until it ends.
pub(super) async fn drive(mut connection: Connection<Link, Bytes>, window: Window) {
    if let Some((after, size)) = window.then {
        tokio::select! {
            _ = &mut connection => return,
            () = sleep(Duration::from_millis(after)) => {}
        }
        // It fails where another change was not acknowledged yet.
        let _ = connection.set_initial_window_size(size);
    }
    let _ = connection.await;
}

/// Asks what is to be asked on a stream, and hears what comes of it.
pub(super) async fn run(plan: &StreamPlan, number: usize, client: SendRequest<Bytes>, seed: u64) -> Seen {
    sleep(Duration::from_millis(plan.begins)).await;
    let mut seen = Seen::default();
    let Ok(mut client) = client.ready().await else { return seen };
    let begun = client.send_request(request(plan, number), plan.body.is_none());
    drop(client);
    let Ok((answer, mut upload)) = begun else { return seen };
    let mut paces = [1, 2].map(|salt| Pace::new(seed ^ salt));
    let [writes, reads] = &mut paces;
    let exchange = async {
        let write = write(plan, number, &mut upload, writes);
        let ((), end) = tokio::join!(write, read(plan, answer, &mut seen, reads));
        end
    };
    let end = match plan.resets {
        None => exchange.await,
        Some((after, reason)) => {
            let end = tokio::select! {
                end = exchange => Some(end),
                () = sleep(Duration::from_millis(after)) => None,
            };
            end.unwrap_or_else(|| {
                upload.send_reset(reason);
                End::Left
            })
        }
    };
    Seen { end, ..seen }
}

fn request(plan: &StreamPlan, number: usize) -> Request<()> {
    let uri = format!("http://shop.example{}", path(number));
    let mut request = Request::builder().method(plan.method).uri(uri);
    if let Some(body) = plan.body.filter(|body| body.has_length) {
        request = request.header("content-length", body.size);
    }
    request.body(()).unwrap()
}

async fn write(plan: &StreamPlan, number: usize, upload: &mut SendStream<Bytes>, pace: &mut Pace) {
    if let Some(body) = &plan.body {
        // Where it fails, the answer says why.
        let _ = send(upload, (body, &request_body(number, body.size)), true, pace).await;
    }
}

async fn read(plan: &StreamPlan, answer: ResponseFuture, seen: &mut Seen, pace: &mut Pace) -> End {
    let answer = match answer.await {
        Ok(answer) => answer,
        Err(error) => return end_of(&error),
    };
    seen.status = Some(answer.status().as_u16());
    let name = answer.headers().get("x-answer");
    seen.name = name.map(|name| name.to_str().unwrap().to_owned());
    let size = plan.answers.iter().map(|answer| answer.body.size).min().unwrap_or(0);
    let pause = plan.pauses.map(|(moment, length)| (at(size, moment), Duration::from_millis(length)));
    let data = &mut seen.data;
    let heard = hear(&mut answer.into_body(), |piece| data.extend_from_slice(piece), pause, pace).await;
    match heard {
        Ok(trailers) => {
            seen.trailers = trailers;
            End::Whole
        }
        Err(error) => end_of(&error),
    }
}

fn end_of(error: &h2::Error) -> End {
    match error.reason() {
        _ if error.is_io() => End::Closed,
        Some(reason) if error.is_reset() && error.is_remote() => End::Reset(reason),
        Some(Reason::NO_ERROR) if error.is_go_away() && error.is_remote() => End::WentAway,
        _ => panic!("what the gateway sends is not HTTP/2: {error:?}"),
    }
}
