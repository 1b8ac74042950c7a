//! Certificates, and what handshakes go by: with clients, and with instances.
//!
//! ```text
//! server      what a listener's handshakes go by
//! client      what handshakes with a service's instances go by
//! identity    whom a client's certificate names
//! ```

mod client;
mod identity;
mod server;

pub(crate) use client::ClientTls;
pub(crate) use identity::Identity;
#[cfg(test)]
pub(crate) use identity::tests::certificate;
pub(crate) use server::ServerTls;

/// What the configuration names cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// OpenSSL declines.
    #[error(transparent)]
    OpenSsl(#[from] openssl::error::ErrorStack),
}
