//! What instances have in common, and one that speaks HTTP/2, by the plans of the requests that come.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Response};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::bytes::{answer_body, answer_name, stream_of};
use super::frames::{Framed, Next, go_away};
use super::peer::{Pace, at, hear, send};
use super::scenario::{AnswerPlan, Fault, Scenario};
use crate::link::Link;

/// What all instances have in common.
#[derive(Debug)]
pub(super) struct Instances {
    pub(super) scenario: Scenario,
    /// What came, in the order in which it came.
    pub(super) attempts: Mutex<Vec<Attempt>>,
    /// For each connection, whether the instance has broken it.
    pub(super) broken: Mutex<Vec<bool>>,
}

/// A request that has come to an instance.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) stream: usize,
    /// Which of this stream's it is.
    pub(super) number: usize,
    pub(super) instance: usize,
    pub(super) connection: usize,
    pub(super) method: String,
    pub(super) heard: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
    /// Whether all of it has come.
    pub(super) is_whole: bool,
    pub(super) fate: Fate,
}

/// What an instance has made of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Open,
    Answered,
    /// It has not begun with it, and has said so of this one.
    Refused,
    /// Or of all that were above it.
    Above,
    /// It has reset the stream, or broken the connection.
    Broken,
    /// The gateway has left.
    Left,
}

/// A request, for who answers it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) index: usize,
    pub(super) stream: usize,
    pub(super) number: usize,
}

impl Instances {
    pub(super) fn new(scenario: Scenario) -> Arc<Self> {
        Arc::new(Self { scenario, attempts: Mutex::default(), broken: Mutex::default() })
    }

    /// The number of another connection.
    pub(super) fn connects(&self) -> usize {
        let mut broken = self.broken.lock().unwrap();
        broken.push(false);
        broken.len() - 1
    }

    pub(super) fn breaks(&self, connection: usize) {
        self.broken.lock().unwrap()[connection] = true;
    }

    /// A request has come.
    pub(super) fn comes(&self, (instance, connection): (usize, usize), method: &str, path: &str) -> Place {
        let mut attempts = self.attempts.lock().unwrap();
        let stream = stream_of(path);
        let number = attempts.iter().filter(|attempt| attempt.stream == stream).count();
        attempts.push(Attempt {
            stream,
            number,
            instance,
            connection,
            method: method.to_owned(),
            heard: Vec::new(),
            trailers: None,
            is_whole: false,
            fate: Fate::Open,
        });
        Place { index: attempts.len() - 1, stream, number }
    }

    pub(super) fn note(&self, place: Place, change: impl FnOnce(&mut Attempt)) {
        change(&mut self.attempts.lock().unwrap()[place.index]);
    }

    pub(super) fn plan(&self, place: Place) -> &AnswerPlan {
        self.scenario.streams[place.stream].answer(place.number)
    }
}

/// How a connection stands.
#[derive(Debug, Clone, Copy)]
struct State {
    /// Nothing was done with what is above this.
    last: u32,
    /// The highest stream whose answer has begun.
    begun: u32,
    goes_away: bool,
    is_broken: bool,
}

/// Serves a connection on which HTTP/2 is spoken, until it ends.
pub(super) async fn serve(all: Arc<Instances>, instance: usize, link: Link, seed: u64) {
    let plan = all.scenario.instances[instance];
    let connection_number = all.connects();
    let next = Next::default();
    let mut builder = Builder::new();
    builder.initial_window_size(plan.window).max_concurrent_streams(plan.streams);
    builder.initial_connection_window_size(plan.window.max(65_535) * 10);
    let handshake = builder.handshake::<_, Bytes>(Framed::new(link, next.clone())).await;
    let Ok(mut connection) = handshake else { return };
    let first = State { last: u32::MAX, begun: 0, goes_away: false, is_broken: false };
    let (state, mut changes) = watch::channel(first);
    let state = Arc::new(state);
    let mut streams = JoinSet::new();
    let mut was_told = false;
    loop {
        tokio::select! {
            asked = connection.accept() => {
                let Some(Ok((request, respond))) = asked else {
                    let error = asked.and_then(Result::err);
                    assert!(error.as_ref().is_none_or(h2::Error::is_io), "the gateway does not speak HTTP/2: {error:?}");
                    break;
                };
                let of = (instance, connection_number);
                let place = all.comes(of, request.method().as_str(), request.uri().path());
                let id = respond.stream_id().into();
                let seed = seed ^ u64::from(id) << 32;
                let stream = Stream { all: all.clone(), place, of, state: state.clone(), next: next.clone(), id };
                streams.spawn(stream.run(request.into_body(), respond, seed));
            }
            Ok(()) = changes.changed() => {
                let State { goes_away, is_broken, .. } = *changes.borrow_and_update();
                if is_broken {
                    break;
                }
                if goes_away && !std::mem::replace(&mut was_told, true) {
                    connection.graceful_shutdown();
                }
            }
            Some(ended) = streams.join_next() => ended.unwrap(),
        }
    }
    drop(connection);
    while let Some(ended) = streams.join_next().await {
        ended.unwrap();
    }
}

/// A request that has come, and where.
struct Stream {
    all: Arc<Instances>,
    place: Place,
    of: (usize, usize),
    state: Arc<watch::Sender<State>>,
    next: Next,
    id: u32,
}

impl Stream {
    async fn run(self, mut body: RecvStream, respond: SendResponse<Bytes>, seed: u64) {
        let mut changes = self.state.subscribe();
        let fate = tokio::select! {
            biased;
            gone = changes.wait_for(|state| state.is_broken || self.id > state.last) => {
                if gone.unwrap().is_broken { Fate::Broken } else { Fate::Above }
            }
            fate = self.carry(&mut body, respond, seed) => fate,
        };
        self.all.note(self.place, |attempt| attempt.fate = fate);
    }

    async fn carry(&self, body: &mut RecvStream, respond: SendResponse<Bytes>, seed: u64) -> Fate {
        let mut paces = [1, 2].map(|salt| Pace::new(seed ^ salt));
        let [reads, writes] = &mut paces;
        let (told, has_heard) = oneshot::channel();
        let hear = async {
            let take = |piece: &[u8]| {
                self.all.note(self.place, |attempt| attempt.heard.extend_from_slice(piece));
            };
            if let Ok(trailers) = hear(body, take, None, reads).await {
                self.all.note(self.place, |attempt| {
                    (attempt.trailers, attempt.is_whole) = (trailers, true);
                });
                let _ = told.send(());
            }
        };
        let plan = self.all.plan(self.place);
        let speak = async {
            if !plan.is_early && has_heard.await.is_err() {
                return Fate::Left;
            }
            sleep(Duration::from_millis(plan.takes)).await;
            self.speak(plan, respond, writes).await
        };
        if plan.is_early && !plan.reads_rest {
            tokio::pin!(hear, speak);
            tokio::select! {
                fate = &mut speak => fate,
                () = &mut hear => speak.await,
            }
        } else {
            tokio::join!(hear, speak).1
        }
    }

    async fn speak(&self, plan: &AnswerPlan, mut respond: SendResponse<Bytes>, pace: &mut Pace) -> Fate {
        match plan.fault {
            Some(Fault::GoesAwayBelow) if self.goes_away_below() => return pending().await,
            Some(Fault::Refuses | Fault::GoesAwayBelow) => {
                respond.send_reset(Reason::REFUSED_STREAM);
                return Fate::Refused;
            }
            Some(Fault::Resets(reason, None)) => {
                respond.send_reset(reason);
                return Fate::Broken;
            }
            Some(Fault::Closes(None)) => return self.breaks().await,
            Some(Fault::GoesAway) => {
                self.state.send_modify(|state| state.goes_away |= state.last == u32::MAX);
            }
            _ => {}
        }
        match self.answer(plan, respond, pace).await {
            Ok(fate) => fate,
            // What this side has done to the connection says the state.
            Err(_) => Fate::Left,
        }
    }

    async fn answer(
        &self,
        plan: &AnswerPlan,
        mut respond: SendResponse<Bytes>,
        pace: &mut Pace,
    ) -> Result<Fate, h2::Error> {
        let Place { stream, number, .. } = self.place;
        let body = &plan.body;
        let mut head = Response::builder().header("x-answer", answer_name(stream, number));
        if body.has_length {
            head = head.header("content-length", body.size);
        }
        self.state.send_if_modified(|state| {
            state.begun = state.begun.max(self.id);
            false
        });
        let ends_at_once = body.size == 0 && !body.trailers && plan.fault.is_none() && pace.flips();
        let mut to = respond.send_response(head.body(()).unwrap(), ends_at_once)?;
        if ends_at_once {
            return Ok(Fate::Answered);
        }
        let bytes = answer_body(stream, number, body.size);
        let Some(Fault::Resets(_, Some(moment)) | Fault::Closes(Some(moment))) = plan.fault else {
            send(&mut to, (body, &bytes), true, pace).await?;
            return Ok(Fate::Answered);
        };
        send(&mut to, (body, &bytes[..at(body.size, moment)]), false, pace).await?;
        if let Some(Fault::Resets(reason, _)) = plan.fault {
            to.send_reset(reason);
            return Ok(Fate::Broken);
        }
        Ok(self.breaks().await)
    }

    /// False: it cannot say so any more.
    fn goes_away_below(&self) -> bool {
        self.state.send_if_modified(|state| {
            if state.goes_away || state.begun >= self.id {
                return false;
            }
            state.last = self.id.saturating_sub(2);
            self.next.lock().unwrap().extend(go_away(state.last));
            true
        })
    }

    async fn breaks(&self) -> Fate {
        self.all.breaks(self.of.1);
        self.state.send_modify(|state| state.is_broken = true);
        pending().await
    }
}
