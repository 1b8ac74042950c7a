//! The trailer section of a chunked body: RFC 9112, 7.1.2; RFC 9110, 6.5.

use super::fields::Fields;
use super::lines::Lines;
use crate::forged;

/// The longest one, in bytes.
pub(super) const LONGEST: usize = 8 << 10;
/// So many fields it has at the most.
pub(super) const FIELDS: usize = 100;

/// What must not stand in a trailer: who puts it beside the head's fields, as many libraries do, would act by it after
/// others have acted by the head. RFC 9110, 6.5.1: what frames and routes a message, changes what is asked, says who asks,
/// how an answer is to be kept, and what its content is.
const NOT_BEHIND: [&str; 45] = [
    "age",
    "allow",
    "alt-svc",
    "authentication-info",
    "authorization",
    "cache-control",
    "cdn-loop",
    "clear-site-data",
    "connection",
    "cookie",
    "date",
    "expect",
    "expires",
    "early-data",
    "forwarded",
    "from",
    "host",
    "http2-settings",
    "keep-alive",
    "last-event-id",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "priority",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "set-cookie",
    "strict-transport-security",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];
/// All that begin so.
const FAMILIES: [&str; 6] = ["access-control-", "content-", "if-", "proxy-", "sec-", "x-forwarded"];
/// What is of such a family, but is known when the content is: RFC 9530, and RFC 1864 before it.
const DIGESTS: [&str; 2] = ["content-digest", "content-md5"];

impl Fields {
    /// Reads a trailer section that [`super::Step::Trailers`] has found. None of its fields counts otherwise.
    pub(in crate::gateway) fn read_trailers(&mut self, bytes: &[u8]) {
        self.clear();
        let mut lines = Lines::default();
        while let Ok(Some(line)) = lines.next(bytes)
            && line.len() > 0
            && self.add(bytes, line).is_ok()
        {}
        self.finish();
    }
}

/// Whether what came under this name, in small letters, may go on in a trailer section.
pub(in crate::gateway) fn may_pass(name: &str, trace_header: &[u8]) -> bool {
    let is_of = |family: &&str| {
        let start = name.as_bytes().get(..family.len());
        start.is_some_and(|start| forged::is_same(start, family.as_bytes()))
    };
    if DIGESTS.contains(&name) {
        return true;
    }
    name.as_bytes() != trace_header
        && !NOT_BEHIND.iter().any(|known| forged::is_same(name.as_bytes(), known.as_bytes()))
        && !FAMILIES.iter().any(is_of)
        && !forged::is_forged(name, trace_header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_how_a_message_is_treated_does_not_stand_behind_it() {
        for name in NOT_BEHIND {
            assert!(
                !may_pass(name, b"trace_id") && !may_pass(&name.replace('-', "_"), b"trace_id"),
                "{name}"
            );
        }
        for name in [
            "content-type",
            "content_length",
            "content-disposition",
            "if-none-match",
            "proxy-authorization",
            "x-forwarded-for",
            "x_forwarded-host",
            "x-real-ip",
            "client-ip",
            "access-control-allow-origin",
            "sec-websocket-key",
            "trace_id",
            "trace-id",
        ] {
            assert!(!may_pass(name, b"trace_id"), "{name}");
        }
    }

    #[test]
    fn what_is_known_at_the_end_may_stand_there() {
        for name in [
            "grpc-status",
            "grpc-message",
            "content-digest",
            "repr-digest",
            "content-md5",
            "etag",
            "server-timing",
            "x",
        ] {
            assert!(may_pass(name, b"trace_id"), "{name}");
        }
    }

    #[test]
    fn a_section_is_read_into_fields() {
        let section = b"X-A: b\r\nY:\r\n\r\n";
        let mut fields = Fields::default();
        for _ in 0..2 {
            fields.read_trailers(section);
            assert_eq!(fields.iter(section).collect::<Vec<_>>(), [("x-a", &b"b"[..]), ("y", b"")]);
        }
    }
}
