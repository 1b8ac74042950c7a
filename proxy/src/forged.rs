//! Headers by which proxies tell those behind them who asked, and for what. From a client they are a lie until it is
//! known to be a proxy, so none of them goes on.
//!
//! A server may know a header by another name than it came under. CGI, and WSGI, Rack and PHP after it, make
//! `X-Forwarded-For` a variable, in which whatever is no letter and no digit becomes `_`: at the least `-`, in some
//! servers (lighttpd, older Apache) each character that a name may have. `X_Forwarded_For` and `X.Forwarded.For` are
//! then the same header as the one that the gateway sets, and what the instance reads is the one, the other or both.
//! So names are compared as if all these characters were `-`. A name that means nothing to the gateway keeps them:
//! `trace_id` is one of its own.

/// All that begin so are forged: `X-Forwarded-Port`, `-Prefix`, `-Server`, `-User`, and whatever comes up next.
const FAMILY: &str = "x-forwarded";

/// What tells a server whose request it is, over what it came, and for what. What Traefik, Envoy and oauth2-proxy
/// remove, what large content delivery networks and clouds call the client's address, and what frameworks read
/// without being told to.
const FORGED: [&str; 50] = [
    // RFC 7239.
    "forwarded",
    // RFC 9440. (The other one for certificates is of the family.)
    "client-cert",
    "client-cert-chain",
    // Who asks.
    "x-real-ip",
    "x-client-ip",
    "client-ip",
    "true-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-original-remote-addr",
    "x-remote-addr",
    "x-remote-ip",
    "x-proxyuser-ip",
    "x-envoy-external-address",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-pseudo-ipv4",
    "cdn-src-ip",
    "ali-cdn-real-ip",
    "do-connecting-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "incap-client-ip",
    "x-appengine-user-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-nf-client-connection-ip",
    "appengine-user-ip",
    // Whom libraries of Java, Node and PHP believe: WebLogic's plug-in, and lists that are copied from one to the next.
    // Some look for the names of CGI's variables among the headers.
    "proxy-client-ip",
    "wl-proxy-client-ip",
    "forwarded-for",
    "http-client-ip",
    "http-forwarded",
    "http-forwarded-for",
    "http-x-cluster-client-ip",
    "http-x-forwarded",
    "http-x-forwarded-for",
    // For what: some frameworks route by it, past whoever has looked at the path or at Host.
    "x-original-url",
    "x-original-uri",
    "x-original-host",
    "x-original-method",
    "x-rewrite-url",
    "x-envoy-original-path",
    "x-http-host-override",
    "x-host",
    // Over what, and below which path.
    "x-scheme",
    "x-url-scheme",
    "front-end-https",
    "x-script-name",
    // In CGI it sets HTTP_PROXY, by which many programs choose where their own requests go.
    "proxy",
];

/// What is set or removed under these names, so that in another spelling it is forged. (Those of the family are
/// forged in any.)
const OURS: [&str; 8] = [
    "cdn-loop",
    "content-length",
    "transfer-encoding",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "http2-settings",
];

/// The lengths of the names above, a bit each, by a name's first letter and by its last: almost all of a request's
/// names are known by these not to be among them.
const LENGTHS: ([u64; 32], [u64; 32]) = lengths();

const fn lengths() -> ([u64; 32], [u64; 32]) {
    let (mut by_first, mut by_last) = ([0; 32], [0; 32]);
    let mut n = 0;
    while n < FORGED.len() + OURS.len() {
        let name = if n < FORGED.len() { FORGED[n] } else { OURS[n - FORGED.len()] }.as_bytes();
        by_first[letter(name[0])] |= 1 << name.len();
        by_last[letter(name[name.len() - 1])] |= 1 << name.len();
        n += 1;
    }
    (by_first, by_last)
}

const fn letter(byte: u8) -> usize {
    (byte & 31) as usize
}

/// Whether what came under this name, in small letters, must not go on. The name that the trace id is sent under is the
/// gateway's, too.
pub(crate) fn is_forged(name: &str, trace_header: &[u8]) -> bool {
    let name = name.as_bytes();
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return false };
    let lengths = LENGTHS.0[letter(*first)] & LENGTHS.1[letter(*last)];
    let may_be_known = lengths.checked_shr(name.len() as u32).unwrap_or(0) & 1 == 1;
    may_be_known && is_known(name)
        || *first == b'x' && name.get(..FAMILY.len()).is_some_and(|start| is_same(start, FAMILY.as_bytes()))
        || is_other_spelling(name, trace_header)
}

fn is_known(name: &[u8]) -> bool {
    FORGED.iter().any(|forged| is_same(name, forged.as_bytes()))
        || OURS.iter().any(|ours| is_other_spelling(name, ours.as_bytes()))
}

/// Whether a server may take two names, in small letters, for one, which are not.
pub(crate) fn is_other_spelling(name: &[u8], known: &[u8]) -> bool {
    name.len() == known.len() && name != known && is_same(name, known)
}

/// Whether a server may take two names, in small letters, for one.
pub(crate) fn is_same(name: &[u8], known: &[u8]) -> bool {
    let fold = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'-' };
    name.len() == known.len() && name.iter().zip(known).all(|(a, b)| fold(*a) == fold(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn forged(name: &str) -> bool {
        is_forged(&name.to_ascii_lowercase(), b"trace_id")
    }

    #[test]
    fn what_proxies_tell_is_forged_in_any_spelling() {
        let family = ["x-forwarded-for", "x-forwardedfor", "x-forwarded-anything", "x-forwarded-client-cert"];
        for name in FORGED.into_iter().chain([FAMILY]).chain(family) {
            for separator in ["-", "_", ".", "|", "'"] {
                assert!(forged(&name.replace('-', separator)), "{name} with {separator}");
            }
        }
        assert!(forged("X-Real_Ip") && forged("x_forwarded-for"));
    }

    #[test]
    fn what_the_gateway_sets_is_forged_in_any_spelling_but_its_own() {
        for name in OURS.into_iter().chain(["trace_id"]) {
            assert!(!forged(name), "{name}");
            assert!(forged(&name.replace(['-', '_'], ".")), "{name}");
        }
        assert!(forged("trace-id") && forged("Content_Length"));
    }

    #[test]
    fn what_only_resembles_it_is_not() {
        for name in [
            "host",
            "cookie",
            "x-forward",
            "x-real-ips",
            "x-real",
            "xrealip",
            "real-ip",
            "content-lengths",
            "_",
            "trace-ids",
            "x",
            "x-request-id",
            "via",
            "traceparent",
            "client-id",
            &"x".repeat(64),
            &"p".repeat(69),
            &"f".repeat(4000),
        ] {
            assert!(!forged(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn the_quick_look_misses_none(name in "[a-z][a-z0-9_.-]{0,24}") {
            let bytes = name.as_bytes();
            let is_of_family = name.replace(['_', '.'], "-").starts_with(FAMILY);
            let expected = is_known(bytes) || is_of_family || is_other_spelling(bytes, b"trace_id");
            prop_assert_eq!(forged(&name), expected);
        }
    }
}
