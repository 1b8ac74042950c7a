//! Who is let in over HTTP/1: programs, not pages.
//!
//! The registry has no users, and a browser sends what any page tells it to, also to this machine's own ports. So
//! that no page can register an endpoint, or read one, a request is refused
//!
//! - that names another host than an IP address, `localhost` or a configured name: a page of `evil.example` may
//!   let that name lead here (DNS rebinding), and is then of the same origin as what it asks;
//! - that a gateway has sent on: somebody has registered this registry's address as an instance's;
//! - that has an `Origin`, as a page's requests to another origin have, and all but reads to its own;
//! - that a browser marks as anything but typed in by its user (`Sec-Fetch-Site`): pictures, scripts, forms;
//! - that has a body of another type than `application/json`: the types that a form or a script can send to
//!   another origin without asking first are others, and who asks first (`OPTIONS`) has an `Origin`.
//!
//! HTTP/2 needs none of this: without TLS no browser speaks it.

use tonic::{
    Status,
    codegen::http::{StatusCode, header, request::Parts},
};

use crate::{
    addressed::{Misaddressed, check_host},
    hop::is_from_gateway,
};

/// Why somebody is not let in, and what to do about it.
pub(super) type TurnedAway = (StatusCode, Status);

/// Whether a request may come in at all. `hosts`: names by which the registry is known, in small letters.
pub(super) fn admit(request: &Parts, hosts: &[String]) -> Result<(), TurnedAway> {
    let denied = |text: &str| (StatusCode::FORBIDDEN, Status::permission_denied(text));
    if is_from_gateway(&request.headers) {
        return Err(denied(
            "this request came through a gateway (CDN-Loop): the registry is not for its clients",
        ));
    }
    let target = request.uri.authority().map(|authority| authority.as_str().as_bytes());
    check_host(request.version, &request.headers, target, hosts).map_err(misaddressed)?;
    if request.headers.contains_key(header::ORIGIN) {
        return Err(denied("a request with an Origin is a web page's: no page may use this registry"));
    }
    let is_typed_in = |site: &header::HeaderValue| site == "none";
    if !request.headers.get_all("sec-fetch-site").iter().all(is_typed_in) {
        return Err(denied("a request with a Sec-Fetch-Site is a web page's: no page may use this registry"));
    }
    Ok(())
}

/// Whether the body is said to be JSON. Parameters, such as a character set, say nothing.
pub(super) fn check_type(request: &Parts) -> Result<(), TurnedAway> {
    let mut types = request.headers.get_all(header::CONTENT_TYPE).iter();
    let is_json = |value: &header::HeaderValue| {
        let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
    };
    match (types.next(), types.next()) {
        (Some(only), None) if is_json(only) => Ok(()),
        _ => {
            let text = "the body must be JSON: send the header Content-Type: application/json";
            Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, Status::invalid_argument(text)))
        }
    }
}

fn misaddressed(why: Misaddressed) -> TurnedAway {
    match why {
        Misaddressed::Elsewhere(host) => {
            let text = format!(
                "{host} is not known to be this registry: name it by IP address or localhost, or add the name to \
                 registry.embedded.hosts"
            );
            (StatusCode::MISDIRECTED_REQUEST, Status::permission_denied(text))
        }
        other => (StatusCode::BAD_REQUEST, Status::invalid_argument(other.to_string())),
    }
}
