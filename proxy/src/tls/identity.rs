//! Whom a client's certificate names.

use openssl::x509::X509Ref;

/// Whom a client's certificate names. Its authority was verified, and that it has not expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// As RFC 2253 writes it; empty: it has none.
    pub(crate) subject: String,
    /// The alternative names that are DNS names.
    pub(crate) dns: Vec<String>,
    /// Those that are URIs, such as SPIFFE's.
    pub(crate) uris: Vec<String>,
    /// Those that are addresses of mail.
    pub(crate) emails: Vec<String>,
    /// The SHA-256 of its DER.
    pub(crate) fingerprint: [u8; 32],
}

impl Identity {
    /// None: the certificate cannot be read.
    pub(crate) fn of(_certificate: &X509Ref) -> Option<Self> {
        None
    }
}
