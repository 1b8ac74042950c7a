//! The head that a client is sending, by the frames that it comes in. Pure.
//!
//! A head may have `LONGEST_HEAD`. More than that is read, so that a client whose head is too long is answered, in the words of
//! what it speaks, and keeps its connection. What is read beyond it is bounded here, and over all connections by `Metered`.

use super::frames::Frame;
use crate::gateway::carry::http2::LONGEST_READ;
use crate::gateway::grammar::LONGEST_HEAD;

/// A client may cut a head into so many more frames than it needs. One that cuts it smaller has something else in mind
/// (CVE-2024-27316): each frame is decoded, whether or not the head is already too long.
const CONTINUATIONS: u32 = 5;
/// Frames have 16 KiB, unless less is left.
const FRAME: u32 = 16 * 1024;
/// The frames of a request's trailers, which may wait for long behind its body. A few bytes of them can stand for a whole field
/// that was sent before, and each takes some ninety bytes of memory.
const TRAILERS: u32 = 8 * 1024;
/// A head of so many bytes is looked at before the next one is read: it may be a thousand fields.
const LARGE: u32 = 1024;

/// The head that is being received, or was received last.
#[derive(Debug, Default)]
pub(super) struct Coming {
    length: u32,
    continuations: u32,
    is_trailers: bool,
    /// Whether it is not whole yet.
    is_coming: bool,
    /// Whether one that is large has become whole since that was asked.
    large: bool,
}

/// Why it is not received further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    Frames,
    Trailers,
}

impl Coming {
    /// It begins.
    pub(super) fn begin(&mut self, frame: &Frame, is_trailers: bool) -> Result<(), Excess> {
        *self = Self { is_trailers, large: self.large, ..Self::default() };
        self.take(frame)
    }

    /// It goes on with a CONTINUATION.
    pub(super) fn go_on(&mut self, frame: &Frame) -> Result<(), Excess> {
        self.continuations = self.continuations.saturating_add(1);
        self.take(frame)
    }

    fn take(&mut self, frame: &Frame) -> Result<(), Excess> {
        self.length = self.length.saturating_add(frame.length);
        self.is_coming = !frame.ends_head();
        self.large |= !self.is_coming && self.length >= LARGE;
        if self.is_trailers && self.length > TRAILERS {
            return Err(Excess::Trailers);
        }
        let are_needed = self.continuations <= CONTINUATIONS + self.length / FRAME;
        if are_needed && self.length <= LONGEST_READ { Ok(()) } else { Err(Excess::Frames) }
    }

    /// How many bytes have come of one that is too long, beyond what it may have, and is not whole yet.
    pub(super) fn beyond(&self) -> u32 {
        if self.is_coming { self.length.saturating_sub(LONGEST_HEAD as u32) } else { 0 }
    }

    /// Whether a large one has become whole since this was asked last.
    pub(super) fn take_large(&mut self) -> bool {
        std::mem::take(&mut self.large)
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::{CONTINUATION, Frames, HEADERS, raw};
    use super::*;

    const END_HEADERS: u8 = 4;
    const LARGEST: usize = 16 * 1024;

    fn frame(kind: u8, flags: u8, length: usize) -> Frame {
        Frames::of_server().next(&mut &*raw(kind, flags, 1, &vec![0; length])).unwrap()
    }

    /// A head of frames of such a length, as far as it is received: how many bytes, and what is wrong with it.
    fn received(frames: usize, length: usize, is_trailers: bool) -> (u32, Result<(), Excess>) {
        let mut coming = Coming::default();
        let mut result = coming.begin(&frame(HEADERS, 0, length), is_trailers);
        for number in 2..=frames {
            let flags = if number == frames { END_HEADERS } else { 0 };
            result = result.and_then(|()| coming.go_on(&frame(CONTINUATION, flags, length)));
        }
        (coming.length, result)
    }

    #[test]
    fn a_head_of_whole_frames_is_received_up_to_what_is_read() {
        let whole = LONGEST_READ as usize / LARGEST;
        assert_eq!(received(whole, LARGEST, false), (LONGEST_READ, Ok(())));
        assert_eq!(received(whole + 1, LARGEST, false).1, Err(Excess::Frames));
    }

    #[test]
    fn one_that_is_cut_small_is_not() {
        assert_eq!(received(6, 100, false), (600, Ok(())));
        assert_eq!(received(7, 100, false).1, Err(Excess::Frames));
        assert_eq!(received(100, 8 * 1024, false).1, Err(Excess::Frames));
    }

    #[test]
    fn trailers_are_short() {
        assert_eq!(received(2, 4 * 1024, true), (8 * 1024, Ok(())));
        assert_eq!(received(2, 4 * 1024 + 1, true).1, Err(Excess::Trailers));
    }

    #[test]
    fn what_is_beyond_counts_until_the_head_is_whole() {
        let mut coming = Coming::default();
        coming.begin(&frame(HEADERS, 0, LARGEST), false).unwrap();
        for beyond in [0, 0, 0, 16, 32] {
            coming.go_on(&frame(CONTINUATION, 0, LARGEST)).unwrap();
            assert_eq!(coming.beyond(), beyond * 1024);
            assert!(!coming.take_large());
        }
        coming.go_on(&frame(CONTINUATION, END_HEADERS, 0)).unwrap();
        assert_eq!(coming.beyond(), 0);
        assert!(coming.take_large() && !coming.take_large());
    }

    #[test]
    fn only_a_large_one_is_looked_at_by_itself_and_is_not_forgotten_for_the_next() {
        let mut coming = Coming::default();
        coming.begin(&frame(HEADERS, END_HEADERS, 1023), false).unwrap();
        assert!(!coming.take_large());
        coming.begin(&frame(HEADERS, END_HEADERS, 1024), false).unwrap();
        coming.begin(&frame(HEADERS, END_HEADERS, 10), false).unwrap();
        assert!(coming.take_large());
    }
}
