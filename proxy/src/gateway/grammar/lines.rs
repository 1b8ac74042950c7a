//! Bytes as they come -> lines.

use super::Span;
use super::bytes::length_of_text;

/// How far the lines of a head have been read. Each byte is looked at once for what ends a line, however few come at a
/// time.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Lines {
    /// Where the next line begins.
    begin: u32,
    /// So far there is no end of that line, and nothing that no line may have.
    seen: u32,
}

impl Lines {
    /// The next line without its CR LF, which is the only end that a line has (RFC 9112, 2.2, lets a bare LF be one, and
    /// servers differ in whether it is); none: it has not all come. There is no control byte in it but tabs, and one is
    /// found even in a line whose end may never come.
    #[inline]
    pub(super) fn next(&mut self, bytes: &[u8]) -> Result<Option<Span>, &'static str> {
        let new = bytes.get(self.seen as usize..).unwrap_or_default();
        let length = length_of_text(new);
        self.seen += length as u32;
        match new.get(length..) {
            Some([b'\r', b'\n', ..]) => {
                let line = Span { start: self.begin, end: self.seen };
                self.begin = self.seen + 2;
                self.seen = self.begin;
                Ok(Some(line))
            }
            Some([] | [b'\r']) | None => Ok(None),
            Some([b'\r' | b'\n', ..]) => Err("a line that does not end with CR LF"),
            Some(_) => Err("a control byte in a line"),
        }
    }

    /// How many bytes the lines so far take.
    pub(super) fn taken(self) -> usize {
        self.begin as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of these bytes, given so many at a time.
    fn lines(bytes: &[u8], step: usize) -> Result<Vec<&[u8]>, &'static str> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for end in (0..bytes.len()).step_by(step).chain([bytes.len()]) {
            while let Some(line) = lines.next(&bytes[..end])? {
                found.push(line.of(bytes));
            }
        }
        Ok(found)
    }

    #[test]
    fn a_line_ends_with_cr_lf_and_with_nothing_else() {
        for step in 1..8 {
            assert_eq!(lines(b"a\r\n\r\nb\tc\r\nd", step), Ok(vec![&b"a"[..], b"", b"b\tc"]));
            for bad in [&b"a\n"[..], b"\n", b"a\r\n\n", b"a\rb\r\n\0", b"ab\0", b"\r\r", b"\x16\x03\x01"] {
                assert!(lines(bad, step).is_err(), "{bad:?} by {step}");
            }
        }
    }
}
