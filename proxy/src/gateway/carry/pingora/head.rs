//! What Pingora changes in a head before it goes on, and what of it is ours to change.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, Version, header};
use pingora::http::authority::raw_target_authority;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::upstreams::peer::HttpUpstreamRequestPolicy;
use pingora::{Error, Result};

use crate::gateway::answer::Answer;
use crate::gateway::edits::{AnswerEdits, FieldsToSend, RequestEdits};
use crate::gateway::entry::FieldsFound;
use crate::gateway::proxy_status;
use crate::gateway::reply::{self, Reply};
use crate::gateway::request::Request;
use crate::head::Head;

impl Head for RequestHeader {
    fn method(&self) -> &Method {
        &self.method
    }

    fn target(&self) -> &[u8] {
        self.raw_path()
    }

    fn path(&self) -> &str {
        self.uri.path()
    }

    fn authority(&self) -> Option<&[u8]> {
        let of_uri = || self.uri.authority().map(|authority| authority.as_str().as_bytes());
        raw_target_authority(self.raw_path()).authority().or_else(of_uri)
    }

    fn version(&self) -> Version {
        self.version
    }

    fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    fn values<'h>(&'h self, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
        self.headers.get_all(name).iter().map(HeaderValue::as_bytes)
    }

    fn value<'h>(&'h self, name: &HeaderName) -> Option<&'h [u8]> {
        self.headers.get(name).map(HeaderValue::as_bytes)
    }
}

impl FieldsToSend for RequestHeader {
    type Error = Box<Error>;

    fn remove(&mut self, name: &str) {
        self.remove_header(name);
    }

    fn set(&mut self, name: &Bytes, value: &[u8]) -> Result<()> {
        self.insert_header(name.clone(), value)
    }

    fn add(&mut self, name: &Bytes, value: &[u8]) -> Result<()> {
        self.append_header(name.clone(), value).map(drop)
    }
}

impl FieldsToSend for ResponseHeader {
    type Error = Box<Error>;

    fn remove(&mut self, name: &str) {
        self.remove_header(name);
    }

    fn set(&mut self, name: &Bytes, value: &[u8]) -> Result<()> {
        self.insert_header(name.clone(), value)
    }

    fn add(&mut self, name: &Bytes, value: &[u8]) -> Result<()> {
        self.append_header(name.clone(), value).map(drop)
    }
}

/// Over HTTP/2 a client may write its cookies in several fields, so that what it says again is little. They are one to
/// whoever speaks HTTP/1 (RFC 9113, 8.2.3).
pub(super) fn join_cookies(head: &mut RequestHeader) -> Result<()> {
    let mut crumbs = head.headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return Ok(()) };
    let all: Vec<_> = [first, second].into_iter().chain(crumbs).map(HeaderValue::as_bytes).collect();
    let joined = all.join(&b"; "[..]);
    head.insert_header(header::COOKIE, joined)
}

/// What Pingora is to do with a request before [`prepare`] does the rest. Most requests have nothing of one connection,
/// and to search for each of these names costs more than the one look at all that tells so.
pub(super) fn policy(fields: FieldsFound, may_be_tunnel: bool) -> HttpUpstreamRequestPolicy {
    if !fields.are_hop_by_hop() {
        HttpUpstreamRequestPolicy::preserve()
    } else if may_be_tunnel {
        HttpUpstreamRequestPolicy::standard()
    } else {
        HttpUpstreamRequestPolicy::deny_upgrades()
    }
}

/// Whether this 101 says to which protocol, and nothing of a body: RFC 9110, 7.8.
pub(super) fn switches_to_websocket(answer: &ResponseHeader) -> bool {
    let connection = answer.headers.get_all(header::CONNECTION).iter();
    let mut options = connection.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let protocol = answer.headers.get(header::UPGRADE);
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        && protocol.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && !answer.headers.contains_key(header::TRANSFER_ENCODING)
        && !answer.headers.contains_key(header::CONTENT_LENGTH)
}

/// Whether the instance may answer with a tunnel. Pingora passes on what asks for a WebSocket, and for nothing beside it.
pub(super) fn may_be_tunnel(request: &Request, head: &impl Head) -> bool {
    let is_websocket = |protocol: &[u8]| protocol.eq_ignore_ascii_case(b"websocket");
    head.value(&header::UPGRADE).is_some_and(is_websocket)
        && request.route().is_some_and(|route| request.fields.ask_for_tunnel(head, &route.upgrades))
}

/// Makes of a client's head what the instance gets. (Fields of one connection are Pingora's to remove, and it has:
/// [`policy`].)
pub(super) fn prepare(head: &mut RequestHeader, edits: &RequestEdits<'_, impl Head>) -> Result<()> {
    if let Some(target) = edits.target() {
        head.set_raw_path(target)?;
    }
    if let Some(host) = edits.host() {
        head.insert_header(header::HOST, host)?;
    }
    edits.apply(head)
}

/// Makes a head and a body of an answer of the gateway's own.
pub(super) fn reply(
    answer: Answer,
    request: &Request,
    head: &RequestHeader,
) -> Result<(ResponseHeader, Bytes)> {
    let Reply { status, fields, body } = Reply::of(answer, request, head);
    let mut sent = ResponseHeader::build(status, Some(fields.len() + 2))?;
    for (name, value) in fields {
        sent.append_header(reply::written(&name), value)?;
    }
    if let Some(status) = proxy_status::of(request, answer) {
        sent.insert_header("Proxy-Status", status)?;
    }
    AnswerEdits::of_gateway(request, head, status).apply(&mut sent)?;
    Ok((sent, body))
}

/// Removes what an answer says of the connection that it came on. What frames its body is Pingora's.
pub(super) fn strip_hop_by_hop(answer: &mut ResponseHeader) {
    if answer.status == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    // Most answers have none of them, which is cheaper to see than to remove.
    if !answer.headers.keys().any(is_hop_by_hop) {
        return;
    }
    // By it a client hears what the instance speaks: RFC 9110, 15.5.22.
    let keeps_upgrade = answer.status == StatusCode::UPGRADE_REQUIRED;
    let lines = answer.headers.get_all(header::CONNECTION).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let named: Vec<_> = names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect();
    for name in named {
        let is_kept = keeps_upgrade && name == header::UPGRADE;
        if !is_kept && name != header::TRANSFER_ENCODING && name != header::CONTENT_LENGTH {
            answer.remove_header(&name);
        }
    }
    for name in ["connection", "keep-alive", "proxy-connection"] {
        answer.remove_header(name);
    }
    if !keeps_upgrade {
        answer.remove_header(&header::UPGRADE);
    }
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::UPGRADE
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}
