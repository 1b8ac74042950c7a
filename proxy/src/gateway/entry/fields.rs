//! Which of the fields that the gateway looks at a request's head has.

use http::{HeaderName, Version, header};

use crate::config::Upgrades;
use crate::forged;
use crate::gateway::grpc;
use crate::head::Head;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Which of the fields that the gateway looks at a request has: found in one look at all of them, as most requests
/// have few, and each search costs more than this.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FieldsFound {
    pub(crate) host: bool,
    encoding: bool,
    upgrade: bool,
    /// A `Connection` that names more than whether the connection stays.
    pub(super) names_others: bool,
    /// One that names `Upgrade`.
    upgrade_named: bool,
    traceparent: bool,
    pub(crate) tracestate: bool,
    pub(crate) cdn_loop: bool,
    /// A `Connection` that speaks of nothing but whether the connection stays, as each browser's does.
    pub(crate) stays_or_closes: bool,
    /// Those of one connection that are none of the above.
    hop_by_hop: bool,
    /// Those that must not go on.
    pub(crate) forged: bool,
    /// As which kind of call a `Content-Type` shows it.
    pub(in crate::gateway) call: grpc::Kind,
}

impl FieldsFound {
    pub(crate) fn of(head: &impl Head, trace_header: &[u8]) -> Self {
        let mut found = Self::default();
        for (name, value) in head.fields() {
            match name {
                "host" => found.host = true,
                "transfer-encoding" => found.encoding = true,
                "upgrade" => found.upgrade = true,
                "traceparent" => found.traceparent = true,
                "tracestate" => found.tracestate = true,
                "cdn-loop" => found.cdn_loop = true,
                "content-type" => found.call = grpc::Kind::of(head.method(), value),
                "connection" if stays_or_closes(value) => found.stays_or_closes = true,
                "connection" => {
                    found.hop_by_hop = true;
                    found.names_others = true;
                    found.upgrade_named |= names_upgrade(value);
                }
                "keep-alive"
                | "te"
                | "trailer"
                | "http2-settings"
                | "proxy-connection"
                | "proxy-authenticate"
                | "proxy-authorization" => found.hop_by_hop = true,
                _ => found.forged |= forged::is_forged(name, trace_header),
            }
        }
        found
    }

    /// Whether something has to be removed that is of one connection, or that `Connection` names. (A `Connection`
    /// that speaks of itself alone is not meant.)
    pub(crate) fn are_hop_by_hop(self) -> bool {
        self.hop_by_hop || self.upgrade || self.encoding
    }

    /// Whether the endpoint may answer with a tunnel: nothing is asked for but protocols that the route permits. `Upgrade`
    /// means nothing where `Connection` does not name it, and in HTTP/1.0 (RFC 9110, section 7.8), nor in several lines, nor
    /// with a body.
    pub(crate) fn ask_for_tunnel(self, head: &impl Head, upgrades: &Upgrades) -> bool {
        if !(self.upgrade && self.upgrade_named && head.version() == Version::HTTP_11) {
            return false;
        }
        // With a body, which bytes are of the tunnel would be each server's guess.
        let has_length = |length: &[u8]| length.iter().any(|digit| *digit != b'0');
        if self.encoding || head.value(&header::CONTENT_LENGTH).is_some_and(has_length) {
            return false;
        }
        let name = header::UPGRADE;
        let mut lines = head.values(&name);
        lines.next().is_some_and(|protocols| upgrades.permit(protocols)) && lines.next().is_none()
    }

    /// The `traceparent` of a request; of several none counts.
    pub(crate) fn traceparent(self, head: &impl Head) -> Option<&[u8]> {
        if !self.traceparent {
            return None;
        }
        let name = TRACEPARENT;
        let mut values = head.values(&name);
        let first = values.next()?;
        values.next().is_none().then_some(first)
    }
}

fn stays_or_closes(connection: &[u8]) -> bool {
    connection.eq_ignore_ascii_case(b"keep-alive") || connection.eq_ignore_ascii_case(b"close")
}

fn names_upgrade(connection: &[u8]) -> bool {
    connection.split(|byte| *byte == b',').any(|name| name.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::tests::{FakeHead, head};
    use http::Method;

    fn fields(fields: &[(&'static str, &[u8])]) -> FieldsFound {
        FieldsFound::of(&head(Method::GET, "/", fields), b"trace_id")
    }

    #[test]
    fn a_connection_that_names_anything_is_of_one_hop() {
        let plain = fields(&[("connection", b"Keep-Alive"), ("accept", b"*/*")]);
        assert!(plain.stays_or_closes && !plain.are_hop_by_hop() && !plain.forged);
        for lines in [
            &[("connection", &b"keep-alive, x-a"[..])][..],
            &[("connection", b"close"), ("connection", b"x-a")],
            &[("te", b"trailers")],
        ] {
            assert!(fields(lines).are_hop_by_hop(), "{lines:?}");
        }
    }

    #[test]
    fn a_tunnel_is_asked_for_by_both_fields_in_a_version_that_has_it() {
        let asks = |lines: &[(&'static str, &[u8])], version| {
            let head = FakeHead { version, ..head(Method::GET, "/", lines) };
            FieldsFound::of(&head, b"trace_id").ask_for_tunnel(&head, &Upgrades::default())
        };
        let (upgrade, connection) =
            (("upgrade", &b"WebSocket"[..]), ("connection", &b"keep-alive, Upgrade"[..]));
        assert!(asks(&[upgrade, connection], Version::HTTP_11));
        assert!(asks(&[connection, ("connection", b"close"), upgrade], Version::HTTP_11));
        assert!(!asks(&[connection, upgrade, ("upgrade", b"h2c")], Version::HTTP_11));
        assert!(asks(&[upgrade, connection, ("content-length", b"00")], Version::HTTP_11));
        assert!(!asks(&[upgrade, connection, ("content-length", b"10")], Version::HTTP_11));
        assert!(!asks(&[upgrade, connection, ("transfer-encoding", b"chunked")], Version::HTTP_11));
        assert!(!asks(&[upgrade, connection], Version::HTTP_10));
        assert!(!asks(&[("upgrade", b"h2c"), connection], Version::HTTP_11));
        for other in [&b"close"[..], b"upgraded", b""] {
            assert!(!asks(&[upgrade, ("connection", other)], Version::HTTP_11));
        }
        assert!(!asks(&[upgrade], Version::HTTP_11) && !asks(&[connection], Version::HTTP_11));
    }

    #[test]
    fn of_several_traces_none_counts() {
        let parent = |lines: &[(&'static str, &[u8])]| {
            let head = head(Method::GET, "/", lines);
            FieldsFound::of(&head, b"trace_id").traceparent(&head).map(<[u8]>::to_vec)
        };
        assert_eq!(parent(&[("traceparent", b"00-a")]).as_deref(), Some(&b"00-a"[..]));
        assert_eq!(parent(&[("traceparent", b"00-a"), ("traceparent", b"00-b")]), None);
        assert_eq!(parent(&[]), None);
    }
}
