//! Large bodies that go from connection to connection without being held between.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncWrite, ReadBuf};

use super::{Failed, MOST, Pump, Side};
use crate::gateway::grammar::Body;
use crate::link::Link;

/// So much is passed on at a time.
const AT_ONCE: usize = 64 * 1024;

impl Pump {
    /// How much may go straight from the source to the sink: of a body whose length is known, of which much comes.
    pub(super) fn straight(&self) -> Option<usize> {
        let is_kept = self.kept.as_ref().is_some_and(|kept| kept.is_whole);
        match self.body {
            Body::Length(left) if left > MOST as u64 && self.has_come_fast && !is_kept => {
                self.input.is_empty().then_some(usize::try_from(left).unwrap_or(AT_ONCE).min(AT_ONCE))
            }
            _ => None,
        }
    }

    /// Moves as much as the sink takes. What it does not take stays where it is, with the kernel: so a reader that does not
    /// read costs no more than before, though much goes at once. 0: the source has ended.
    #[inline(never)] // Its room is on the stack, which no other call should have to make.
    pub(super) fn poll_straight(
        &mut self,
        cx: &mut Context<'_>,
        (source, sink): (&mut Link, &mut Link),
        most: usize,
    ) -> Poll<Result<usize, Failed>> {
        let mut room = [const { MaybeUninit::uninit() }; AT_ONCE];
        let mut seen = ReadBuf::uninit(room.get_mut(..most).unwrap_or_default());
        self.waits_for = Side::Sink;
        ready!(sink.poll_writable(cx)).map_err(Failed::Sink)?;
        self.waits_for = Side::Source;
        ready!(source.poll_peek(cx, &mut seen)).map_err(Failed::Source)?;
        if seen.filled().is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.waits_for = Side::Sink;
        let count = ready!(Pin::new(sink).poll_write(cx, seen.filled())).map_err(Failed::Sink)?;
        let gone = seen.filled_mut().get_mut(..count).filter(|gone| !gone.is_empty());
        let Some(gone) = gone else {
            return Poll::Ready(Err(Failed::Sink(io::ErrorKind::WriteZero.into())));
        };
        source.discard(gone).map_err(Failed::Source)?;
        self.data += count as u64;
        // All of it is data: there is nothing to be told.
        let _ = self.body.next(gone);
        Poll::Ready(Ok(count))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{IN_A_ROW, Manner};
    use super::*;
    use crate::gateway::grammar::Framing;
    use bytes::Bytes;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn pump(framing: Framing, manner: Manner) -> Pump {
        let mut pump = Pump::default();
        pump.begin(Body::of(framing), manner, &Bytes::from_static(b"trace_id"));
        pump
    }

    /// The two sides of a connection over TCP, and in memory.
    async fn pairs() -> [(Link, Link); 2] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
        [(Link::Plain(ours.unwrap()), Link::Plain(theirs.unwrap().0)), Link::pair(100_000)]
    }

    #[tokio::test]
    async fn of_a_large_body_nothing_is_held_that_its_sink_does_not_take() {
        const SIZE: usize = 8 << 20;
        let sent: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
        let whole = [&sent, &b"GET"[..]].concat();
        for ((mut source, mut sender), (mut sink, mut receiver)) in
            pairs().await.into_iter().zip(pairs().await)
        {
            let writer = tokio::spawn({
                let whole = whole.clone();
                async move {
                    sender.write_all(&whole).await.unwrap();
                    sender
                }
            });
            let mut pump = pump(Framing::Length(SIZE as u64), Manner::AsIs);
            let mut has_gone_straight = false;
            let until_it_waits = poll_fn(|cx| {
                let polled = pump.poll(cx, (&mut source, &mut sink), &mut false);
                has_gone_straight |= pump.straight().is_some();
                assert!(pump.input.len() <= MOST);
                polled
            });
            let waits = tokio::time::timeout(std::time::Duration::from_millis(200), until_it_waits).await;
            assert!(waits.is_err() && has_gone_straight, "nobody reads yet");
            assert!(pump.input.is_empty() && pump.waits_for == Side::Sink && pump.passed() < SIZE as u64);

            let reader = tokio::spawn(async move {
                let mut got = vec![0; SIZE];
                receiver.read_exact(&mut got).await.unwrap();
                got
            });
            poll_fn(|cx| pump.poll(cx, (&mut source, &mut sink), &mut false)).await.unwrap();
            assert!(reader.await.unwrap() == sent && pump.is_done() && pump.passed() == SIZE as u64);
            let mut beyond = [0; 3];
            beyond[..pump.input.len()].copy_from_slice(pump.input.bytes());
            source.read_exact(&mut beyond[pump.input.len()..]).await.unwrap();
            assert_eq!(&beyond, b"GET", "it is not its own");
            drop(writer.await.unwrap());
        }
    }

    #[tokio::test]
    async fn others_have_their_turn_in_between() {
        const SIZE: usize = 4 << 20;
        let (mut source, mut sender) = Link::pair(SIZE);
        let (mut sink, _receiver) = Link::pair(SIZE);
        sender.write_all(&vec![b'x'; SIZE]).await.unwrap();
        let mut pump = pump(Framing::Length(SIZE as u64), Manner::AsIs);
        let mut looks = 0;
        poll_fn(|cx| {
            let before = pump.passed();
            let polled = pump.poll(cx, (&mut source, &mut sink), &mut false);
            let most = ((IN_A_ROW + 1) * AT_ONCE) as u64;
            assert!(pump.passed() - before <= most, "{} at one look", pump.passed() - before);
            looks += 1;
            polled
        })
        .await
        .unwrap();
        assert!(looks >= SIZE / (IN_A_ROW + 1) / AT_ONCE, "{looks}");
    }
}
