//! Who is answered on the admin port: programs and people, not pages.
//!
//! The port has no users: who reaches it may read it. A browser reaches what its user does, and sends what any page
//! tells it to. So that no page reads which services there are and where, a request is refused
//!
//! - that names another host than an IP address, `localhost` or a configured name: a page of `evil.example` may let
//!   that name lead here (DNS rebinding), and is then of the same origin as what it asks;
//! - that a gateway has sent on: one with a route for everything, in whose registry somebody wrote this port's address;
//! - that has an `Origin`, as a page's requests to another origin have;
//! - that a browser marks as a page's of another site (`Sec-Fetch-Site`), unless its user has followed a link.
//!
//! The embedded registry's port is under almost the same rules (`json/door.rs` there). It is written to, and has no
//! pages that a link could lead to.

use embedded_registry::{Misaddressed, check_host, is_from_gateway};
use http::{HeaderValue, header};
use pingora::http::RequestHeader;
use pingora::http::authority::raw_target_authority;

/// Why somebody is not let in: a status, and what to do about it.
pub(super) type Refused = (u16, String);

/// Whether a request may come in. `hosts`: names by which the port is known, in small letters.
pub(super) fn admit(request: &RequestHeader, hosts: &[String]) -> Result<(), Refused> {
    if is_from_gateway(&request.headers) {
        let text = "this request came through a gateway (CDN-Loop): the admin port is not for its clients";
        return Err((403, text.to_owned()));
    }
    let target = raw_target_authority(request.raw_path()).authority();
    check_host(request.version, &request.headers, target, hosts).map_err(misaddressed)?;
    let values = |name| request.headers.get_all(name).iter();
    if request.headers.contains_key(header::ORIGIN) {
        return Err((403, "a request with an Origin is a web page's: no page may read this".to_owned()));
    }
    let is_own = |site: &HeaderValue| site == "none" || site == "same-origin";
    let is_followed_link = values("sec-fetch-dest").any(|dest| dest == "document");
    if !is_followed_link && !values("sec-fetch-site").all(is_own) {
        let text = "the Sec-Fetch-Site says that this is a web page's request: no page of another site may read this";
        return Err((403, text.to_owned()));
    }
    Ok(())
}

fn misaddressed(why: Misaddressed) -> Refused {
    let text = match &why {
        Misaddressed::Elsewhere(host) => format!(
            "{host} is not known to be this gateway's admin port: name it by IP address or localhost, or add the name \
             to gateway.admin_hosts"
        ),
        other => other.to_string(),
    };
    (why.status(), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str, headers: &[(&'static str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
        for (name, value) in headers {
            request.append_header(*name, *value).unwrap();
        }
        request
    }

    fn status(target: &str, headers: &[(&'static str, &str)]) -> u16 {
        admit(&request(target, headers), &["gateway.internal".to_owned()])
            .err()
            .map_or(200, |(status, _)| status)
    }

    fn of_host(host: &str) -> u16 {
        status("/services", &[("host", host)])
    }

    #[test]
    fn addresses_localhost_and_configured_names_are_ours() {
        for host in [
            "127.0.0.1:9090",
            "10.0.0.7",
            "[::1]:9090",
            "[2001:db8::1]",
            "localhost",
            "LocalHost.:1",
            "gateway.internal",
            "Gateway.Internal.:9090",
        ] {
            assert_eq!(of_host(host), 200, "{host}");
        }
    }

    #[test]
    fn any_other_name_leads_here_by_mistake_or_by_malice() {
        for host in [
            "evil.example",
            "evil.example:9090",
            "gateway.internal.evil.example",
            "evil.gateway.internal",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "127.1",
            "2130706433",
            "0x7f000001",
        ] {
            assert_eq!(of_host(host), 421, "{host}");
        }
        for host in ["", "a b", "a/b"] {
            assert_eq!(of_host(host), 400, "{host:?}");
        }
        assert_eq!(
            status("http://evil.example/services", &[("host", "127.0.0.1")]),
            421,
            "in the first line"
        );
        assert_eq!(status("/services", &[("host", "127.0.0.1"), ("host", "127.0.0.1")]), 400);
        assert_eq!(status("/services", &[]), 400);
    }

    #[test]
    fn the_text_names_the_key() {
        let (_, text) = admit(&request("/livez", &[("host", "gw:9090")]), &[]).unwrap_err();
        assert!(text.starts_with("gw is not known") && text.ends_with("gateway.admin_hosts"), "{text}");
    }

    #[test]
    fn what_came_through_a_gateway_is_refused() {
        for (passed, expected) in
            [("leaseway", 403), ("edge.example, Leaseway;hops=1", 403), ("edge.example", 200)]
        {
            let headers = [("host", "127.0.0.1"), ("cdn-loop", passed)];
            assert_eq!(status("/services", &headers), expected, "{passed}");
        }
    }

    #[test]
    fn http_1_0_needs_no_host() {
        let mut request = request("/livez", &[]);
        request.set_version(http::Version::HTTP_10);
        assert_eq!(admit(&request, &[]), Ok(()));
    }

    #[test]
    fn a_page_of_another_site_is_refused_and_a_followed_link_is_not() {
        let of = |headers: &[(&'static str, &str)]| {
            status("/services", &[&[("host", "localhost")], headers].concat())
        };
        assert_eq!(of(&[("origin", "https://evil.example")]), 403);
        assert_eq!(of(&[("origin", "null")]), 403);
        for site in ["cross-site", "same-site", "anything"] {
            assert_eq!(of(&[("sec-fetch-site", site), ("sec-fetch-dest", "script")]), 403, "{site}");
            assert_eq!(of(&[("sec-fetch-site", site), ("sec-fetch-dest", "iframe")]), 403, "{site}");
        }
        assert_eq!(of(&[("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "document")]), 200);
        assert_eq!(of(&[("sec-fetch-site", "none"), ("sec-fetch-dest", "document")]), 200);
        assert_eq!(of(&[("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "empty")]), 200);
    }
}
