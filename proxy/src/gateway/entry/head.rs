//! What a request's head must not say.

use http::{Version, header};

use super::fields::Fields;
use crate::head::Head;

/// Finds what a parser may let pass but two servers in a row may read differently, which is how requests are
/// smuggled. `raw` is the head as it came in HTTP/1.
pub(crate) fn check(head: &impl Head, fields: Fields, raw: Option<&[u8]>) -> Result<(), &'static str> {
    if !is_path_or_url(head.target()) {
        return Err("the request's target is neither a path nor an http URL");
    }
    // (Pingora itself refuses two of them.)
    if head.version() == Version::HTTP_11 && !fields.host {
        return Err("no Host");
    }
    if fields.length {
        check_length(head)?;
    }
    let Some(raw) = raw else {
        return Ok(());
    };
    if has_bare_line_feed(raw) {
        return Err("a line that does not end with CR LF");
    }
    if fields.encoding
        && let Some(encoding) = head.value(&header::TRANSFER_ENCODING)
    {
        // Pingora has already removed the length that contradicts the encoding from the fields.
        if has_field(raw, b"content-length") {
            return Err("Content-Length and Transfer-Encoding");
        }
        if !encoding.eq_ignore_ascii_case(b"chunked") {
            return Err("a Transfer-Encoding that is not chunked alone");
        }
    }
    Ok(())
}

fn check_length(head: &impl Head) -> Result<(), &'static str> {
    let mut lengths = head.values(&header::CONTENT_LENGTH);
    match (lengths.next(), lengths.next()) {
        (_, Some(_)) => Err("more than one Content-Length"),
        (Some(length), None) if !is_number(length) => Err("bad Content-Length"),
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
    use crate::head::tests::head;
    use http::Method;

    fn checked(
        target: &'static str,
        fields: &[(&'static str, &[u8])],
        raw: &[u8],
    ) -> Result<(), &'static str> {
        let head = head(Method::POST, target, fields);
        check(&head, Fields::of(&head, b"trace_id"), Some(raw))
    }

    #[test]
    fn a_head_that_two_servers_may_read_differently_is_declined() {
        let host = ("host", &b"a"[..]);
        assert_eq!(checked("/", &[host], b"GET / HTTP/1.1\r\n"), Ok(()));
        assert_eq!(checked("/", &[], b""), Err("no Host"));
        let chunked = ("transfer-encoding", &b"Chunked"[..]);
        assert_eq!(checked("/", &[host, chunked], b"Transfer-Encoding: Chunked\r\n"), Ok(()));
        assert_eq!(
            checked("/", &[host, chunked], b"Content-Length: 1\r\n"),
            Err("Content-Length and Transfer-Encoding"),
            "though it is among the fields no more"
        );
        for (field, why) in [
            (("transfer-encoding", &b"gzip, chunked"[..]), "a Transfer-Encoding that is not chunked alone"),
            (("content-length", b"+1"), "bad Content-Length"),
        ] {
            assert_eq!(checked("/", &[host, field], b""), Err(why));
        }
        let twice = [host, ("content-length", b"1"), ("content-length", b"1")];
        assert_eq!(checked("/", &twice, b""), Err("more than one Content-Length"));
    }

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
