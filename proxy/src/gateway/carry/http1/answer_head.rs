//! What a client gets of an answer's head, be it an instance's or the gateway's own.

use std::time::SystemTime;

use http::{Method, StatusCode, Version, header};

use super::exchange::Exchange;
use super::pump::Manner;
use super::splice::Splice;
use crate::gateway::answer::Answer;
use crate::gateway::edits::{AnswerEdits, FieldsToSend};
use crate::gateway::grammar::{AnswerHead, Body, Fields, Framing, Kind};
use crate::gateway::grpc_answer;
use crate::gateway::proxy_status;
use crate::gateway::reply::{self, Reply};
use crate::gateway::text::push_number;
use crate::head::Head;

/// Says by which protocol it would be answered, and has to: RFC 9110, 15.5.22.
const UPGRADE_REQUIRED: u16 = 426;

impl Exchange<'_> {
    /// Writes a head that goes before an answer's (1xx).
    pub(super) fn write_interim(&mut self) {
        let Exchange { answer, download, request, head, added, .. } = self;
        let bytes = download.input.bytes();
        let mut lines = Splice::of(answer.fields(), bytes, added);
        leave_out_of_connection(&mut lines, false);
        lines.leave_out(|name, _| matches!(name, "transfer-encoding" | "content-length"));
        let Ok(()) =
            AnswerEdits::of_instance(request, head, code(answer.status()), version(answer)).apply(&mut lines);
        status_line(&mut download.out, answer.status(), answer.reason().of(bytes));
        lines.write(&mut download.out);
    }

    /// Writes the head of a 101, by which both sides agree on this protocol.
    pub(super) fn write_upgrade(&mut self) {
        let Exchange { answer, download, request, head, added, told, .. } = self;
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
        told.status = Some(101);
    }

    /// Writes the head of an instance's answer, and begins with its body.
    pub(super) fn write_answer(&mut self) {
        let keeps = self.may_keep_client();
        let Exchange { answer, download, request, head, added, told, gateway, .. } = self;
        let is_1_0 = head.version() == Version::HTTP_10;
        let bytes = download.input.bytes();
        let mut lines = Splice::of(answer.fields(), bytes, added);
        let names_protocol = answer.status() == UPGRADE_REQUIRED
            && answer.fields().of_kind(bytes, Kind::Upgrade).next().is_some();
        leave_out_of_connection(&mut lines, names_protocol);
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
        told.keeps_client = keeps && has_end;
        connection(&mut lines, told.keeps_client, is_1_0, names_protocol);
        let status = answer.status();
        status_line(&mut download.out, status, answer.reason().of(bytes));
        lines.write(&mut download.out);
        (told.status, told.has_end) = (Some(status), has_end);
        download.begin(Body::of(answer.framing()), manner, &request.common.trace_header);
    }

    /// Writes an answer of the gateway's own, with its body.
    pub(super) fn write_reply(&mut self, answer: Answer, keeps: bool) {
        let Exchange { download, request, head, added, told, gateway, .. } = self;
        let Reply { status, fields, body } = match request.is_call() {
            true => grpc_answer::own(answer, request, head),
            false => Reply::of(answer, request, head),
        };
        let nothing = Fields::default();
        let mut lines = Splice::of(&nothing, b"", added);
        let names_protocol = fields.iter().any(|(name, _)| *name == header::UPGRADE);
        for (name, value) in fields {
            lines.line(&reply::written(&name), value.as_bytes());
        }
        if let Some(status) = proxy_status::of(request, answer) {
            lines.line(b"Proxy-Status", status.as_bytes());
        }
        let Ok(()) = AnswerEdits::of_gateway(request, head, status).apply(&mut lines);
        lines.line(b"Date", &gateway.clock.date(SystemTime::now()));
        told.keeps_client = keeps;
        connection(&mut lines, keeps, head.version() == Version::HTTP_10, names_protocol);
        download.clear();
        status_line(
            &mut download.out,
            status.as_u16(),
            status.canonical_reason().unwrap_or_default().as_bytes(),
        );
        lines.write(&mut download.out);
        told.status = Some(status.as_u16());
        if *head.method() != Method::HEAD {
            download.out.extend_from_slice(&body);
        }
        told.replied = Some(if *head.method() == Method::HEAD { 0 } else { body.len() });
    }
}

/// What an answer says of the connection that it goes over. `names_protocol`: it has `Upgrade`, which goes with an option
/// of `Connection` (RFC 9110, 7.8).
fn connection(lines: &mut Splice<'_>, keeps: bool, is_1_0: bool, names_protocol: bool) {
    match (keeps, is_1_0) {
        (false, _) => lines.line(b"Connection", b"close"),
        (true, true) => lines.line(b"Connection", b"keep-alive"),
        (true, false) => {}
    }
    if names_protocol {
        lines.line(b"Connection", b"Upgrade");
    }
}

fn status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    push_number(out, status);
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

/// Leaves out what is of the instance's connection, and what that names: RFC 9110, 7.6.1. But where the instance says by
/// `Upgrade` what it speaks (`names_protocol`), its client has to hear of that.
fn leave_out_of_connection(lines: &mut Splice<'_>, names_protocol: bool) {
    lines.leave_out_named_by_connection(|name| {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        ["transfer-encoding", "content-length", "date"].into_iter().any(is) || names_protocol && is("upgrade")
    });
    lines.leave_out(|name, _| match name {
        "connection" | "keep-alive" | "proxy-connection" => true,
        "upgrade" => !names_protocol,
        _ => false,
    });
}

fn version(answer: &AnswerHead) -> Version {
    if answer.is_1_1() { Version::HTTP_11 } else { Version::HTTP_10 }
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)
}

#[cfg(test)]
mod tests {
    use crate::gateway::door::bench::Bench;

    /// What a client gets for this request when an instance answers so; lines of the gateway's own left out.
    async fn got(bench: &mut Bench, request: &str, answer: &str) -> String {
        let request = format!("{request}|").replace('|', "\r\n");
        let (_, text) = bench.exchange(&request, &answer.replace('|', "\r\n")).await;
        let is_added = |line: &&str| !line.starts_with("trace_id: ");
        text.replace("\r\n", "|").split_inclusive('|').filter(is_added).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_of_the_instance_s_connection_does_not_go_on_and_all_else_stays() {
        let mut bench = Bench::new();
        for (request, answer, expected) in [
            (
                "GET / HTTP/1.1|Host: a|",
                "HTTP/1.0 299 So  so|Date: then|b: 1|B:2|Connection: x-a, date, content-length|X-A: 1|Keep-Alive: 5|\
                 Upgrade: h2c|content-length: 2||ok",
                "HTTP/1.1 299 So  so|Date: then|b: 1|B:2|content-length: 2||ok",
            ),
            (
                "GET / HTTP/1.1|Host: a|",
                "HTTP/1.1 200 OK|Date: then|Content-Length: 2, 2|Content-Length: 02||ok",
                "HTTP/1.1 200 OK|Date: then|Content-Length: 2||ok",
            ),
            (
                "HEAD / HTTP/1.1|Host: a|",
                "HTTP/1.1 200 OK|Date: then|Content-Length: 5||",
                "HTTP/1.1 200 OK|Date: then|Content-Length: 5||",
            ),
            (
                "GET / HTTP/1.1|Host: a|",
                "HTTP/1.1 304 No|Date: then|Content-Length: 5||",
                "HTTP/1.1 304 No|Date: then|Content-Length: 5||",
            ),
            (
                "GET / HTTP/1.1|Host: a|",
                "HTTP/1.1 204 No|Date: then|Content-Length: 0||",
                "HTTP/1.1 204 No|Date: then||",
            ),
            (
                "GET / HTTP/1.1|Host: a|",
                "HTTP/1.1 204 No|Date: then|Transfer-Encoding: chunked||",
                "HTTP/1.1 204 No|Date: then||",
            ),
            (
                "GET / HTTP/1.1|Host: a|",
                "HTTP/1.1 426 No|Date: then|Upgrade: h2c|Connection: upgrade, x-a|X-A: 1|upgrade: x|Content-Length: 0||",
                "HTTP/1.1 426 No|Date: then|Upgrade: h2c|upgrade: x|Content-Length: 0|Connection: Upgrade||",
            ),
            (
                "GET / HTTP/1.1|Host: a|",
                "HTTP/1.1 426 No|Date: then|Connection: upgrade|Content-Length: 0||",
                "HTTP/1.1 426 No|Date: then|Content-Length: 0||",
            ),
        ] {
            assert_eq!(got(&mut bench, request, answer).await, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_without_a_date_gets_one() {
        let mut bench = Bench::new();
        let answer = got(&mut bench, "GET / HTTP/1.1|Host: a|", "HTTP/1.1 200 OK|Content-Length: 0||").await;
        assert_eq!(answer.matches("|Date: ").count(), 1, "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_body_is_told_in_a_way_that_the_client_knows() {
        let mut bench = Bench::new();
        let (kept, closed) = ("|Connection: keep-alive", "|Connection: close");
        let with = |framing: &str, connection: &str, body: &str| {
            format!("HTTP/1.1 200 OK|Date: then{framing}{connection}||{body}")
        };
        let until_close = "HTTP/1.1 200 OK|Date: then|Connection: close||ok";
        let chunked = "HTTP/1.1 200 OK|Date: then|Transfer-Encoding: chunked||2|ok|0||";
        let length = "HTTP/1.1 200 OK|Date: then|Content-Length: 2||ok";
        let (old, old_kept) = ("GET / HTTP/1.0|", "GET / HTTP/1.0|Connection: keep-alive|");
        let new = "GET / HTTP/1.1|Host: a|";
        for (request, answer, expected) in [
            (old, chunked, with("", closed, "ok")),
            (old_kept, chunked, with("", closed, "ok")),
            (old_kept, until_close, with("", closed, "ok")),
            (old, length, with("|Content-Length: 2", closed, "ok")),
            (old_kept, length, with("|Content-Length: 2", kept, "ok")),
            (new, until_close, with("|Transfer-Encoding: chunked", "", "2|ok|0||")),
            (new, chunked, with("|Transfer-Encoding: chunked", "", "2|ok|0||")),
            ("GET / HTTP/1.1|Host: a|Connection: close|", length, with("|Content-Length: 2", closed, "ok")),
        ] {
            assert_eq!(got(&mut bench, request, answer).await, expected, "{request} {answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn heads_before_the_answer_s_go_on_but_not_to_http_1_0() {
        let mut bench = Bench::new();
        let answer = "HTTP/1.1 103 Early|Link: x|Connection: x-a|X-A: 1|Content-Length: 5||\
                      HTTP/1.1 200 OK|Date: then|Content-Length: 0||";
        let last = "HTTP/1.1 200 OK|Date: then|Content-Length: 0|";
        let new = got(&mut bench, "GET / HTTP/1.1|Host: a|", answer).await;
        assert_eq!(new, format!("HTTP/1.1 103 Early|Link: x||{last}|"));
        let old = got(&mut bench, "GET / HTTP/1.0|", answer).await;
        assert_eq!(old, format!("{last}Connection: close||"));
    }
}
