//! Certificates, and what handshakes go by: with clients, and with instances.
//!
//! ```text
//! server      what a listener's handshakes go by
//! client      what handshakes with a service's instances go by
//! instances   whom each of them has to be, for both carriers
//!   handshake   why one has failed
//! identity    whom a client's certificate names
//! ```

mod client;
mod handshake;
mod identity;
mod instances;
mod server;

pub(crate) use client::ClientTls;
pub(crate) use handshake::{Fault, HandshakeError, alert_of};
pub(crate) use identity::Identity;
pub(crate) use instances::{InstanceTls, check_address};
pub(crate) use server::ServerTls;

/// What the configuration names cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// OpenSSL declines.
    #[error(transparent)]
    OpenSsl(#[from] openssl::error::ErrorStack),
}
