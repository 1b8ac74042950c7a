//! The framing of a chunked body: RFC 9112, 7.1.

use super::bytes::{LARGEST, is_of_token, trim_start};
use super::lines::Lines;
use super::{Refusal, fields, trailers};

/// The longest line of a chunk's size, with its extensions and its CR LF.
const LONGEST_LINE: usize = 512;
/// By so many bytes the extensions of a body may outweigh its data. (Nobody reads them, so that a body of little else is
/// work for nothing.)
const EXTENSIONS: u64 = 16 << 10;

/// What is next in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Step {
    /// So many bytes tell where data begins and ends.
    Framing(usize),
    /// So many bytes are data.
    Data(usize),
    /// That cannot be said before there are more bytes.
    More,
    /// So many bytes are the trailer section, with its last CR LF: the end of a chunked body.
    Trailers(usize),
    /// There is nothing more: what follows is none of the body's.
    End,
}

/// How far a chunked body has been read.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::gateway) struct Chunks {
    next: Next,
    /// By so many bytes the extensions outweigh the data that came since.
    outweigh: u64,
}

/// What comes next.
#[derive(Debug, Default, Clone, Copy)]
enum Next {
    /// -> Data, or Trailers after a size of 0.
    #[default]
    Size,
    /// So many bytes, more than none -> DataEnd.
    Data(u64),
    /// A CR LF -> Size.
    DataEnd,
    /// -> Over. So many lines of them were good.
    Trailers(Lines, usize),
    Over,
}

impl Chunks {
    /// Is given what follows the bytes that the last step named.
    pub(in crate::gateway) fn next(&mut self, bytes: &[u8]) -> Result<Step, Refusal> {
        match self.next {
            Next::Size => self.read_size(bytes),
            Next::Data(_) if bytes.is_empty() => Ok(Step::More),
            Next::Data(left) => {
                let here = (bytes.len() as u64).min(left);
                self.next = if here == left { Next::DataEnd } else { Next::Data(left - here) };
                Ok(Step::Data(here as usize))
            }
            Next::DataEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    self.next = Next::Size;
                    Ok(Step::Framing(2))
                }
                [] | [b'\r'] => Ok(Step::More),
                _ => Err(Refusal::bad("a chunk's data is not followed by CR LF")),
            },
            Next::Trailers(lines, count) => self.read_trailers(bytes, lines, count),
            Next::Over => Ok(Step::End),
        }
    }

    fn read_size(&mut self, bytes: &[u8]) -> Result<Step, Refusal> {
        let within = bytes.get(..LONGEST_LINE).unwrap_or(bytes);
        let mut lines = Lines::default();
        let Some(line) = lines.next(within)? else {
            let is_too_long = within.len() == LONGEST_LINE;
            return if is_too_long {
                Err(Refusal::bad("a chunk's size line is too long"))
            } else {
                Ok(Step::More)
            };
        };
        let (size, extensions) = size(line.of(within)).ok_or(Refusal::bad("bad chunk size"))?;
        check_extensions(extensions).ok_or(Refusal::bad("a bad extension of a chunk"))?;
        self.outweigh = self.outweigh.saturating_sub(size) + extensions.len() as u64;
        if self.outweigh > EXTENSIONS {
            return Err(Refusal::bad("a chunked body of little but extensions"));
        }
        self.next = if size == 0 { Next::Trailers(Lines::default(), 0) } else { Next::Data(size) };
        Ok(Step::Framing(lines.taken()))
    }

    fn read_trailers(&mut self, bytes: &[u8], mut lines: Lines, mut count: usize) -> Result<Step, Refusal> {
        let within = bytes.get(..trailers::LONGEST).unwrap_or(bytes);
        while let Some(line) = lines.next(within)? {
            if line.len() == 0 {
                self.next = Next::Over;
                return Ok(Step::Trailers(lines.taken()));
            }
            fields::split(line.of(within))?;
            count += 1;
            if count > trailers::FIELDS {
                return Err(Refusal { status: 431, why: "too many trailer fields" });
            }
        }
        if within.len() == trailers::LONGEST {
            return Err(Refusal { status: 431, why: "the trailer section is too long" });
        }
        self.next = Next::Trailers(lines, count);
        Ok(Step::More)
    }
}

/// A chunk's size, and its extensions.
fn size(line: &[u8]) -> Option<(u64, &[u8])> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, extensions) = line.split_at_checked(digits)?;
    // (Sixteen, as the number has; some write zeros before it.)
    let size = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    (digits.len() <= 16 && size <= LARGEST).then_some((size, extensions))
}

/// RFC 9112, 7.1.1: `;`, a token, and perhaps `=` with a token or a quoted string, again and again.
fn check_extensions(mut rest: &[u8]) -> Option<()> {
    while !rest.is_empty() {
        rest = skip_token(trim_start(trim_start(rest).strip_prefix(b";")?))?;
        if let Some(value) = trim_start(rest).strip_prefix(b"=") {
            let value = trim_start(value);
            rest = match value.strip_prefix(b"\"") {
                Some(quoted) => skip_quoted(quoted)?,
                None => skip_token(value)?,
            };
        }
    }
    Some(())
}

fn skip_token(text: &[u8]) -> Option<&[u8]> {
    let length = text.iter().take_while(|byte| is_of_token(**byte)).count();
    text.get(length..).filter(|_| length > 0)
}

/// RFC 9110, 5.6.4, after the first quotation mark. (There is no control byte in a line.)
fn skip_quoted(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = match text {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', _, rest @ ..] | [_, rest @ ..] => rest,
            [] => return None,
        };
    }
}
