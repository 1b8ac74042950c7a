//! What a request's head must and must not say before it goes on.

use http::{HeaderName, HeaderValue, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpUpstreamRequestPolicy;

use super::{Request, forged};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Which of the headers that the gateway looks at a request has: found in one look at all names, as most requests
/// have few of them, and each search costs more than this.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Names {
    host: bool,
    length: bool,
    encoding: bool,
    upgrade: bool,
    traceparent: bool,
    tracestate: bool,
    pub cdn_loop: bool,
    /// A `Connection` that speaks of nothing but whether the connection stays, as each browser's does.
    stays_or_closes: bool,
    /// Those of one connection that are none of the above.
    hop_by_hop: bool,
    /// Those that must not go on.
    forged: bool,
}

impl Names {
    pub fn of(head: &RequestHeader, trace_header: &[u8]) -> Self {
        let mut names = Self::default();
        for name in head.headers.keys() {
            match name.as_str() {
                "host" => names.host = true,
                "content-length" => names.length = true,
                "transfer-encoding" => names.encoding = true,
                "upgrade" => names.upgrade = true,
                "traceparent" => names.traceparent = true,
                "tracestate" => names.tracestate = true,
                "cdn-loop" => names.cdn_loop = true,
                "connection" if stays_or_closes(head) => names.stays_or_closes = true,
                "connection"
                | "keep-alive"
                | "te"
                | "trailer"
                | "http2-settings"
                | "proxy-connection"
                | "proxy-authenticate"
                | "proxy-authorization" => names.hop_by_hop = true,
                _ => names.forged |= forged::is_forged(name, trace_header),
            }
        }
        names
    }

    /// Whether Pingora is to remove what is of one connection, and what `Connection` names. Most requests have
    /// none of it, and to search for each of these names costs more than this one look at all.
    fn are_hop_by_hop(self) -> bool {
        self.hop_by_hop || self.upgrade || self.encoding
    }

    /// What Pingora is to do with a request before [`prepare`] does the rest.
    pub fn policy(self) -> HttpUpstreamRequestPolicy {
        if self.are_hop_by_hop() {
            HttpUpstreamRequestPolicy::standard()
        } else {
            HttpUpstreamRequestPolicy::preserve()
        }
    }

    /// Whether the endpoint may answer with a tunnel: the one upgrade that Pingora passes on.
    pub fn ask_for_tunnel(self, head: &RequestHeader) -> bool {
        let upgrade = || head.headers.get(header::UPGRADE);
        self.upgrade
            && upgrade().is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
    }

    /// The `traceparent` of a request; of several none counts.
    pub fn traceparent(self, head: &RequestHeader) -> Option<&[u8]> {
        let mut values = self.traceparent.then(|| head.headers.get_all(TRACEPARENT).iter())?;
        match (values.next(), values.next()) {
            (Some(value), None) => Some(value.as_bytes()),
            _ => None,
        }
    }
}

fn stays_or_closes(head: &RequestHeader) -> bool {
    let mut lines = head.headers.get_all(header::CONNECTION).iter().map(HeaderValue::as_bytes);
    lines.all(|line| line.eq_ignore_ascii_case(b"keep-alive") || line.eq_ignore_ascii_case(b"close"))
}

/// Finds what Pingora lets pass but two servers in a row may read differently, which is how requests are
/// smuggled. Pingora itself refuses what it cannot parse.
pub(super) fn check(session: &Session, names: Names) -> Result<(), &'static str> {
    let head = session.req_header();
    if !is_path_or_url(head.raw_path()) {
        return Err("the request's target is neither a path nor an http URL");
    }
    // (Pingora itself refuses two of them.)
    if head.version == Version::HTTP_11 && !names.host {
        return Err("no Host");
    }
    if names.length {
        check_length(head)?;
    }
    let Some(http1) = session.as_http1() else {
        return Ok(());
    };
    let raw = http1.get_headers_raw_bytes();
    if has_bare_line_feed(&raw) {
        return Err("a line that does not end with CR LF");
    }
    if names.encoding
        && let Some(encoding) = head.headers.get(header::TRANSFER_ENCODING)
    {
        // Pingora has already removed the length that contradicts the encoding.
        if has_field(&raw, b"content-length") {
            return Err("Content-Length and Transfer-Encoding");
        }
        if !encoding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err("a Transfer-Encoding that is not chunked alone");
        }
    }
    Ok(())
}

fn check_length(head: &RequestHeader) -> Result<(), &'static str> {
    let mut lengths = head.headers.get_all(header::CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (_, Some(_)) => Err("more than one Content-Length"),
        (Some(length), None) if !is_number(length.as_bytes()) => Err("bad Content-Length"),
        _ => Ok(()),
    }
}

/// What Pingora cannot make sense of it takes for `/`, and passes on as it is.
fn is_path_or_url(target: &[u8]) -> bool {
    let starts = |prefix: &[u8]| target.get(..prefix.len()).is_some_and(|t| t.eq_ignore_ascii_case(prefix));
    starts(b"/") || starts(b"http://") || starts(b"https://")
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

fn has_bare_line_feed(raw: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', raw)
        .any(|at| at.checked_sub(1).and_then(|before| raw.get(before)) != Some(&b'\r'))
}

fn has_field(raw: &[u8], name: &[u8]) -> bool {
    raw.split(|byte| *byte == b'\n').any(|line| {
        line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
            && line.get(name.len()) == Some(&b':')
    })
}

/// Adds the trace and the gateway's mark, and says who asked; what a client says of that is not believed.
/// (Hop-by-hop headers are Pingora's to strip, and it has: [`Names::policy`].)
pub(super) fn prepare(head: &mut RequestHeader, request: &Request) -> pingora::Result<()> {
    let (names, trace_header) = (request.names, &request.site.trace_header);
    if names.forged {
        strip_forged(head, trace_header);
    }
    // Where Pingora was to remove it, what stands there now is Pingora's own.
    if names.stays_or_closes && !names.are_hop_by_hop() {
        head.remove_header(&header::CONNECTION);
    }
    head.insert_header(trace_header.clone(), request.trace.id_value())?;
    head.insert_header("traceparent", request.trace.traceparent())?;
    if names.tracestate && !request.trace.continued {
        head.remove_header(&TRACESTATE);
    }
    head.insert_header("CDN-Loop", request.hops.marker())?;
    head.insert_header("X-Forwarded-For", request.client.clone())?;
    head.insert_header("X-Forwarded-Proto", HeaderValue::from_static("http"))?;
    let endpoint = request.attempt.as_ref().map(|attempt| &attempt.endpoint);
    match (head.headers.get(header::HOST).cloned(), endpoint) {
        (Some(host), _) => head.insert_header("X-Forwarded-Host", host)?,
        // From an HTTP/1.0 client; the endpoint is spoken to in HTTP/1.1, which requires it.
        (None, Some(endpoint)) => head.insert_header(header::HOST, endpoint.address.to_string())?,
        (None, None) => {}
    }
    Ok(())
}

fn strip_forged(head: &mut RequestHeader, trace_header: &[u8]) {
    let is_forged = |name: &&HeaderName| forged::is_forged(name, trace_header);
    let forged: Vec<_> = head.headers.keys().filter(is_forged).cloned().collect();
    for name in forged {
        head.remove_header(&name);
    }
}

/// Removes what an answer says of the connection that it came on. What frames its body is Pingora's.
pub(super) fn strip_hop_by_hop(answer: &mut ResponseHeader) {
    if answer.status == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    // Most answers have none of them, which is cheaper to see than to remove.
    if !answer.headers.keys().any(is_hop_by_hop) {
        return;
    }
    let lines = answer.headers.get_all(header::CONNECTION).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let named: Vec<_> = names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect();
    for name in named {
        if name != header::TRANSFER_ENCODING && name != header::CONTENT_LENGTH {
            answer.remove_header(&name);
        }
    }
    for name in ["connection", "keep-alive", "proxy-connection", "upgrade"] {
        answer.remove_header(name);
    }
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::UPGRADE
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_feed_without_its_carriage_return_is_found() {
        assert!(!has_bare_line_feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(has_bare_line_feed(b"GET / HTTP/1.1\nHost: a\r\n\r\n"));
        assert!(has_bare_line_feed(b"GET / HTTP/1.1\r\nHost: a\n\r\n"));
        assert!(has_bare_line_feed(b"GET / HTTP/1.1\r\nHost: a\r\n\n"));
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let raw = b"POST / HTTP/1.1\r\nX-Content-Length: 1\r\nContent-Length-Not: 1\r\n\r\n";
        assert!(!has_field(raw, b"content-length"));
        assert!(has_field(b"POST / HTTP/1.1\r\nCONTENT-length: 1\r\n\r\n", b"content-length"));
    }

    #[test]
    fn a_target_is_a_path_or_a_url() {
        for good in ["/", "/a?b", "http://a/b", "HTTPS://a"] {
            assert!(is_path_or_url(good.as_bytes()), "{good}");
        }
        for bad in ["", "*", "goods/admin", "?x", "ftp://a/b", "\\goods", "javascript:x"] {
            assert!(!is_path_or_url(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_length_is_digits() {
        assert!(is_number(b"0") && is_number(b"12"));
        for bad in [&b""[..], b"+1", b"1,1", b"0x1", b" 1"] {
            assert!(!is_number(bad));
        }
    }
}
