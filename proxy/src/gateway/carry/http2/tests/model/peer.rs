//! What a client and an instance have in common: they send bodies in pieces, with pauses, and release what they have read late.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use tokio::time::sleep;

use super::bytes::trailers;
use super::scenario::{Body, Moment};

/// Draws how much is sent at once, and how long it takes to the next piece.
#[derive(Debug)]
pub(super) struct Pace {
    rng: fastrand::Rng,
    /// So often it pauses at the most.
    pauses: u32,
    /// So many pieces are small at the most.
    small: u32,
}

impl Pace {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (pauses, small) = (rng.u32(..20), if rng.bool() { rng.u32(..30) } else { 0 });
        Self { rng, pauses, small }
    }

    pub(super) fn flips(&mut self) -> bool {
        self.rng.bool()
    }

    pub(super) async fn pause(&mut self) {
        if self.pauses > 0 && self.rng.u8(..4) == 0 {
            self.pauses -= 1;
            sleep(Duration::from_millis(self.rng.u64(..100))).await;
        }
    }

    fn piece(&mut self) -> usize {
        if self.small > 0 {
            self.small -= 1;
            return self.rng.usize(1..4);
        }
        1 << self.rng.usize(6..18)
    }

    /// The next piece of what is to be sent of a body, of which so much has gone.
    pub(super) async fn next<'b>(&mut self, body: &Body, bytes: &'b [u8], gone: usize) -> &'b [u8] {
        let silent_at = body.silence.map(|(moment, length)| (at(body.size, moment), length));
        match silent_at {
            Some((begin, length)) if begin == gone => sleep(Duration::from_millis(length)).await,
            _ => self.pause().await,
        }
        let to_silence =
            silent_at.filter(|(begin, _)| *begin > gone).map_or(usize::MAX, |(begin, _)| begin - gone);
        let most = self.piece().min(to_silence);
        &bytes[gone..(gone + most).min(bytes.len())]
    }
}

/// So many bytes have gone in this moment.
pub(super) fn at(size: usize, moment: Moment) -> usize {
    size * moment / 1000
}

/// Sends these bytes of a body; its end as well, if they are all.
pub(super) async fn send(
    stream: &mut SendStream<Bytes>,
    (body, bytes): (&Body, &[u8]),
    ends: bool,
    pace: &mut Pace,
) -> Result<(), h2::Error> {
    let (mut gone, mut has_ended) = (0, false);
    while gone < bytes.len() {
        let mut piece = pace.next(body, bytes, gone).await;
        while !piece.is_empty() {
            stream.reserve_capacity(piece.len());
            let room = poll_fn(|cx| stream.poll_capacity(cx)).await.ok_or(Reason::STREAM_CLOSED)??;
            let (now, rest) = piece.split_at(room.min(piece.len()));
            (piece, gone) = (rest, gone + now.len());
            has_ended = ends && gone == bytes.len() && !body.trailers && pace.flips();
            stream.send_data(Bytes::copy_from_slice(now), has_ended)?;
        }
    }
    match ends && !has_ended {
        true if body.trailers => stream.send_trailers(trailers()),
        true => stream.send_data(Bytes::new(), true),
        false => Ok(()),
    }
}

/// Reads a body to its end, and what stands behind it. In this place of it it takes nothing for a while.
pub(super) async fn hear(
    body: &mut RecvStream,
    mut take: impl FnMut(&[u8]),
    mut pause: Option<(usize, Duration)>,
    pace: &mut Pace,
) -> Result<Option<HeaderMap>, h2::Error> {
    let mut count = 0;
    loop {
        if let Some((_, length)) = pause.take_if(|(place, _)| count >= *place) {
            sleep(length).await;
        }
        let Some(piece) = body.data().await else { return body.trailers().await };
        let piece = piece?;
        count += piece.len();
        take(&piece);
        pace.pause().await;
        // It fails where the stream has ended.
        let _ = body.flow_control().release_capacity(piece.len());
    }
}
