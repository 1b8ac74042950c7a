//! Addresses that the process listens on. Each is bound once.

use std::cell::RefCell;
use std::net::SocketAddr;

/// Addresses that are spoken for, and the key of each.
#[derive(Default)]
pub(super) struct Taken(RefCell<Vec<(SocketAddr, String)>>);

impl Taken {
    /// Reads an address and takes it for this key.
    pub(super) fn claim(&self, text: &str, key: &str) -> Result<SocketAddr, AddressError> {
        let address = parse(text)?;
        if let Some(by) = self.by(address) {
            return Err(AddressError::Taken { by });
        }
        self.take(address, key);
        Ok(address)
    }

    /// Takes an address that is a default.
    pub(super) fn take(&self, address: SocketAddr, key: &str) {
        self.0.borrow_mut().push((address, key.to_owned()));
    }

    /// The key that has taken it.
    pub(super) fn by(&self, address: SocketAddr) -> Option<String> {
        let taken = self.0.borrow();
        taken.iter().find(|(other, _)| overlap(address, *other)).map(|(_, key)| key.clone())
    }
}

/// Whether only one of two sockets could be bound. (`[::]` and `0.0.0.0` depends on the system: not here.)
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let one_takes_all = a.is_ipv4() == b.is_ipv4() && (a.ip().is_unspecified() || b.ip().is_unspecified());
    a.port() == b.port() && (a.ip() == b.ip() || one_takes_all)
}

/// Why a text is no address to listen on. Each reads on after the text that was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AddressError {
    #[error(
        "has no address: write 0.0.0.0:{0} for all of IPv4, [::]:{0} for IPv6, or 127.0.0.1:{0} for this machine alone"
    )]
    PortAlone(u16),
    #[error("has a host name in it: write an IP address, such as 127.0.0.1:{0} for this machine alone")]
    Name(u16),
    #[error("is not an address: write ip:port, such as 0.0.0.0:8080 or [::]:8080")]
    Malformed,
    #[error("has port 0, which would be another port at each start: name one")]
    PortZero,
    #[error("overlaps with {by}")]
    Taken { by: String },
}

fn parse(text: &str) -> Result<SocketAddr, AddressError> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err(AddressError::PortZero),
        Ok(address) => Ok(address),
        Err(_) => Err(malformed(text)),
    }
}

fn malformed(text: &str) -> AddressError {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let is_name = |host: &str| host.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c));
    match port.parse() {
        Ok(port) if matches!(host, "" | "*") => AddressError::PortAlone(port),
        Ok(port) if is_name(host) && host.contains(|c: char| c.is_ascii_alphabetic()) => {
            AddressError::Name(port)
        }
        _ => AddressError::Malformed,
    }
}
