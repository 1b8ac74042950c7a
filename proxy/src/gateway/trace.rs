//! The trace id: one per request, on every line and every hop. Format: W3C Trace Context, level 1.
//!
//! The gateway exports no span. A span id of its own in what it sends on would be the parent of the endpoint's
//! span, and a trace would have a hole there: a parent that nobody ever reports. So the client's span stays the
//! parent, as if the gateway were a wire.

use std::ops::Range;

/// `00-{trace id}-{span id}-{flags}`: what is sent on, from which the trace id is cut.
const NONE: &[u8; 55] = b"00-00000000000000000000000000000000-0000000000000000-00";
const ID: Range<usize> = 3..35;
const SPAN: Range<usize> = 36..52;
const FLAGS: Range<usize> = 53..55;

/// A request's trace, and the span that the endpoint's is a child of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trace {
    header: [u8; NONE.len()],
    /// Whether the client brought the id.
    pub(super) continued: bool,
}

impl Trace {
    /// The trace of a request that has none yet.
    pub(super) fn none() -> Self {
        Self { header: *NONE, continued: false }
    }

    /// Goes on with a valid `traceparent`, else begins a new trace. `chance` gives random bits.
    pub(super) fn begin(traceparent: Option<&[u8]>, mut chance: impl FnMut() -> u128) -> Self {
        let mut header = *NONE;
        let parent = traceparent.and_then(parse);
        match parent {
            Some(Parent { id, span, sampled }) => {
                header[ID].copy_from_slice(id);
                header[SPAN].copy_from_slice(span);
                header[FLAGS.end - 1] += u8::from(sampled);
            }
            None => {
                write_hex(&mut header[ID], chance() | 1);
                write_hex(&mut header[SPAN], chance() | 1);
            }
        }
        Self { header, continued: parent.is_some() }
    }

    /// The trace id: 32 lower-case hex digits.
    pub(super) fn id(&self) -> &str {
        // Hex digits are ASCII.
        std::str::from_utf8(self.id_bytes()).unwrap_or_default()
    }

    pub(super) fn id_bytes(&self) -> &[u8] {
        &self.header[ID]
    }

    /// The `traceparent` for the next hop: the same one at each attempt.
    pub(super) fn traceparent(&self) -> &[u8] {
        &self.header
    }
}

#[derive(Clone, Copy)]
struct Parent<'h> {
    id: &'h [u8],
    span: &'h [u8],
    sampled: bool,
}

/// A version that we do not know is read as ours and may be longer; of its flags only `sampled` has a
/// meaning.
fn parse(header: &[u8]) -> Option<Parent<'_>> {
    let (header, rest) = header.split_at_checked(NONE.len())?;
    let (version, id, span, flags) = (&header[..2], &header[ID], &header[SPAN], &header[FLAGS]);
    let is_hex = |digits: &[u8]| digits.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_zero = |digits: &[u8]| digits.iter().all(|b| *b == b'0');
    let ends_here = if version == b"00" { rest.is_empty() } else { matches!(rest, [] | [b'-', ..]) };
    let valid = [version, id, span, flags].into_iter().all(is_hex)
        && [header[2], header[35], header[52]] == *b"---"
        && version != b"ff"
        && ends_here
        && !is_zero(id)
        && !is_zero(span);
    let low = char::from(flags[1]).to_digit(16)?;
    valid.then_some(Parent { id, span, sampled: low & 1 == 1 })
}

/// The low digits of a number, two for each byte that there is room for.
fn write_hex(digits: &mut [u8], number: u128) {
    let digit = |half: u8| b"0123456789abcdef"[usize::from(half & 0xf)];
    for (pair, byte) in digits.as_chunks_mut().0.iter_mut().rev().zip(number.to_le_bytes()) {
        *pair = [digit(byte >> 4), digit(byte)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PARENT: &[u8; 55] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn begin(traceparent: &[u8]) -> Trace {
        let mut next = 0;
        Trace::begin(Some(traceparent), || {
            next += 0x1000;
            next
        })
    }

    #[test]
    fn a_valid_trace_goes_on_with_the_clients_span() {
        let trace = begin(PARENT);
        assert_eq!(trace.id(), "0af7651916cd43dd8448eb211c80319c");
        let header = trace.traceparent();
        assert_eq!(header, b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    }

    #[test]
    fn a_new_trace_is_random_and_valid() {
        let trace = Trace::begin(None, || fastrand::u128(..));
        assert!(parse(trace.traceparent()).is_some());
        assert_ne!(trace.id(), Trace::begin(None, || fastrand::u128(..)).id());
        assert!(!trace.continued);
    }

    #[test]
    fn an_invalid_trace_is_replaced() {
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert!(!begin(bad.as_bytes()).continued, "{bad}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_ours() {
        assert!(begin(b"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more").continued);
        let flags = |header: &[u8]| begin(header).header[FLAGS].to_vec();
        assert_eq!(flags(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-fe"), b"00");
        assert_eq!(flags(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff"), b"01");
    }

    proptest! {
        #[test]
        fn whatever_comes_in_a_valid_header_goes_out(header in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(parse(begin(&header).traceparent()).is_some());
        }
    }
}
