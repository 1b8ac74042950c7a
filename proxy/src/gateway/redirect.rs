//! Where a client is sent that its route sends elsewhere.

use bytes::Bytes;
use http::{HeaderValue, Method};

use super::answer::Answer;
use crate::authority::Authority;
use crate::config::{HostPattern, Redirect, Scheme};

/// The longest URL that a client is sent to, in bytes: each letter of its own may become three.
const LENGTH: usize = 8 * 1024;

/// The URL that a client has asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) scheme: Scheme,
    /// As the client says it.
    pub(super) host: Option<&'a [u8]>,
    /// Normalised.
    pub(super) path: &'a str,
    pub(super) query: Option<&'a [u8]>,
}

/// The host that a client has asked for: as a proxy says that is trusted, else as the head says. Some proxies pass on as
/// it came what a client writes as the former. So where a route takes certain hosts, it sends nobody to another by that.
pub(super) fn asked_host<'a>(
    told: Option<&'a [u8]>,
    of_head: Option<&'a [u8]>,
    hosts: &[HostPattern],
) -> Option<&'a [u8]> {
    let is_taken = |told: Authority<'_>| hosts.iter().any(|host| host.takes(&told.name()));
    told.filter(|told| hosts.is_empty() || Authority::parse(told).is_some_and(is_taken)).or(of_head)
}

/// The value of `Location`, or how the request is answered instead. `changed`: the path in place of the client's.
///
/// Where neither the scheme nor the host becomes another, it is a path alone: whatever the client has called this host,
/// and over whatever it has come here, that stays. A path that begins with `//` would be a host to a browser, and a
/// backslash is a slash to it. So a path begins with one slash, and a backslash is written as `%5C`: nothing in a path
/// leads to another host.
pub(super) fn location(
    redirect: &Redirect,
    asked: Asked<'_>,
    changed: Option<&str>,
) -> Result<HeaderValue, Answer> {
    let path = encoded_path(redirect.path.as_deref().or(changed).unwrap_or(asked.path));
    let scheme = redirect.scheme.unwrap_or(asked.scheme);
    let of_client = asked.host.and_then(Authority::parse);
    let authority = match &redirect.host {
        Some(host) => Authority::parse(host.as_bytes()),
        // A port speaks one scheme.
        None if scheme != asked.scheme => of_client.map(|client| Authority { port: None, ..client }),
        None => of_client,
    };
    let is_host_same = is_same(authority, scheme, of_client, asked.scheme);
    let is_url_same = scheme == asked.scheme && is_host_same && path == encoded_path(asked.path);
    if is_url_same && redirect.goes_round(asked.method) {
        return Err(Answer::REDIRECT_LOOP);
    }
    let mut url = Vec::with_capacity(128);
    if redirect.scheme.is_some() || redirect.host.is_some() {
        push_origin(&mut url, scheme, authority.ok_or(Answer::NO_HOST)?);
    }
    url.extend_from_slice(path.as_bytes());
    if let Some(query) = asked.query {
        url.push(b'?');
        push_encoded(&mut url, query);
    }
    if url.len() > LENGTH {
        return Err(Answer::LONG_LOCATION);
    }
    // It is made of what can be seen in ASCII.
    HeaderValue::from_maybe_shared(Bytes::from(url)).map_err(|_| Answer::NO_HOST)
}

/// Whether both lead to the same host and port.
fn is_same(a: Option<Authority<'_>>, a_speaks: Scheme, b: Option<Authority<'_>>, b_speaks: Scheme) -> bool {
    let whole = |authority: Option<Authority<'_>>, scheme| {
        let authority = authority?;
        Some((authority.name().into_owned(), authority.port.unwrap_or(usual_port(scheme))))
    };
    whole(a, a_speaks) == whole(b, b_speaks)
}

fn usual_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

fn push_origin(url: &mut Vec<u8>, scheme: Scheme, authority: Authority<'_>) {
    url.extend_from_slice(scheme.as_str().as_bytes());
    url.extend_from_slice(b"://");
    url.extend_from_slice(authority.host.as_bytes());
    if let Some(port) = authority.port {
        url.push(b':');
        super::text::push_number(url, port);
    }
}

/// A path such that it begins with one slash and has no letter that a URL may not have.
fn encoded_path(path: &str) -> String {
    let mut encoded = Vec::with_capacity(path.len() + 1);
    encoded.push(b'/');
    push_encoded(&mut encoded, path.trim_start_matches(['/', '\\']).as_bytes());
    // All of it is ASCII.
    String::from_utf8(encoded).unwrap_or_default()
}

/// Appends what may stand in a path or in a query as it is (RFC 3986, 3.3 and 3.4), and each other byte as `%XX`.
fn push_encoded(url: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@/?".contains(byte) {
            url.push(*byte);
        } else {
            super::text::push_escape(url, *byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::normalise;
    use proptest::prelude::*;
    use std::borrow::Cow;

    const NOTHING: Redirect =
        Redirect { scheme: None, host: None, path: None, status: 302, is_by_client: false };

    fn to_https() -> Redirect {
        Redirect { scheme: Some(Scheme::Https), ..NOTHING }
    }

    fn to_host(host: &str) -> Redirect {
        Redirect { host: Some(host.into()), ..NOTHING }
    }

    fn to_path(path: &str) -> Redirect {
        Redirect { path: Some(path.into()), ..NOTHING }
    }

    /// Of `http://old.example:8080/a?b=1`, with another path.
    fn asked(path: &str) -> Asked<'_> {
        let host: Option<&[u8]> = Some(b"old.example:8080");
        Asked { method: &Method::GET, scheme: Scheme::Http, host, path, query: Some(b"b=1") }
    }

    fn led(redirect: &Redirect, asked: Asked<'_>, changed: Option<&str>) -> Result<String, Answer> {
        location(redirect, asked, changed).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn what_a_route_does_not_say_stays_as_the_client_asked_for_it() {
        for (redirect, changed, expected) in [
            (to_https(), None, "https://old.example/a?b=1"),
            (to_host("new.example"), None, "http://new.example/a?b=1"),
            (to_host("new.example:81"), None, "http://new.example:81/a?b=1"),
            (
                Redirect { scheme: Some(Scheme::Https), ..to_host("new.example:8443") },
                None,
                "https://new.example:8443/a?b=1",
            ),
            (Redirect { scheme: Some(Scheme::Http), ..to_path("/c") }, None, "http://old.example:8080/c?b=1"),
            (to_path("/c"), None, "/c?b=1"),
            (NOTHING, Some("/stripped"), "/stripped?b=1"),
            (to_path("/c"), Some("/stripped"), "/c?b=1"),
            (to_host("[::1]:80"), Some("/"), "http://[::1]:80/?b=1"),
        ] {
            assert_eq!(led(&redirect, asked("/a"), changed).as_deref(), Ok(expected), "{redirect:?}");
        }
        let without = Asked { query: None, ..asked("/a") };
        assert_eq!(led(&to_path("/c"), without, None).as_deref(), Ok("/c"));
        let empty = Asked { query: Some(b""), ..asked("/a") };
        assert_eq!(led(&to_path("/c"), empty, None).as_deref(), Ok("/c?"));
    }

    #[test]
    fn no_client_is_sent_to_a_longer_url_than_servers_take() {
        // A quotation mark becomes three letters.
        let path = |length| format!("/{}", "\"".repeat(length));
        let led = |path: &str| led(&to_https(), Asked { query: None, ..asked(path) }, None);
        let origin = "https://old.example/".len();
        let most = (8 * 1024 - origin) / 3;
        assert_eq!(led(&path(most)).unwrap().len(), origin + 3 * most);
        assert_eq!(led(&path(most + 1)), Err(Answer::LONG_LOCATION));
        let query = vec![b'"'; LENGTH / 3];
        let asked = Asked { query: Some(&query), ..asked("/a") };
        assert_eq!(location(&to_path("/b"), asked, None), Err(Answer::LONG_LOCATION));
    }

    #[test]
    fn what_a_proxy_says_of_the_host_leads_to_none_that_the_route_does_not_take() {
        let hosts = [HostPattern::Exact("shop.example".into()), HostPattern::Below("shop.example".into())];
        let inner = Some(&b"inner.example"[..]);
        for (told, is_taken) in [
            (&b"shop.example"[..], true),
            (b"WWW.Shop.example.:8443", true),
            (b"evil.example", false),
            (b"shop.example.evil.example", false),
            (b"evilshop.example", false),
            (b"shop.example/evil", false),
        ] {
            let expected = if is_taken { Some(told) } else { inner };
            assert_eq!(asked_host(Some(told), inner, &hosts), expected);
            assert_eq!(asked_host(Some(told), inner, &[]), Some(told), "a route that takes any host");
        }
        assert_eq!(asked_host(None, inner, &hosts), inner);
    }

    #[test]
    fn no_path_leads_to_another_host() {
        for path in
            ["//evil.example", "/\\evil.example", "///evil.example", "/\\/\\evil.example", "//\\evil.example"]
        {
            assert_eq!(led(&NOTHING, asked("/a"), Some(path)).as_deref(), Ok("/evil.example?b=1"), "{path}");
            assert_eq!(
                led(&to_https(), asked(path), None).as_deref(),
                Ok("https://old.example/evil.example?b=1"),
                "{path}"
            );
        }
        assert_eq!(
            led(&to_https(), asked("/@evil\\.example"), None).as_deref(),
            Ok("https://old.example/@evil%5C.example?b=1")
        );
    }

    #[test]
    fn a_client_is_not_sent_to_what_is_no_host() {
        for host in
            [&b"evil.example/"[..], b"a@evil.example", b"a b", b"", b"evil.example\\.old.example", b"\xff"]
        {
            let asked = Asked { host: Some(host), ..asked("/a") };
            assert_eq!(led(&to_https(), asked, None), Err(Answer::NO_HOST));
            assert!(led(&to_path("/c"), asked, None).is_ok() && led(&to_host("b"), asked, None).is_ok());
        }
        assert_eq!(led(&to_https(), Asked { host: None, ..asked("/a") }, None), Err(Answer::NO_HOST));
    }

    #[test]
    fn whoever_is_where_it_would_be_sent_is_told_that_it_goes_round_in_circles() {
        let usual = Asked { scheme: Scheme::Https, host: Some(b"Shop.example."), query: None, ..asked("/a") };
        for (redirect, asked, changed) in [
            (NOTHING, asked("/a"), None),
            (to_path("/a"), asked("/a"), None),
            (NOTHING, asked("/a|b"), Some("/a%7Cb")),
            (to_host("OLD.example:8080"), asked("/a"), None),
            (Redirect { scheme: Some(Scheme::Http), ..NOTHING }, asked("/a"), None),
            (to_https(), usual, None),
            (to_host("shop.example:443"), usual, None),
        ] {
            assert_eq!(led(&redirect, asked, changed), Err(Answer::REDIRECT_LOOP), "{redirect:?}");
        }
        assert!(led(&to_host("shop.example:8443"), usual, None).is_ok());
        assert!(led(&to_host("old.example"), asked("/a"), None).is_ok(), "another port");
        assert!(led(&to_path("/a/"), asked("/a"), None).is_ok(), "another path");
    }

    #[test]
    fn a_client_that_comes_again_otherwise_is_sent_to_where_it_is() {
        let by_status = |status| Redirect { status, ..NOTHING };
        for (redirect, method, goes_round) in [
            (by_status(303), Method::POST, false),
            (by_status(303), Method::PUT, false),
            (by_status(303), Method::GET, true),
            (by_status(303), Method::HEAD, true),
            (by_status(302), Method::POST, false),
            (by_status(301), Method::POST, false),
            (by_status(302), Method::PUT, true),
            (by_status(307), Method::POST, true),
            (by_status(308), Method::POST, true),
            (Redirect { is_by_client: true, ..NOTHING }, Method::GET, false),
        ] {
            let asked = Asked { method: &method, ..asked("/a") };
            let expected = if goes_round { Err(Answer::REDIRECT_LOOP) } else { Ok("/a?b=1".to_owned()) };
            assert_eq!(led(&redirect, asked, None), expected, "{redirect:?} {method}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_client_asks_for_it_stays_with_this_host(
            path in "/(/|\\\\|[.@:a?#%2f5C]|\\PC|\\t){0,12}",
            host in "[a-z.:@/\\\\\\[\\]%0-9]{0,12}",
            query in proptest::collection::vec(any::<u8>(), 0..12),
            has_scheme in any::<bool>(),
        ) {
            let Some(path) = normalise(&path).map(Cow::into_owned) else { return Ok(()) };
            let redirect = if has_scheme { to_https() } else { NOTHING };
            let asked = Asked { host: Some(host.as_bytes()), query: Some(&query), ..asked("/a") };
            if let Ok(location) = led(&redirect, asked, Some(&path)) {
                prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'));
                let rest = if has_scheme {
                    let (host, rest) = location.strip_prefix("https://").unwrap().split_at(location[8..].find('/').unwrap());
                    prop_assert!(Authority::parse(host.as_bytes()).is_some(), "{}", host);
                    rest.to_owned()
                } else {
                    location
                };
                prop_assert!(rest.starts_with('/') && (has_scheme || !rest.starts_with("//")), "{}", rest);
            }
        }
    }
}
