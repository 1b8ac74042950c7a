//! What an instance gets of a request's head: the client's own lines, but for those of its connection, and what the
//! gateway and the route change.

use http::Version;

use super::splice::{Added, Splice};
use crate::gateway::edits::{FieldsToSend, RequestEdits};
use crate::gateway::grammar::{Framing, Kind, RequestHead, RequestView, may_pass};
use crate::gateway::request::Request;
use crate::head::Head;

/// Writes the head for the instance of the request's attempt.
pub(super) fn write(head: &RequestView<'_>, request: &Request, added: &mut Added, out: &mut Vec<u8>) {
    let edits = RequestEdits::of(request, head);
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

/// The protocols that the request may make a tunnel for.
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
