//! Heads of requests and answers, as far as the load and its backend must understand them.

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;

/// How long the head is that `bytes` begin with, its empty line included. None while it is not whole.
pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
    Some(memmem::find(bytes, b"\r\n\r\n")? + 4)
}

/// What the backend must know of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    pub(crate) path: &'a str,
    pub(crate) content_length: usize,
}

impl<'a> Request<'a> {
    /// Of a whole head.
    ///
    /// # Errors
    /// When it is none, or its body has no length.
    pub(crate) fn parse(head: &'a [u8]) -> Result<Self> {
        let (first, fields) = parts(head)?;
        let path = first.split(' ').nth(1).with_context(|| format!("no request: {first:?}"))?;
        let mut content_length = 0;
        for (name, value) in fields {
            if name.eq_ignore_ascii_case("content-length") {
                content_length = value.parse().with_context(|| format!("Content-Length: {value}"))?;
            }
            ensure!(!name.eq_ignore_ascii_case("transfer-encoding"), "a body without a length");
        }
        Ok(Self { path, content_length })
    }
}

/// What the load must know of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_length: usize,
    /// Whether it is the last one on its connection.
    pub(crate) closes: bool,
}

impl Answer {
    /// Of a whole head.
    ///
    /// # Errors
    /// When it is none, or its body has no length.
    pub(crate) fn parse(head: &[u8]) -> Result<Self> {
        let (first, fields) = parts(head)?;
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.with_context(|| format!("no answer in HTTP/1.1: {first:?}"))?;
        let (mut content_length, mut closes) = (None, false);
        for (name, value) in fields {
            if name.eq_ignore_ascii_case("content-length") {
                content_length = Some(value.parse().with_context(|| format!("Content-Length: {value}"))?);
            }
            closes |= name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close");
        }
        let Some(content_length) = content_length else { bail!("no Content-Length in an answer {status}") };
        Ok(Self { status, content_length, closes })
    }
}

/// The first line, and the fields.
fn parts(head: &[u8]) -> Result<(&str, impl Iterator<Item = (&str, &str)>)> {
    let text = std::str::from_utf8(head).context("a head that is no text")?;
    let (first, fields) = text.split_once("\r\n").context("a head without a line")?;
    let fields = fields.split("\r\n").filter_map(|line| line.split_once(':'));
    Ok((first, fields.map(|(name, value)| (name, value.trim()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_its_empty_line() {
        assert_eq!(length(b"GET / HTTP/1.1\r\n\r\nmore"), Some(18));
        assert_eq!(length(b"GET / HTTP/1.1\r\nHost: a\r\n"), None);
        assert_eq!(length(b""), None);
    }

    #[test]
    fn an_answer_says_its_length_and_whether_it_is_the_last() {
        let parse = |fields: &str| Answer::parse(format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes());
        let kept = Answer { status: 200, content_length: 60, closes: false };
        assert_eq!(parse("content-LENGTH:60\r\nServer: a: b\r\n").unwrap(), kept);
        assert_eq!(
            parse("Content-Length: 60\r\nconnection: Close\r\n").unwrap(),
            Answer { closes: true, ..kept }
        );
        for wrong in ["Content-Length: many\r\n", "Transfer-Encoding: chunked\r\n", ""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(Answer::parse(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n").is_err());
        assert!(Answer::parse(b"HTTP/1.1 2\r\n\r\n").is_err());
    }

    #[test]
    fn a_request_says_its_path_and_its_length() {
        let head = b"POST /echo HTTP/1.1\r\nHost: a\r\ncontent-length: 1024\r\n\r\n";
        assert_eq!(Request::parse(head).unwrap(), Request { path: "/echo", content_length: 1024 });
        let head = b"GET /small HTTP/1.1\r\n\r\n";
        assert_eq!(Request::parse(head).unwrap(), Request { path: "/small", content_length: 0 });
        assert!(Request::parse(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(Request::parse(b"\r\n\r\n").is_err());
        assert!(Request::parse(b"\xff / HTTP/1.1\r\n\r\n").is_err());
    }
}
