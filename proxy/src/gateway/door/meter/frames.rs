//! The frames of one direction of an HTTP/2 connection, as its bytes pass (RFC 9113, 4.1). Pure. Payloads are skipped: nothing
//! is kept but the header of a frame that is cut.

pub(super) const DATA: u8 = 0x0;
pub(super) const HEADERS: u8 = 0x1;
pub(super) const PRIORITY: u8 = 0x2;
pub(super) const RST_STREAM: u8 = 0x3;
pub(super) const SETTINGS: u8 = 0x4;
pub(super) const PUSH_PROMISE: u8 = 0x5;
pub(super) const PING: u8 = 0x6;
pub(super) const GOAWAY: u8 = 0x7;
pub(super) const WINDOW_UPDATE: u8 = 0x8;
pub(super) const CONTINUATION: u8 = 0x9;

/// Of SETTINGS and PING.
const ACK: u8 = 0x1;
/// Of DATA and HEADERS.
const END_STREAM: u8 = 0x1;
/// Of HEADERS and CONTINUATION.
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;

/// How a client begins (RFC 9113, 3.4): so many bytes, which somebody else looks at.
const PREFACE: usize = 24;
const HEADER: usize = 9;
/// Most that is looked at of a frame: the codes of RST_STREAM and GOAWAY are in their payloads.
const LOOK: usize = HEADER + 8;

/// What the header of a frame says, and the little of its payload that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    flags: u8,
    pub(super) length: u32,
    pub(super) stream: u32,
    payload: [u8; LOOK - HEADER],
}

impl Frame {
    pub(super) fn is_ack(&self) -> bool {
        self.flags & ACK != 0
    }

    pub(super) fn ends_stream(&self) -> bool {
        self.flags & END_STREAM != 0
    }

    pub(super) fn ends_head(&self) -> bool {
        self.flags & END_HEADERS != 0
    }

    /// Whether DATA has none, be it for padding.
    pub(super) fn is_empty(&self) -> bool {
        let [padding, ..] = self.payload;
        match self.flags & PADDED {
            0 => self.length == 0,
            _ => self.length <= 1 + u32::from(padding),
        }
    }

    /// Of RST_STREAM and GOAWAY: why.
    pub(super) fn code(&self) -> u32 {
        let [a, b, c, d, e, f, g, h] = self.payload;
        // GOAWAY has its last stream first.
        u32::from_be_bytes(if self.kind == GOAWAY { [e, f, g, h] } else { [a, b, c, d] })
    }
}

/// Where in a direction's frames it is.
#[derive(Debug)]
pub(super) struct Frames {
    seen: [u8; LOOK],
    /// So many of `seen` have come.
    count: usize,
    /// So many bytes are skipped first.
    skip: usize,
}

impl Frames {
    pub(super) fn of_client() -> Self {
        Self { skip: PREFACE, ..Self::of_server() }
    }

    pub(super) fn of_server() -> Self {
        Self { seen: [0; LOOK], count: 0, skip: 0 }
    }

    /// Whether all frames that have begun are complete.
    pub(super) fn is_between(&self) -> bool {
        self.count == 0 && self.skip == 0
    }

    /// The next frame that these bytes begin, or whose begin they complete. What is looked at is taken off them; none: all is.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        loop {
            self.skip -= take(bytes, self.skip).len();
            let wanted = self.wanted();
            if self.count == wanted {
                self.count = 0;
                let frame = self.frame();
                self.skip = (HEADER + frame.length as usize).saturating_sub(wanted);
                return Some(frame);
            }
            if bytes.is_empty() {
                return None;
            }
            let part = take(bytes, wanted - self.count);
            self.seen.iter_mut().skip(self.count).zip(part).for_each(|(seen, byte)| *seen = *byte);
            self.count += part.len();
        }
    }

    /// So much of the frame is looked at, as far as is known of it.
    fn wanted(&self) -> usize {
        if self.count < HEADER {
            return HEADER;
        }
        let Frame { kind, flags, length, .. } = self.frame();
        HEADER
            + match kind {
                // Of another length it is an error.
                RST_STREAM if length == 4 => 4,
                GOAWAY if length >= 8 => 8,
                DATA if flags & PADDED != 0 && length > 0 => 1,
                _ => 0,
            }
    }

    fn frame(&self) -> Frame {
        let [l1, l2, l3, kind, flags, s1, s2, s3, s4, payload @ ..] = self.seen;
        Frame {
            kind,
            flags,
            length: u32::from_be_bytes([0, l1, l2, l3]),
            // The first bit is reserved.
            stream: u32::from_be_bytes([s1 & 0x7f, s2, s3, s4]),
            payload,
        }
    }
}

/// Takes so many off the bytes, or as many as there are.
fn take<'b>(bytes: &mut &'b [u8], most: usize) -> &'b [u8] {
    let (taken, rest) = bytes.split_at(most.min(bytes.len()));
    *bytes = rest;
    taken
}

#[cfg(test)]
pub(super) fn raw(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut frames: Frames, mut bytes: &[u8], cut: usize) -> (Vec<Frame>, bool) {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let mut piece = take(&mut bytes, cut);
            while let Some(frame) = frames.next(&mut piece) {
                found.push(frame);
            }
        }
        (found, frames.is_between())
    }

    #[test]
    fn a_frame_is_found_after_the_preface_and_after_what_others_carry_wherever_they_are_cut() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(raw(SETTINGS, 0, 0, &[0; 12]));
        bytes.extend(raw(HEADERS, 5, 1, &[6; 300]));
        bytes.extend(raw(SETTINGS, ACK, 0, &[]));
        bytes.extend(raw(RST_STREAM, 0, 0x8000_0001, &[0, 0, 0, 8]));
        bytes.extend(raw(PING, 0, 0, &[9; 8]));
        bytes.extend(raw(GOAWAY, 0, 0, &[0, 0, 0, 7, 0, 0, 0, 11, b'w', b'h', b'y']));
        for cut in 1..bytes.len() {
            let (frames, is_between) = all(Frames::of_client(), &bytes, cut);
            let seen: Vec<_> = frames.iter().map(|frame| (frame.kind, frame.stream, frame.length)).collect();
            let expected = [(4, 0, 12), (1, 1, 300), (4, 0, 0), (3, 1, 4), (6, 0, 8), (7, 0, 11)];
            assert_eq!(seen, expected, "cut by {cut}");
            assert_eq!((frames[3].code(), frames[5].code()), (8, 11));
            assert!(is_between);
        }
        assert!(!all(Frames::of_client(), &bytes[..bytes.len() - 1], 7).1);
        assert!(!all(Frames::of_client(), &bytes[..bytes.len() - 10], 7).1);
    }

    #[test]
    fn data_is_empty_without_a_byte_that_is_not_padding() {
        let is_empty = |flags, payload: &[u8]| {
            let (frames, is_between) = all(Frames::of_server(), &raw(DATA, flags, 1, payload), 3);
            assert!(is_between);
            frames[0].is_empty()
        };
        assert!(is_empty(0, &[]));
        assert!(!is_empty(0, &[0]));
        assert!(is_empty(PADDED, &[]));
        assert!(is_empty(PADDED, &[0]));
        assert!(is_empty(PADDED, &[2, 0, 0]));
        assert!(!is_empty(PADDED, &[2, 7, 0, 0]));
    }
}
