//! The trace id: one per request, on every line and every hop. Format: W3C Trace Context, level 1.

use std::fmt;

/// 16 bytes as 32 lower-case hex digits, and the span that the gateway itself is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trace {
    id: Hex<32>,
    span: Hex<16>,
    flags: Hex<2>,
    /// Whether the client brought the id.
    pub continued: bool,
}

/// Lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Hex<const N: usize>([u8; N]);

impl Trace {
    /// Goes on with a valid `traceparent`, else begins a new trace. `chance` gives random bits.
    pub fn begin(traceparent: Option<&[u8]>, mut chance: impl FnMut() -> u128) -> Self {
        let parent = traceparent.and_then(parse);
        let (id, flags) = parent.unwrap_or_else(|| (Hex::of(chance() | 1), Hex(*b"00")));
        Self { id, span: Hex::of(chance() | 1), flags, continued: parent.is_some() }
    }

    /// The trace id.
    pub fn id(&self) -> &str {
        self.id.as_str()
    }

    /// The `traceparent` for the next hop: the same trace, our span.
    pub fn traceparent(&self) -> [u8; 55] {
        let mut header = *b"00-00000000000000000000000000000000-0000000000000000-00";
        header[3..35].copy_from_slice(&self.id.0);
        header[36..52].copy_from_slice(&self.span.0);
        header[53..].copy_from_slice(&self.flags.0);
        header
    }
}

/// Trace id and flags of a `traceparent`. A version that we do not know is read as ours and may be longer;
/// of its flags only `sampled` has a meaning.
fn parse(header: &[u8]) -> Option<(Hex<32>, Hex<2>)> {
    let (header, rest) = header.split_at_checked(55)?;
    let version = Hex::<2>::parse(&header[..2])?;
    let is_ours = version.0 == *b"00";
    if version.0 == *b"ff" || (is_ours && !rest.is_empty()) || rest.first().is_some_and(|b| *b != b'-') {
        return None;
    }
    if [header[2], header[35], header[52]] != *b"---" {
        return None;
    }
    let id = Hex::<32>::parse(&header[3..35]).filter(|id| id.0 != [b'0'; 32])?;
    Hex::<16>::parse(&header[36..52]).filter(|parent| parent.0 != [b'0'; 16])?;
    let flags = Hex::<2>::parse(&header[53..])?;
    let sampled = flags.low_nibble() & 1 == 1;
    Some((id, Hex(if sampled { *b"01" } else { *b"00" })))
}

impl<const N: usize> Hex<N> {
    /// The low `N` hex digits of a number.
    fn of(mut number: u128) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [b'0'; N];
        for digit in digits.iter_mut().rev() {
            *digit = DIGITS[(number & 0xf) as usize];
            number >>= 4;
        }
        Self(digits)
    }

    fn parse(digits: &[u8]) -> Option<Self> {
        let is_hex = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        let digits: [u8; N] = digits.try_into().ok()?;
        digits.iter().all(is_hex).then_some(Self(digits))
    }

    fn low_nibble(&self) -> u8 {
        match self.0.last() {
            Some(digit @ b'0'..=b'9') => digit - b'0',
            Some(digit) => digit.wrapping_sub(b'a').wrapping_add(10),
            None => 0,
        }
    }

    fn as_str(&self) -> &str {
        // Hex digits are ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
    fn a_valid_trace_goes_on_with_a_new_span() {
        let trace = begin(PARENT);
        assert_eq!(trace.id(), "0af7651916cd43dd8448eb211c80319c");
        let header = trace.traceparent();
        assert_eq!(&header[..36], &PARENT[..36]);
        assert_eq!(&header[36..], b"0000000000001001-01");
    }

    #[test]
    fn a_new_trace_is_random_and_valid() {
        let trace = Trace::begin(None, || fastrand::u128(..));
        assert!(parse(&trace.traceparent()).is_some());
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
        let flags = begin(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-fe").flags;
        assert_eq!(flags.as_str(), "00", "flags without a meaning are not passed on");
    }

    proptest! {
        #[test]
        fn whatever_comes_in_a_valid_header_goes_out(header in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(parse(&begin(&header).traceparent()).is_some());
        }
    }
}
