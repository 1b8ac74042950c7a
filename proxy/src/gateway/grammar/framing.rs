//! What a head says of its body and of its connection: RFC 9112, 6 and 9.

use super::bytes::{members, number};
use super::{Refusal, Span};

/// How the end of a body is known.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Framing {
    /// There is none.
    #[default]
    None,
    Length(u64),
    Chunked,
    /// Where the connection ends: answers alone.
    UntilClose,
}

/// What the lines `Content-Length` say.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Length {
    pub(super) value: Option<u64>,
    /// It is not written as one number without zeros before it: so it is not sent on.
    pub(super) is_odd: bool,
}

impl Length {
    /// A line of a request: there is one, with one number. (RFC 9110, 8.6, lets a server take equal ones for one.)
    pub(super) fn read_only(&mut self, value: &[u8]) -> Result<(), &'static str> {
        if self.value.is_some() {
            return Err("more than one Content-Length");
        }
        self.read(value)
    }

    /// A line of an answer: numbers that are equal are one (RFC 9110, 8.6).
    pub(super) fn read_equal(&mut self, list: &[u8]) -> Result<(), &'static str> {
        for value in members(list) {
            let before = self.value;
            self.read(value)?;
            if before.is_some_and(|before| Some(before) != self.value) {
                return Err("Content-Length of different values");
            }
            self.is_odd |= before.is_some();
        }
        Ok(())
    }

    fn read(&mut self, value: &[u8]) -> Result<(), &'static str> {
        self.value = Some(number(value).ok_or("bad Content-Length")?);
        self.is_odd |= value.len() > 1 && value.first() == Some(&b'0');
        Ok(())
    }
}

/// What the lines `Transfer-Encoding` say.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Codings {
    are_there: bool,
    chunked: bool,
    ends_chunked: bool,
    has_twice: bool,
    has_empty: bool,
    has_other: bool,
}

impl Codings {
    pub(super) fn read(&mut self, list: &[u8]) {
        self.are_there = true;
        for coding in members(list) {
            let is_chunked = coding.eq_ignore_ascii_case(b"chunked");
            self.has_twice |= self.chunked && is_chunked;
            self.has_empty |= coding.is_empty();
            self.has_other |= !is_chunked;
            self.chunked |= is_chunked;
            self.ends_chunked = is_chunked;
        }
    }

    pub(super) fn are_there(self) -> bool {
        self.are_there
    }

    /// Whether the body is chunked; it has no coding otherwise. (RFC 9112, 6.1 and 6.3: 501 where the body could be told
    /// from what follows it.)
    pub(super) fn chunked(self) -> Result<bool, Refusal> {
        let status = match self {
            Self { are_there: false, .. } => return Ok(false),
            Self { ends_chunked: true, has_twice: false, has_empty: false, has_other: true, .. } => 501,
            Self { ends_chunked: true, has_twice: false, has_other: false, .. } => return Ok(true),
            _ => 400,
        };
        Err(Refusal { status, why: "a Transfer-Encoding that is not chunked alone" })
    }
}

/// So many bytes a `Connection` has at the most, in all its lines, and an `Upgrade`: they are looked through again and again.
const LONGEST_LIST: usize = 1 << 10;

/// What the lines `Connection` say of the connection itself: RFC 9110, 7.6.1.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Connection {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    length: usize,
}

impl Connection {
    pub(super) fn read(&mut self, list: &[u8]) -> Result<(), &'static str> {
        self.length += list.len();
        if self.length > LONGEST_LIST {
            return Err("a Connection that is too long");
        }
        // What almost all say.
        if list == b"keep-alive" {
            self.keep_alive = true;
            return Ok(());
        }
        for option in members(list) {
            let is = |other: &[u8]| option.eq_ignore_ascii_case(other);
            match option.len() {
                5 if is(b"close") => self.close = true,
                7 if is(b"upgrade") => self.upgrade = true,
                10 if is(b"keep-alive") => self.keep_alive = true,
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether it stays open after a message of HTTP/1.1, or of 1.0: RFC 9112, 9.3.
    pub(super) fn stays(self, is_1_1: bool) -> bool {
        !self.close && (is_1_1 || self.keep_alive)
    }
}

/// The line `Upgrade`: the only one, or none counts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upgrade {
    #[default]
    None,
    Protocols(Span),
    Several,
}

impl Upgrade {
    pub(super) fn read(&mut self, value: Span) {
        *self = match self {
            Self::None => Self::Protocols(value),
            Self::Protocols(_) | Self::Several => Self::Several,
        };
    }

    /// The protocols, if there is one at the least, and HTTP/2 not among them.
    pub(super) fn protocols(self, bytes: &[u8]) -> Option<Span> {
        let Self::Protocols(span) = self else { return None };
        let is_good = |protocol: &[u8]| !protocol.is_empty() && !protocol.eq_ignore_ascii_case(b"h2c");
        (span.len() <= LONGEST_LIST && members(span.of(bytes)).all(is_good)).then_some(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_one_length() {
        let read = |lines: &[&str]| {
            let mut length = Length::default();
            lines.iter().try_for_each(|line| length.read_only(line.as_bytes())).map(|()| length)
        };
        assert_eq!(read(&["3"]), Ok(Length { value: Some(3), is_odd: false }));
        assert_eq!(read(&["0"]), Ok(Length { value: Some(0), is_odd: false }));
        assert_eq!(read(&["03"]), Ok(Length { value: Some(3), is_odd: true }));
        for bad in [&["3", "3"][..], &["3,3"], &["3, 3"], &["3,"], &[""], &["x"]] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_answer_has_equal_lengths() {
        let read = |lines: &[&str]| {
            let mut length = Length::default();
            lines.iter().try_for_each(|line| length.read_equal(line.as_bytes())).map(|()| length)
        };
        assert_eq!(read(&["5"]), Ok(Length { value: Some(5), is_odd: false }));
        for equal in [&["5", "5"][..], &["5, 5"], &["05"], &["5,5", "5"], &["5", "05"]] {
            assert_eq!(read(equal), Ok(Length { value: Some(5), is_odd: true }), "{equal:?}");
        }
        for bad in [&["5", "6"][..], &["5, 6"], &["5,"], &[",5"], &["5", ""], &["5", "x"]] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_body_is_chunked_once_and_nothing_else() {
        let read = |lines: &[&str]| {
            let mut codings = Codings::default();
            lines.iter().for_each(|line| codings.read(line.as_bytes()));
            codings.chunked().map_err(|refusal| refusal.status)
        };
        assert_eq!(read(&[]), Ok(false));
        assert_eq!(read(&["chunked"]), Ok(true));
        assert_eq!(read(&["ChunKed"]), Ok(true));
        for (lines, status) in [
            (&["gzip, chunked"][..], 501),
            (&["identity", "chunked"], 501),
            (&["chunked", "chunked"], 400),
            (&["chunked, chunked"], 400),
            (&["gzip, chunked, chunked"], 400),
            (&["chunked", ""], 400),
            (&["chunked,"], 400),
            (&[",chunked"], 400),
            (&["", "chunked"], 400),
            (&["gzip"], 400),
            (&["chunked, gzip"], 400),
            (&["chunked;q=1"], 400),
            (&["\"chunked\""], 400),
            (&["x chunked"], 400),
            (&[""], 400),
        ] {
            assert_eq!(read(lines), Err(status), "{lines:?}");
        }
    }

    #[test]
    fn a_connection_stays_unless_it_says_otherwise() {
        let stays = |lines: &[&str]| {
            let mut connection = Connection::default();
            lines.iter().try_for_each(|line| connection.read(line.as_bytes())).unwrap();
            (connection.stays(true), connection.stays(false))
        };
        assert_eq!(stays(&[]), (true, false));
        assert_eq!(stays(&["Keep-Alive"]), (true, true));
        assert_eq!(stays(&["x, keep-alive", "Close"]), (false, false));
        assert_eq!(stays(&[",,", "closed"]), (true, false));
        assert!(Connection::default().read(&[b','; LONGEST_LIST + 1]).is_err());
    }

    #[test]
    fn one_line_asks_for_other_protocols_but_not_for_http_2() {
        let asked = |lines: &[&str]| {
            let bytes = lines.concat();
            let (mut upgrade, mut at) = (Upgrade::default(), 0);
            for line in lines {
                upgrade.read(Span::new(at, at + line.len()));
                at += line.len();
            }
            upgrade.protocols(bytes.as_bytes()).map(|span| span.of(bytes.as_bytes()).to_vec())
        };
        assert_eq!(asked(&["websocket"]).as_deref(), Some(&b"websocket"[..]));
        assert_eq!(asked(&["a/1, b"]).as_deref(), Some(&b"a/1, b"[..]));
        let long = "a".repeat(LONGEST_LIST + 1);
        for none in [&[][..], &["H2C"], &[&*long], &["websocket, h2c"], &["a", "b"], &[""], &["a,"]] {
            assert_eq!(asked(none), None, "{none:?}");
        }
    }
}
