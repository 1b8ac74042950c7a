//! What Pingora changes in a head before it goes on, and what of it is ours to change.

use http::{HeaderName, HeaderValue, Method, StatusCode, Version, header};
use pingora::http::authority::raw_target_authority;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::upstreams::peer::HttpUpstreamRequestPolicy;

use crate::gateway::door::{Fields, forged};
use crate::gateway::request::Request;
use crate::head::Head;

const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

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

/// What Pingora is to do with a request before [`prepare`] does the rest. Most requests have nothing of one connection,
/// and to search for each of these names costs more than the one look at all that tells so.
pub(super) fn policy(fields: Fields) -> HttpUpstreamRequestPolicy {
    if fields.are_hop_by_hop() {
        HttpUpstreamRequestPolicy::standard()
    } else {
        HttpUpstreamRequestPolicy::preserve()
    }
}

/// Adds the trace and the gateway's mark, and says who asked; what a client says of that is not believed.
/// (Hop-by-hop headers are Pingora's to strip, and it has: [`policy`].)
pub(super) fn prepare(head: &mut RequestHeader, request: &Request) -> pingora::Result<()> {
    let (fields, trace_header) = (request.fields, &request.common.trace_header);
    if fields.forged {
        strip_forged(head, trace_header);
    }
    // Where Pingora was to remove it, what stands there now is Pingora's own.
    if fields.stays_or_closes && !fields.are_hop_by_hop() {
        head.remove_header(&header::CONNECTION);
    }
    head.insert_header(trace_header.clone(), request.trace.id_value())?;
    head.insert_header("traceparent", request.trace.traceparent())?;
    if fields.tracestate && !request.trace.continued {
        head.remove_header(&TRACESTATE);
    }
    head.insert_header("CDN-Loop", request.hops.marker())?;
    let origin = &request.origin;
    head.insert_header("X-Forwarded-For", origin.list().unwrap_or(&request.client).clone())?;
    head.insert_header("X-Forwarded-Proto", HeaderValue::from_static(origin.scheme.as_str()))?;
    if let Some(forwarded) = origin.forwarded() {
        head.insert_header("Forwarded", forwarded.clone())?;
    }
    if request.common.via {
        head.append_header("Via", via(head.version))?;
    }
    let host = head.headers.get(header::HOST);
    if let Some(host) = origin.host().or(host).cloned() {
        head.insert_header("X-Forwarded-Host", host)?;
    }
    if !head.headers.contains_key(header::HOST)
        && let Some(attempt) = request.attempt()
    {
        // From an HTTP/1.0 client; the endpoint is spoken to in HTTP/1.1, which requires it.
        head.insert_header(header::HOST, attempt.endpoint.address.to_string())?;
    }
    Ok(())
}

/// What `Via` says of a message that came in this version.
pub(super) fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(if version == Version::HTTP_10 { "1.0 leaseway" } else { "1.1 leaseway" })
}

fn strip_forged(head: &mut RequestHeader, trace_header: &[u8]) {
    let is_forged = |name: &&HeaderName| forged::is_forged(name.as_str(), trace_header);
    let forged: Vec<_> = head.headers.keys().filter(is_forged).cloned().collect();
    for name in forged {
        head.remove_header(&name);
    }
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
    let lines = answer.headers.get_all(header::CONNECTION).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let named: Vec<_> = names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect();
    for name in named {
        if name != header::TRANSFER_ENCODING && name != header::CONTENT_LENGTH {
            answer.remove_header(&name);
        }
    }
    for name in ["connection", "keep-alive", "proxy-connection", "upgrade"] {
        answer.remove_header(name);
    }
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::UPGRADE
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}
