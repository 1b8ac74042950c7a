//! A call of gRPC-Web by a client who speaks HTTP/1, on its stream to an instance.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};

use crate::gateway::carry::failure::{Failed, Failure};
use crate::gateway::carry::http2::fit_trailers;
use crate::gateway::carry::http2::web::{Text, fit_answer, fit_call, last_piece};
use crate::gateway::grpc::{AnswerHead, End, Form, head_that_ends};
use crate::gateway::protocol::Speaks;
use crate::gateway::request::Request;
use crate::head::Head;
use crate::site::Common;

/// What its stream has said of a call, before that was made into an answer of gRPC-Web.
#[derive(Debug, Default)]
pub(super) struct Heard {
    status: OnceLock<u16>,
    end: OnceLock<End>,
}

impl Heard {
    /// The status of HTTP, once the head of its answer is here.
    pub(super) fn status(&self) -> Option<u16> {
        self.status.get().copied()
    }

    /// How it has ended, once that is known.
    pub(super) fn end(&self) -> Option<End> {
        self.end.get().copied()
    }
}

/// A call of gRPC-Web on its stream.
#[derive(Debug)]
pub(super) struct WebCall {
    /// That of its answers.
    form: Form<'static>,
    text: Text,
    /// Whether its answer says in its trailers how it has ended.
    awaits_trailers: bool,
    common: Arc<Common>,
    heard: Arc<Heard>,
}

impl WebCall {
    /// What this request is; none: it is no such call. `head`: as it came from the client.
    pub(super) fn of(request: &Request, head: &impl Head) -> Option<Self> {
        let form = request.web_form(head)?;
        let mut text = Text::default();
        text.begin(Some(form));
        let (common, heard) = (request.common.clone(), Arc::default());
        Some(Self { form: form.of_answers(), text, awaits_trailers: false, common, heard })
    }

    /// Where what is heard of it will stand.
    pub(super) fn heard(&self) -> Arc<Heard> {
        self.heard.clone()
    }

    /// Makes its head into that of a call of gRPC.
    pub(super) fn fit_head(&self, fields: &mut HeaderMap) {
        fit_call(self.form, Speaks::Http2, fields);
    }

    /// A piece of its body as it goes on. `is_last`: nothing follows.
    pub(super) fn read(&mut self, bytes: Bytes, is_last: bool) -> Result<Bytes, Failure> {
        let read = self.text.decode(bytes, is_last);
        read.map_err(|error| Failure::of_upload(Failed::Malformed(error.why())))
    }

    /// Its answer begins with this head, and ends with it if it `is_whole`. What its client gets in its place, whether that is
    /// whole, and what its body is then.
    pub(super) fn begin_answer(
        &mut self,
        head: Response<()>,
        is_whole: bool,
    ) -> (Response<()>, bool, Option<Bytes>) {
        let value = |name: &str| head.headers().get(name).map(HeaderValue::as_bytes);
        let (content_type, grpc_status) = (value("content-type"), value("grpc-status"));
        let status = head.status().as_u16();
        // One head begins its answer, and one end is the end.
        let _ = self.heard.status.set(status);
        let end = AnswerHead { status, content_type, grpc_status, is_end: is_whole }.end();
        self.awaits_trailers = end.is_none();
        let instead = end.and_then(|end| self.ended(end).instead());
        let is_whole = is_whole || instead.is_some();
        let mut head = instead.map_or(head, head_that_ends);
        let is_grpc = is_whole || self.awaits_trailers;
        let last = if is_grpc { fit_answer(self.form, &mut head, is_whole) } else { None };
        (head, is_whole, last)
    }

    /// A piece of its answer as its client gets it.
    pub(super) fn piece(&self, bytes: Bytes) -> Bytes {
        if self.awaits_trailers { self.form.piece(bytes) } else { bytes }
    }

    /// Its answer is over, with these trailers or with none. What its client gets as the last of it; none: nothing.
    pub(super) fn last(&mut self, trailers: &mut Option<HeaderMap>) -> Option<Bytes> {
        if !std::mem::take(&mut self.awaits_trailers) {
            return None;
        }
        let mut trailers = trailers.take().unwrap_or_default();
        fit_trailers(&mut trailers, &self.common.trace_header);
        let end = End::of_trailers(trailers.get("grpc-status").map(HeaderValue::as_bytes));
        for (name, value) in self.ended(end).instead().into_iter().flatten() {
            trailers.insert(name, value);
        }
        Some(last_piece(self.form, &trailers))
    }

    fn ended(&self, end: End) -> End {
        let _ = self.heard.end.set(end);
        end
    }
}
