//! An instance that speaks HTTP/2, for a client who speaks HTTP/1: a stream which whoever carries the request takes for a
//! connection of HTTP/1, on which it is alone. So that all that is known of such exchanges holds for it, too.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::web::WebCall;
use crate::gateway::carry::Block;
use crate::gateway::carry::failure::{Failed, Failure};
use crate::gateway::carry::http2::{AnswerBegin, OverHttp2, Piece, leave_out_of_connection};
use crate::gateway::grammar::{Body, Fields, Framing, RequestHead, Step};
use crate::head::Head;
use crate::link::Foreign;

/// So much of what is written is here at a time.
const MOST: usize = 16 * 1024;

/// A stream to an instance that speaks HTTP/2, which looks like a connection of HTTP/1.
#[derive(Debug)]
pub(super) struct OverStream {
    stream: OverHttp2,
    is_under_tls: bool,
    /// What it is as a call of gRPC-Web, if it is one.
    web: Option<WebCall>,
    /// Why the request could not be sent.
    failure: Option<Failure>,
    /// What was written and has not gone on.
    input: Block,
    head: RequestHead,
    /// None: the head has not come whole.
    body: Option<Body>,
    /// Of the body, what is to go on next.
    due: Bytes,
    is_sent: bool,
    is_head: bool,
    /// What is to be read next, and how much of it was.
    output: Vec<u8>,
    read: usize,
    reading: Reading,
}

/// How far the answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Head,
    /// Its body, in chunks where nobody has said how long it is.
    Body {
        is_chunked: bool,
    },
    Over,
}

impl Foreign for OverStream {}

impl OverStream {
    pub(super) fn new(stream: OverHttp2, is_under_tls: bool, web: Option<WebCall>) -> Self {
        Self {
            stream,
            is_under_tls,
            web,
            failure: None,
            input: Block::default(),
            head: RequestHead::default(),
            body: None,
            due: Bytes::new(),
            is_sent: false,
            is_head: false,
            output: Vec::new(),
            read: 0,
            reading: Reading::Head,
        }
    }

    /// Sends on what was written. Ready when nothing of it is left.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(failure) = &self.failure {
            return Poll::Ready(Err(io::Error::other(failure.clone())));
        }
        if self.body.is_none() && !self.begin()? {
            return Poll::Ready(Ok(()));
        }
        while let Some(body) = &mut self.body {
            if !self.due.is_empty() {
                let is_last = body.is_over();
                ready!(self.stream.poll_send(cx, &mut self.due, is_last)).map_err(into_io)?;
                self.is_sent = is_last && self.due.is_empty();
                continue;
            }
            if self.is_sent {
                break;
            }
            match body.next(self.input.bytes()).map_err(|refusal| io::Error::other(refusal.why))? {
                Step::More => break,
                Step::Framing(count) => self.input.consume(count),
                Step::Data(count) => {
                    let bytes = Bytes::copy_from_slice(self.input.bytes().get(..count).unwrap_or_default());
                    let is_last = body.is_over();
                    self.input.consume(count);
                    self.due = self.decode(bytes, is_last)?;
                }
                Step::Trailers(count) => {
                    let trailers = trailers(self.input.bytes().get(..count).unwrap_or_default());
                    self.input.consume(count);
                    self.end(trailers)?;
                }
                Step::End => self.end(None)?,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// A piece of the body as it goes on.
    fn decode(&mut self, bytes: Bytes, is_last: bool) -> io::Result<Bytes> {
        let Some(web) = &mut self.web else { return Ok(bytes) };
        web.read(bytes, is_last).map_err(|failure| {
            self.failure = Some(failure.clone());
            io::Error::other(failure)
        })
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> io::Result<()> {
        self.decode(Bytes::new(), true)?;
        self.is_sent = true;
        self.stream.end(trailers).map_err(into_io)
    }

    /// Sends the head, once it is whole.
    fn begin(&mut self) -> io::Result<bool> {
        let read = self.head.read(self.input.bytes()).map_err(|refusal| io::Error::other(refusal.why))?;
        let Some(length) = read else { return Ok(false) };
        let view = self.head.of(self.input.bytes());
        let scheme = if self.is_under_tls { Scheme::HTTPS } else { Scheme::HTTP };
        let mut head = request(&view, scheme).map_err(io::Error::other)?;
        if let Some(web) = &self.web {
            web.fit_head(head.headers_mut());
        }
        self.is_head = *head.method() == Method::HEAD;
        let body = Body::of(self.head.framing());
        self.input.consume(length);
        self.is_sent = matches!(self.head.framing(), Framing::None | Framing::Length(0));
        if let Err(failure) = self.stream.begin(head, self.is_sent) {
            self.failure = Some(failure.clone());
            return Err(io::Error::other(failure));
        }
        self.body = Some(body);
        Ok(true)
    }

    /// Makes the next of the answer into what is to be read.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (self.read, _) = (0, self.output.clear());
        match self.reading {
            Reading::Head => match ready!(self.stream.poll_head_of_stream(cx)).map_err(io::Error::other)? {
                AnswerBegin::Interim(head) => write_head(head, false, &mut self.output),
                AnswerBegin::Final { head, is_whole } => {
                    let (head, is_whole, last) = match &mut self.web {
                        Some(web) => web.begin_answer(head, is_whole),
                        None => (head, is_whole, None),
                    };
                    let has_body = !self.is_head && may_have_body(head.status());
                    let is_chunked = has_body && !head.headers().contains_key(header::CONTENT_LENGTH);
                    write_head(head, is_chunked, &mut self.output);
                    self.reading = Reading::Body { is_chunked };
                    self.push(&last.unwrap_or_default(), is_chunked);
                    if is_whole || !has_body {
                        self.over(is_chunked, None);
                    }
                }
            },
            Reading::Body { is_chunked } => {
                match ready!(self.stream.poll_piece_of_stream(cx)).map_err(io::Error::other)? {
                    Piece::Data { bytes, is_last } => {
                        self.stream.release(bytes.len());
                        let bytes = self.web.as_ref().map_or(bytes.clone(), |web| web.piece(bytes));
                        self.push(&bytes, is_chunked);
                        if is_last {
                            self.over(is_chunked, None);
                        }
                    }
                    Piece::Trailers(trailers) => self.over(is_chunked, Some(trailers)),
                    Piece::End => self.over(is_chunked, None),
                }
            }
            Reading::Over => {}
        }
        Poll::Ready(Ok(()))
    }

    fn push(&mut self, data: &[u8], is_chunked: bool) {
        if data.is_empty() {
            return;
        }
        if is_chunked {
            // To write to memory does not fail.
            let _ = write!(self.output, "{:x}\r\n", data.len());
        }
        self.output.extend_from_slice(data);
        if is_chunked {
            self.output.extend_from_slice(b"\r\n");
        }
    }

    /// Trailers go on behind chunks alone.
    fn over(&mut self, is_chunked: bool, mut trailers: Option<HeaderMap>) {
        if let Some(last) = self.web.as_mut().and_then(|web| web.last(&mut trailers)) {
            self.push(&last, is_chunked);
        }
        self.reading = Reading::Over;
        if is_chunked {
            self.output.extend_from_slice(b"0\r\n");
            write_fields(&trailers.unwrap_or_default(), &mut self.output);
            self.output.extend_from_slice(b"\r\n");
        }
    }
}

impl AsyncWrite for OverStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        let some = bytes.get(..MOST).unwrap_or(bytes);
        self.input.push(some);
        if let Poll::Ready(sent) = self.poll_send(cx) {
            sent?;
        }
        Poll::Ready(Ok(some.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for OverStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // What was written and had to wait for its window goes on while the answer is waited for.
        if let Poll::Ready(sent) = self.poll_send(cx) {
            sent?;
        }
        while self.read == self.output.len() && self.reading != Reading::Over {
            ready!(self.poll_more(cx))?;
        }
        let rest = self.output.get(self.read..).unwrap_or_default();
        let some = rest.get(..room.remaining()).unwrap_or(rest);
        room.put_slice(some);
        self.read += some.len();
        Poll::Ready(Ok(()))
    }
}

/// The request that this head is.
fn request(head: &impl Head, scheme: Scheme) -> Result<Request<()>, http::Error> {
    let target = PathAndQuery::try_from(head.target())?;
    let authority = Authority::try_from(head.host().unwrap_or_default())?;
    let mut request = Request::new(());
    *request.method_mut() = head.method().clone();
    *request.uri_mut() = Uri::builder().scheme(scheme).authority(authority).path_and_query(target).build()?;
    for (name, value) in head.fields().filter(|(name, _)| *name != "host") {
        request
            .headers_mut()
            .append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_bytes(value)?);
    }
    leave_out_of_connection(request.headers_mut());
    Ok(request)
}

fn trailers(bytes: &[u8]) -> Option<HeaderMap> {
    let (mut fields, mut trailers) = (Fields::default(), HeaderMap::new());
    fields.read_trailers(bytes);
    for (name, value) in fields.iter(bytes) {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value))
        {
            trailers.append(name, value);
        }
    }
    (!trailers.is_empty()).then_some(trailers)
}

/// RFC 9110, 6.4.1.
fn may_have_body(status: StatusCode) -> bool {
    !status.is_informational() && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn write_head(head: Response<()>, is_chunked: bool, out: &mut Vec<u8>) {
    let status = head.status();
    let reason = status.canonical_reason().unwrap_or_default();
    // To write to memory does not fail.
    let _ = write!(out, "HTTP/1.1 {} {reason}\r\n", status.as_u16());
    write_fields(head.headers(), out);
    if is_chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

fn write_fields(fields: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in fields {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

fn into_io(failed: Failed) -> io::Error {
    match failed {
        Failed::Source(error) | Failed::Sink(error) => error,
        Failed::Ended => io::ErrorKind::UnexpectedEof.into(),
        Failed::Malformed(why) => io::Error::other(why),
    }
}
