//! Whether a request names the host that it has reached. A browser sends what any page tells it to, but it names the
//! host that the page's address names: a name of somebody else's that leads here (DNS rebinding) is not known here.

use std::net::IpAddr;

use thiserror::Error;
use tonic::codegen::http::{HeaderMap, HeaderValue, Version, header, uri::Authority};

/// Why a request is not for the host that it has reached.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Misaddressed {
    /// It names none.
    #[error("there is no Host header")]
    NoHost,
    /// It names several.
    #[error("there is more than one Host header")]
    SeveralHosts,
    /// What it names can be no host.
    #[error("the Host header is not a host")]
    NotAHost,
    /// It names another host, this one.
    #[error("{0} is not known here")]
    Elsewhere(String),
}

impl Misaddressed {
    /// The status of HTTP that says so.
    pub fn status(&self) -> u16 {
        if matches!(self, Self::Elsewhere(_)) { 421 } else { 400 }
    }
}

/// Checks every host that a request names: in its header, and in its first line, if its `target` has one. `hosts`: names
/// that are known, in small letters; IP addresses and `localhost` always are.
///
/// # Errors
/// The first of them that is not known, or that the header is not as it must be.
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
