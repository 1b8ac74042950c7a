//! The host that a request is matched by.

/// The longest name of a host (RFC 1035, 2.3.4, as it is written).
const LONGEST: usize = 253;

/// A host in small letters, without its port and a trailing dot.
#[derive(Debug)]
pub(crate) enum Host<'h> {
    /// As it came.
    Same(&'h [u8]),
    Lowered([u8; LONGEST], usize),
}

impl<'h> Host<'h> {
    /// `host`: as it came, with a port or without. Nothing is left of what is too long to be one.
    pub(crate) fn of(host: &'h [u8]) -> Self {
        let host = without_port(host);
        let host = host.strip_suffix(b".").unwrap_or(host);
        if !host.iter().any(u8::is_ascii_uppercase) {
            return Self::Same(host);
        }
        let mut lowered = [0; LONGEST];
        match lowered.get_mut(..host.len()) {
            Some(start) => {
                start.copy_from_slice(host);
                start.make_ascii_lowercase();
                Self::Lowered(lowered, host.len())
            }
            None => Self::Same(b""),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Same(host) => host,
            Self::Lowered(host, length) => host.get(..*length).unwrap_or_default(),
        }
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
            assert_eq!(Host::of(came.as_bytes()).as_bytes(), expected.as_bytes(), "{came}");
        }
        assert_eq!(Host::of("A".repeat(LONGEST + 1).as_bytes()).as_bytes(), b"");
    }

    #[test]
    fn one_that_is_written_as_usual_is_not_copied() {
        assert!(matches!(Host::of(b"shop.example.com:80"), Host::Same(_)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(host in proptest::collection::vec(any::<u8>(), 0..300)) {
            let lowered = Host::of(&host);
            prop_assert!(!lowered.as_bytes().iter().any(u8::is_ascii_uppercase));
        }
    }
}
