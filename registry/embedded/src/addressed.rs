//! Whether a request is for this host, by its `Host` header. A browser sends what a page tells it to, but it names the
//! host of the page's own address: if somebody has such a name lead here (DNS rebinding), it is not one that is known
//! here.

use std::net::IpAddr;

use thiserror::Error;
use tonic::codegen::http::{HeaderMap, HeaderValue, Version, header, uri::Authority};

/// Why a request is not for the host that it has reached.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Misaddressed {
    /// It has no `Host` header.
    #[error("there is no Host header")]
    NoHost,
    /// It has more than one `Host` header.
    #[error("there is more than one Host header")]
    SeveralHosts,
    /// The header, or the host in its first line, is not one that a host can have.
    #[error("the Host header is not a host")]
    NotAHost,
    /// It is for this other host.
    #[error("{0} is not known here")]
    Elsewhere(String),
}

impl Misaddressed {
    /// The HTTP status to refuse it with: 400, or 421 for another host.
    pub fn status(&self) -> u16 {
        if matches!(self, Self::Elsewhere(_)) { 421 } else { 400 }
    }
}

/// Checks every host that a request names: in its `Host` header, and in its first line, if that has one (`target`: host
/// and port). `hosts` are the names that are known, in small letters; IP addresses and `localhost` always are.
///
/// # Errors
/// When the header is missing (HTTP/1.0 need not have it), is there twice, or names a host that is not known.
pub fn check_host(
    version: Version,
    headers: &HeaderMap,
    target: Option<&[u8]>,
    hosts: &[String],
) -> Result<(), Misaddressed> {
    let mut named: Vec<_> = headers.get_all(header::HOST).iter().map(HeaderValue::as_bytes).collect();
    match named.len() {
        // A browser always names one. HTTP/1.0, which some health checks speak, need not.
        0 if version != Version::HTTP_10 => return Err(Misaddressed::NoHost),
        0 | 1 => {}
        _ => return Err(Misaddressed::SeveralHosts),
    }
    named.extend(target);
    for host in named {
        let authority = Authority::try_from(host).map_err(|_| Misaddressed::NotAHost)?;
        if !is_known(authority.host(), hosts) {
            return Err(Misaddressed::Elsewhere(authority.host().to_owned()));
        }
    }
    Ok(())
}

fn is_known(host: &str, hosts: &[String]) -> bool {
    let ip = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    ip.parse::<IpAddr>().is_ok() || name == "localhost" || hosts.contains(&name)
}
