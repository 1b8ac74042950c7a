//! An instance's address: `ip:port`, where something could listen.

use std::net::SocketAddr;

use super::{RecordError, shorten};
use crate::networks::{never_a_backend, refused};

/// Reads `ip:port` and refuses what can never be a backend, in whatever form an IPv6 address carries it. An IPv4
/// address that comes as `::ffff:a.b.c.d` is read as what it is.
pub fn parse_address(text: &str) -> Result<SocketAddr, RecordError> {
    let address: SocketAddr = text.parse().map_err(|_| RecordError::Address(shorten(text)))?;
    if address.port() == 0 {
        return Err(RecordError::PortZero { address });
    }
    match refused(address.ip(), never_a_backend) {
        Some(why) => Err(RecordError::NeverABackend { address, why: why.into() }),
        None => Ok(SocketAddr::new(address.ip().to_canonical(), address.port())),
    }
}
