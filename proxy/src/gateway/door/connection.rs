//! One client's connection, from the first byte to the last: head after head, each within its time, and each request to
//! the carrier that it is for.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;

use super::Door;
use crate::gateway::carry::Client;
use crate::gateway::carry::http1::{After, Desk};
use crate::gateway::grammar::{LONGEST_HEAD, Refusal};
use crate::link::Link;
use crate::tasks::now;
use crate::traffic::in_flight::Permit;

/// A client that is told no more and sends nothing for so long is done.
const SILENCE: Duration = Duration::from_secs(2);
/// So much is read at once of what it sends.
const PIECE: usize = 4 * 1024;
const LATE: Refusal = Refusal { status: 408, why: "the request's head did not come in time" };

/// What has come of the next request.
enum Arrived {
    /// Its head, which takes so many bytes.
    Head(usize),
    /// Something that is none.
    Refused(Refusal),
    /// Nothing: the client has left or has nothing more to ask, or the gateway stops.
    Nothing,
}

/// Waits for a head.
#[derive(Debug, Default)]
struct Waiting {
    desk: Option<Box<Desk>>,
    /// When it was found that nothing has come yet, if it was.
    since: Option<Instant>,
    /// When the head began, and its place among those that the process waits for before it ends.
    begun: Option<(Instant, Permit)>,
}

/// Serves a client until it leaves, or has to.
pub(super) async fn serve(door: Arc<Door>, link: Link) {
    let registered = door.bells.register();
    let mut client = Client::new(link, registered.bell().clone());
    let mut waiting = Waiting::default();
    loop {
        waiting.since = None;
        let arrived = poll_fn(|cx| waiting.poll(cx, &door, &mut client)).await;
        let Some(mut desk) = waiting.desk.take() else { return };
        waiting.begun = None;
        let after = match arrived {
            // Futures that are made for each request, so that a connection without one is small.
            Arrived::Head(length) => {
                desk.split(length);
                if door.goes_through_pingora() {
                    let Some(back) = Box::pin(door.detour.carry(client, &mut desk)).await else {
                        door.carrier.desks.take_back(desk);
                        return;
                    };
                    client = back;
                    After::Next
                } else {
                    Box::pin(door.carrier.carry(&door.gateway, &mut client, &mut desk)).await
                }
            }
            Arrived::Refused(refusal) => {
                Box::pin(door.refuse(&mut client, &mut desk, refusal)).await;
                // Nobody knows what follows, and some of it may be on its way.
                After::Close { is_sending: true }
            }
            Arrived::Nothing => After::Close { is_sending: false },
        };
        match after {
            After::Next if desk.next() => waiting.desk = Some(desk),
            After::Next => door.carrier.desks.take_back(desk),
            After::Close { is_sending } => {
                if is_sending || !client.link.is_silent() {
                    linger(&mut client, &mut desk, door.linger()).await;
                }
                door.carrier.desks.take_back(desk);
                return;
            }
            After::BreakOff => {
                door.carrier.desks.take_back(desk);
                client.link.reset();
                return;
            }
        }
    }
}

impl Waiting {
    /// Reads a head.
    fn poll(&mut self, cx: &mut Context<'_>, door: &Door, client: &mut Client) -> Poll<Arrived> {
        // What came with the request before.
        if let Some(desk) = &mut self.desk
            && self.begun.is_none()
        {
            if let Some(arrived) = read(desk) {
                return Poll::Ready(arrived);
            }
            self.begun = Some((now(), door.gateway.lifecycle.begun()));
        }
        loop {
            if self.desk.is_none() {
                // Without a buffer for as long as nothing comes.
                match client.link.poll_stirred(cx) {
                    Poll::Ready(()) => self.desk = Some(door.carrier.desks.lend()),
                    Poll::Pending => return self.poll_wait(cx, door, client),
                }
            }
            let Some(desk) = &mut self.desk else { return Poll::Ready(Arrived::Nothing) };
            match desk.head.poll_fill(&mut client.link, LONGEST_HEAD, cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Arrived::Nothing),
                Poll::Ready(Ok(_)) => {
                    if let Some(arrived) = read(desk) {
                        return Poll::Ready(arrived);
                    }
                    self.begun.get_or_insert_with(|| (now(), door.gateway.lifecycle.begun()));
                }
                Poll::Pending => {
                    if desk.head.is_empty() {
                        self.desk.take().into_iter().for_each(|desk| door.carrier.desks.take_back(desk));
                    }
                    return self.poll_wait(cx, door, client);
                }
            }
        }
    }

    /// Nothing more has come yet. Whether it is waited for any longer.
    fn poll_wait(&mut self, cx: &mut Context<'_>, door: &Door, client: &mut Client) -> Poll<Arrived> {
        let now = now();
        // A connection on which nothing has begun ends with the process; a head that has begun may end within its time.
        let due = match self.begun {
            None => {
                while client.bell.poll_rung(cx).is_ready() {}
                if door.is_stopping() {
                    return Poll::Ready(Arrived::Nothing);
                }
                self.since.get_or_insert(now).checked_add(door.gateway.time(|times| times.keepalive))
            }
            Some((begun, _)) => begun.checked_add(door.gateway.time(|times| times.head)),
        };
        let Some(due) = due else { return Poll::Pending };
        ready!(client.timer.poll(cx, now, due));
        Poll::Ready(if self.has_begun() { Arrived::Refused(LATE) } else { Arrived::Nothing })
    }

    /// Whether something of a head is here. (Empty lines before it are none: some clients send one behind a body, and wait
    /// for no answer to it.)
    fn has_begun(&self) -> bool {
        let bytes = self.desk.as_ref().map(|desk| desk.head.bytes()).unwrap_or_default();
        bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
    }
}

/// What the bytes that are here say.
fn read(desk: &mut Desk) -> Option<Arrived> {
    match desk.parsed.read(desk.head.bytes()) {
        Ok(None) => None,
        Ok(Some(length)) => Some(Arrived::Head(length)),
        Err(refusal) => Some(Arrived::Refused(refusal)),
    }
}

/// Says that nothing more comes, and reads what the client sends still, for so long at most: a connection that is closed
/// while its client sends is reset, and the answer on its way may be lost with it.
async fn linger(client: &mut Client, desk: &mut Desk, limit: Duration) {
    if client.link.shutdown().await.is_err() {
        return;
    }
    let (end, mut heard_at) = (now() + limit, now());
    desk.head.clear();
    poll_fn(|cx| {
        loop {
            match desk.head.poll_fill(&mut client.link, PIECE, cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => desk.head.clear(),
                Poll::Pending => return client.timer.poll(cx, now(), end.min(heard_at + SILENCE)),
            }
            heard_at = now();
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Gateway;
    use crate::gateway::carry::http1::Carrier;

    fn of_connection<F>(_: impl FnOnce(Arc<Door>, Link) -> F) -> usize {
        size_of::<F>()
    }

    fn of_request<F>(
        _: impl FnOnce(&'static Carrier, &'static Gateway, &'static mut Client, &'static mut Desk) -> F,
    ) -> usize {
        size_of::<F>()
    }

    /// Each idle connection has the one, each busy one both; and that of a request is copied as a whole when it begins.
    #[test]
    fn what_a_connection_and_a_request_hold_is_small() {
        let sizes = [of_connection(serve), of_request(Carrier::carry)];
        let most = [448, 1_408];
        assert!(sizes.iter().zip(most).all(|(size, most)| *size <= most), "{sizes:?}");
    }
}
