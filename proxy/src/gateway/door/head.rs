//! What a request's head must not say.

use http::{Version, header};
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use super::names::Names;

/// Finds what Pingora lets pass but two servers in a row may read differently, which is how requests are
/// smuggled. Pingora itself refuses what it cannot parse.
pub(crate) fn check(session: &Session, names: Names) -> Result<(), &'static str> {
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
