//! How many gateways a request has come through.
//!
//! Whoever registers a gateway's own address, under another name of the machine, by way of a load balancer or of a
//! second gateway, sends each request round in circles. So a gateway writes into each request that it sends on that
//! it was there, and no longer sends on what was at too many of them.
//!
//! It is written into `CDN-Loop` (RFC 8586): a list to which each proxy adds its name, and which others pass on
//! unchanged. `Via` would say the same, but is used to describe protocols, rewritten for privacy, and what has one
//! gets other answers from some servers (no compression).
//!
//! A client may write what it likes there: at worst it is answered that it goes round in circles. It cannot make the
//! gateways forget to count, as each adds itself behind whatever there is, after a comma, and counts what stands
//! between commas without asking whether the list is a valid one.

use bytes::Bytes;
use embedded_registry::{GATEWAY, is_gateway};
use http::{HeaderName, HeaderValue};

use crate::head::Head;

/// So many gateways a request may pass through. Three in a row are usual (at the edge, in a region, before a team's
/// services); what goes round in circles has cost so many requests when it is found out.
pub(super) const MOST: usize = 8;

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// The gateways that a request has come through.
#[derive(Debug, Clone)]
pub(super) struct Hops {
    passed: usize,
    /// What came, and this gateway.
    marker: HeaderValue,
}

impl Hops {
    /// A request that comes from a client.
    pub(super) fn none() -> Self {
        Self { passed: 0, marker: HeaderValue::from_static(GATEWAY) }
    }

    /// What a request says.
    pub(super) fn of(head: &impl Head) -> Self {
        let mut list = Vec::new();
        for line in head.values(&CDN_LOOP) {
            list.extend_from_slice(line);
            list.extend_from_slice(b", ");
        }
        if list.is_empty() {
            return Self::none();
        }
        let passed = list.split(|byte| *byte == b',').filter(|member| is_gateway(member)).count();
        list.extend_from_slice(GATEWAY.as_bytes());
        match HeaderValue::from_maybe_shared(Bytes::from(list)) {
            Ok(marker) => Self { passed, marker },
            // It is made of values that were valid.
            Err(_) => Self { passed, ..Self::none() },
        }
    }

    /// Whether the request must not go on.
    pub(super) fn are_too_many(&self) -> bool {
        self.passed >= MOST
    }

    /// The header's value for the next hop.
    pub(super) fn marker(&self) -> &[u8] {
        self.marker.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::tests::head;
    use http::Method;
    use proptest::prelude::*;

    fn hops(lines: &[&[u8]]) -> Hops {
        let fields: Vec<_> = lines.iter().map(|line| ("cdn-loop", *line)).collect();
        Hops::of(&head(Method::GET, "/", &fields))
    }

    #[test]
    fn each_gateway_counts_and_nobody_else() {
        assert_eq!(hops(&[]).passed, 0);
        assert_eq!(hops(&[b"leaseway"]).passed, 1);
        assert_eq!(
            hops(&[b"edge.example:80; a=1, Leaseway ;hops=2,leaseway2, myleaseway", b"\tleaseway"]).passed,
            2
        );
        assert_eq!(hops(&[b", ,", b""]).passed, 0);
    }

    #[test]
    fn what_others_wrote_goes_on_in_one_line() {
        assert_eq!(hops(&[]).marker(), b"leaseway");
        assert_eq!(hops(&[b"fastly", b"edge; a=\"b\""]).marker(), b"fastly, edge; a=\"b\", leaseway");
    }

    #[test]
    fn eight_gateways_are_the_most() {
        let passed = |count| hops(&vec![&b"leaseway"[..]; count]);
        assert!(!passed(MOST - 1).are_too_many());
        assert!(passed(MOST).are_too_many());
    }

    proptest! {
        #[test]
        fn whatever_came_one_more_is_counted_at_each_gateway(
            line in r#"[ -~\t\x{80}-\x{ff}]{0,40}|[,;" \\a]{0,20}|(leaseway[,; ]{0,2}){0,4}"#,
        ) {
            let mut now = hops(&[line.as_bytes()]);
            for _ in 0..3 {
                let next = hops(&[now.marker()]);
                prop_assert_eq!(next.passed, now.passed + 1);
                now = next;
            }
        }
    }
}
