//! The lines of a head, or of a trailer section: RFC 9112, 5.

use super::Span;
use super::bytes::{is_of_token, trim_end, trim_start, write_token};

/// One line.
#[derive(Debug, Clone, Copy)]
pub(in crate::gateway) struct Field {
    pub(in crate::gateway) kind: Kind,
    /// As it is written.
    pub(in crate::gateway) name: Span,
    /// Without the white space around it.
    pub(in crate::gateway) value: Span,
    /// All of it, with its CR LF.
    pub(in crate::gateway) line: Span,
    /// Where the name begins among all names in small letters.
    lower: u32,
}

/// The names that are the gateway's business: what frames a message, and what is of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Kind {
    Connection,
    ContentLength,
    Date,
    Expect,
    Host,
    Http2Settings,
    KeepAlive,
    /// `Proxy-Connection`, `Proxy-Authenticate`, `Proxy-Authorization`.
    Proxy,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    Other,
}

impl Kind {
    /// Of a name in small letters.
    fn of(name: &[u8]) -> Self {
        match (name.len(), name) {
            (2, b"te") => Self::Te,
            (4, b"host") => Self::Host,
            (4, b"date") => Self::Date,
            (6, b"expect") => Self::Expect,
            (7, b"upgrade") => Self::Upgrade,
            (7, b"trailer") => Self::Trailer,
            (10, b"connection") => Self::Connection,
            (10, b"keep-alive") => Self::KeepAlive,
            (14, b"content-length") => Self::ContentLength,
            (14, b"http2-settings") => Self::Http2Settings,
            (16, b"proxy-connection") => Self::Proxy,
            (17, b"transfer-encoding") => Self::TransferEncoding,
            (18, b"proxy-authenticate") => Self::Proxy,
            (19, b"proxy-authorization") => Self::Proxy,
            _ => Self::Other,
        }
    }
}

/// So many bytes of names are kept room for from one head to the next. Those of few are longer.
const KEPT: usize = 4 << 10;

/// All lines, in their order. Can be used again, and then allocates nothing.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Fields {
    list: Vec<Field>,
    /// Room for the names in small letters, one after the other, while lines are added; so much of it is taken.
    room: Vec<u8>,
    taken: usize,
    /// The names, when all are there: so they are known to be text by one look at them.
    names: String,
    lengths: Lengths,
}

/// The lengths of names, a bit each; all that are long share one. Most names that are looked for are known by theirs not
/// to be there.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::gateway) struct Lengths(u64);

impl Lengths {
    pub(in crate::gateway) fn add(&mut self, length: usize) {
        self.0 |= Self::bit(length);
    }

    pub(in crate::gateway) fn has(self, length: usize) -> bool {
        self.0 & Self::bit(length) != 0
    }

    fn bit(length: usize) -> u64 {
        1 << length.min(63)
    }
}

impl Fields {
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.names.clear();
        (self.taken, self.lengths) = (0, Lengths::default());
        if self.room.len() > KEPT {
            self.room = Vec::new();
            self.names = String::new();
        }
    }

    /// Adds a line, which is none of the empty ones: what it is, and its value.
    pub(super) fn add(&mut self, bytes: &[u8], line: Span) -> Result<(Kind, Span), &'static str> {
        let text = line.of(bytes);
        let enough = self.taken + text.len();
        if self.room.len() < enough {
            self.room.resize(enough.next_multiple_of(512), 0);
        }
        let room = self.room.get_mut(self.taken..).unwrap_or_default();
        let length = write_token(text, room);
        let value = value(text, length)?;
        let kept = trim_end(value);
        let end = line.end() - (value.len() - kept.len());
        let field = Field {
            kind: Kind::of(room.get(..length).unwrap_or_default()),
            name: Span::new(line.start(), line.start() + length),
            value: Span::new(end - trim_start(kept).len(), end),
            line: Span::new(line.start(), line.end() + 2),
            lower: self.taken as u32,
        };
        self.taken += length;
        self.lengths.add(length);
        let found = (field.kind, field.value);
        self.list.push(field);
        Ok(found)
    }

    /// All lines are there.
    pub(super) fn finish(&mut self) {
        let names = self.room.get(..self.taken).unwrap_or_default();
        // (They are tokens.)
        self.names.push_str(std::str::from_utf8(names).unwrap_or_default());
    }

    pub(in crate::gateway) fn list(&self) -> &[Field] {
        &self.list
    }

    /// A field's name in small letters.
    pub(in crate::gateway) fn name(&self, field: &Field) -> &str {
        let start = field.lower as usize;
        self.names.get(start..start + field.name.len()).unwrap_or_default()
    }

    /// The places of the fields of this name, in letters of any size.
    pub(in crate::gateway) fn places<'f>(
        &'f self,
        bytes: &'f [u8],
        name: &'f [u8],
    ) -> impl Iterator<Item = usize> + use<'f> {
        let list: &[Field] = if self.lengths.has(name.len()) { &self.list } else { &[] };
        let is = |field: &Field| field.name.of(bytes).eq_ignore_ascii_case(name);
        list.iter()
            .enumerate()
            .filter(move |(_, field)| field.name.len() == name.len() && is(field))
            .map(|(n, _)| n)
    }

    /// Names in small letters, and values.
    pub(in crate::gateway) fn iter<'f>(
        &'f self,
        bytes: &'f [u8],
    ) -> impl Iterator<Item = (&'f str, &'f [u8])> {
        self.list.iter().map(move |field| (self.name(field), field.value.of(bytes)))
    }

    /// The values of the fields of this kind.
    pub(in crate::gateway) fn of_kind<'f>(
        &'f self,
        bytes: &'f [u8],
        kind: Kind,
    ) -> impl Iterator<Item = &'f [u8]> {
        self.list.iter().filter(move |field| field.kind == kind).map(move |field| field.value.of(bytes))
    }
}

/// Whether this is a line of a field.
pub(super) fn check(line: &[u8]) -> Result<(), &'static str> {
    let length = line.iter().take_while(|byte| is_of_token(**byte)).count();
    value(line, length).map(drop)
}

/// All that follows the colon in a line that begins with a token of so many bytes.
fn value(line: &[u8], length: usize) -> Result<&[u8], &'static str> {
    let (name, rest) = line.split_at_checked(length).unwrap_or_default();
    let [b':', value @ ..] = rest else { return Err(what_is_no_name(name, rest)) };
    if name.is_empty() {
        return Err("a line without a name");
    }
    Ok(value)
}

#[cold]
fn what_is_no_name(name: &[u8], rest: &[u8]) -> &'static str {
    match (name, rest.first()) {
        ([], Some(b' ' | b'\t')) => "a line that continues the one before it",
        (_, Some(b' ' | b'\t')) => "white space in a field's name or behind it",
        (_, None) => "a line without a colon",
        _ => "a field's name that is no token",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(line: &[u8]) -> Result<(String, Vec<u8>), &'static str> {
        let mut fields = Fields::default();
        fields.add(line, Span::new(0, line.len()))?;
        fields.finish();
        let field = fields.list()[0];
        assert_eq!(field.name.of(line).to_ascii_lowercase(), fields.name(&field).as_bytes());
        Ok((fields.name(&field).to_owned(), field.value.of(line).to_vec()))
    }

    #[test]
    fn a_line_is_a_token_a_colon_and_a_value() {
        for (line, name, value) in [
            (&b"Host: a"[..], "host", &b"a"[..]),
            (b"X:y", "x", b"y"),
            (b"X:", "x", b""),
            (b"X: \t ", "x", b""),
            (b"X:\ty\t", "x", b"y"),
            (b"X:  y z  ", "x", b"y z"),
            (b"X:Y: z", "x", b"Y: z"),
            (b"!#$%&'*+-.^_`|~0: y", "!#$%&'*+-.^_`|~0", b"y"),
            (b"X: \xc3\xa9\xff", "x", b"\xc3\xa9\xff"),
        ] {
            assert_eq!(field(line), Ok((name.to_owned(), value.to_vec())), "{line:?}");
        }
    }

    #[test]
    fn any_other_line_is_refused_and_says_why() {
        for (line, why) in [
            (&b"X : y"[..], "white space in a field's name or behind it"),
            (b"X Y: z", "white space in a field's name or behind it"),
            (b" X: y", "a line that continues the one before it"),
            (b"\ty", "a line that continues the one before it"),
            (b"X", "a line without a colon"),
            (b": y", "a line without a name"),
            (b"X(: y", "a field's name that is no token"),
            (b"X\xe9: y", "a field's name that is no token"),
        ] {
            assert_eq!(field(line), Err(why), "{line:?}");
        }
    }

    #[test]
    fn known_names_are_known_in_any_letters() {
        let kind = |name: &str| {
            let line = format!("{name}:");
            Fields::default().add(line.as_bytes(), Span::new(0, line.len())).unwrap().0
        };
        for (name, expected) in [
            ("HOST", Kind::Host),
            ("te", Kind::Te),
            ("Transfer-Encoding", Kind::TransferEncoding),
            ("content-LENGTH", Kind::ContentLength),
            ("Content_Length", Kind::Other),
            ("Transfer-Encodin", Kind::Other),
            ("Proxy-Authorization", Kind::Proxy),
            ("HTTP2-Settings", Kind::Http2Settings),
        ] {
            assert_eq!(kind(name), expected, "{name}");
        }
    }

    #[test]
    fn fields_can_be_used_again() {
        let mut fields = Fields::default();
        for text in [&b"A: 1\r\nBB: 2"[..], b"C: 3\r\nC: 4"] {
            fields.clear();
            let end = memchr::memchr(b'\r', text).unwrap();
            fields.add(text, Span::new(0, end)).unwrap();
            fields.add(text, Span::new(end + 2, text.len())).unwrap();
            fields.finish();
            assert_eq!(fields.list().len(), 2);
        }
        assert_eq!(fields.names, "cc", "and nothing of those before");
        let text = b"C: 3\r\nC: 4";
        assert_eq!(fields.iter(text).last(), Some(("c", &b"4"[..])));
        let room = fields.room.as_ptr();
        fields.clear();
        fields.add(text, Span::new(0, text.len())).unwrap();
        assert_eq!((fields.room.as_ptr(), fields.list().len()), (room, 1));
    }

    #[test]
    fn the_room_for_long_names_is_not_kept() {
        let line = [&[b'x'; KEPT + 1][..], b":"].concat();
        let mut fields = Fields::default();
        fields.add(&line, Span::new(0, line.len())).unwrap();
        fields.finish();
        fields.clear();
        assert!(fields.room.capacity().max(fields.names.capacity()) <= KEPT);
    }
}
