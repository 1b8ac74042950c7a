//! What a request asks for: RFC 9112, 3.2.

use http::Method;

use super::Span;
use super::host::Host;

/// So many bytes of a path are kept room for from one head to the next.
const KEPT: usize = 1 << 10;

/// A request's target.
#[derive(Debug, Default)]
pub(super) struct Target {
    /// In origin form, where it is a part of what is written.
    origin: Span,
    /// In origin form, where it is not; empty otherwise.
    made: Vec<u8>,
    /// How many bytes of it are the path; a query may follow.
    path: usize,
    /// The path, as it is once and for all known to be text: with other letters in place of what is none.
    shown: String,
    /// What it names itself, and the port of its scheme.
    authority: Option<(Span, u16)>,
}

impl Target {
    /// For the next one, with the same room for its path, if that is not large.
    pub(super) fn clear(&mut self) {
        self.made.clear();
        self.shown.clear();
        if self.shown.capacity().max(self.made.capacity()) > KEPT {
            (self.made, self.shown) = (Vec::new(), String::new());
        }
        self.authority = None;
    }

    /// Reads it where it stands in the bytes, with no other bytes than a target has.
    pub(super) fn read(&mut self, all: &[u8], written: Span, method: &Method) -> Result<(), &'static str> {
        self.origin = written;
        match written.of(all) {
            [b'/', ..] => {}
            b"*" if *method == Method::OPTIONS => {}
            _ => self.read_url(all, written, method)?,
        }
        let target = if self.made.is_empty() { self.origin.of(all) } else { &self.made };
        let path = memchr::memchr(b'?', target).unwrap_or(target.len());
        let bytes = target.get(..path).unwrap_or_default();
        match std::str::from_utf8(bytes) {
            Ok(text) => self.shown.push_str(text),
            Err(_) => self.shown.push_str(&String::from_utf8_lossy(bytes)),
        }
        self.path = path;
        Ok(())
    }

    fn read_url(&mut self, all: &[u8], written: Span, method: &Method) -> Result<(), &'static str> {
        let text = written.of(all);
        let (scheme, port) = if starts_with(text, b"http://") {
            (b"http://".len(), 80)
        } else if starts_with(text, b"https://") {
            (b"https://".len(), 443)
        } else {
            return Err("the request's target is neither a path nor an http URL");
        };
        let begin = written.start() + scheme;
        let rest = Span::new(begin, written.end());
        let length = memchr::memchr2(b'/', b'?', rest.of(all)).unwrap_or(rest.len());
        let authority = Span::new(begin, begin + length);
        self.origin = Span::new(begin + length, written.end());
        self.authority = Some((authority, port));
        match self.origin.of(all) {
            [b'/', ..] => {}
            // RFC 9112, 3.2.4.
            [] if *method == Method::OPTIONS => self.made.push(b'*'),
            query => {
                self.made.push(b'/');
                self.made.extend_from_slice(query);
            }
        }
        Host::parse(authority.of(all)).map(drop).ok_or("the request's target names no host")
    }

    /// Whether it names the host of the header `Host`, or none.
    pub(super) fn agrees_with(&self, host: Host<'_>, all: &[u8]) -> bool {
        self.authority.is_none_or(|(authority, port)| {
            Host::parse(authority.of(all)).is_some_and(|named| named.is(host, port))
        })
    }

    pub(super) fn authority(&self) -> Option<Span> {
        self.authority.map(|(authority, _)| authority)
    }

    /// Path and query.
    pub(super) fn in_origin_form<'t>(&'t self, all: &'t [u8]) -> &'t [u8] {
        if self.made.is_empty() { self.origin.of(all) } else { &self.made }
    }

    pub(super) fn path(&self) -> &str {
        &self.shown
    }

    /// Without its question mark.
    pub(super) fn query<'t>(&'t self, all: &'t [u8]) -> Option<&'t [u8]> {
        self.in_origin_form(all).get(self.path + 1..)
    }
}

fn starts_with(text: &[u8], scheme: &[u8]) -> bool {
    text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

#[cfg(test)]
mod tests {
    use super::super::bytes;
    use super::*;

    /// Origin form, path, query, authority.
    type Parts = (Vec<u8>, String, Option<Vec<u8>>, Option<Vec<u8>>);

    fn parts(method: &Method, text: &[u8]) -> Result<Parts, &'static str> {
        assert!(bytes::is_target(text));
        let mut target = Target::default();
        target.read(text, Span::new(0, text.len()), method)?;
        Ok((
            target.in_origin_form(text).to_vec(),
            target.path().to_owned(),
            target.query(text).map(<[u8]>::to_vec),
            target.authority().map(|span| span.of(text).to_vec()),
        ))
    }

    #[test]
    fn a_url_goes_on_as_a_path() {
        for (text, origin, path, query, authority) in [
            ("/", "/", "/", None, None),
            ("/a?b?c", "/a?b?c", "/a", Some("b?c"), None),
            ("/?", "/?", "/", Some(""), None),
            ("/a|b[c]", "/a|b[c]", "/a|b[c]", None, None),
            ("http://a/x?y", "/x?y", "/x", Some("y"), Some("a")),
            ("HTTP://A:80/x", "/x", "/x", None, Some("A:80")),
            ("https://a", "/", "/", None, Some("a")),
            ("http://a?x", "/?x", "/", Some("x"), Some("a")),
            ("http://[::1]//x", "//x", "//x", None, Some("[::1]")),
        ] {
            let (query, authority) = (query.map(Vec::from), authority.map(Vec::from));
            let expected = (Vec::from(origin), path.to_owned(), query, authority);
            assert_eq!(parts(&Method::GET, text.as_bytes()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn only_options_asks_for_the_server() {
        for text in ["*", "http://a"] {
            let (origin, path, ..) = parts(&Method::OPTIONS, text.as_bytes()).unwrap();
            assert_eq!((&*origin, &*path), (&b"*"[..], "*"));
        }
        assert!(parts(&Method::GET, b"*").is_err());
    }

    #[test]
    fn anything_else_is_no_target() {
        for text in [
            "",
            "a",
            "\\a",
            "?x",
            "a:443",
            "HTTP/1.1",
            "http:a/x",
            "http:/a",
            "ftp://a/x",
            "urn:a:b",
            "http://",
            "http:///x",
            "http://?x",
            "http://u@a/",
            "http://a:b/",
            "http://[::1/",
            "https//a",
            "**",
        ] {
            assert!(parts(&Method::GET, text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_that_is_no_text_is_shown_with_other_letters() {
        let (origin, path, query, _) = parts(&Method::GET, b"/\xffa?\xfe").unwrap();
        assert_eq!(
            (&*origin, &*path, query.as_deref()),
            (&b"/\xffa?\xfe"[..], "/\u{fffd}a", Some(&b"\xfe"[..]))
        );
        let (_, path, ..) = parts(&Method::GET, "/\u{e9}".as_bytes()).unwrap();
        assert_eq!(path, "/\u{e9}");
    }

    #[test]
    fn the_room_for_a_long_path_is_not_kept() {
        let text = [b"http://a?", &[b'x'; KEPT][..], b"/"].concat();
        let path = [b"/", &[b'x'; KEPT][..]].concat();
        for text in [text, path] {
            let mut target = Target::default();
            target.read(&text, Span::new(0, text.len()), &Method::GET).unwrap();
            assert!(target.made.capacity().max(target.shown.capacity()) > KEPT);
            target.clear();
            assert!(target.made.capacity().max(target.shown.capacity()) <= KEPT);
        }
    }
}
