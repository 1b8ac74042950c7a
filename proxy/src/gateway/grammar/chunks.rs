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
            fields::check(line.of(within))?;
            count += 1;
            if count > trailers::FIELDS {
                return Err(Refusal::bad("too many trailer fields"));
            }
        }
        if within.len() == trailers::LONGEST {
            return Err(Refusal::bad("the trailer section is too long"));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Data, and the trailer section.
    type Decoded = (Vec<u8>, Vec<u8>);

    /// The data and the trailer section of a body, or with which status it is refused; none: it has not ended. As it
    /// comes whole, and byte by byte.
    fn decode(body: &[u8]) -> Result<Option<Decoded>, u16> {
        let whole = decode_by(body, body.len());
        assert_eq!(decode_by(body, 1), whole, "{:?} byte by byte", String::from_utf8_lossy(body));
        whole
    }

    fn decode_by(body: &[u8], step: usize) -> Result<Option<Decoded>, u16> {
        let (mut chunks, mut at, mut data) = (Chunks::default(), 0, Vec::new());
        for end in (0..body.len()).step_by(step.max(1)).chain([body.len()]) {
            loop {
                match chunks.next(&body[at..end]).map_err(|refusal| refusal.status)? {
                    Step::Framing(length) => at += length,
                    Step::Data(length) => {
                        data.extend_from_slice(&body[at..at + length]);
                        at += length;
                    }
                    Step::Trailers(length) => {
                        assert_eq!(chunks.next(&body[at + length..]), Ok(Step::End));
                        return Ok(Some((data, body[at..at + length].to_vec())));
                    }
                    Step::More => break,
                    Step::End => panic!("it ends with its trailers"),
                }
            }
        }
        Ok(None)
    }

    fn data(body: &str) -> Result<Option<String>, u16> {
        let text = |(data, _)| String::from_utf8(data).unwrap();
        Ok(decode(body.as_bytes())?.map(text))
    }

    #[test]
    fn data_stands_between_sizes() {
        for (body, expected) in [
            ("0\r\n\r\n", ""),
            ("3\r\nabc\r\n0\r\n\r\n", "abc"),
            ("1\r\na\r\n2\r\n\r\n\r\n000\r\n\r\n", "a\r\n"),
            ("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\nGET", "01234567890123456789"),
            ("0000000000000003\r\nabc\r\n0\r\n\r\n", "abc"),
        ] {
            assert_eq!(data(body), Ok(Some(expected.to_owned())), "{body:?}");
        }
        for waits in
            ["", "3", "3\r", "3\r\nab", "3\r\nabc", "3\r\nabc\r", "0\r\n", "0\r\n\r", "0\r\nX: y\r\n"]
        {
            assert_eq!(data(waits), Ok(None), "{waits:?}");
        }
        assert_eq!(data("7fffffffffffffff\r\nabc"), Ok(None));
    }

    #[test]
    fn what_frames_no_chunk_is_refused() {
        for body in [
            "\r\n\r\n",
            "\r\n2a\r\n",
            " 3\r\nabc\r\n",
            "3 \r\nabc\r\n",
            "0x3\r\nabc\r\n",
            "+3\r\nabc\r\n",
            "3.0\r\n",
            "3\nabc\r\n",
            "3\rabc\r\n",
            "3\0\r\n",
            "3\r\nabcd",
            "3\r\nabc\n0\r\n",
            "3\r\nabc0\r\n",
            "3\r\nabc\r\n\r\n0\r\n",
            "8000000000000000\r\n",
            "10000000000000000\r\n",
            "00000000000000003\r\n",
        ] {
            assert_eq!(data(body), Err(400), "{body:?}");
        }
    }

    #[test]
    fn an_extension_is_of_the_grammar_and_says_nothing() {
        for good in
            ["", ";a", ";a;b;c=d", " ; a = b", ";a=\"\"", ";a=\"b;c\\\"d\t\u{e9}\" ;e", "\t;\ta\t=\t\"b\""]
        {
            assert_eq!(
                data(&format!("3{good}\r\nabc\r\n0{good}\r\n\r\n")),
                Ok(Some("abc".into())),
                "{good:?}"
            );
        }
        for bad in [
            ";",
            ";;a",
            ";a=",
            ";=b",
            ";a b",
            "x",
            " x",
            ";a ",
            ";a=\"b",
            ";a=\"b\"c",
            ";a=\"\\\"",
            ";\u{e9}",
            ";a\0",
            ";a=\"\0\"",
            ";a=\"\\\u{1}\"",
            ";\n",
            ";a\nb",
            ";a=\"\n\"",
            ";a\rb",
        ] {
            assert_eq!(data(&format!("3{bad}\r\nabc\r\n0\r\n\r\n")), Err(400), "{bad:?}");
        }
    }

    #[test]
    fn extensions_have_an_end() {
        let of = |length: usize| format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(length));
        assert!(data(&of(LONGEST_LINE - 4)).is_ok());
        assert_eq!(data(&of(LONGEST_LINE - 3)), Err(400));
        assert_eq!(data(&"1;".repeat(LONGEST_LINE)), Err(400), "without waiting for its end");
        let chunk = |size: usize| format!("{size:x};{}\r\n{}\r\n", "x".repeat(99), "a".repeat(size));
        let most = EXTENSIONS as usize / 99;
        assert_eq!(decode_by(chunk(1).repeat(most).as_bytes(), usize::MAX), Ok(None));
        assert_eq!(decode_by(chunk(1).repeat(most + 9).as_bytes(), usize::MAX), Err(400));
        assert_eq!(
            decode_by(chunk(100).repeat(most * 9).as_bytes(), usize::MAX),
            Ok(None),
            "what has data may go on"
        );
    }

    #[test]
    fn trailers_are_lines_of_fields() {
        let read = |section: &str| {
            let found = decode(format!("0\r\n{section}\r\nGET / HTTP/1.1\r\n\r\n").as_bytes());
            found.map(|found| found.map(|(_, trailers)| String::from_utf8(trailers).unwrap()))
        };
        for good in ["", "X: y\r\n", "X:\r\nX: \u{e9}\r\n"] {
            assert_eq!(read(good), Ok(Some(format!("{good}\r\n"))));
        }
        for bad in
            ["X\r\n", "X : y\r\n", "X(: y\r\n", "X: y\r\n z\r\n", "X: y\n", "X: \0\r\n", "X: y\rZ: w\r\n"]
        {
            assert_eq!(read(bad), Err(400), "{bad:?}");
        }
        assert_eq!(
            decode(b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            Err(400),
            "no request is taken for them"
        );
        assert!(read(&"X: y\r\n".repeat(trailers::FIELDS)).is_ok());
        assert_eq!(read(&"X: y\r\n".repeat(trailers::FIELDS + 1)), Err(400));
        assert_eq!(read(&format!("X: {}\r\n", "y".repeat(trailers::LONGEST))), Err(400));
    }
}
