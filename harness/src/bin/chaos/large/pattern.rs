//! A body of any length that costs nothing to make, and little to check.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// How many bytes there are before they come again. It is prime, so that no piece that is lost, or comes twice, is a multiple
/// of it.
const PERIOD: usize = 65_521;
/// How many bytes are sent at a time.
const PIECE: usize = 64 << 10;

/// Twice and more the same bytes, so that a piece can begin with any of them.
static BYTES: LazyLock<Bytes> = LazyLock::new(|| {
    let mut chance = fastrand::Rng::with_seed(0);
    let period: Vec<u8> = std::iter::repeat_with(|| chance.u8(..)).take(PERIOD).collect();
    period.iter().copied().cycle().take(PERIOD + PIECE).collect()
});

/// So many bytes of it, from its beginning.
#[derive(Debug)]
pub(super) struct Pattern {
    place: usize,
    left: u64,
    tells_length: bool,
}

impl Pattern {
    pub(super) fn new(length: u64, tells_length: bool) -> Self {
        Self { place: 0, left: length, tells_length }
    }
}

impl Body for Pattern {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = usize::try_from(self.left).map_or(PIECE, |left| left.min(PIECE));
        if length == 0 {
            return Poll::Ready(None);
        }
        let piece = BYTES.slice(self.place..self.place + length);
        self.place = (self.place + length) % PERIOD;
        self.left -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.tells_length { SizeHint::with_exact(self.left) } else { SizeHint::default() }
    }
}

/// Holds what comes against it.
#[derive(Debug, Default)]
pub(super) struct Check {
    place: usize,
    count: u64,
}

impl Check {
    /// # Errors
    /// When these bytes do not come next.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(PIECE) {
            let expected = &BYTES[self.place..self.place + piece.len()];
            ensure!(piece == expected, "other bytes came than were sent, within {PIECE} from {}", self.count);
            self.place = (self.place + piece.len()) % PERIOD;
            self.count += piece.len() as u64;
        }
        Ok(())
    }

    /// How many came.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}
