//! The URL of an endpoint.

use tonic::transport::Uri;

/// Why a text is no endpoint of a registry. Each reads on after the text that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No URL.
    #[error("is not a URL: write http://host:port or https://host:port")]
    Malformed,
    /// Several, in one text.
    #[error("is more than one URL: make each an item of the list")]
    Several,
    /// No scheme, or another.
    #[error("must start with http:// or https://")]
    Scheme,
    /// A user before the host.
    #[error("has a user in it: name it apart from the URL, as username, with its password_file")]
    UserInfo,
    /// No port.
    #[error("has no port: etcd's is 2379")]
    NoPort,
    /// More after the port.
    #[error("has a path or a query: expected host and port alone")]
    Path,
}

/// Reads `http://host:port` or `https://host:port`; a slash at the end is left off.
///
/// # Errors
/// When it is anything else.
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

/// Host and port of an endpoint, as [`parse_endpoint`] gives it; an IPv6 address without its brackets. None: it is no
/// such URL.
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
