//! The URL of an endpoint.

use tonic::transport::Uri;

/// Why a text is not the URL of an endpoint. Its text (`Display`) reads on after the URL: "... has no port".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// It is not a URL.
    #[error("is not a URL: write http://host:port or https://host:port")]
    Malformed,
    /// There are several, with commas between them.
    #[error("is more than one URL: make each an item of the list")]
    Several,
    /// The scheme is missing, or is not `http` or `https`.
    #[error("must start with http:// or https://")]
    Scheme,
    /// There is a user before the host: `user:password@`.
    #[error("has a user in it: name it apart from the URL, as username, with its password_file")]
    UserInfo,
    /// The port is missing, or is not one of 1 to 65535.
    #[error("has no port: etcd's is 2379")]
    NoPort,
    /// There is more after the port than a slash.
    #[error("has a path or a query: expected host and port alone")]
    Path,
}

/// Checks `http://host:port` or `https://host:port`, and gives it back without a slash at its end. Nothing is resolved
/// or connected to.
///
/// # Errors
/// When the text is anything else: which part is missing or too much.
pub fn parse_endpoint(text: &str) -> Result<String, EndpointError> {
    if text.contains(',') {
        return Err(EndpointError::Several);
    }
    let uri = Uri::try_from(text).map_err(|_| EndpointError::Malformed)?;
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(EndpointError::Scheme);
    };
    if authority.as_str().contains('@') {
        return Err(EndpointError::UserInfo);
    }
    if authority.host().is_empty() {
        return Err(EndpointError::Malformed);
    }
    if authority.port_u16().is_none_or(|port| port == 0) {
        return Err(EndpointError::NoPort);
    }
    if uri.path() != "/" || uri.query().is_some() || text.contains('#') {
        return Err(EndpointError::Path);
    }
    Ok(format!("{scheme}://{authority}"))
}

/// Host and port of an endpoint that [`parse_endpoint`] has taken; an IPv6 address comes without its brackets. None for
/// any other text that has no host and port.
pub fn host_and_port(endpoint: &str) -> Option<(String, u16)> {
    let uri = Uri::try_from(endpoint).ok()?;
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), uri.port_u16()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_of_host_and_port() {
        for (text, expected) in [
            ("http://127.0.0.1:2379", "http://127.0.0.1:2379"),
            ("http://127.0.0.1:2379/", "http://127.0.0.1:2379"),
            ("https://etcd-0.etcd:2379", "https://etcd-0.etcd:2379"),
            ("http://[::1]:2379", "http://[::1]:2379"),
        ] {
            assert_eq!(parse_endpoint(text).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn host_and_port_are_those_to_connect_to() {
        for (endpoint, host) in [
            ("http://127.0.0.1:2379", "127.0.0.1"),
            ("https://etcd-0.etcd:2379", "etcd-0.etcd"),
            ("http://[::1]:2379", "::1"),
        ] {
            assert_eq!(host_and_port(endpoint), Some((host.to_owned(), 2379)));
        }
    }

    #[test]
    fn every_other_endpoint_says_what_is_wrong() {
        for (text, expected) in [
            ("", EndpointError::Malformed),
            ("not a url", EndpointError::Malformed),
            ("http://:2379", EndpointError::Malformed),
            ("http://", EndpointError::Malformed),
            ("http://a:2379,http://b:2379", EndpointError::Several),
            ("127.0.0.1:2379", EndpointError::Scheme),
            ("/etcd", EndpointError::Scheme),
            ("etcd://etcd:2379", EndpointError::Scheme),
            ("http://root:secret@etcd:2379", EndpointError::UserInfo),
            ("http://etcd", EndpointError::NoPort),
            ("http://etcd:0", EndpointError::NoPort),
            ("http://etcd:99999", EndpointError::NoPort),
            ("http://etcd:2379/v3", EndpointError::Path),
            ("http://etcd:2379?a=b", EndpointError::Path),
            ("http://etcd:2379#a", EndpointError::Path),
        ] {
            assert_eq!(parse_endpoint(text), Err(expected), "{text:?}");
        }
    }
}
