//! An answer's head, which is read by what was asked: RFC 9112, 4 and 6.3.

use super::bytes::members;
use super::fields::{Fields, Kind};
use super::framing::{Codings, Connection, Framing, Length, Upgrade};
use super::lines::Lines;
use super::{LONGEST_HEAD, Span};

/// So many fields an answer has at the most.
const FIELDS: usize = 256;

/// The status by which the connection becomes a tunnel: RFC 9110, 15.2.2.
pub(in crate::gateway) const SWITCHES: u16 = 101;

/// Whether a head with this status goes before the answer's: RFC 9110, 15.2.
pub(in crate::gateway) fn is_interim(status: u16) -> bool {
    status < 200 && status != SWITCHES
}

/// What was asked.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::gateway) struct Asked {
    pub(in crate::gateway) is_head: bool,
    /// The request asked for other protocols.
    pub(in crate::gateway) may_upgrade: bool,
}

/// An answer's head, read as its bytes come.
#[derive(Debug, Default)]
pub(in crate::gateway) struct AnswerHead {
    lines: Lines,
    /// None: it has not come yet.
    line: Option<Line>,
    fields: Fields,
    said: Said,
    framing: Framing,
    /// How many bytes the head has, when it is whole.
    length: Option<usize>,
}

/// The status line.
#[derive(Debug, Clone, Copy)]
struct Line {
    is_1_1: bool,
    status: u16,
    reason: Span,
}

/// What the fields say to whoever carries the answer.
#[derive(Debug, Default)]
struct Said {
    length: Length,
    codings: Codings,
    connection: Connection,
    upgrade: Upgrade,
    date: bool,
}

impl AnswerHead {
    /// For the next head, with the same buffers.
    pub(in crate::gateway) fn clear(&mut self) {
        self.fields.clear();
        (self.lines, self.line) = (Lines::default(), None);
        (self.said, self.framing, self.length) = (Said::default(), Framing::None, None);
    }

    /// Is given all bytes since the head's begin each time that there are more. Some: the head is whole, and has so many
    /// bytes. An error says what is wrong with it.
    pub(in crate::gateway) fn read(
        &mut self,
        bytes: &[u8],
        asked: Asked,
    ) -> Result<Option<usize>, &'static str> {
        if self.length.is_some() {
            return Ok(self.length);
        }
        let within = bytes.get(..LONGEST_HEAD).unwrap_or(bytes);
        while let Some(line) = self.lines.next(within)? {
            match self.line {
                None => self.line = Some(read_status_line(within, line)?),
                Some(_) if line.len() > 0 => self.read_field(within, line)?,
                Some(status) => {
                    self.framing = self.finish(within, status, asked)?;
                    self.length = Some(self.lines.taken());
                    return Ok(self.length);
                }
            }
        }
        if within.len() < LONGEST_HEAD { Ok(None) } else { Err("a head that is too long") }
    }

    fn read_field(&mut self, bytes: &[u8], line: Span) -> Result<(), &'static str> {
        let (kind, span) = self.fields.add(bytes, line)?;
        if self.fields.list().len() > FIELDS {
            return Err("too many fields");
        }
        let value = span.of(bytes);
        match kind {
            Kind::ContentLength => self.said.length.read_equal(value)?,
            Kind::TransferEncoding => self.said.codings.read(value),
            Kind::Connection => self.said.connection.read(value)?,
            Kind::Upgrade => self.said.upgrade.read(span),
            Kind::Date => self.said.date = true,
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, bytes: &[u8], line: Line, asked: Asked) -> Result<Framing, &'static str> {
        self.fields.finish();
        let Said { length, codings, .. } = self.said;
        if codings.are_there() && length.value.is_some() {
            return Err("Content-Length and Transfer-Encoding");
        }
        if codings.are_there() && !line.is_1_1 {
            return Err("Transfer-Encoding in HTTP/1.0");
        }
        let is_chunked = codings.chunked().map_err(|refusal| refusal.why)?;
        let agreed = line.is_1_1 && self.said.connection.upgrade;
        let protocols = self.said.upgrade.protocols(bytes);
        match line.status {
            101 if !asked.may_upgrade => return Err("a 101 that was not asked for"),
            101 if !agreed || protocols.is_none() => {
                return Err("a 101 that does not say to which protocol");
            }
            101 => {}
            _ => self.said.upgrade = Upgrade::None,
        }
        Ok(match (is_chunked, length.value) {
            _ if asked.is_head || self.has_no_body() => Framing::None,
            (true, _) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::UntilClose,
        })
    }

    /// Its status: 1xx, 204 and 304 have no body, whatever the fields say.
    fn has_no_body(&self) -> bool {
        matches!(self.status(), 100..=199 | 204 | 304)
    }

    /// Whether neither a length nor an encoding goes on with it: RFC 9110, 8.6, and RFC 9112, 6.1. (Those who send a 204
    /// with a length of 0 are many, and where it ends is not in doubt: so it is not refused.)
    pub(in crate::gateway) fn must_not_frame(&self) -> bool {
        matches!(self.status(), 100..=199 | 204)
    }

    /// From 100 to 999: what is above 599 is none of HTTP's (RFC 9110, 15), and the client's to make sense of.
    pub(in crate::gateway) fn status(&self) -> u16 {
        self.line.map_or(0, |line| line.status)
    }

    /// Of HTTP/1.1, not of 1.0.
    pub(in crate::gateway) fn is_1_1(&self) -> bool {
        self.line.is_some_and(|line| line.is_1_1)
    }

    pub(in crate::gateway) fn reason(&self) -> Span {
        self.line.map(|line| line.reason).unwrap_or_default()
    }

    pub(in crate::gateway) fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether the length is written as one number without zeros before it. What is written otherwise does not go on.
    pub(in crate::gateway) fn length_is_normal(&self) -> bool {
        !self.said.length.is_odd
    }

    /// Whether the connection can carry another request when this answer is over.
    pub(in crate::gateway) fn keeps_alive(&self) -> bool {
        self.framing != Framing::UntilClose && self.said.connection.stays(self.is_1_1())
    }

    /// The protocols that a 101 switches to.
    pub(in crate::gateway) fn upgrade(&self) -> Option<Span> {
        match self.said.upgrade {
            Upgrade::Protocols(span) => Some(span),
            Upgrade::None | Upgrade::Several => None,
        }
    }

    pub(in crate::gateway) fn has_date(&self) -> bool {
        self.said.date
    }

    pub(in crate::gateway) fn fields(&self) -> &Fields {
        &self.fields
    }
}

/// Whether all protocols that a 101 names were asked for: RFC 9110, 7.8.
pub(in crate::gateway) fn agree(asked: &[u8], answered: &[u8]) -> bool {
    members(answered).all(|one| members(asked).any(|other| one.eq_ignore_ascii_case(other)))
}

/// A status line: RFC 9112, 4. (The space before a reason is often left out with it.)
fn read_status_line(bytes: &[u8], line: Span) -> Result<Line, &'static str> {
    let (version, rest) = line.of(bytes).split_first_chunk::<9>().ok_or(NO_VERSION)?;
    let is_1_1 = match version {
        b"HTTP/1.1 " => true,
        b"HTTP/1.0 " => false,
        _ => return Err(NO_VERSION),
    };
    let Some(([hundreds @ b'1'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9'], rest)) =
        rest.split_first_chunk()
    else {
        return Err("a status that is no number of three digits");
    };
    let digit = |digit: &u8| u16::from(digit - b'0');
    let status = digit(hundreds) * 100 + digit(tens) * 10 + digit(ones);
    let reason = match rest {
        [] => rest,
        [b' ', reason @ ..] => reason,
        _ => return Err("no space behind the status"),
    };
    let reason = Span::new(line.end() - reason.len(), line.end());
    Ok(Line { is_1_1, status, reason })
}

const NO_VERSION: &str = "a status line of neither HTTP/1.0 nor 1.1";

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Asked = Asked { is_head: false, may_upgrade: false };
    const HEAD: Asked = Asked { is_head: true, may_upgrade: false };
    const UPGRADE: Asked = Asked { is_head: false, may_upgrade: true };

    fn read(text: &str, asked: Asked) -> Result<AnswerHead, &'static str> {
        let mut head = AnswerHead::default();
        let text = text.replace('|', "\r\n");
        for end in 0..text.len() {
            assert_eq!(head.read(&text.as_bytes()[..end], asked)?, None, "{text:?} up to {end}");
        }
        assert_eq!(head.read(text.as_bytes(), asked)?, Some(text.len()), "{text:?}");
        Ok(head)
    }

    #[test]
    fn a_head_tells_what_it_says() {
        let text = "HTTP/1.0 404 Not there\r\nDate: x\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\n";
        let head = read(text, GET).unwrap();
        assert_eq!((head.status(), head.is_1_1(), head.has_date()), (404, false, true));
        assert_eq!(head.reason().of(text.as_bytes()), b"Not there");
        assert!(head.keeps_alive() && head.length_is_normal() && !head.must_not_frame());
        assert_eq!(head.fields().iter(text.as_bytes()).last(), Some(("content-length", &b"3"[..])));
    }

    #[test]
    fn a_status_is_three_digits_of_http_1() {
        for (line, status) in
            [("HTTP/1.1 200 ", 200), ("HTTP/1.1 200", 200), ("HTTP/1.1 999 x\ty\u{e9}", 999)]
        {
            assert_eq!(read(&format!("{line}||"), GET).unwrap().status(), status);
        }
        for line in [
            "",
            "HTTP/1.1",
            "HTTP/1.1 ",
            "HTTP/1.1 20 OK",
            "HTTP/1.1 2000",
            "HTTP/1.1 099 OK",
            "HTTP/1.1  200",
            "HTTP/1.1 2x0",
            "HTTP/1.1 200OK",
            "HTTP/1.2 200 OK",
            "HTTP/2 200 OK",
            "http/1.1 200 OK",
            "ICY 200 OK",
            "HTTP/1.1 200 a\u{1}",
        ] {
            assert!(read(&format!("{line}||"), GET).is_err(), "{line:?}");
        }
        assert!(AnswerHead::default().read(b"HTTP/1.1 200 OK\n", GET).is_err());
        assert!(AnswerHead::default().read(b"\r\n", GET).is_err());
    }

    #[test]
    fn the_body_is_framed_by_the_answer_and_by_what_was_asked() {
        let length = Framing::Length(5);
        for (text, asked, expected) in [
            ("200|Content-Length: 5||", GET, length),
            ("200|Content-Length: 5, 5|Content-Length: 5||", GET, length),
            ("200|Transfer-Encoding: chunked||", GET, Framing::Chunked),
            ("200||", GET, Framing::UntilClose),
            ("200|Content-Length: 5||", HEAD, Framing::None),
            ("200|Transfer-Encoding: chunked||", HEAD, Framing::None),
            ("200||", HEAD, Framing::None),
            ("304|Content-Length: 5||", GET, Framing::None),
            ("204|Content-Length: 5||", GET, Framing::None),
            ("204|Transfer-Encoding: chunked||", GET, Framing::None),
            ("103|Content-Length: 5||", GET, Framing::None),
            ("205||", GET, Framing::UntilClose),
        ] {
            let head = read(&format!("HTTP/1.1 {text}"), asked).unwrap();
            assert_eq!(head.framing(), expected, "{text}");
            assert_eq!(head.keeps_alive(), expected != Framing::UntilClose, "{text}");
            assert_eq!(head.must_not_frame(), text.starts_with("204") || text.starts_with("103"), "{text}");
        }
        assert!(!read("HTTP/1.1 200|Content-Length: 5, 5||", GET).unwrap().length_is_normal());
    }

    #[test]
    fn what_could_be_framed_otherwise_is_refused() {
        for lines in [
            "Content-Length: 5|Content-Length: 6|",
            "Content-Length: 5,|",
            "Content-Length: -5|",
            "Content-Length: 9223372036854775808|",
            "Content-Length: 5|Transfer-Encoding: chunked|",
            "Transfer-Encoding: gzip, chunked|",
            "Transfer-Encoding: chunked, chunked|",
            "Transfer-Encoding: identity|",
            "X: y| z|",
            "X : y|",
            "X|",
        ] {
            for asked in [GET, HEAD] {
                assert!(read(&format!("HTTP/1.1 200 OK|{lines}|"), asked).is_err(), "{lines}");
            }
        }
        assert!(read("HTTP/1.0 200 OK|Transfer-Encoding: chunked||", GET).is_err());
    }

    #[test]
    fn other_protocols_are_spoken_only_if_both_sides_say_so() {
        let good = "HTTP/1.1 101 x|Connection: Upgrade|Upgrade: WebSocket||";
        let head = read(good, UPGRADE).unwrap();
        assert!(head.upgrade().is_some() && head.framing() == Framing::None);
        assert!(read(good, GET).is_err());
        for bad in [
            "HTTP/1.1 101 x|Connection: upgrade||",
            "HTTP/1.1 101 x|Upgrade: websocket||",
            "HTTP/1.0 101 x|Connection: upgrade|Upgrade: websocket||",
            "HTTP/1.1 101 x|Connection: upgrade|Upgrade: h2c||",
        ] {
            assert!(read(bad, UPGRADE).is_err(), "{bad}");
        }
        let other =
            read("HTTP/1.1 426 x|Connection: Upgrade|Upgrade: a|Content-Length: 0||", UPGRADE).unwrap();
        assert!(other.upgrade().is_none());
        assert!(agree(b"a, WebSocket", b"websocket") && agree(b"a,b", b"b, a"));
        assert!(!agree(b"a", b"b") && !agree(b"a", b"a, b") && !agree(b"a", b""));
    }

    #[test]
    fn a_head_has_an_end() {
        let fields = |count: usize| read(&format!("HTTP/1.1 204|{}|", "X: y|".repeat(count)), GET).is_ok();
        assert!(fields(FIELDS) && !fields(FIELDS + 1));
        let long = vec![b'y'; LONGEST_HEAD];
        assert!(AnswerHead::default().read(&[b"HTTP/1.1 200 ", &long[..]].concat(), GET).is_err());
    }

    #[test]
    fn a_head_can_be_read_again_and_again() {
        let mut head = read("HTTP/1.1 101 x|Connection: Upgrade|Upgrade: a|Date: x||", UPGRADE).unwrap();
        head.clear();
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(head.read(text, GET), Ok(Some(text.len())));
        assert!(head.upgrade().is_none() && !head.has_date() && head.framing() == Framing::Length(5));
        assert_eq!(head.fields().list().len(), 1);
    }
}
