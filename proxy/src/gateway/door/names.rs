//! Which of the headers that the gateway looks at a request has.

use http::{HeaderName, HeaderValue, header};
use pingora::http::RequestHeader;

use super::forged;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Which of the headers that the gateway looks at a request has: found in one look at all names, as most requests
/// have few of them, and each search costs more than this.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Names {
    pub(super) host: bool,
    pub(super) length: bool,
    pub(super) encoding: bool,
    upgrade: bool,
    traceparent: bool,
    pub(crate) tracestate: bool,
    pub(crate) cdn_loop: bool,
    /// A `Connection` that speaks of nothing but whether the connection stays, as each browser's does.
    pub(crate) stays_or_closes: bool,
    /// Those of one connection that are none of the above.
    hop_by_hop: bool,
    /// Those that must not go on.
    pub(crate) forged: bool,
}

impl Names {
    pub(crate) fn of(head: &RequestHeader, trace_header: &[u8]) -> Self {
        let mut names = Self::default();
        for name in head.headers.keys() {
            match name.as_str() {
                "host" => names.host = true,
                "content-length" => names.length = true,
                "transfer-encoding" => names.encoding = true,
                "upgrade" => names.upgrade = true,
                "traceparent" => names.traceparent = true,
                "tracestate" => names.tracestate = true,
                "cdn-loop" => names.cdn_loop = true,
                "connection" if stays_or_closes(head) => names.stays_or_closes = true,
                "connection"
                | "keep-alive"
                | "te"
                | "trailer"
                | "http2-settings"
                | "proxy-connection"
                | "proxy-authenticate"
                | "proxy-authorization" => names.hop_by_hop = true,
                _ => names.forged |= forged::is_forged(name, trace_header),
            }
        }
        names
    }

    /// Whether Pingora is to remove what is of one connection, and what `Connection` names. Most requests have
    /// none of it, and to search for each of these names costs more than this one look at all.
    pub(crate) fn are_hop_by_hop(self) -> bool {
        self.hop_by_hop || self.upgrade || self.encoding
    }

    /// Whether the endpoint may answer with a tunnel: the one upgrade that Pingora passes on.
    pub(crate) fn ask_for_tunnel(self, head: &RequestHeader) -> bool {
        let upgrade = || head.headers.get(header::UPGRADE);
        self.upgrade
            && upgrade().is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
    }

    /// The `traceparent` of a request; of several none counts.
    pub(crate) fn traceparent(self, head: &RequestHeader) -> Option<&[u8]> {
        let mut values = self.traceparent.then(|| head.headers.get_all(TRACEPARENT).iter())?;
        match (values.next(), values.next()) {
            (Some(value), None) => Some(value.as_bytes()),
            _ => None,
        }
    }
}

fn stays_or_closes(head: &RequestHeader) -> bool {
    let mut lines = head.headers.get_all(header::CONNECTION).iter().map(HeaderValue::as_bytes);
    lines.all(|line| line.eq_ignore_ascii_case(b"keep-alive") || line.eq_ignore_ascii_case(b"close"))
}
