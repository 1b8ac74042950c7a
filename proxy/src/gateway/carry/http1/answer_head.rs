//! What a client gets of an answer's head, be it an instance's or the gateway's own.

use std::time::SystemTime;

use http::{Method, StatusCode, Version};

use super::exchange::Exchange;
use super::pump::Manner;
use super::splice::Splice;
use crate::gateway::answer::Answer;
use crate::gateway::edits::{AnswerEdits, FieldsToSend};
use crate::gateway::grammar::{AnswerHead, Body, Fields, Framing};
use crate::gateway::proxy_status;
use crate::gateway::reply::Reply;
use crate::gateway::text::push_number;
use crate::head::Head;

impl Exchange<'_> {
    /// Writes a head that goes before an answer's (1xx).
    pub(super) fn write_interim(&mut self) {
        let Exchange { answer, download, request, head, added, .. } = self;
        let bytes = download.input.bytes();
        let mut lines = Splice::of(answer.fields(), bytes, added);
        leave_out_of_connection(&mut lines);
        lines.leave_out(|name, _| matches!(name, "transfer-encoding" | "content-length"));
        let Ok(()) =
            AnswerEdits::of_instance(request, head, code(answer.status()), version(answer)).apply(&mut lines);
        status_line(&mut download.out, answer.status(), answer.reason().of(bytes));
        lines.write(&mut download.out);
    }

    /// Writes the head of a 101, by which both sides agree on this protocol.
    pub(super) fn write_upgrade(&mut self) {
        let Exchange { answer, download, request, head, added, state, .. } = self;
        let bytes = download.input.bytes();
        let mut lines = Splice::of(answer.fields(), bytes, added);
        lines.leave_out(|name, _| {
            matches!(
                name,
                "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "content-length"
            )
        });
        let Ok(()) = AnswerEdits::of_instance(request, head, code(101), version(answer)).apply(&mut lines);
        lines.line(b"Connection", b"Upgrade");
        status_line(&mut download.out, 101, answer.reason().of(bytes));
        lines.write(&mut download.out);
        state.status = Some(101);
    }

    /// Writes the head of an instance's answer, and begins with its body.
    pub(super) fn write_answer(&mut self) {
        let keeps = self.may_keep_client();
        let Exchange { answer, download, request, head, added, state, gateway, .. } = self;
        let is_1_0 = head.version() == Version::HTTP_10;
        let bytes = download.input.bytes();
        let mut lines = Splice::of(answer.fields(), bytes, added);
        leave_out_of_connection(&mut lines);
        let Ok(()) =
            AnswerEdits::of_instance(request, head, code(answer.status()), version(answer)).apply(&mut lines);
        // The instance's own is the answer's; where there is none, RFC 9110, 6.6.1, wants one.
        if !answer.has_date() {
            lines.line(b"Date", &gateway.clock.date(SystemTime::now()));
        }
        let (manner, has_end) = match (answer.framing(), is_1_0) {
            (Framing::Chunked, true) => (Manner::Data, false),
            (Framing::UntilClose, true) => (Manner::AsIs, false),
            (Framing::UntilClose, false) => (Manner::InChunks, true),
            _ => (Manner::AsIs, true),
        };
        if answer.must_not_frame() {
            lines.leave_out(|name, _| matches!(name, "transfer-encoding" | "content-length"));
        }
        if is_1_0 {
            lines.remove("transfer-encoding");
        } else if manner == Manner::InChunks {
            lines.line(b"Transfer-Encoding", b"chunked");
        }
        if let Framing::Length(length) = answer.framing()
            && !answer.length_is_normal()
        {
            lines.remove("content-length");
            lines.line(b"Content-Length", itoa::Buffer::new().format(length).as_bytes());
        }
        state.keeps_client = keeps && has_end;
        connection(&mut lines, state.keeps_client, is_1_0);
        let status = answer.status();
        status_line(&mut download.out, status, answer.reason().of(bytes));
        lines.write(&mut download.out);
        (state.status, state.has_end) = (Some(status), has_end);
        download.begin(Body::of(answer.framing()), manner, &request.common.trace_header);
    }

    /// Writes an answer of the gateway's own, with its body.
    pub(super) fn write_reply(&mut self, answer: Answer, keeps: bool) {
        let Exchange { download, request, head, added, state, gateway, .. } = self;
        let Reply { status, fields, body } = Reply::of(answer, request, head);
        let nothing = Fields::default();
        let mut lines = Splice::of(&nothing, b"", added);
        for (name, value) in fields {
            lines.line(&capitalised(name.as_str()), value.as_bytes());
        }
        if let Some(status) = proxy_status::of(request, answer) {
            lines.line(b"Proxy-Status", status.as_bytes());
        }
        let Ok(()) = AnswerEdits::of_gateway(request, head, status).apply(&mut lines);
        lines.line(b"Date", &gateway.clock.date(SystemTime::now()));
        state.keeps_client = keeps;
        connection(&mut lines, keeps, head.version() == Version::HTTP_10);
        download.clear();
        status_line(
            &mut download.out,
            status.as_u16(),
            status.canonical_reason().unwrap_or_default().as_bytes(),
        );
        lines.write(&mut download.out);
        state.status = Some(status.as_u16());
        if *head.method() != Method::HEAD {
            download.out.extend_from_slice(&body);
        }
        state.replied = Some(if *head.method() == Method::HEAD { 0 } else { body.len() });
    }
}

/// What an answer says of the connection that it goes over.
fn connection(lines: &mut Splice<'_>, keeps: bool, is_1_0: bool) {
    match (keeps, is_1_0) {
        (false, _) => lines.line(b"Connection", b"close"),
        (true, true) => lines.line(b"Connection", b"keep-alive"),
        (true, false) => {}
    }
}

fn status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    push_number(out, status);
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

/// Leaves out what is of the instance's connection, and what that names: RFC 9110, 7.6.1.
fn leave_out_of_connection(lines: &mut Splice<'_>) {
    lines.leave_out_named_by_connection(|name| {
        ["transfer-encoding", "content-length", "date"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
    });
    lines.leave_out(|name, _| matches!(name, "connection" | "keep-alive" | "proxy-connection" | "upgrade"));
}

/// A name as it is usually written: `Content-Type`.
fn capitalised(name: &str) -> Vec<u8> {
    let mut is_first = true;
    let letter = |byte: u8| {
        let letter = if is_first { byte.to_ascii_uppercase() } else { byte };
        is_first = byte == b'-';
        letter
    };
    name.bytes().map(letter).collect()
}

fn version(answer: &AnswerHead) -> Version {
    if answer.is_1_1() { Version::HTTP_11 } else { Version::HTTP_10 }
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)
}
