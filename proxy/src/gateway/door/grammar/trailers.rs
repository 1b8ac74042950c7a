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
