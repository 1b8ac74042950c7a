//! One client's connection, from the first byte to the last: head after head, each within its time, and each request to
//! the carrier that it is for.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::AsyncWrite;

use super::Door;
use super::crowd::Place;
use super::handshake::RECORD;
use super::http2;
use crate::gateway::carry::Client;
use crate::gateway::carry::http1::{After, Desk};
use crate::gateway::carry::http2::PREFACE;
use crate::gateway::grammar::{LONGEST_HEAD, Refusal};
use crate::gateway::origin::Arrival;
use crate::link::Link;
use crate::tasks::now;
use crate::traffic::in_flight::Permit;

/// A client that gets no further answer, and has sent nothing for so long, is not read from any more.
const SILENCE: Duration = Duration::from_secs(2);
/// Who has just come is about to ask, and cannot know that the process stops: it is given so long.
pub(super) const FIRST: Duration = Duration::from_secs(1);
/// So much is read at once of what it sends.
const PIECE: usize = 4 * 1024;
/// A client who begins a handshake where there is none.
const TLS: Refusal = Refusal { status: 400, why: "this port does not speak TLS: ask by http" };
const LATE: Refusal = Refusal { status: 408, why: "the request's head did not come in time" };

/// What has come of the next request.
enum Arrived {
    /// Its head, which takes so many bytes.
    Head(usize),
    /// Something that is none.
    Refused(Refusal),
    /// The preface of HTTP/2, and perhaps more.
    Http2,
    /// Nothing: the client has left or has nothing more to ask, or the gateway stops.
    Nothing,
}

/// Waits for a head.
#[derive(Debug, Default)]
struct NextHead {
    desk: Option<Box<Desk>>,
    /// When it was found that nothing has come yet, if it was.
    since: Option<Instant>,
    /// When the head began, and its place among those that the process waits for before it ends.
    begun: Option<(Instant, Permit)>,
    /// The place, until the first head is here, of one that has come to ask: the process waits for it, too.
    newcomer: Option<Permit>,
    /// Whether HTTP/2 may begin: the connection is in clear, and this is the first head. (Under TLS both sides have agreed on
    /// one of the two before.)
    may_be_http2: bool,
}

/// Serves a client until it leaves, or has to. From this call on the process waits for what it asks first: it may be a
/// while before what is returned is polled.
pub(super) fn serve(door: Arc<Door>, link: Link, arrival: Arrival, place: Place) -> impl Future<Output = ()> {
    let newcomer = door.gateway.lifecycle.to_come();
    serve_newcomer(door, link, arrival, place, newcomer)
}

/// The same of one for whom the process waits already.
pub(super) fn serve_newcomer(
    door: Arc<Door>,
    link: Link,
    arrival: Arrival,
    place: Place,
    newcomer: Permit,
) -> impl Future<Output = ()> {
    // What is moved into the future as it is, and not in it to another place, is in it once.
    let mut client = Client::new(link, arrival, Arc::default());
    let may_be_http2 = client.is_in_clear();
    let mut next = NextHead { newcomer: Some(newcomer), may_be_http2, ..NextHead::default() };
    let mut requests = 0_u32;
    let old_at = door.old_at();
    async move {
        let _stays = &place;
        let _registered = door.bells.register(client.bell.clone());
        loop {
            next.since = None;
            let arrived = poll_fn(|cx| next.poll(cx, &door, &mut client)).await;
            let Some(mut desk) = next.desk.take() else { return };
            if let Arrived::Http2 = arrived {
                let begin = desk.head.take();
                door.carrier.desks.take_back(desk);
                return Box::pin(http2::serve_in_clear(&door, client, begin)).await;
            }
            (next.begun, next.newcomer, next.may_be_http2) = (None, None, false);
            let after = match arrived {
                // What carries a request is boxed, so that a connection without a request is small.
                Arrived::Head(length) => {
                    desk.split(length);
                    requests = requests.saturating_add(1);
                    client.is_last = door.is_last(requests) || old_at.is_some_and(|old_at| now() >= old_at);
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
                Arrived::Nothing | Arrived::Http2 => After::Close { is_sending: false },
            };
            match after {
                After::Next if desk.next() => next.desk = Some(desk),
                After::Next => door.carrier.desks.take_back(desk),
                After::Close { is_sending } => {
                    if is_sending || !client.link.is_silent() {
                        linger(&mut client, &mut desk, door.linger()).await;
                    } else {
                        client.link.say_end();
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
}

impl NextHead {
    /// Reads a head.
    fn poll(&mut self, cx: &mut Context<'_>, door: &Door, client: &mut Client) -> Poll<Arrived> {
        // It may have come together with the request before.
        if let Some(desk) = &mut self.desk
            && self.begun.is_none()
        {
            if let Some(arrived) = read(desk, self.may_be_http2) {
                return Poll::Ready(arrived);
            }
            self.begun = Some((now(), door.gateway.lifecycle.to_come()));
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
                Poll::Ready(Ok(0) | Err(_)) => {
                    if self.has_begun() {
                        door.gateway.metrics.head_refused(0);
                    }
                    return Poll::Ready(Arrived::Nothing);
                }
                Poll::Ready(Ok(_)) => {
                    if let Some(arrived) = read(desk, self.may_be_http2) {
                        return Poll::Ready(arrived);
                    }
                    self.begun.get_or_insert_with(|| (now(), door.gateway.lifecycle.to_come()));
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
                let since = *self.since.get_or_insert(now);
                let limit = match door.is_stopping() {
                    true if self.newcomer.is_none() => return Poll::Ready(Arrived::Nothing),
                    true => FIRST,
                    false => door.gateway.time(|times| times.keepalive),
                };
                since.checked_add(limit)
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
fn read(desk: &mut Desk, may_be_http2: bool) -> Option<Arrived> {
    if may_be_http2 {
        let bytes = desk.head.bytes();
        if bytes.starts_with(PREFACE) {
            return Some(Arrived::Http2);
        }
        // It comes within the time that a head has.
        if PREFACE.starts_with(bytes) {
            return None;
        }
    }
    match desk.parsed.read(desk.head.bytes()) {
        Ok(None) => None,
        Ok(Some(length)) => Some(Arrived::Head(length)),
        Err(_) if desk.head.bytes().starts_with(&[RECORD]) => Some(Arrived::Refused(TLS)),
        Err(refusal) => Some(Arrived::Refused(refusal)),
    }
}

/// Says that nothing more comes, and reads what the client still sends, for so long at most: a connection that is closed
/// while its client sends is reset, and the answer on its way may be lost with it.
async fn linger(client: &mut Client, desk: &mut Desk, limit: Duration) {
    let (end, mut heard_at) = (now() + limit, now());
    desk.head.clear();
    let mut is_told = false;
    poll_fn(|cx| {
        // Under TLS it is written like any byte, and the client may take nothing.
        if !is_told {
            match Pin::new(&mut client.link).poll_shutdown(cx) {
                Poll::Ready(told) => is_told = told.is_ok(),
                Poll::Pending => return client.timer.poll(cx, now(), end.min(heard_at + SILENCE)),
            }
            if !is_told {
                return Poll::Ready(());
            }
        }
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
    use super::super::bench::{Bench, rest, until};
    use super::*;
    use crate::gateway::Gateway;
    use crate::gateway::carry::http1::Carrier;
    use tokio::io::AsyncWriteExt;
    use tokio::time::sleep;

    const SECOND: Duration = Duration::from_secs(1);
    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    fn of_connection<F>(_: impl FnOnce(Arc<Door>, Link, Arrival, Place) -> F) -> usize {
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

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_time_however_it_comes() {
        for (begin, piece) in [("GET / HTTP/1.1\r\nHost: a\r\nX: ", "y"), ("\r\nG", "E"), ("G", "")] {
            let bench = Bench::new();
            let mut client = bench.client();
            sleep(30 * SECOND).await;
            let begun = now();
            client.write_all(begin.as_bytes()).await.unwrap();
            let (mut reads, mut writes) = tokio::io::split(client);
            let writer = tokio::spawn(async move {
                for _ in 0..3 {
                    sleep(3 * SECOND).await;
                    writes.write_all(piece.as_bytes()).await.unwrap();
                }
                writes
            });
            let mut text = vec![0; 12];
            tokio::io::AsyncReadExt::read_exact(&mut reads, &mut text).await.unwrap();
            assert_eq!((&*text, (now() - begun).as_secs()), (&b"HTTP/1.1 408"[..], 10));
            drop(writer);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_comes_ends_without_a_word() {
        let mut bench = Bench::new();
        let (mut client, begun) = (bench.client(), now());
        assert_eq!(rest(&mut client).await, "");
        assert_eq!((now() - begun).as_secs(), 60);
        let mut client = bench.client();
        client.write_all(GET).await.unwrap();
        let mut instance = bench.instance().await;
        until(&mut instance, "\r\n\r\n").await;
        instance.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        until(&mut client, "ok").await;
        let begun = now();
        assert_eq!(rest(&mut client).await, "");
        assert_eq!((now() - begun).as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_process_stops_what_has_begun_comes_to_its_end_and_what_has_not_ends() {
        let mut bench = Bench::new();
        let (mut idle, mut begun) = (bench.client(), bench.client());
        begun.write_all(&GET[..9]).await.unwrap();
        sleep(SECOND).await;
        bench.stop();
        let stopped = now();
        assert_eq!(rest(&mut idle).await, "");
        assert!(now() - stopped < SECOND);
        sleep(5 * SECOND).await;
        begun.write_all(&GET[9..]).await.unwrap();
        let mut instance = bench.instance().await;
        until(&mut instance, "\r\n\r\n").await;
        instance.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        let answer = rest(&mut begun).await;
        assert!(answer.contains("\r\nConnection: close\r\n") && answer.ends_with("ok"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_just_come_when_the_process_stops_may_ask_yet() {
        let mut bench = Bench::new();
        let (mut asks, mut silent) = (bench.client(), bench.client());
        sleep(SECOND / 10).await;
        bench.stop();
        sleep(SECOND / 2).await;
        asks.write_all(GET).await.unwrap();
        let mut instance = bench.instance().await;
        until(&mut instance, "\r\n\r\n").await;
        instance.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        let answer = rest(&mut asks).await;
        assert!(answer.contains("\r\nConnection: close\r\n") && answer.ends_with("ok"), "{answer}");
        let waited = now();
        assert_eq!(rest(&mut silent).await, "");
        assert!(now() - waited <= SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_client_sends_that_was_refused_is_read_for_a_while() {
        let bench = Bench::new();
        let (mut reads, mut writes) = tokio::io::split(bench.client());
        writes.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let begun = now();
        let writer = tokio::spawn(async move {
            while writes.write_all(&[b'x'; 4096]).await.is_ok() {
                sleep(SECOND).await;
            }
            now() - begun
        });
        let mut text = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut reads, &mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 400 ") && now() - begun < SECOND, "{text}");
        let limit = bench.door.linger();
        let took = writer.await.unwrap();
        assert!(took >= limit && took <= limit + 2 * SECOND, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_are_there_are_counted_and_heads_that_are_none() {
        let bench = Bench::new();
        for (sent, status) in [
            ("GET / HTTP/1.1\r\n\r\n", Some(400)),
            ("GET / HTTP/2.5\r\n\r\n", Some(505)),
            ("CONNECT a:1 HTTP/1.1\r\n\r\n", Some(501)),
            ("GET / HTT", Some(0)),
            ("\r\n", None),
            ("", None),
        ] {
            let before = bench.metrics();
            let mut client = bench.client();
            client.write_all(sent.as_bytes()).await.unwrap();
            sleep(SECOND / 10).await;
            assert_eq!(bench.metric("leaseway_client_connections"), 1, "{sent}");
            client.shutdown().await.unwrap();
            rest(&mut client).await;
            sleep(SECOND).await;
            assert_eq!(bench.metric("leaseway_client_connections"), 0, "{sent}");
            let is_of_heads = |line: &String| line.starts_with("leaseway_heads_refused_total{");
            let new: Vec<_> = bench
                .metrics()
                .into_iter()
                .filter(is_of_heads)
                .filter(|line| !before.contains(line))
                .collect();
            let expected =
                status.map(|status| format!("leaseway_heads_refused_total{{status=\"{status}\"}} 1"));
            assert_eq!(new, expected.into_iter().collect::<Vec<_>>(), "{sent}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_are_kept_are_counted() {
        let mut bench = Bench::new();
        let mut client = bench.client();
        client.write_all(GET).await.unwrap();
        let mut instance = bench.instance().await;
        until(&mut instance, "\r\n\r\n").await;
        assert_eq!(bench.metric("leaseway_kept_connections"), 0);
        instance.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        until(&mut client, "ok").await;
        assert_eq!(bench.metric("leaseway_kept_connections"), 1);
        drop(instance);
        sleep(SECOND).await;
        assert_eq!(bench.metric("leaseway_kept_connections"), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_then_is_left_soon() {
        let bench = Bench::new();
        let mut client = bench.client();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        rest(&mut client).await;
        let begun = now();
        while client.write_all(b"").await.is_ok() && bench.door.bells.count() > 0 {
            sleep(SECOND / 10).await;
        }
        assert!(now() - begun <= SILENCE + SECOND / 2, "{:?}", now() - begun);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_only_said_that_it_sends_no_more_gets_its_answer() {
        let mut bench = Bench::new();
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert!(bench.got(answer).await.ends_with("\r\n\r\nok"));
    }
}
