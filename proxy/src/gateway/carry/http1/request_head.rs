//! What an instance gets of a request's head: the client's own lines, but for those of its connection, and what the
//! gateway and the route change.

use std::time::Instant;

use http::Version;

use super::splice::{Added, Splice};
use crate::gateway::edits::{FieldsToSend, RequestEdits};
use crate::gateway::grammar::{Framing, Kind, RequestHead, RequestView, may_pass};
use crate::gateway::request::Request;
use crate::head::Head;

/// Writes the head for the instance of the request's attempt.
pub(super) fn write(
    head: &RequestView<'_>,
    request: &Request,
    added: &mut Added,
    now: Instant,
    out: &mut Vec<u8>,
) {
    let edits = RequestEdits::of(request, head, now);
    out.extend_from_slice(head.method().as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(edits.target().unwrap_or(head.target()));
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let mut lines = Splice::of(head.read().fields(), head.bytes(), added);
    leave_out_of_connection(&mut lines, head, request);
    if let Some(host) = edits.host() {
        lines.remove("host");
        lines.line(b"Host", host.as_bytes());
    } else if !request.fields.host
        && let Some(host) = head.authority()
    {
        lines.line(b"Host", host);
    }
    let Ok(()) = edits.apply(&mut lines);
    frame(&mut lines, head.read());
    if let Some(protocols) = upgrade(head, request) {
        lines.line(b"Connection", b"Upgrade");
        lines.line(b"Upgrade", protocols);
    }
    lines.write(out);
}

/// Writes the head for somebody who parses it again: with nothing in it that could be read in another way.
pub(super) fn write_plain(head: &RequestView<'_>, added: &mut Added, out: &mut Vec<u8>) {
    out.extend_from_slice(head.method().as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.target());
    out.extend_from_slice(if head.version() == Version::HTTP_11 {
        b" HTTP/1.1\r\n"
    } else {
        b" HTTP/1.0\r\n"
    });
    let mut lines = Splice::of(head.read().fields(), head.bytes(), added);
    if head.fields().all(|(name, _)| name != "host")
        && let Some(host) = head.authority()
    {
        lines.line(b"Host", host);
    }
    frame(&mut lines, head.read());
    lines.write(out);
}

/// The protocols that the request asks for, if its connection may become a tunnel.
pub(super) fn upgrade<'h>(head: &RequestView<'h>, request: &Request) -> Option<&'h [u8]> {
    let asked = head.read().upgrade()?.of(head.bytes());
    request.fields.ask_for_tunnel(head, &request.route()?.upgrades).then_some(asked)
}

/// A length is written as everybody reads it.
fn frame(lines: &mut Splice<'_>, parsed: &RequestHead) {
    if let Framing::Length(length) = parsed.framing()
        && !parsed.length_is_normal()
    {
        lines.remove("content-length");
        lines.line(b"Content-Length", itoa::Buffer::new().format(length).as_bytes());
    }
}

/// Leaves out what is of the client's connection, and what that names: RFC 9110, 7.6.1.
fn leave_out_of_connection(lines: &mut Splice<'_>, head: &RequestView<'_>, request: &Request) {
    // HTTP/1.0 knows no 100.
    if head.version() == Version::HTTP_10 {
        lines.remove("expect");
    }
    if !request.fields.are_hop_by_hop() {
        return;
    }
    lines.leave_out_named_by_connection(|_| false);
    let names_trailers = head.read().framing() == Framing::Chunked && names_only_trailers(head, request);
    lines.leave_out(|name, _| {
        matches!(
            name,
            "connection"
                | "keep-alive"
                | "te"
                | "upgrade"
                | "http2-settings"
                | "proxy-connection"
                | "proxy-authenticate"
                | "proxy-authorization"
        ) || name == "trailer" && !names_trailers
    });
}

/// Whether `Trailer` names only what goes on behind the body.
fn names_only_trailers(head: &RequestView<'_>, request: &Request) -> bool {
    let lists = head.read().fields().of_kind(head.bytes(), Kind::Trailer);
    let mut names = lists.flat_map(|list| list.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    names.all(|name| {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        may_pass(&name, &request.common.trace_header)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::fixture::{NOWHERE, Setup, with_certificate};
    use crate::gateway::origin::Arrival;

    /// The gateway's own lines.
    const ADDED: [&str; 4] = ["CDN-Loop: ", "X-Forwarded-", "trace_id: ", "traceparent: "];

    /// What an instance gets of this head, but for these.
    fn sent(head: &str) -> String {
        let text = head_for_instance(&format!("{head}|"), NOWHERE);
        let is_added = |line: &&str| ADDED.iter().any(|name| line.starts_with(name));
        text.split_inclusive('|').filter(|line| !is_added(line)).collect()
    }

    fn head_for_instance(head: &str, arrival: Arrival) -> String {
        let bytes = head.replace('|', "\r\n").into_bytes();
        let mut parsed = RequestHead::default();
        assert_eq!(parsed.read(&bytes), Ok(Some(bytes.len())));
        let view = parsed.of(&bytes);
        let mut request = Setup::of(1).build().sent_to(0);
        request.begin(&view, arrival);
        let mut out = Vec::new();
        write(&view, &request, &mut Added::default(), request.started, &mut out);
        String::from_utf8(out).unwrap().replace("\r\n", "|")
    }

    #[test]
    fn what_is_of_the_connection_does_not_go_on_and_all_else_stays_as_it_is() {
        for (came, goes) in [
            ("GET /a?b HTTP/1.1|hOST: a|B: 1|a:2|b: 3|", "GET /a?b HTTP/1.1|hOST: a|B: 1|a:2|b: 3|"),
            (
                "GET / HTTP/1.1|Host: a|Connection: x-a, keep-alive|X-A: 1|Keep-Alive: 5|TE: trailers|X: y|",
                "GET / HTTP/1.1|Host: a|X: y|",
            ),
            (
                "GET / HTTP/1.1|Host: a|Proxy-Authorization: b|Proxy-Connection: c|HTTP2-Settings: d|Upgrade: h2c|",
                "GET / HTTP/1.1|Host: a|",
            ),
        ] {
            assert_eq!(sent(came), format!("{goes}|"));
        }
    }

    #[test]
    fn a_host_there_is_always() {
        for (came, goes) in [
            ("GET http://a:81/b HTTP/1.0|X: y|", "GET /b HTTP/1.1|X: y|Host: a:81|"),
            ("GET http://a HTTP/1.1|Host: A|", "GET / HTTP/1.1|Host: A|"),
        ] {
            assert_eq!(sent(came), format!("{goes}|"));
        }
    }

    #[test]
    fn a_length_is_written_as_everybody_reads_it_and_http_1_0_expects_nothing() {
        let came = "POST / HTTP/1.0|Host: a|Content-Length: 010|Expect: 100-continue|X: y|";
        assert_eq!(sent(came), "POST / HTTP/1.1|Host: a|X: y|Content-Length: 10||");
        let came = "POST / HTTP/1.1|Host: a|Content-Length: 10|Expect: 100-continue|";
        assert_eq!(sent(came), format!("{came}|"));
    }

    #[test]
    fn trailers_are_announced_that_go_on() {
        let head =
            |names: &str| format!("POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked|Trailer: {names}|");
        assert_eq!(sent(&head("X-A, x-b")), format!("{}|", head("X-A, x-b")));
        assert_eq!(sent(&head("X-A, Host")), "POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||");
        assert_eq!(sent("GET / HTTP/1.1|Host: a|Trailer: x-a|"), "GET / HTTP/1.1|Host: a||");
    }

    #[test]
    fn an_upgrade_goes_on_that_is_permitted_as_a_whole() {
        let head =
            |protocols: &str| format!("GET / HTTP/1.1|Host: a|Connection: Upgrade|Upgrade: {protocols}|");
        assert_eq!(
            sent(&head("WebSocket")),
            "GET / HTTP/1.1|Host: a|Connection: Upgrade|Upgrade: WebSocket||"
        );
        for protocols in ["h2c", "websocket, h2c", "other"] {
            assert_eq!(sent(&head(protocols)), "GET / HTTP/1.1|Host: a||", "{protocols}");
        }
        let with_body = "POST / HTTP/1.1|Host: a|Content-Length: 1|Connection: Upgrade|Upgrade: websocket|";
        assert_eq!(sent(with_body), "POST / HTTP/1.1|Host: a|Content-Length: 1||");
    }

    /// In letters of any size, in any spelling, and also where the connection's options name it.
    #[test]
    fn a_certificate_is_told_once_and_as_the_connection_has_it() {
        let lies =
            "X-Forwarded-Client-CERT: Hash=1|x_forwarded_client_cert: Hash=2|X-FORWARDED-CLIENT-CERT:3|";
        let of = |arrival| {
            let bytes = format!("GET / HTTP/1.1|Host: a|Connection: x-forwarded-client-cert|{lies}|");
            let all = head_for_instance(&bytes, arrival).to_lowercase();
            let lines = all.split('|').filter(|line| line.contains("cert")).map(str::to_owned);
            (lines.collect::<Vec<_>>(), all.contains("|x-forwarded-proto: https|"))
        };
        assert_eq!(of(NOWHERE), (Vec::new(), false));
        let (lines, is_https) = of(with_certificate("192.0.2.7", "pay", "spiffe://pay"));
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(line.starts_with("x-forwarded-client-cert: hash="), "{line}");
        assert!(line.ends_with(";subject=\"cn=pay\";uri=spiffe://pay") && is_https, "{line}");
    }
}
