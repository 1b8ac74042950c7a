//! One direction of an exchange: a head, and the body behind it, from where it comes to where it goes.

mod straight;

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tokio::task::yield_now;

use super::splice::ROOM;
use super::trailers;
use crate::gateway::carry::Block;
use crate::gateway::carry::failure::Failed;
use crate::gateway::carry::waits::Side;
use crate::gateway::grammar::{Body, Refusal, Step};
use crate::link::Link;

/// So much of a body is here at a time: as much as whoever does not read it costs.
const MOST: usize = 16 * 1024;
/// So many times in a row: then it is others' turn.
const IN_A_ROW: usize = 16;
/// Where so much came at once, more is likely to wait.
const MUCH: usize = 4 * 1024;
/// So much of a body goes in one piece with its head: to copy that is cheaper than to write two pieces.
const SHORT: usize = 1024;

/// How a body goes on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// As it came. (What is in chunks stays in those chunks.)
    #[default]
    AsIs,
    /// Its data alone.
    Data,
    /// In chunks, which it did not come in.
    InChunks,
    /// Not at all: it is read, and that is all.
    Nowhere,
}

/// One direction of an exchange. It reads only when all that it has read before has gone on.
#[derive(Debug, Default)]
pub(super) struct Pump {
    /// What came from the source and has not gone on.
    pub(super) input: Block,
    /// So many bytes of these may go on as they are.
    ready: usize,
    /// What goes before them: a head, or what a body is made to be.
    pub(super) out: Vec<u8>,
    written: usize,
    /// So many bytes at its end are data of the body, as they came.
    joined: usize,
    body: Body,
    manner: Manner,
    /// Whether all of the body was seen.
    is_seen: bool,
    /// Bytes of data seen.
    data: u64,
    /// The name of the header that no trailer may have.
    trace_header: Bytes,
    /// Whether much of it came at once, last.
    has_come_fast: bool,
    /// What it waits for.
    pub(super) waits_for: Side,
    /// What has gone on of the body, while it may have to go on a second time.
    kept: Option<KeptBody>,
}

/// What has gone on of a body.
#[derive(Debug, Default)]
struct KeptBody {
    bytes: Vec<u8>,
    is_whole: bool,
}

/// How much of a body is kept to be sent again.
const KEPT: usize = 64 * 1024;

impl Pump {
    /// Begins with what is in `out` and `input`: the head, and what came behind it.
    pub(super) fn begin(&mut self, body: Body, manner: Manner, trace_header: &Bytes) {
        (self.body, self.manner) = (body, manner);
        if matches!(body, Body::Chunked(_)) {
            self.trace_header.clone_from(trace_header);
        }
        (self.ready, self.written, self.joined, self.data, self.is_seen) = (0, 0, 0, 0, body.is_over());
        (self.waits_for, self.has_come_fast) = (Side::Source, false);
        self.kept = None;
    }

    /// What has come of the body goes on in one piece with the head, if it is short. (Then it counts as gone, so this is for
    /// what goes on only once.)
    pub(super) fn join(&mut self) {
        // What is no body is found again when it is moved.
        let is_body = self.look().is_ok();
        if is_body && self.ready <= SHORT {
            self.out.extend_from_slice(self.input.bytes().get(..self.ready).unwrap_or_default());
            self.input.consume(self.ready);
            (self.joined, self.ready) = (self.ready, 0);
        }
    }

    /// Keeps what goes on of the body from now on.
    pub(super) fn keep(&mut self) {
        self.kept = Some(KeptBody { bytes: Vec::new(), is_whole: true });
    }

    /// What has gone on of the body will not go on a second time.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }

    /// Whether all that has gone on of the body can go on a second time.
    pub(super) fn is_whole(&self) -> bool {
        match &self.kept {
            Some(kept) => kept.is_whole,
            // Nothing is kept: then nothing must have gone on.
            None => self.passed() == 0,
        }
    }

    /// Begins anew with another head, which is in `out`.
    pub(super) fn begin_again(&mut self) {
        self.written = 0;
        if let Some(kept) = &self.kept {
            self.out.extend_from_slice(&kept.bytes);
        }
    }

    /// Whether the body has gone on to its end.
    pub(super) fn is_done(&self) -> bool {
        self.is_seen && !self.has_due()
    }

    /// Bytes of data that have gone on, at the least.
    pub(super) fn passed(&self) -> u64 {
        let waits = if self.out.is_empty() { self.ready } else { self.ready + self.joined };
        self.data.saturating_sub(waits as u64)
    }

    /// Nothing is left but the room.
    pub(super) fn clear(&mut self) {
        self.input.clear();
        self.out.clear();
        if self.out.capacity() > ROOM {
            self.out = Vec::new();
        }
        self.begin(Body::default(), Manner::AsIs, &Bytes::new());
    }

    /// Moves what can be moved. Ready when all has gone on. `moved` is set if anything has.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        (source, sink): (&mut Link, &mut Link),
        moved: &mut bool,
    ) -> Poll<Result<(), Failed>> {
        let mut turns = 0;
        loop {
            self.look().map_err(|refusal| Failed::Malformed(refusal.why))?;
            while self.has_due() {
                self.waits_for = Side::Sink;
                let count = ready!(self.poll_write(cx, sink)).map_err(Failed::Sink)?;
                self.wrote(count);
                *moved = true;
            }
            if self.is_seen {
                return Poll::Ready(Ok(()));
            }
            self.waits_for = Side::Source;
            let count = match self.straight().filter(|_| source.can_peek()) {
                Some(_) if turns == IN_A_ROW => {
                    // Not by its waker: then the runtime would go on with this before it looks at other connections.
                    let _ = pin!(yield_now()).poll(cx);
                    return Poll::Pending;
                }
                Some(most) => {
                    turns += 1;
                    ready!(self.poll_straight(cx, (source, sink), most))?
                }
                None => ready!(self.poll_fill(cx, source)).map_err(Failed::Source)?,
            };
            match count {
                0 => self.ended()?,
                _ => *moved = true,
            }
            self.has_come_fast = count >= MUCH;
        }
    }

    /// Reads what has come. What waits with nothing here has no room either, but one that was made for much.
    fn poll_fill(&mut self, cx: &mut Context<'_>, source: &mut Link) -> Poll<io::Result<usize>> {
        if !self.input.has_room() {
            ready!(source.poll_stirred(cx));
        }
        let filled = self.input.poll_fill(source, MOST, cx);
        if filled.is_pending() && self.input.is_empty() {
            self.input.give_back();
        }
        filled
    }

    /// What has not gone on of the body does not go on any more: it is read to its end.
    pub(super) fn give_up(&mut self) {
        self.out.clear();
        self.written = 0;
        self.input.consume(self.ready);
        self.ready = 0;
        self.manner = Manner::Nowhere;
    }

    /// Reads what is left of the body. Ready when that is all.
    pub(super) fn poll_discard(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Link,
    ) -> Poll<Result<(), Failed>> {
        loop {
            self.look().map_err(|refusal| Failed::Malformed(refusal.why))?;
            if self.is_seen {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.input.poll_fill(source, MOST, cx)).map_err(Failed::Source)? == 0 {
                return Poll::Ready(Err(Failed::Ended));
            }
        }
    }

    /// Writes what is due, and no more. Ready when all of it has gone on.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>, sink: &mut Link) -> Poll<Result<(), Failed>> {
        while self.has_due() {
            self.waits_for = Side::Sink;
            let count = ready!(self.poll_write(cx, sink)).map_err(Failed::Sink)?;
            self.wrote(count);
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn has_due(&self) -> bool {
        self.written < self.out.len() || self.ready > 0
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, sink: &mut Link) -> Poll<io::Result<usize>> {
        let out = self.out.get(self.written..).unwrap_or_default();
        let body = self.input.bytes().get(..self.ready).unwrap_or_default();
        let sink = Pin::new(sink);
        let count = ready!(match (out, body) {
            (out, []) => sink.poll_write(cx, out),
            ([], body) => sink.poll_write(cx, body),
            (out, body) => sink.poll_write_vectored(cx, &[IoSlice::new(out), IoSlice::new(body)]),
        })?;
        if count == 0 { Poll::Ready(Err(io::ErrorKind::WriteZero.into())) } else { Poll::Ready(Ok(count)) }
    }

    fn wrote(&mut self, count: usize) {
        let of_out = count.min(self.out.len() - self.written);
        self.written += of_out;
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        let of_body = count - of_out;
        if of_body > 0 {
            if let Some(kept) = &mut self.kept {
                kept.add(self.input.bytes().get(..of_body).unwrap_or_default());
            }
            self.input.consume(of_body);
            self.ready -= of_body;
        }
    }

    /// Looks at what has come and was not looked at.
    fn look(&mut self) -> Result<(), Refusal> {
        while !self.is_seen {
            let new = self.input.bytes().get(self.ready..).unwrap_or_default();
            match self.body.next(new)? {
                Step::More => break,
                Step::Data(count) => self.data(count),
                Step::Framing(count) => match self.manner {
                    Manner::AsIs => self.ready += count,
                    _ => self.input.consume(count),
                },
                Step::Trailers(count) => self.trailers(count),
                Step::End => self.is_seen = true,
            }
        }
        Ok(())
    }

    fn data(&mut self, count: usize) {
        self.data += count as u64;
        let data = self.input.bytes().get(self.ready..self.ready + count).unwrap_or_default();
        match self.manner {
            Manner::AsIs => {
                self.ready += count;
                return;
            }
            Manner::Data => self.out.extend_from_slice(data),
            Manner::Nowhere => {}
            Manner::InChunks => {
                let _ = io::Write::write_fmt(&mut self.out, format_args!("{count:x}\r\n"));
                self.out.extend_from_slice(data);
                self.out.extend_from_slice(b"\r\n");
            }
        }
        self.input.consume(count);
    }

    /// So many bytes are what stands behind the last chunk.
    fn trailers(&mut self, count: usize) {
        match self.manner {
            Manner::AsIs => {
                self.ready += trailers::fit(&mut self.input, self.ready, count, &self.trace_header)
            }
            _ => self.input.consume(count),
        }
    }

    /// The source has ended.
    fn ended(&mut self) -> Result<(), Failed> {
        if !matches!(self.body, Body::UntilClose) {
            return Err(Failed::Ended);
        }
        self.is_seen = true;
        if self.manner == Manner::InChunks {
            self.out.extend_from_slice(b"0\r\n\r\n");
        }
        Ok(())
    }
}

impl KeptBody {
    fn add(&mut self, bytes: &[u8]) {
        if self.is_whole && self.bytes.len() + bytes.len() <= KEPT {
            self.bytes.extend_from_slice(bytes);
        } else {
            (self.is_whole, self.bytes) = (false, Vec::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::grammar::Framing;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// What has gone on of what came, and how that ended.
    async fn pumped(pump: &mut Pump, came: &[u8]) -> (String, Result<(), Failed>) {
        let (mut source, mut sender) = Link::pair(1 << 20);
        let (mut sink, mut receiver) = Link::pair(1 << 20);
        sender.write_all(came).await.unwrap();
        drop(sender);
        let outcome = poll_fn(|cx| pump.poll(cx, (&mut source, &mut sink), &mut false)).await;
        drop(sink);
        let mut text = String::new();
        receiver.read_to_string(&mut text).await.unwrap();
        (text, outcome)
    }

    fn pump(framing: Framing, manner: Manner) -> Pump {
        let mut pump = Pump::default();
        pump.begin(Body::of(framing), manner, &Bytes::from_static(b"trace_id"));
        pump
    }

    #[tokio::test]
    async fn a_short_body_goes_with_its_head_and_a_long_one_behind_it() {
        for (size, joined) in [(0, 0), (60, 60), (SHORT, SHORT), (SHORT + 1, 0)] {
            let mut pump = pump(Framing::Length(size as u64 + 1), Manner::AsIs);
            pump.out.extend_from_slice(b"head");
            pump.input.push(&vec![b'x'; size]);
            pump.join();
            assert_eq!((pump.out.len(), pump.input.len()), (4 + joined, size - joined));
            assert_eq!(pump.passed(), 0, "nothing has gone yet");
            let (text, outcome) = pumped(&mut pump, b"y").await;
            assert_eq!((text.len(), text.ends_with('y'), outcome.is_ok()), (4 + size + 1, true, true));
            assert_eq!(pump.passed(), size as u64 + 1);
        }
    }

    #[tokio::test]
    async fn a_body_goes_on_in_its_manner_and_what_stands_behind_it_does_not() {
        let chunks = "3;a=b\r\nabc\r\n02\r\nde\r\n0\r\nHost: b\r\nX: y\r\nTrace_Id: 1\r\n\r\n";
        let fit = "3;a=b\r\nabc\r\n02\r\nde\r\n0\r\nX: y\r\n\r\n";
        for (framing, manner, came, gone) in [
            (Framing::Length(5), Manner::AsIs, "abcde", "abcde"),
            (Framing::Chunked, Manner::AsIs, chunks, fit),
            (Framing::Chunked, Manner::Data, chunks, "abcde"),
            (Framing::None, Manner::AsIs, "", ""),
        ] {
            let mut pump = pump(framing, manner);
            let (text, outcome) = pumped(&mut pump, format!("{came}GET").as_bytes()).await;
            assert_eq!((text.as_str(), outcome.is_ok(), pump.is_done()), (gone, true, true), "{manner:?}");
            let beyond: &[u8] = if framing == Framing::None { b"" } else { b"GET" };
            assert_eq!(pump.input.bytes(), beyond, "{manner:?}: it is not its own");
        }
        let (text, outcome) = pumped(&mut pump(Framing::UntilClose, Manner::InChunks), b"abc").await;
        assert_eq!((text.as_str(), outcome.is_ok()), ("3\r\nabc\r\n0\r\n\r\n", true));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_or_is_none_has_no_end() {
        for (framing, manner, came, gone) in [
            (Framing::Length(5), Manner::AsIs, "abc", "abc"),
            (Framing::Chunked, Manner::AsIs, "3\r\nabc\r\n", "3\r\nabc\r\n"),
            (Framing::Chunked, Manner::Data, "3\r\nabc\r\n0\r\n", "abc"),
        ] {
            let (text, outcome) = pumped(&mut pump(framing, manner), came.as_bytes()).await;
            assert_eq!(text, gone);
            assert!(matches!(outcome, Err(Failed::Ended)), "{outcome:?}");
        }
        let (text, outcome) = pumped(&mut pump(Framing::Chunked, Manner::AsIs), b"1\r\na\r\n\r\n").await;
        assert!(matches!(outcome, Err(Failed::Malformed(_))), "{outcome:?}");
        assert!("1\r\na\r\n".starts_with(&text), "{text:?}");
    }

    #[tokio::test]
    async fn a_body_is_kept_to_go_on_again_until_it_is_too_long() {
        for (size, is_whole) in [(0, true), (KEPT, true), (KEPT + 1, false)] {
            let body = "x".repeat(size);
            let mut pump = pump(Framing::Length(size as u64), Manner::AsIs);
            pump.keep();
            pump.out.extend_from_slice(b"head;");
            let (text, outcome) = pumped(&mut pump, body.as_bytes()).await;
            assert!(outcome.is_ok() && text == format!("head;{body}"));
            assert_eq!(pump.is_whole(), is_whole, "{size}");
            if is_whole {
                pump.out.extend_from_slice(b"other;");
                pump.begin_again();
                let (text, _) = pumped(&mut pump, b"").await;
                assert!(text == format!("other;{body}"), "{size}");
            }
        }
    }

    #[tokio::test]
    async fn one_that_keeps_nothing_can_go_on_again_as_long_as_nothing_has_gone_on() {
        let mut pump = pump(Framing::Length(3), Manner::AsIs);
        assert!(pump.is_whole());
        pumped(&mut pump, b"abc").await.1.unwrap();
        assert!(!pump.is_whole());
    }

    #[tokio::test]
    async fn no_more_is_read_than_the_sink_takes_and_a_little() {
        let (mut source, mut sender) = Link::pair(1 << 20);
        let (mut sink, _receiver) = Link::pair(10);
        sender.write_all(&vec![b'x'; 1 << 20]).await.unwrap();
        let mut pump = pump(Framing::UntilClose, Manner::AsIs);
        for _ in 0..10 {
            let polled = poll_fn(|cx| Poll::Ready(pump.poll(cx, (&mut source, &mut sink), &mut false))).await;
            assert!(polled.is_pending() && pump.waits_for == Side::Sink);
            assert!(pump.input.len() <= MOST);
        }
    }

    #[tokio::test]
    async fn what_is_given_up_is_read_and_goes_nowhere() {
        let (mut source, mut sender) = Link::pair(1 << 20);
        sender.write_all(b"2\r\nab\r\n0\r\n\r\nGET").await.unwrap();
        let mut pump = pump(Framing::Chunked, Manner::AsIs);
        pump.out.extend_from_slice(b"head;");
        pump.give_up();
        poll_fn(|cx| pump.poll_discard(cx, &mut source)).await.unwrap();
        assert!(pump.is_done() && pump.out.is_empty());
        assert_eq!(pump.input.bytes(), b"GET");
    }
}
