//! The host that a request is matched by.

use std::borrow::Cow;

/// A host in small letters, without its port and a trailing dot. `host`: as it came. What is written as usual is not
/// copied.
pub(crate) fn plain(host: &[u8]) -> Cow<'_, [u8]> {
    let host = without_port(host);
    let host = host.strip_suffix(b".").unwrap_or(host);
    if host.iter().any(u8::is_ascii_uppercase) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// Whatever follows the last colon is a port, but for one within the brackets of an IPv6 address.
fn without_port(host: &[u8]) -> &[u8] {
    let at = host.iter().rposition(|byte| matches!(byte, b':' | b']'));
    match at.and_then(|at| host.split_at_checked(at)) {
        Some((name, [b':', ..])) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_host_is_compared_without_port_case_and_trailing_dot() {
        for (came, expected) in [
            ("shop.example.com", "shop.example.com"),
            ("shop.example.com:8080", "shop.example.com"),
            ("shop.example.com.:80", "shop.example.com"),
            ("Shop.EXAMPLE.com.", "shop.example.com"),
            ("shop.example.com:", "shop.example.com"),
            ("10.0.0.1:80", "10.0.0.1"),
            ("[::1]:80", "[::1]"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
            ("", ""),
            (":80", ""),
        ] {
            assert_eq!(&*plain(came.as_bytes()), expected.as_bytes(), "{came}");
        }
    }

    #[test]
    fn one_that_is_written_as_usual_is_not_copied() {
        assert!(matches!(plain(b"shop.example.com:80"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(host in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(!plain(&host).iter().any(u8::is_ascii_uppercase));
        }
    }
}
