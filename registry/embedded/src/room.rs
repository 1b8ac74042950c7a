//! How many bytes of requests and of answers there may be at a time, over all connections.
//!
//! Small ones are not counted: their number is bounded, and a keep-alive or a registration must not wait behind
//! another client's megabytes. Room is held for a bounded time ([`CALL_TIME`], [`ANSWER_TIME`]). And no task waits for
//! room while it holds some of the same kind, so that no two can wait for each other.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::{Response, codec::SingleMessageCompressionOverride};

use crate::{client::Client, refusal::Refusal};

/// The room for all requests, in bytes; that for all answers is as large.
const BYTES: usize = 64 * 1024 * 1024;
/// Requests and answers of at most so many bytes are not counted.
pub(crate) const SMALL: usize = 8 * 1024;
/// An answer of more bytes than this is not compressed: to compress 16 MiB would keep the thread for a quarter of a
/// second.
const COMPRESSED: usize = 1024 * 1024;
/// How many times the bytes of a request or an answer may be in memory at once: as they come from the network or go to
/// it, as a message, and as JSON.
const COPIES: usize = 3;
/// How long a request waits for room. It must not be long: the requests of an HTTP/2 connection share its window, so
/// that one that waits and is not read may hold up another one, whose room it waits for.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a call over gRPC may take from its head until it is carried out, and the body of one over HTTP/1 to come.
pub(crate) const CALL_TIME: Duration = Duration::from_secs(30);
/// The connection of a client that has a counted answer to take, and takes no byte at all for so long, is closed.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// It is also closed if the answer is not gone after [`ANSWER_TIME`] and one second for each so many bytes: a client
/// may take other answers and never this one.
const LEAST_RATE: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Room {
    requests: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Self {
        Self { requests: Arc::new(Semaphore::new(BYTES)), answers: Arc::new(Semaphore::new(BYTES)) }
    }
}

impl Room {
    /// Room for a request of so many bytes, until it is dropped.
    pub(crate) async fn for_request(
        &self,
        client: &Client,
        bytes: usize,
    ) -> Result<Option<OwnedSemaphorePermit>, Refusal> {
        let Some(bytes) = counted(client, bytes) else { return Ok(None) };
        let permit = timeout(PATIENCE, Arc::clone(&self.requests).acquire_many_owned(bytes));
        match permit.await {
            Ok(permit) => Ok(permit.ok()),
            Err(_) => Err(Refusal::TooManyRequests),
        }
    }

    /// Waits for room for an answer of so many bytes. There is no deadline, since those who have the room must give it
    /// back in time. The future must be polled to its end or dropped: it may have got its room meanwhile.
    pub(crate) async fn for_answer(&self, client: &Arc<Client>, bytes: usize) -> Option<Held> {
        let bytes = counted(client, bytes)?;
        let permit = Arc::clone(&self.answers).acquire_many_owned(bytes).await.ok()?;
        Some(Held { permit, client: Arc::clone(client), _overdue: Overdue::default() })
    }
}

/// The bytes that a request or an answer counts as; none if it does not count.
fn counted(client: &Client, bytes: usize) -> Option<u32> {
    let is_counted = bytes > SMALL && !client.is_gateway();
    is_counted.then(|| u32::try_from(bytes.saturating_mul(COPIES).min(BYTES)).unwrap_or(u32::MAX))
}

/// Room that an answer has until the last of its bytes is sent. A client that does not take them in time is closed.
#[derive(Debug)]
pub(crate) struct Held {
    permit: OwnedSemaphorePermit,
    client: Arc<Client>,
    /// The task that closes the connection at the deadline. None before the answer can be sent.
    _overdue: Overdue,
}

impl Held {
    /// Starts the deadline: from now on the client can take the answer.
    fn start(self) -> Self {
        let client = Arc::clone(&self.client);
        let seconds = self.permit.num_permits() / COPIES / LEAST_RATE;
        let most = ANSWER_TIME + Duration::from_secs(seconds.try_into().unwrap_or(u64::MAX));
        let overdue = tokio::spawn(async move {
            let _ = timeout(most, stalled(&client)).await;
            client.close();
        });
        Self { _overdue: Overdue(Some(overdue)), ..self }
    }

    /// Gives back what an answer of so many bytes does not need.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let surplus = self.permit.num_permits().saturating_sub(bytes.saturating_mul(COPIES));
        drop(self.permit.split(surplus));
    }
}

/// The task that closes the connection at the deadline. Dropping it, when the answer is sent, stops it.
#[derive(Debug, Default)]
struct Overdue(Option<JoinHandle<()>>);

impl Drop for Overdue {
    fn drop(&mut self) {
        if let Some(overdue) = &self.0 {
            overdue.abort();
        }
    }
}

/// Ends when a client has taken nothing for a while.
async fn stalled(client: &Client) {
    let mut before = None;
    while before != Some(client.taken()) {
        before = Some(client.taken());
        sleep(ANSWER_TIME).await;
    }
}

/// Where the code that makes an answer leaves its room for the code that sends it. A stream has another one for each
/// message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paid(Arc<Mutex<Option<Arc<Held>>>>);

impl Paid {
    pub(crate) fn put(&self, held: Option<Held>) {
        let held = held.map(Held::start).map(Arc::new);
        let before = mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), held);
        drop(before);
    }

    /// Attaches it to an answer, in which the sending code finds it.
    pub(crate) fn carried_by<T>(self, answer: T) -> Response<T> {
        let mut answer = Response::new(answer);
        let is_large = |held: &Arc<Held>| held.permit.num_permits() > COPIES * COMPRESSED;
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(is_large) {
            answer.extensions_mut().insert(SingleMessageCompressionOverride::Disable);
        }
        answer.extensions_mut().insert(self);
        answer
    }

    /// The same bytes, which keep the room for as long as they are in memory.
    pub(crate) fn hold(&self, bytes: Bytes) -> Bytes {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match held {
            Some(held) => Bytes::from_owner(HeldBytes { bytes, _held: held }),
            None => bytes,
        }
    }
}

struct HeldBytes {
    bytes: Bytes,
    _held: Arc<Held>,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const LARGE: usize = BYTES / COPIES;

    #[tokio::test(start_paused = true)]
    async fn large_requests_wait_for_room_and_for_no_longer_than_a_while() {
        let (room, guest) = (Room::default(), Client::guest());
        let first = room.for_request(&guest, LARGE).await.unwrap();
        assert_eq!(room.for_request(&guest, 2 * SMALL).await.unwrap_err(), Refusal::TooManyRequests);
        assert!(room.for_request(&guest, SMALL).await.unwrap().is_none(), "a small one needs none");
        assert!(room.for_request(&Client::gateway(), LARGE).await.unwrap().is_none());
        let waiting = room.for_request(&guest, LARGE);
        drop(first);
        assert!(waiting.await.unwrap().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_hold_their_room_until_the_last_of_them_is_gone() {
        let (room, guest) = (Room::default(), Client::guest());
        let paid = Paid::default();
        let mut held = room.for_answer(&guest, LARGE).await.unwrap();
        held.shrink(LARGE / 2);
        paid.put(Some(held));
        let mut sent = paid.hold(Bytes::from(vec![0; 10]));
        let rest = sent.split_off(5);
        drop((sent, paid));
        assert!(room.for_answer(&guest, LARGE / 2).now_or_never().is_some(), "the surplus was given back");
        assert!(room.for_answer(&guest, LARGE).now_or_never().is_none());
        drop(rest);
        assert!(room.for_answer(&guest, LARGE).now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_take_an_answer_is_closed() {
        let (room, guest, paid) = (Room::default(), Client::guest(), Paid::default());
        paid.put(room.for_answer(&guest, LARGE).await);
        sleep(ANSWER_TIME / 2).await;
        assert!(guest.closed().now_or_never().is_none());
        timeout(ANSWER_TIME, guest.closed()).await.unwrap();
        paid.put(None);
        paid.put(room.for_answer(&guest, LARGE).await);
        paid.put(None);
        sleep(2 * ANSWER_TIME).await;
        assert!(guest.closed().now_or_never().is_none(), "it took this one");
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_an_answer_slowly_and_steadily_is_served_and_who_takes_others_in_its_place_is_not() {
        let (room, guest, paid) = (Room::default(), Client::guest(), Paid::default());
        // 10 MiB take 640 s at the least rate.
        paid.put(room.for_answer(&guest, 10 * 1024 * 1024).await);
        for _ in 0..60 {
            sleep(Duration::from_secs(11)).await;
            guest.take_bytes(1);
        }
        assert!(guest.closed().now_or_never().is_none(), "after 660 s");
        sleep(Duration::from_secs(11)).await;
        guest.take_bytes(1);
        timeout(Duration::from_secs(1), guest.closed()).await.unwrap();
    }
}
