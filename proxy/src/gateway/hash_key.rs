//! The key of a request whose service is balanced by hash.

use crate::config::HashKey;
use crate::directory;
use crate::head::Head;

/// The hash of a request's key. A request that lacks it is known by its client's address.
pub(super) fn of(key: &HashKey, head: &impl Head, client: &[u8]) -> u64 {
    let found = match key {
        HashKey::Header(name) => head.value(name),
        HashKey::Cookie(name) => head.cookies(name).next(),
        HashKey::Path => Some(head.path().as_bytes()),
        HashKey::Client => None,
    };
    directory::hash(found.unwrap_or(client))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::tests::{FakeHead, head};
    use http::Method;

    fn cart(headers: &[(&'static str, &'static str)]) -> FakeHead {
        let fields: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        head(Method::GET, "/cart?item=7", &fields)
    }

    fn key(key: &HashKey, head: &FakeHead) -> u64 {
        of(key, head, b"192.0.2.1")
    }

    #[test]
    fn a_key_is_what_the_request_says_and_else_its_client() {
        let by_header = HashKey::Header(http::HeaderName::from_static("x-user"));
        let ann = key(&by_header, &cart(&[("x-user", "ann")]));
        assert_eq!(ann, directory::hash(b"ann"));
        assert_ne!(ann, key(&by_header, &cart(&[("x-user", "bob")])));
        assert_eq!(key(&by_header, &cart(&[])), directory::hash(b"192.0.2.1"));
        assert_eq!(key(&HashKey::Client, &cart(&[("x-user", "ann")])), directory::hash(b"192.0.2.1"));
        assert_eq!(key(&HashKey::Path, &cart(&[])), directory::hash(b"/cart"), "without its query");
    }

    #[test]
    fn a_cookie_is_found_among_others_by_its_whole_name() {
        let by_cookie = HashKey::Cookie("sid".into());
        for headers in [
            &[("cookie", "sid=7")][..],
            &[("cookie", "a=1; sid=7; b=2")],
            &[("cookie", "a=1"), ("cookie", "sid=7")],
            &[("cookie", "xsid=9; sid=7; sid=8")],
        ] {
            assert_eq!(key(&by_cookie, &cart(headers)), directory::hash(b"7"), "{headers:?}");
        }
        for headers in [&[("cookie", "sidx=7")][..], &[("cookie", "sid")], &[]] {
            assert_eq!(key(&by_cookie, &cart(headers)), directory::hash(b"192.0.2.1"), "{headers:?}");
        }
    }
}
