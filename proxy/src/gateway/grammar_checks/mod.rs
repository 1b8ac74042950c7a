//! What must hold of the grammar whatever bytes it is given. The fuzz targets of `fuzz/` are these functions, and a test
//! gives them all that those have found.
//!
//! The first byte says how the others come: all at once, and again so many at a time.

mod reading;
#[cfg(test)]
mod tests;

use http::{Method, Version};

use super::grammar::{
    AnswerHead, Asked, Body, Fields, Framing, Kind, Refusal, RequestHead, Span, Step, may_pass,
};
use crate::head::Head;
use reading::{End, read, read_cut};

/// A connection's requests: they are the same however they come, and what would be sent on of each head is accepted again
/// and means the same.
pub(in crate::gateway) fn requests(input: &[u8]) {
    let Some((step, bytes)) = step(input) else { return };
    let whole = read(bytes);
    assert_eq!(read_cut(bytes, (0..bytes.len()).step_by(step)).found, whole.found, "by {step}");
    let mut begin = 0;
    for message in &whole.found.messages {
        request(&bytes[begin..message.head]);
        assert!(message.data.len() <= message.end - message.head);
        begin = message.end;
    }
    if let Some(End::Refused(status)) = whole.found.end {
        assert!(matches!(status, 400 | 414 | 431 | 501 | 505), "{status}");
    }
}

fn request(bytes: &[u8]) {
    let mut head = RequestHead::default();
    assert_eq!(head.read(bytes), Ok(Some(bytes.len())));
    is_read_alike(&head, bytes);
    if head.fields().list().len() == 100 {
        return; // No more fields can be read again.
    }
    let sent = as_sent(&head, bytes);
    let mut again = RequestHead::default();
    assert_eq!(again.read(&sent), Ok(Some(sent.len())), "{}", String::from_utf8_lossy(&sent));
    assert_eq!(Meaning::of(&again, &sent), Meaning::of(&head, bytes));
    assert!(again.length_is_normal());
    assert_eq!(as_sent(&again, &sent), sent);
    assert!(is_clean(bytes) && is_clean(&sent));
}

/// Whether there is no control byte but tabs and the CR LF at the end of a line.
fn is_clean(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "");
    !text.contains(|c: char| c.is_ascii_control() && c != '\t')
}

/// Another parser, which takes more, reads the same.
fn is_read_alike(head: &RequestHead, bytes: &[u8]) {
    if std::str::from_utf8(head.of(bytes).target()).is_err() {
        return; // It takes none in which a byte is no letter.
    }
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut other = httparse::Request::new(&mut fields);
    assert_eq!(other.parse(bytes), Ok(httparse::Status::Complete(bytes.len())));
    let view = head.of(bytes);
    assert_eq!(other.method, Some(view.method().as_str()));
    let path = other.path.unwrap_or_default();
    assert!(path.as_bytes() == view.target() || view.authority().is_some());
    assert_eq!(other.version == Some(1), view.version() == Version::HTTP_11);
    let others = other.headers.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec()));
    assert!(others.eq(view.fields().map(owned)));
}

/// A head as a carrier sends it on that changes no more than it must.
fn as_sent(head: &RequestHead, bytes: &[u8]) -> Vec<u8> {
    let view = head.of(bytes);
    let version = if view.version() == Version::HTTP_11 { "HTTP/1.1" } else { "HTTP/1.0" };
    let method = view.method().as_str().as_bytes();
    let mut sent = [method, b" ", view.target(), b" ", version.as_bytes(), b"\r\n"].concat();
    let has_host = head.fields().of_kind(bytes, Kind::Host).next().is_some();
    if let Some(host) = view.authority().filter(|_| !has_host) {
        sent.extend([b"host:", host, b"\r\n"].concat());
    }
    write_fields(head.fields(), head.framing(), bytes, &mut sent);
    sent
}

fn write_fields(fields: &Fields, framing: Framing, bytes: &[u8], sent: &mut Vec<u8>) {
    let mut length = match framing {
        Framing::Length(length) => Some(length),
        _ => None,
    };
    for field in fields.list() {
        match framing {
            Framing::Length(_) if field.kind == Kind::ContentLength => {
                sent.extend(
                    length.take().map(|n| format!("content-length:{n}\r\n")).unwrap_or_default().bytes(),
                );
            }
            _ => sent.extend(field.line.of(bytes)),
        }
    }
    sent.extend(b"\r\n");
}

/// All that is asked of a request's head.
#[derive(Debug, PartialEq, Eq)]
struct Meaning {
    method: Method,
    target: Vec<u8>,
    path: String,
    query: Option<Vec<u8>>,
    host: Option<Vec<u8>>,
    version: Version,
    framing: Framing,
    keeps_alive: bool,
    expects_continue: bool,
    upgrade: Option<Vec<u8>>,
    others: Vec<(String, Vec<u8>)>,
}

impl Meaning {
    fn of(head: &RequestHead, bytes: &[u8]) -> Self {
        let view = head.of(bytes);
        let is_other = |(name, _): &(&str, &[u8])| !matches!(*name, "host" | "content-length");
        Self {
            method: view.method().clone(),
            target: view.target().to_vec(),
            path: view.path().to_owned(),
            query: view.query().map(<[u8]>::to_vec),
            host: view.host().map(<[u8]>::to_vec),
            version: view.version(),
            framing: head.framing(),
            keeps_alive: head.keeps_alive(),
            expects_continue: head.expects_continue(),
            upgrade: head.upgrade().map(|span| span.of(bytes).to_vec()),
            others: view.fields().filter(is_other).map(owned).collect(),
        }
    }
}

fn owned((name, value): (&str, &[u8])) -> (String, Vec<u8>) {
    (name.to_owned(), value.to_vec())
}

/// An answer's head: the same however it comes, and what would be sent on of it means the same.
pub(in crate::gateway) fn answers(input: &[u8]) {
    let Some((&kind, rest)) = input.split_first() else { return };
    let Some((step, bytes)) = step(rest) else { return };
    let asked = Asked { is_head: kind & 1 == 1, may_upgrade: kind & 2 == 2 };
    let (mut head, mut cut) = (AnswerHead::default(), AnswerHead::default());
    let whole = head.read(bytes, asked);
    let parts = (0..bytes.len()).step_by(step).chain([bytes.len()]);
    let read = |cut: &mut AnswerHead, end: usize| cut.read(&bytes[..end], asked).transpose();
    let found = parts.filter_map(|end| read(&mut cut, end)).next().transpose();
    assert_eq!((found.is_err(), found.ok()), (whole.is_err(), whole.ok()), "by {step}");
    let Ok(Some(length)) = whole else { return };
    let bytes = &bytes[..length];
    assert!(is_clean(bytes));
    assert_eq!(told(&cut, bytes), told(&head, bytes));
    let first = memchr::memmem::find(bytes, b"\r\n").unwrap_or_default();
    let mut sent = bytes[..first + 2].to_vec();
    write_fields(head.fields(), head.framing(), bytes, &mut sent);
    let mut again = AnswerHead::default();
    assert_eq!(again.read(&sent, asked), Ok(Some(sent.len())));
    assert_eq!((again.framing(), again.keeps_alive()), (head.framing(), head.keeps_alive()));
    assert!(again.length_is_normal() || head.framing() == Framing::None);
    assert!(head.framing() == Framing::None || !asked.is_head && !head.must_not_frame());
}

/// All that is asked of an answer's head.
fn told(head: &AnswerHead, bytes: &[u8]) -> impl PartialEq + std::fmt::Debug {
    let of = |span: Span| span.of(bytes).to_vec();
    let fields: Vec<_> = head.fields().iter(bytes).map(owned).collect();
    let line = (head.status(), head.is_1_1(), of(head.reason()), head.has_date());
    (line, head.framing(), head.keeps_alive(), head.length_is_normal(), head.upgrade().map(of), fields)
}

/// A chunked body: the same however it comes, and the same again when its data is framed anew.
pub(in crate::gateway) fn chunks(input: &[u8]) {
    let Some((step, bytes)) = step(input) else { return };
    let whole = decode(bytes, bytes.len());
    assert_eq!(decode(bytes, step), whole, "by {step}");
    let Ok(Some(Decoded { data, trailers, .. })) = whole else { return };
    let mut sent = Vec::new();
    for chunk in data.chunks(step) {
        sent.extend(format!("{:x}\r\n", chunk.len()).bytes());
        sent.extend([chunk, b"\r\n"].concat());
    }
    sent.extend(b"0\r\n");
    for (name, value) in &trailers {
        let _ = may_pass(name, b"trace_id");
        sent.extend([name.as_bytes(), b":", value, b"\r\n"].concat());
    }
    sent.extend(b"\r\n");
    let length = sent.len();
    assert_eq!(decode(&sent, length), Ok(Some(Decoded { data, trailers, length })));
}

/// A whole body.
#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    data: Vec<u8>,
    trailers: Vec<(String, Vec<u8>)>,
    /// So many bytes it took.
    length: usize,
}

fn decode(bytes: &[u8], step: usize) -> Result<Option<Decoded>, u16> {
    let (mut body, mut at, mut data) = (Body::of(Framing::Chunked), 0, Vec::new());
    for end in (0..bytes.len()).step_by(step.max(1)).chain([bytes.len()]) {
        loop {
            let rest = &bytes[at..end];
            match body.next(rest).map_err(|Refusal { status, .. }| status)? {
                Step::Framing(length) => {
                    assert!(is_clean(&rest[..length]) && rest[..length].ends_with(b"\r\n"));
                    at += length;
                }
                Step::Data(length) => {
                    data.extend_from_slice(&rest[..length]);
                    at += length;
                }
                Step::Trailers(length) => {
                    let mut fields = Fields::default();
                    fields.read_trailers(&rest[..length]);
                    assert!(is_clean(&rest[..length]) && rest[..length].ends_with(b"\r\n"));
                    let trailers = fields.iter(&rest[..length]).map(owned).collect();
                    assert_eq!(body.next(&rest[length..]), Ok(Step::End));
                    assert!(body.is_over());
                    return Ok(Some(Decoded { data, trailers, length: at + length }));
                }
                Step::More => break,
                Step::End => panic!("it ends with its trailers"),
            }
        }
    }
    Ok(None)
}

/// By how many bytes the others come: mostly by few.
fn step(input: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = input.split_first()?;
    Some((usize::from(first % 32) + 1, rest))
}
