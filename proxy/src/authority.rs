//! The host that a client names.

use std::borrow::Cow;

/// The longest host, in bytes: RFC 1035, 2.3.4, as it is written.
const LONGEST: usize = 253;

/// A host, and a port if there is one: RFC 3986, 3.2.2 and 3.2.3, of which nothing is taken that a browser might read
/// as the end of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Authority<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// None: this is no host.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let colon = text.rfind([':', ']']).filter(|at| text[*at..].starts_with(':'));
        let (host, port) = match colon.map(|at| (&text[..at], &text[at + 1..])) {
            None => (text, None),
            // As good as none: RFC 3986, 3.2.3.
            Some((host, "")) => (host, None),
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                (host, Some(port.parse().ok()?))
            }
            Some(_) => return None,
        };
        (host.len() <= LONGEST && is_host(host)).then_some(Self { host, port })
    }

    /// In small letters, without a trailing dot.
    pub(crate) fn name(self) -> Cow<'a, str> {
        let name = self.host.strip_suffix('.').unwrap_or(self.host);
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Cow::Owned(name.to_ascii_lowercase());
        }
        Cow::Borrowed(name)
    }
}

fn is_host(host: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let name = host.strip_suffix('.').unwrap_or(host);
            // No label is empty.
            let is_part = |(before, byte): (u8, u8)| is_of_name(byte) && (before, byte) != (b'.', b'.');
            !name.is_empty()
                && !name.ends_with('.')
                && std::iter::once(b'.').chain(name.bytes()).zip(name.bytes()).all(is_part)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_host_has_a_port_or_none() {
        for (text, host, port) in [
            ("shop.example.com", "shop.example.com", None),
            ("Shop.example.com.:8443", "shop.example.com", Some(8443)),
            ("shop:", "shop", None),
            ("192.0.2.1:80", "192.0.2.1", Some(80)),
            ("[2001:DB8::1]", "[2001:db8::1]", None),
            ("[::1]:80", "[::1]", Some(80)),
            ("a_b~c", "a_b~c", None),
        ] {
            let authority = Authority::parse(text.as_bytes()).unwrap();
            assert_eq!((&*authority.name(), authority.port), (host, port), "{text}");
        }
    }

    #[test]
    fn what_could_lead_anywhere_else_is_no_host() {
        for text in [
            "", ".", "..", ".a", "a..", "a..b", ":80", "a/b", "a\\b", "a@b", "a?b", "a#b", "a b", "a,b",
            "a\"b", "a<b", "a%2fb", "a:b", "a:65536", "a:+1", "a:80:80", "::1", "[::1", "[::1]a", "[a]", "ü",
            "a;b", "a\tb",
        ] {
            assert_eq!(Authority::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Authority::parse(b"\xff"), None);
        assert_eq!(Authority::parse("a".repeat(LONGEST + 1).as_bytes()), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Authority::parse(&text);
        }
    }
}
