//! etcd's gRPC services. They are thin: each call is one call of the [`Registry`] under its lock, and what costs time
//! (copies, encoding, sending) happens outside of it.

mod api;
mod auth;
mod cluster;
mod head;
mod health;
mod kv;
mod lease;
mod maintenance;
mod message;
mod news;
mod session;
mod txn;
mod unknown;
mod watch;

use std::{
    sync::{Arc, MutexGuard},
    time::Duration,
};

use etcd_client::proto::PbResponseHeader;
use tokio::sync::watch as signal;
use tonic::{
    Status,
    codec::{Codec, CompressionEncoding},
    server::Grpc,
};
use tonic_prost::ProstCodec;

pub(crate) use api::{Api, is_stream};
pub(crate) use maintenance::VERSION;
pub(crate) use message::MAX_MESSAGE;

use crate::{
    allowance::{Allowance, MOST_BYTES},
    client::Client,
    observer::Memory,
    refusal::Refusal,
    registry::Registry,
    room::{Paid, Room, SMALL},
    turns::Turns,
};

/// Within how many bytes an answer is tried before it is tried within the most that there may be.
const SMALLER_ANSWERS: [usize; 2] = [SMALL, 1024 * 1024];

/// The same for every embedded registry and start, as those of an etcd that starts again: `leaseway` and
/// `embedded`, as bytes.
const CLUSTER_ID: u64 = u64::from_be_bytes(*b"leaseway");
const MEMBER_ID: u64 = u64::from_be_bytes(*b"embedded");
/// There never is an election.
const TERM: u64 = 1;

/// What all services share.
#[derive(Debug)]
pub(crate) struct Shared {
    memory: Arc<Memory>,
    room: Arc<Room>,
    turns: Turns,
    /// True once the server stops.
    stopping: signal::Receiver<bool>,
    progress_interval: Duration,
    /// Where clients are told to reach this registry.
    advertised: String,
}

impl Shared {
    pub(crate) fn new(
        memory: Arc<Memory>,
        room: Arc<Room>,
        stopping: signal::Receiver<bool>,
        progress_interval: Duration,
        advertised: String,
    ) -> Arc<Self> {
        let turns = Turns::default();
        Arc::new(Self { memory, room, turns, stopping, progress_interval, advertised })
    }

    /// The registry. Never to be held across an await.
    pub(crate) fn locked(&self) -> MutexGuard<'_, Registry> {
        self.memory.locked()
    }

    /// Asks the registry, and counts if it refuses.
    pub(crate) fn ask<T>(
        &self,
        request: impl FnOnce(&mut Registry) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.memory.ask(request)
    }

    /// The same in the client's turn: what may take long.
    pub(crate) async fn ask_in_turn<T>(
        &self,
        client: &Client,
        request: impl FnOnce(&mut Registry) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.turns.take(client, || self.ask(request)).await
    }

    /// Asks for keys and values, in the client's turn, with room for the answer. There must be room before it is asked
    /// for, but only then is it known how large the answer is. So it is asked for within little room first, for which
    /// nobody waits, and if the answer does not fit, within more.
    pub(crate) async fn answer<T>(
        &self,
        client: &Arc<Client>,
        mut ask: impl FnMut(&mut Registry, &mut Allowance) -> Result<T, Refusal>,
    ) -> Result<(T, Paid), Refusal> {
        let paid = Paid::default();
        if client.is_gateway() {
            let ask = |registry: &mut Registry| ask(registry, &mut Allowance::of_the_gateway());
            return Ok((self.ask_in_turn(client, ask).await?, paid));
        }
        for bytes in SMALLER_ANSWERS {
            if let Some(answer) = self.try_to_answer(client, bytes, &paid, &mut ask).await? {
                return Ok((answer, paid));
            }
        }
        let answer = self.try_to_answer(client, MOST_BYTES, &paid, &mut ask).await?;
        let answer = answer.ok_or(Refusal::AnswerTooLarge);
        Ok((answer.inspect_err(|refusal| self.memory.count_refusal(refusal.reason()))?, paid))
    }

    /// Asks for an answer of at most so many bytes; none if it is larger.
    async fn try_to_answer<T>(
        &self,
        client: &Arc<Client>,
        bytes: usize,
        paid: &Paid,
        ask: &mut impl FnMut(&mut Registry, &mut Allowance) -> Result<T, Refusal>,
    ) -> Result<Option<T>, Refusal> {
        let mut held = self.room.for_answer(client, bytes).await;
        let mut allowance = Allowance::of_a_guest(bytes);
        let answer = self.ask_in_turn(client, |registry| match ask(registry, &mut allowance) {
            Err(Refusal::AnswerTooLarge) => Ok(None),
            answer => answer.map(Some),
        });
        let answer = answer.await?;
        if answer.is_some() {
            held.iter_mut().for_each(|held| held.shrink(allowance.answered()));
            paid.put(held);
        }
        Ok(answer)
    }

    /// Counts a refusal that is not the registry's own, and says it.
    fn refuse(&self, refusal: Refusal) -> Status {
        self.memory.count_refusal(refusal.reason());
        refusal.into()
    }

    /// As [`unknown::unimplemented`], and counted.
    fn unimplemented(&self, method: &str) -> Status {
        self.memory.count_refusal("unimplemented".to_owned());
        unknown::unimplemented(method)
    }

    /// As [`unknown::unknown`], and counted.
    fn unknown(&self, path: &str) -> Status {
        self.memory.count_refusal("unimplemented".to_owned());
        unknown::unknown(path)
    }

    /// What etcd says of a message that its transport does not take, if that is what tonic says here. Counted.
    fn too_large(&self, status: &Status) -> Option<Status> {
        let refused = message::too_large(status)?;
        self.memory.count_refusal("message too large".to_owned());
        Some(refused)
    }
}

fn header(revision: i64) -> PbResponseHeader {
    PbResponseHeader { cluster_id: CLUSTER_ID, member_id: MEMBER_ID, revision, raft_term: TERM }
}

/// For the services for which etcd-client has no trait.
fn grpc<A, Q>() -> Grpc<ProstCodec<A, Q>>
where
    A: prost::Message + 'static,
    Q: prost::Message + Default + 'static,
{
    grpc_with(ProstCodec::default())
}

fn grpc_with<C: Codec>(codec: C) -> Grpc<C> {
    Grpc::new(codec)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MAX_MESSAGE)
}

/// Ends when the server stops.
pub(crate) async fn stopped(stopping: &mut signal::Receiver<bool>) {
    // A sender that is gone has stopped too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
