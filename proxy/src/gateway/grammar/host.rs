//! The host that a request names, in `Host` or in its target: RFC 9112, 3.2; RFC 3986, 3.2.2 and 3.2.3.
//!
//! Wider than [`crate::authority`]: that one says what may be sent to a browser, this one what may be asked for.

use super::bytes::is_of_name;

/// A host, and a port if there is one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host<'a> {
    name: &'a [u8],
    port: Option<u16>,
}

impl<'a> Host<'a> {
    /// None: it is none, or an empty one. (There is nobody to ask for at an empty host: RFC 9110, 4.2.1.)
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let length = if text.first() == Some(&b'[') { address(text)? } else { name(text)? };
        let (name, rest) = text.split_at_checked(length)?;
        let port = match rest {
            // An empty port is as good as none: RFC 3986, 3.2.3.
            [] | [b':'] => None,
            [b':', port @ ..] if port.iter().all(u8::is_ascii_digit) => {
                Some(std::str::from_utf8(port).ok()?.parse().ok()?)
            }
            _ => return None,
        };
        (length > 0).then_some(Self { name, port })
    }

    /// Whether two are the same for a scheme that has this port: RFC 9110, 4.2.3.
    pub(super) fn is(self, other: Host<'_>, default: u16) -> bool {
        self.port.unwrap_or(default) == other.port.unwrap_or(default)
            && self.name.eq_ignore_ascii_case(other.name)
    }
}

/// How many bytes an address in brackets takes.
fn address(text: &[u8]) -> Option<usize> {
    let end = memchr::memchr(b']', text)?;
    let address = std::str::from_utf8(text.get(1..end)?).ok()?;
    address.parse::<std::net::Ipv6Addr>().ok()?;
    Some(end + 1)
}

/// How many bytes a name, or an address of version 4, takes.
fn name(text: &[u8]) -> Option<usize> {
    let mut length = 0;
    loop {
        length += text.iter().skip(length).take_while(|byte| is_of_name(**byte)).count();
        match text.get(length..)? {
            [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => length += 3,
            _ => return Some(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_what_the_rfc_says() {
        for good in [
            "a",
            "a:",
            "a:0",
            "a:80",
            "a:000080",
            "A.b-c_d~e",
            "a,b",
            "a;b",
            "%41",
            "a%00:1",
            "*",
            "$(x)",
            "-a",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:80",
            &"a".repeat(1000),
        ] {
            assert!(Host::parse(good.as_bytes()).is_some(), "{good}");
        }
        for bad in [
            "", ":", ":80", "a b", "a/b", "a:x", "a, b", "[::1", "[::1]a", "[]", "[a]", "::1", "a:80:80",
            "a:65536", "a:-1", "a@b", "u:p@a", "a\\b", "a\tb", "\u{e9}", "%zz", "%4", "{a}", "a|b", "a\"",
            "a?b", "a#b", "a\u{7f}",
        ] {
            assert!(Host::parse(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(Host::parse(b"a\x80").is_none());
    }

    #[test]
    fn hosts_are_equal_in_any_letters_and_with_the_usual_port() {
        let is = |a: &str, b: &str, default| {
            Host::parse(a.as_bytes()).unwrap().is(Host::parse(b.as_bytes()).unwrap(), default)
        };
        assert!(is("A", "a", 80) && is("a:80", "a", 80) && is("a:", "a", 80) && is("[::A]", "[::a]:080", 80));
        assert!(is("a:443", "a", 443));
        assert!(!is("a:80", "a", 443) && !is("a", "b", 80) && !is("a:81", "a", 80));
    }
}
