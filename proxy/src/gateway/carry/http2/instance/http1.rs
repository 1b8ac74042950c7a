//! An instance that speaks HTTP/1, for a client who does not.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use tokio::io::AsyncWrite;

use super::AnswerBegin;
use crate::gateway::carry::Block;
use crate::gateway::carry::failure::{Failed, Failure};
use crate::gateway::carry::http2::head::leave_out_of_connection;
use crate::gateway::carry::http2::piece::Piece;
use crate::gateway::grammar::{AnswerHead, Asked, Body, Fields, LONGEST_HEAD, Step, is_interim};
use crate::traffic::kept::KeptLink;

/// So much of a body is here at a time.
const MOST: usize = 16 * 1024;

/// An instance that speaks HTTP/1.
#[derive(Debug)]
pub(in crate::gateway::carry::http2) struct OverHttp1 {
    pub(in crate::gateway::carry::http2) link: KeptLink,
    /// What is to be written, and how much of it was.
    out: Vec<u8>,
    written: usize,
    /// Whether the body goes in chunks.
    is_chunked: bool,
    /// Whether the request has ended in `out`.
    is_ended: bool,
    /// Whether the answer began before the request was sent whole: many an instance closes the connection then, whatever
    /// it says.
    is_early: bool,
    is_head: bool,
    /// What came and was not taken.
    input: Block,
    answer: AnswerHead,
    body: Body,
}

impl OverHttp1 {
    pub(in crate::gateway::carry::http2) fn new(link: KeptLink) -> Self {
        Self {
            link,
            out: Vec::new(),
            written: 0,
            is_chunked: false,
            is_ended: false,
            is_early: false,
            is_head: false,
            input: Block::default(),
            answer: AnswerHead::default(),
            body: Body::default(),
        }
    }

    /// Whether the connection can serve another request: nothing is left on it of this one.
    pub(in crate::gateway::carry::http2) fn is_clean(&self) -> bool {
        self.is_ended
            && self.written == self.out.len()
            && self.body.is_over()
            && self.input.is_empty()
            && !self.is_early
            && self.answer.keeps_alive()
    }

    pub(super) fn begin(&mut self, head: &Request<()>, is_whole: bool) {
        self.is_head = *head.method() == Method::HEAD;
        self.is_ended = is_whole;
        let length = length(head, is_whole);
        self.is_chunked = !is_whole && length.is_none();
        write_head(head, length, self.is_chunked, &mut self.out);
    }

    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut Bytes,
        is_last: bool,
    ) -> Poll<Result<usize, Failed>> {
        ready!(self.poll_flush(cx))?;
        let some = data.split_to(data.len().min(MOST));
        if !some.is_empty() {
            self.push(&some);
        }
        if is_last && data.is_empty() {
            self.push_end(None);
        }
        if let Poll::Ready(flushed) = self.poll_flush(cx) {
            flushed?;
        }
        Poll::Ready(Ok(some.len()))
    }

    pub(super) fn poll_end(
        &mut self,
        cx: &mut Context<'_>,
        trailers: &mut Option<HeaderMap>,
    ) -> Poll<Result<(), Failed>> {
        if !self.is_ended {
            self.push_end(trailers.take());
        }
        self.poll_flush(cx)
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        while self.written < self.out.len() {
            let rest = self.out.get(self.written..).unwrap_or_default();
            let count = ready!(Pin::new(&mut self.link.link).poll_write(cx, rest)).map_err(Failed::Sink)?;
            if count == 0 {
                return Poll::Ready(Err(Failed::Sink(std::io::ErrorKind::WriteZero.into())));
            }
            self.written += count;
        }
        self.out.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    fn push(&mut self, data: &[u8]) {
        if self.is_chunked {
            // To write to memory does not fail.
            let _ = write!(self.out, "{:x}\r\n", data.len());
            self.out.extend_from_slice(data);
            self.out.extend_from_slice(b"\r\n");
        } else {
            self.out.extend_from_slice(data);
        }
    }

    /// Without chunks there are no trailers: RFC 9110, 6.5.
    fn push_end(&mut self, trailers: Option<HeaderMap>) {
        self.is_ended = true;
        if self.is_chunked {
            self.out.extend_from_slice(b"0\r\n");
            if let Some(trailers) = trailers {
                write_fields(&trailers, &mut self.out);
            }
            self.out.extend_from_slice(b"\r\n");
        }
    }

    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<AnswerBegin, Failure>> {
        let asked = Asked { is_head: self.is_head, may_upgrade: false };
        loop {
            let bytes = self.input.bytes();
            match self.answer.read(bytes, asked) {
                Ok(Some(length)) => return Poll::Ready(self.take_head(length)),
                Ok(None) => {}
                Err(why) => return Poll::Ready(Err(Failure::of_download(Failed::Malformed(why)))),
            }
            let has_begun = !bytes.is_empty();
            match ready!(self.input.poll_fill(&mut self.link.link, LONGEST_HEAD, cx)) {
                Ok(0) => return Poll::Ready(Err(Failure::of_end(has_begun))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(Failure::of_read(&error, has_begun))),
            }
        }
    }

    /// The head, which has so many bytes.
    fn take_head(&mut self, length: usize) -> Result<AnswerBegin, Failure> {
        let bytes = self.input.bytes();
        let mut head = Response::new(());
        let status = self.answer.status();
        *head.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        *head.version_mut() = if self.answer.is_1_1() { Version::HTTP_11 } else { Version::HTTP_10 };
        take_fields(self.answer.fields(), bytes, head.headers_mut()).map_err(Failure::of_download)?;
        leave_out_of_connection(head.headers_mut());
        if self.answer.must_not_frame() {
            head.headers_mut().remove(header::CONTENT_LENGTH);
        }
        self.input.consume(length);
        if is_interim(status) {
            self.answer.clear();
            return Ok(AnswerBegin::Interim(head));
        }
        self.is_early = !self.is_ended || self.written < self.out.len();
        self.body = Body::of(self.answer.framing());
        Ok(AnswerBegin::Final { head, is_whole: self.body.is_over() })
    }

    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Failure>> {
        loop {
            let step = self.body.next(self.input.bytes());
            match step.map_err(|refusal| Failure::of_download(Failed::Malformed(refusal.why)))? {
                Step::Data(count) => {
                    let bytes = Bytes::copy_from_slice(self.input.bytes().get(..count).unwrap_or_default());
                    self.input.consume(count);
                    return Poll::Ready(Ok(Piece::Data { bytes, is_last: self.body.is_over() }));
                }
                Step::Framing(count) => self.input.consume(count),
                Step::Trailers(count) => return Poll::Ready(self.take_trailers(count)),
                Step::End => return Poll::Ready(Ok(Piece::End)),
                Step::More => match ready!(self.input.poll_fill(&mut self.link.link, MOST, cx)) {
                    Ok(0) if matches!(self.body, Body::UntilClose) => {
                        self.body = Body::Over;
                        return Poll::Ready(Ok(Piece::End));
                    }
                    Ok(0) => return Poll::Ready(Err(Failure::of_download(Failed::Ended))),
                    Ok(_) => {}
                    Err(error) => return Poll::Ready(Err(Failure::of_download(Failed::Source(error)))),
                },
            }
        }
    }

    fn take_trailers(&mut self, count: usize) -> Result<Piece, Failure> {
        let (mut fields, mut trailers) = (Fields::default(), HeaderMap::new());
        let bytes = self.input.bytes().get(..count).unwrap_or_default();
        fields.read_trailers(bytes);
        take_fields(&fields, bytes, &mut trailers).map_err(Failure::of_download)?;
        self.input.consume(count);
        Ok(if trailers.is_empty() { Piece::End } else { Piece::Trailers(trailers) })
    }
}

/// The fields that came in these bytes.
fn take_fields(fields: &Fields, bytes: &[u8], into: &mut HeaderMap) -> Result<(), Failed> {
    for (name, value) in fields.iter(bytes) {
        let name = HeaderName::from_bytes(name.as_bytes());
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) else {
            return Err(Failed::Malformed("a field that HTTP/2 does not have"));
        };
        into.append(name, value);
    }
    Ok(())
}

/// How long the body is, if that is said: h2 has seen to it that it is as long. A request that may have one and has none says
/// so: RFC 9110, 8.6.
fn length(head: &Request<()>, is_whole: bool) -> Option<u64> {
    let said = head.headers().get(header::CONTENT_LENGTH);
    let said = said.and_then(|length| length.to_str().ok()?.trim().parse().ok());
    let may_have_one = matches!(*head.method(), Method::POST | Method::PUT | Method::PATCH);
    match said {
        Some(_) if is_whole => Some(0),
        None if is_whole && may_have_one => Some(0),
        said => said,
    }
}

/// Writes a head as HTTP/1 has it.
fn write_head(head: &Request<()>, length: Option<u64>, is_chunked: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(head.method().as_str().as_bytes());
    out.push(b' ');
    let target = head.uri().path_and_query().map_or("/", |target| target.as_str());
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(authority) = head.uri().authority() {
        out.extend_from_slice(b"Host: ");
        out.extend_from_slice(authority.as_str().as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    for (name, value) in head.headers().iter().filter(|(name, _)| *name != header::CONTENT_LENGTH) {
        write_field(name, value, out);
    }
    if let Some(length) = length {
        write_field(&header::CONTENT_LENGTH, &HeaderValue::from(length), out);
    }
    if is_chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

fn write_fields(fields: &HeaderMap, out: &mut Vec<u8>) {
    fields.iter().for_each(|(name, value)| write_field(name, value, out));
}

fn write_field(name: &HeaderName, value: &HeaderValue, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}
