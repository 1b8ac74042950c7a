//! A request's head.

use http::{HeaderName, Method, Version};

use super::bytes::{is_of_token, is_target, members};
use super::fields::{Fields, Kind};
use super::framing::{Codings, Connection, Framing, Length, Upgrade};
use super::host::Host;
use super::lines::Lines;
use super::target::Target;
use super::{LONGEST_HEAD, Refusal, Span};
use crate::head::Head;

/// So many fields a request has at the most.
const FIELDS: usize = 100;
/// So many empty lines may stand before it: RFC 9112, 2.2, wants one, as some clients send one behind a body.
const EMPTY_LINES: u8 = 4;

/// A request's head, read as its bytes come. What is bad is refused as soon as it is there, and nothing waits for an end
/// that may never come but a line that is good so far.
///
/// How the bytes came makes no difference to what is accepted, nor to the status of a refusal.
#[derive(Debug, Default)]
pub(in crate::gateway) struct RequestHead {
    lines: Lines,
    empty_lines: u8,
    /// None: it has not come yet.
    line: Option<Line>,
    target: Target,
    fields: Fields,
    said: Said,
    framing: Framing,
    /// How many bytes the head has, when it is whole.
    length: Option<usize>,
}

/// The request line but for its target.
#[derive(Debug)]
struct Line {
    method: Method,
    version: Version,
}

/// What the fields say to whoever carries the request.
#[derive(Debug, Default)]
struct Said {
    host: Option<Span>,
    length: Length,
    codings: Codings,
    connection: Connection,
    upgrade: Upgrade,
    expects_continue: bool,
}

impl RequestHead {
    /// For the next head, with the same buffers.
    pub(in crate::gateway) fn clear(&mut self) {
        self.target.clear();
        self.fields.clear();
        (self.lines, self.empty_lines, self.line) = (Lines::default(), 0, None);
        (self.said, self.framing, self.length) = (Said::default(), Framing::None, None);
    }

    /// Is given all bytes since the head's begin each time that there are more. Some: the head is whole, and has so many
    /// bytes, with the empty lines before it and the last one.
    pub(in crate::gateway) fn read(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        if self.length.is_some() {
            return Ok(self.length);
        }
        let within = bytes.get(..LONGEST_HEAD).unwrap_or(bytes);
        while let Some(line) = self.lines.next(within)? {
            if line.len() > 0 {
                self.read_line(within, line)?;
            } else if self.line.is_some() {
                self.finish(within)?;
                self.length = Some(self.lines.taken());
                return Ok(self.length);
            } else if self.empty_lines == EMPTY_LINES {
                return Err(Refusal::bad("empty lines in place of a request"));
            } else {
                self.empty_lines += 1;
            }
        }
        match self.line {
            _ if within.len() < LONGEST_HEAD => Ok(None),
            None => Err(Refusal { status: 414, why: "the request's target is too long" }),
            Some(_) => Err(Refusal { status: 431, why: "the request's head is too long" }),
        }
    }

    /// A head that is whole, with the bytes that it was read from.
    pub(in crate::gateway) fn of<'h>(&'h self, bytes: &'h [u8]) -> RequestView<'h> {
        RequestView { head: self, bytes }
    }

    fn read_line(&mut self, bytes: &[u8], line: Span) -> Result<(), Refusal> {
        if self.line.is_some() {
            return self.read_field(bytes, line);
        }
        let (read, target) = read_request_line(bytes, line)?;
        self.target.read(bytes, target, &read.method)?;
        self.line = Some(read);
        Ok(())
    }

    fn read_field(&mut self, bytes: &[u8], line: Span) -> Result<(), Refusal> {
        let (kind, span) = self.fields.add(bytes, line)?;
        if self.fields.list().len() > FIELDS {
            return Err(Refusal { status: 431, why: "the request has too many fields" });
        }
        let value = span.of(bytes);
        match kind {
            Kind::Host => self.said.read_host(span, bytes, &self.target)?,
            Kind::ContentLength => self.said.length.read_only(value)?,
            Kind::TransferEncoding => self.said.codings.read(value),
            Kind::Connection => self.said.connection.read(value)?,
            Kind::Upgrade => self.said.upgrade.read(span),
            Kind::Expect => self.said.read_expect(value),
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.fields.finish();
        let is_1_1 = self.is_1_1();
        if is_1_1 && self.said.host.is_none() {
            return Err(Refusal::bad("no Host"));
        }
        let codings = self.said.codings;
        if codings.are_there() && self.said.length.value.is_some() {
            // RFC 9112, 6.3, lets a server take the encoding: then the one before it must have, too.
            return Err(Refusal::bad("Content-Length and Transfer-Encoding"));
        }
        if codings.are_there() && !is_1_1 {
            return Err(Refusal::bad("Transfer-Encoding in HTTP/1.0"));
        }
        self.framing = match (codings.chunked()?, self.said.length.value) {
            (true, _) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::None,
        };
        // What is asked for by nobody's leave is none: RFC 9110, 7.8 and 10.1.1.
        self.said.expects_continue &= is_1_1;
        let may_upgrade = is_1_1 && self.said.connection.upgrade;
        if !may_upgrade || self.said.upgrade.protocols(bytes).is_none() {
            self.said.upgrade = Upgrade::None;
        }
        Ok(())
    }

    fn is_1_1(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.version == Version::HTTP_11)
    }

    pub(in crate::gateway) fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether the length is written as one number without zeros before it. What is written otherwise does not go on.
    pub(in crate::gateway) fn length_is_normal(&self) -> bool {
        !self.said.length.is_odd
    }

    /// Whether the client may send another request on this connection.
    pub(in crate::gateway) fn keeps_alive(&self) -> bool {
        self.said.connection.stays(self.is_1_1())
    }

    /// Whether the client may wait for a 100 before it sends its body.
    pub(in crate::gateway) fn expects_continue(&self) -> bool {
        self.said.expects_continue
    }

    /// The protocols that the connection may be switched to, where it is asked for as RFC 9110, 7.8, wants it: in one
    /// line, with `Connection: upgrade`, in HTTP/1.1, and none of them HTTP/2.
    pub(in crate::gateway) fn upgrade(&self) -> Option<Span> {
        match self.said.upgrade {
            Upgrade::Protocols(span) => Some(span),
            Upgrade::None | Upgrade::Several => None,
        }
    }

    pub(in crate::gateway) fn fields(&self) -> &Fields {
        &self.fields
    }
}

impl Said {
    fn read_host(&mut self, value: Span, bytes: &[u8], target: &Target) -> Result<(), &'static str> {
        if self.host.is_some() {
            return Err("more than one Host");
        }
        let host = Host::parse(value.of(bytes)).ok_or("bad Host")?;
        // RFC 9112, 3.2.2, lets the target count. What differs is meant for two servers that read different ones.
        if !target.agrees_with(host, bytes) {
            return Err("a Host that is not that of the request's target");
        }
        self.host = Some(value);
        Ok(())
    }

    fn read_expect(&mut self, list: &[u8]) {
        self.expects_continue |= members(list).any(|member| member.eq_ignore_ascii_case(b"100-continue"));
    }
}

/// A request line, and where its target is: RFC 9112, 3. What is wrong with its bytes comes before what is not served.
fn read_request_line(bytes: &[u8], line: Span) -> Result<(Line, Span), Refusal> {
    let text = line.of(bytes);
    let length = text.iter().position(|byte| !is_of_token(*byte)).unwrap_or(text.len());
    let (method, rest) = text.split_at_checked(length).unwrap_or_default();
    let (Some(b" "), [_, ..]) = (rest.get(..1), method) else {
        return Err(Refusal::bad("the request line does not begin with a method"));
    };
    let target = line.start() + length + 1;
    let Some((written, version)) = rest.get(1..).and_then(<[u8]>::split_last_chunk::<9>) else {
        return Err(Refusal::bad(NO_VERSION));
    };
    let version = match version {
        b" HTTP/1.1" => Some(Version::HTTP_11),
        b" HTTP/1.0" => Some(Version::HTTP_10),
        [b' ', b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => None,
        _ => return Err(Refusal::bad(NO_VERSION)),
    };
    if !is_target(written) {
        return Err(Refusal::bad("the request's target has a byte that no target has"));
    }
    let method = Method::from_bytes(method).map_err(|_| "the request line does not begin with a method")?;
    if method == Method::CONNECT {
        return Err(Refusal { status: 501, why: "a gateway makes no tunnels" });
    }
    // RFC 9110, 2.5, would have 1.2 taken for 1.1: there is none, and who asks for it tries what happens.
    let version =
        version.ok_or(Refusal { status: 505, why: "a version of HTTP that is neither 1.0 nor 1.1" })?;
    Ok((Line { method, version }, Span::new(target, target + written.len())))
}

const NO_VERSION: &str = "the request line does not end with a version of HTTP";

/// A head that is whole, with its bytes.
#[derive(Debug, Clone, Copy)]
pub(in crate::gateway) struct RequestView<'h> {
    head: &'h RequestHead,
    bytes: &'h [u8],
}

impl<'h> RequestView<'h> {
    /// What was read of it.
    pub(in crate::gateway) fn read(&self) -> &'h RequestHead {
        self.head
    }

    /// The bytes that it was read from.
    pub(in crate::gateway) fn bytes(&self) -> &'h [u8] {
        self.bytes
    }
}

impl Head for RequestView<'_> {
    fn method(&self) -> &Method {
        self.head.line.as_ref().map_or(&Method::GET, |line| &line.method)
    }

    fn has_request_line(&self) -> bool {
        self.head.line.is_some()
    }

    /// In origin form, as it goes on.
    fn target(&self) -> &[u8] {
        self.head.target.in_origin_form(self.bytes)
    }

    fn path(&self) -> &str {
        self.head.target.path()
    }

    fn authority(&self) -> Option<&[u8]> {
        Some(self.head.target.authority()?.of(self.bytes))
    }

    fn host(&self) -> Option<&[u8]> {
        let host = self.head.said.host.or_else(|| self.head.target.authority())?;
        Some(host.of(self.bytes))
    }

    fn query(&self) -> Option<&[u8]> {
        self.head.target.query(self.bytes)
    }

    fn version(&self) -> Version {
        self.head.line.as_ref().map_or(Version::HTTP_11, |line| line.version)
    }

    fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head.fields.iter(self.bytes)
    }

    fn values<'h>(&'h self, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
        let named = move |(found, value)| (name == found).then_some(value);
        self.fields().filter_map(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RequestHead, Refusal> {
        let mut head = RequestHead::default();
        assert_eq!(head.read(text.as_bytes())?, Some(text.len()), "{text:?}");
        Ok(head)
    }

    /// A head with these lines behind its first one.
    fn with(lines: &str) -> Result<RequestHead, Refusal> {
        read(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"))
    }

    fn status(text: &str) -> u16 {
        RequestHead::default().read(text.as_bytes()).unwrap_err().status
    }

    #[test]
    fn a_head_tells_what_it_says() {
        let text =
            "\r\nPOST /a%20b?c HTTP/1.1\r\nHOST: A:8080\r\nCookie: x=y\r\nx-a:\r\ncookie:  z \r\n\r\nbody";
        let mut head = RequestHead::default();
        assert_eq!(head.read(text.as_bytes()), Ok(Some(text.len() - 4)));
        let view = head.of(text.as_bytes());
        assert_eq!((view.method(), view.version()), (&Method::POST, Version::HTTP_11));
        assert_eq!((view.target(), view.path(), view.query()), (&b"/a%20b?c"[..], "/a%20b", Some(&b"c"[..])));
        assert_eq!((view.host(), view.authority()), (Some(&b"A:8080"[..]), None));
        assert_eq!(view.values(&http::header::COOKIE).collect::<Vec<_>>(), [&b"x=y"[..], b"z"]);
        assert_eq!(view.fields().nth(2), Some(("x-a", &b""[..])));
        assert_eq!(head.fields().list()[0].line.of(text.as_bytes()), b"HOST: A:8080\r\n");
    }

    #[test]
    fn a_line_that_is_refused_is_none() {
        for (text, is_one) in [
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", true),
            ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", false),
            ("GET / HTTP/3.0\r\n", false),
            ("\u{16}\u{3}\u{1}", false),
            ("GET / HTT", false),
        ] {
            let mut head = RequestHead::default();
            assert!(!matches!(head.read(text.as_bytes()), Ok(Some(_))), "{text}");
            assert_eq!(head.of(text.as_bytes()).has_request_line(), is_one, "{text}");
        }
    }

    #[test]
    fn a_head_can_be_read_again_and_again() {
        let mut head = RequestHead::default();
        let url = b"OPTIONS http://a HTTP/1.0\r\nContent-Length: 1\r\nConnection: x\r\n\r\n";
        assert_eq!(head.read(url), Ok(Some(url.len())));
        assert!(!head.keeps_alive());
        assert_eq!((head.of(url).target(), head.of(url).host()), (&b"*"[..], Some(&b"a"[..])));
        head.clear();
        let path = b"GET / HTTP/1.1\r\nHost: b\r\n\r\n";
        assert_eq!(head.read(path), Ok(Some(path.len())));
        assert!(head.keeps_alive());
        assert_eq!((head.framing(), head.fields().list().len()), (Framing::None, 1));
        assert_eq!((head.of(path).target(), head.of(path).host()), (&b"/"[..], Some(&b"b"[..])));
        assert_eq!(head.of(path).path(), "/");
    }

    #[test]
    fn what_is_no_request_is_refused_before_it_ends() {
        for text in [
            &b"\x16\x03\x01\x02\0\x01"[..],
            b"GET /\n",
            b"\n",
            b"G\0",
            b"GET / HTTP/1.1\r\nX\x01",
            b"GET / HTTP/1.1\r\nX: y\rz",
            b"GET / HTTP/1.1\r\n Host: a\r\n",
            b"SSH-2.0-x\r\n",
            b"\r\n\r\n\r\n\r\n\r\n",
        ] {
            let refused = RequestHead::default().read(text).map_err(|refusal| refusal.status);
            assert_eq!(refused, Err(400), "{text:?}");
        }
    }

    #[test]
    fn what_is_valid_but_not_served_has_a_status_of_its_own() {
        for (line, expected) in [
            ("CONNECT a:443 HTTP/1.1", 501),
            ("CONNECT / HTTP/1.1", 501),
            ("GET / HTTP/2.0", 505),
            ("GET / HTTP/1.2", 505),
            ("GET / HTTP/0.9", 505),
            ("GET / HTTP/1.10", 400),
            ("GET / http/1.1", 400),
            ("GET /", 400),
            ("GET  / HTTP/1.1", 400),
            ("GET / HTTP/1.1 ", 400),
            (" / HTTP/1.1", 400),
            ("CONNECT a b HTTP/1.1", 400),
        ] {
            assert_eq!(status(&format!("{line}\r\n")), expected, "{line}");
        }
    }

    #[test]
    fn a_head_has_an_end() {
        let target = "a".repeat(LONGEST_HEAD);
        assert_eq!(status(&format!("GET /{target}")), 414);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\nX: {target}")), 431);
        let fields = |count: usize| "X: y\r\n".repeat(count - 1);
        assert!(with(&fields(FIELDS)).is_ok());
        assert_eq!(with(&fields(FIELDS + 1)).unwrap_err().status, 431);
        let rest = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        let longest = |more: usize| with(&format!("X: {}\r\n", "y".repeat(LONGEST_HEAD - rest + more)));
        assert!(longest(0).is_ok());
        assert_eq!(longest(1).unwrap_err().status, 431);
    }

    #[test]
    fn a_host_is_named_once_and_the_same_everywhere() {
        let named = |target: &str, version: &str, lines: &str| {
            read(&format!("GET {target} HTTP/{version}\r\n{lines}\r\n")).map_err(|refusal| refusal.why)
        };
        for (target, lines) in [
            ("http://A/", "Host: a\r\n"),
            ("http://a:80/", "Host: a\r\n"),
            ("http://a/", "Host: a:80\r\n"),
            ("https://a/", "Host: a:443\r\n"),
            ("/", "Host: a,b\r\n"),
        ] {
            assert!(named(target, "1.1", lines).is_ok(), "{target} {lines}");
        }
        for (target, lines) in [
            ("http://b/", "Host: a\r\n"),
            ("http://a:81/", "Host: a\r\n"),
            ("https://a/", "Host: a:80\r\n"),
            ("http://a/", "Host: \r\n"),
            ("/", "Host: \r\n"),
            ("/", "Host: a b\r\n"),
            ("/", "Host: a\r\nHost: a\r\n"),
        ] {
            assert!(
                named(target, "1.1", lines).is_err() && named(target, "1.0", lines).is_err(),
                "{target} {lines}"
            );
        }
        assert_eq!(named("/", "1.1", "").unwrap_err(), "no Host");
        assert_eq!(named("http://a/", "1.1", "").unwrap_err(), "no Host");
        assert!(named("/", "1.0", "").is_ok());
    }

    #[test]
    fn a_body_is_framed_in_one_way() {
        let framing = |lines: &str| with(lines).map(|head| head.framing()).map_err(|refusal| refusal.status);
        assert_eq!(framing(""), Ok(Framing::None));
        assert_eq!(framing("Content-Length: 010\r\n"), Ok(Framing::Length(10)));
        assert!(!with("Content-Length: 010\r\n").unwrap().length_is_normal());
        assert!(with("Content-Length: 10\r\n").unwrap().length_is_normal());
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
        for (lines, status) in [
            ("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", 400),
            ("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", 400),
            ("Transfer-Encoding: gzip, chunked\r\n", 501),
            ("Content-Length: 1\r\nContent-Length: 1\r\n", 400),
        ] {
            assert_eq!(framing(lines), Err(status), "{lines}");
        }
        assert_eq!(status("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
    }

    #[test]
    fn what_is_asked_of_the_connection_counts_in_http_1_1() {
        let lines = "Connection: upgrade, x\r\nUpgrade: websocket\r\nExpect: 100-Continue\r\n";
        let head = with(lines).unwrap();
        assert!(head.upgrade().is_some() && head.expects_continue());
        let head = read(&format!("GET / HTTP/1.0\r\n{lines}\r\n")).unwrap();
        assert!(head.upgrade().is_none() && !head.expects_continue());
        for none in [
            "Upgrade: websocket\r\n",
            "Connection: upgrade\r\n",
            "Connection: upgrade\r\nUpgrade: h2c\r\n",
            "Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n",
        ] {
            assert!(with(none).unwrap().upgrade().is_none(), "{none}");
        }
        assert!(!with("Expect: 200-ok\r\n").unwrap().expects_continue());
    }
}
