//! The connections to an endpoint on which HTTP/2 is spoken, each shared by many requests.
//!
//! They are the endpoint's own and go with it, as those are that are [`kept`](super::kept) idle.
//!
//! A request takes the fullest connection that has room: few busy ones cost less than many, and those that are not
//! needed any more end. One carries [`STREAMS`] at most, whatever its peer allows, as its frames are one task's work.
//!
//! A connection is used when the peer's SETTINGS have come, at most one round trip after its handshake. From then on
//! its bound is known, so that no request is queued behind it; and one whose peer does not speak HTTP/2, or does
//! not speak at all, fails before any request was sent there, which is safe to try elsewhere.

mod driver;
mod fate;
mod life;
mod pulse;

use std::any::Any;
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::sync::oneshot;

use crate::link::Link;
use driver::Driver;
pub(crate) use fate::{Fate, fate, fate_unsent};
use life::Life;

/// The least that a peer should allow (RFC 9113, section 6.5.2), and what most allow.
const STREAMS: usize = 100;

/// The connections to an endpoint on which HTTP/2 is spoken.
///
/// Nothing is handed to a request while the lock is held: who has gone gives it back at once.
#[derive(Debug, Default)]
pub(crate) struct Multiplexed(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    open: Vec<Connection>,
    /// Those who find no room, who came first first.
    waiting: VecDeque<Waiting>,
    /// Of what generation the connections are that are being opened.
    dials: Vec<u64>,
    /// How many streams the connection allowed that was opened last.
    allowed: Option<usize>,
    /// How long one may be without streams, as whoever came last would have it.
    idle: Duration,
    has_left: bool,
}

#[derive(Debug)]
struct Connection {
    send: SendRequest<Bytes>,
    generation: u64,
    life: Arc<Life>,
}

struct Waiting {
    generation: u64,
    is_fresh: bool,
    /// None: a connection is being opened by it.
    dial: Option<Dial>,
    place: oneshot::Sender<Result<Stream, Failed>>,
}

type Dialling = Pin<Box<dyn Future<Output = Result<Link, Failed>> + Send>>;
type Dial = Box<dyn FnOnce() -> Dialling + Send>;
type Delivery = (oneshot::Sender<Result<Stream, Failed>>, Result<Stream, Failed>);

/// What a request wants of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// Of what its handshake goes by; 0: it is in clear.
    pub(crate) generation: u64,
    /// It was not open before.
    pub(crate) is_fresh: bool,
    /// How long it may be without streams before it is closed.
    pub(crate) idle: Duration,
}

/// Why there is no connection. No request was sent.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failed {
    /// The connection could not be opened: the error of `dial`, which may have been another request's.
    #[error("the connection to the endpoint could not be opened")]
    Dial(Arc<dyn Any + Send + Sync>),
    #[error("the endpoint does not speak HTTP/2: {0}")]
    Handshake(Arc<h2::Error>),
    #[error("the endpoint sent no SETTINGS of HTTP/2")]
    Silent,
    #[error("the endpoint closes its HTTP/2 connections, or allows no stream on them")]
    Declined,
    #[error("the connection to the endpoint was given up")]
    Abandoned,
}

/// A place for one request on a connection, until it is dropped. What h2 has of the request is dropped before: then
/// its stream is reset, if it has not ended, and no other.
#[derive(Debug)]
#[must_use = "dropping it gives the place up"]
pub(crate) struct Stream {
    send: SendRequest<Bytes>,
    /// Whether its connection was open, and idle, when the request came.
    pub(crate) reused: bool,
    life: Arc<Life>,
    of: Arc<Multiplexed>,
}

impl Multiplexed {
    /// A place on a connection, which is opened by `dial` if there is none with room. It is opened in a task of its own:
    /// others may wait for it, too, when this one has gone.
    pub(crate) async fn stream<D, F, E>(self: &Arc<Self>, wanted: Wanted, dial: D) -> Result<Stream, Failed>
    where
        D: FnOnce() -> F + Send + 'static,
        F: Future<Output = Result<Link, E>> + Send + 'static,
        E: Send + Sync + 'static,
    {
        let (place, coming) = oneshot::channel();
        {
            let mut state = self.lock();
            state.idle = wanted.idle;
            if !wanted.is_fresh
                && let Some(stream) = state.take(self, wanted.generation, true)
            {
                return Ok(stream);
            }
            let dial: Dial =
                Box::new(|| Box::pin(async { dial().await.map_err(|error| Failed::Dial(Arc::new(error))) }));
            let Wanted { generation, is_fresh, .. } = wanted;
            state.waiting.push_back(Waiting { generation, is_fresh, dial: Some(dial), place });
            self.dial_for_all(&mut state);
        }
        coming.await.unwrap_or(Err(Failed::Abandoned))
    }

    /// Nobody is sent there any more: what is in flight goes on, and each connection closes when its last stream has ended.
    pub(super) fn close_all(&self) {
        let open = {
            let mut state = self.lock();
            state.has_left = true;
            std::mem::take(&mut state.open)
        };
        drop(open);
    }

    /// How many connections are open for requests, and how many streams are on them.
    #[cfg(test)]
    pub(crate) fn count(&self) -> (usize, usize) {
        let state = self.lock();
        (state.open.len(), state.open.iter().map(|connection| connection.life.streams()).sum())
    }

    /// Opens as many connections as those who wait need.
    fn dial_for_all(self: &Arc<Self>, state: &mut State) {
        while let Some((generation, dial)) = state.next_dial() {
            state.dials.push(generation);
            let opening = Opening { of: self.clone(), generation, is_over: false };
            tokio::spawn(opening.run(dial()));
        }
    }

    /// A connection was opened, or was not.
    fn dialled(self: &Arc<Self>, generation: u64, outcome: Result<(SendRequest<Bytes>, Arc<Life>), Failed>) {
        let mut state = self.lock();
        if let Some(index) = state.dials.iter().position(|dial| *dial == generation) {
            state.dials.swap_remove(index);
        }
        let deliveries = match outcome {
            Ok((send, life)) => {
                state.allowed = Some(allowed(&send));
                state.open.push(Connection { send, generation, life: life.clone() });
                let served = state.serve(self, Some(&life));
                // It went away at once: another might do so, too.
                if served.is_empty() { state.fail(generation, &Failed::Declined) } else { served }
            }
            Err(failed) => state.fail(generation, &failed),
        };
        if state.has_left {
            state.open.clear();
        }
        self.dial_for_all(&mut state);
        drop(state);
        deliver(deliveries);
    }

    /// A place was given up: somebody may wait for it.
    fn given_up(self: &Arc<Self>, life: &Life) {
        let mut state = self.lock();
        life.remove_stream();
        let deliveries = if state.waiting.is_empty() { Vec::new() } else { state.serve(self, None) };
        drop(state);
        deliver(deliveries);
    }

    /// Takes out the connection with this life; if `is_idle`, only if it has been without streams for too long.
    fn take_out(&self, life: &Arc<Life>, is_idle: bool) {
        let mut state = self.lock();
        let idle = state.idle;
        if !is_idle || life.is_idle_for(idle) {
            let out = state.open.iter().position(|connection| Arc::ptr_eq(&connection.life, life));
            let out = out.map(|index| state.open.swap_remove(index));
            drop(state);
            drop(out);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A place on the fullest connection with room. Those of another generation, and those that have ended, are used
    /// no more.
    fn take(&mut self, of: &Arc<Multiplexed>, generation: u64, reused: bool) -> Option<Stream> {
        self.open.retain(|connection| connection.generation == generation && is_open(&connection.send));
        let with_room = self.open.iter().filter(|connection| connection.has_room());
        Some(with_room.max_by_key(|connection| connection.life.streams())?.place(of, reused))
    }

    /// Gives places to those who wait: those on `new` first, a connection that was opened just now.
    fn serve(&mut self, of: &Arc<Multiplexed>, new: Option<&Arc<Life>>) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for waiting in std::mem::take(&mut self.waiting) {
            if waiting.place.is_closed() {
                continue;
            }
            let on_new = self.open.iter().find(|connection| {
                new.is_some_and(|new| Arc::ptr_eq(&connection.life, new))
                    && connection.generation == waiting.generation
                    && connection.has_room()
            });
            let old = || {
                let fits = |connection: &&Connection| {
                    connection.generation == waiting.generation && connection.has_room()
                };
                self.open.iter().find(fits).filter(|_| !waiting.is_fresh)
            };
            let stream = match on_new {
                Some(connection) => Some(connection.place(of, false)),
                None => old().map(|connection| connection.place(of, true)),
            };
            match stream {
                Some(stream) => deliveries.push((waiting.place, Ok(stream))),
                None => self.waiting.push_back(waiting),
            }
        }
        deliveries
    }

    /// Those who waited for a connection hear why it could not be opened; but as many as the others will have room for
    /// that are being opened wait on.
    fn fail(&mut self, generation: u64, failed: &Failed) -> Vec<Delivery> {
        let stay = self.room_to_come(generation);
        let of_it = self.waiting.iter().filter(|waiting| waiting.generation == generation).count();
        let mut count = of_it.saturating_sub(stay);
        let mut deliveries = Vec::new();
        for waiting in std::mem::take(&mut self.waiting) {
            if waiting.generation == generation && count > 0 {
                count -= 1;
                deliveries.push((waiting.place, Err(failed.clone())));
            } else {
                self.waiting.push_back(waiting);
            }
        }
        deliveries
    }

    /// How to open another connection, if those that are being opened have no room for all who wait.
    fn next_dial(&mut self) -> Option<(u64, Dial)> {
        self.waiting.retain(|waiting| !waiting.place.is_closed());
        // All but always of one generation.
        let mut waiting: Vec<(u64, usize)> = Vec::new();
        for Waiting { generation, .. } in &self.waiting {
            match waiting.iter_mut().find(|(of, _)| of == generation) {
                Some((_, count)) => *count += 1,
                None => waiting.push((*generation, 1)),
            }
        }
        waiting.retain(|(generation, count)| *count > self.room_to_come(*generation));
        waiting.into_iter().find_map(|(generation, _)| {
            let mut of_it = self.waiting.iter_mut().filter(|waiting| waiting.generation == generation);
            Some((generation, of_it.find_map(|waiting| waiting.dial.take())?))
        })
    }

    fn room_to_come(&self, generation: u64) -> usize {
        let dials = self.dials.iter().filter(|dial| **dial == generation).count();
        dials.saturating_mul(self.allowed.unwrap_or(STREAMS).max(1))
    }
}

impl Connection {
    fn has_room(&self) -> bool {
        is_open(&self.send) && self.life.streams() < allowed(&self.send)
    }

    fn place(&self, of: &Arc<Multiplexed>, reused: bool) -> Stream {
        // One with streams is not idle: if it breaks, that says something of its peer.
        let reused = reused && self.life.streams() == 0;
        self.life.add_stream();
        Stream { send: self.send.clone(), reused, life: self.life.clone(), of: of.clone() }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.life.is_left.store(true, Ordering::Release);
    }
}

#[cfg(test)]
impl Stream {
    /// Whether its connection takes no request any more: the peer has sent GOAWAY, or it has broken.
    pub(crate) fn has_gone_away(&self) -> bool {
        !is_open(&self.send)
    }

    /// Whether its connection has ended, with all of its streams.
    pub(crate) fn is_closed(&self) -> bool {
        self.life.is_closed.load(Ordering::Acquire)
    }
}

impl Stream {
    /// The peer has sent something of an answer.
    pub(crate) fn has_answered(&self) {
        self.life.has_answered();
    }
}

impl Deref for Stream {
    type Target = SendRequest<Bytes>;

    fn deref(&self) -> &Self::Target {
        &self.send
    }
}

impl DerefMut for Stream {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.send
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.of.given_up(&self.life);
    }
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// A connection that is being opened. If its task ends before, be it by a panic, those who wait hear so.
struct Opening {
    of: Arc<Multiplexed>,
    generation: u64,
    is_over: bool,
}

impl Opening {
    async fn run(mut self, dialling: Dialling) {
        let outcome = match dialling.await {
            Ok(link) => Driver::open(link).await,
            Err(failed) => Err(failed),
        };
        self.is_over = true;
        match outcome {
            Ok((send, driver)) => {
                self.of.dialled(self.generation, Ok((send, driver.life())));
                let of = self.of.clone();
                drop(self);
                driver.run(&of).await;
            }
            Err(failed) => self.of.dialled(self.generation, Err(failed)),
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if !self.is_over {
            let deliveries = {
                let mut state = self.of.lock();
                if let Some(index) = state.dials.iter().position(|dial| *dial == self.generation) {
                    state.dials.swap_remove(index);
                }
                state.fail(self.generation, &Failed::Abandoned)
            };
            deliver(deliveries);
        }
    }
}

fn deliver(deliveries: Vec<Delivery>) {
    for (place, outcome) in deliveries {
        // Who has gone gives the place back.
        drop(place.send(outcome));
    }
}

/// How many streams there may be on a connection.
fn allowed(send: &SendRequest<Bytes>) -> usize {
    send.current_max_send_streams().min(STREAMS)
}

/// Whether the connection takes requests: h2 says so at once, and nobody waits for it.
fn is_open(send: &SendRequest<Bytes>) -> bool {
    let ready = send.clone().poll_ready(&mut Context::from_waker(Waker::noop()));
    matches!(ready, Poll::Ready(Ok(())))
}

#[cfg(test)]
mod tests;
