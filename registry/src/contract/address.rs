//! An instance's address: `ip:port`, where something could listen.

use std::net::SocketAddr;

use super::{RecordError, shorten};
use crate::networks::{never_a_backend, refused};

/// Reads `ip:port` or `[ipv6]:port`. `::ffff:a.b.c.d` is read as the IPv4 address that it is.
///
/// # Errors
/// When it is no such text, when the port is 0, and when no backend can be at this address, or at an IPv4 address that
/// it [carries](crate::networks::carried()).
pub fn parse_address(text: &str) -> Result<SocketAddr, RecordError> {
    let address: SocketAddr = text.parse().map_err(|_| RecordError::Address(shorten(text)))?;
    if address.port() == 0 {
        return Err(RecordError::PortZero { address });
    }
    check_backend(address)?;
    Ok(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// Whether a backend can be at this address.
///
/// # Errors
/// When none can.
pub(crate) fn check_backend(address: SocketAddr) -> Result<(), RecordError> {
    match refused(address.ip(), never_a_backend) {
        Some(why) => Err(RecordError::NeverABackend { address, why: why.into() }),
        None => Ok(()),
    }
}
