//! An address that the configuration gives: of a server that does not register itself.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use registry::contract::parse_address;

use super::host;

/// The longest name that DNS has.
const LONGEST: usize = 253;

/// Where a server is that does not register itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GivenAddress {
    /// A name, in small letters, or an IP address.
    host: String,
    port: u16,
    /// None: it is a name.
    address: Option<SocketAddr>,
}

impl GivenAddress {
    /// What stands for it is asked of the system, from time to time.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The address, if it is given as one; none: it is a name.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Reads `ip:port`, `[ipv6]:port` or `name:port`.
    pub(crate) fn parse(text: &str) -> Result<Self, GivenError> {
        let (host, port) = text.rsplit_once(':').ok_or(GivenError::NoPort)?;
        let port = parse_port(port)?;
        if host.starts_with('[') || host.parse::<IpAddr>().is_ok() {
            let address = parse_address(text).map_err(|error| GivenError::Address(error.to_string()))?;
            return Ok(Self { host: address.ip().to_string(), port, address: Some(address) });
        }
        let name = host.to_ascii_lowercase();
        if !is_name(&name) {
            return Err(GivenError::Malformed);
        }
        Ok(Self { host: name, port, address: None })
    }
}

impl fmt::Display for GivenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => address.fmt(f),
            None => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Why a text is no address of a server. Each reads on after the text that was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GivenError {
    #[error("has no port: write ip:port, [ipv6]:port or name:port, such as legacy.example.net:80")]
    NoPort,
    #[error("has no port from 1 to 65535 after its last colon")]
    Port,
    #[error("is no server's address: {0}")]
    Address(String),
    #[error("is no address: write ip:port, [ipv6]:port or name:port, such as legacy.example.net:80")]
    Malformed,
}

fn parse_port(text: &str) -> Result<u16, GivenError> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_number).ok_or(GivenError::Port)
}

/// One that ends with a dot is looked for as it is, in no domain of this machine's. The last label of a name is no
/// number: `10.0.0.300` was to be an address.
pub(super) fn is_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= LONGEST
        && host::parse(name).is_ok()
        && name.split('.').all(|label| label.len() <= 63)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_with_a_port_are_taken_and_shown_as_they_are() {
        for (text, shown, is_address) in [
            ("10.0.0.9:80", "10.0.0.9:80", true),
            ("[fd00::1]:80", "[fd00::1]:80", true),
            ("[FD00::0001]:65535", "[fd00::1]:65535", true),
            ("legacy.example.net:80", "legacy.example.net:80", false),
            ("Legacy.Example.net.:1", "legacy.example.net.:1", false),
            ("localhost:8080", "localhost:8080", false),
            ("3com:80", "3com:80", false),
        ] {
            let given = GivenAddress::parse(text).unwrap();
            assert_eq!((given.to_string().as_str(), given.address().is_some()), (shown, is_address));
        }
    }

    #[test]
    fn whatever_else_is_refused() {
        let long = format!("{}:80", "a.".repeat(130));
        let label = format!("{}.net:80", "a".repeat(64));
        for (text, error) in [
            ("10.0.0.9", GivenError::NoPort),
            ("legacy.example.net", GivenError::NoPort),
            ("", GivenError::NoPort),
            ("10.0.0.9:0", GivenError::Port),
            ("10.0.0.9:65536", GivenError::Port),
            ("10.0.0.9:+80", GivenError::Port),
            ("10.0.0.9:080", GivenError::Port),
            ("10.0.0.9:", GivenError::Port),
            ("http://legacy.example.net:80", GivenError::Malformed),
            ("legacy.example.net:80/path", GivenError::Port),
            ("*.example.net:80", GivenError::Malformed),
            (":80", GivenError::Malformed),
            ("10.0.0.300:80", GivenError::Malformed),
            ("legacy..net:80", GivenError::Malformed),
            (long.as_str(), GivenError::Malformed),
            (label.as_str(), GivenError::Malformed),
        ] {
            assert_eq!(GivenAddress::parse(text), Err(error), "{text}");
        }
        for text in ["0.0.0.0:80", "[::]:80", "169.254.169.254:80", "[fd00::1:80", "fd00::1:80"] {
            assert!(matches!(GivenAddress::parse(text), Err(GivenError::Address(_))), "{text}");
        }
    }
}
