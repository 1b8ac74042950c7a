//! TLS to a service's instances: `gateway.services.NAME.tls`.

use std::path::PathBuf;

use super::listener::CertificateFiles;

/// TLS to a service's instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceTls {
    /// The authorities that are trusted in the place of the system's, in PEM.
    pub(crate) ca: Option<PathBuf>,
    /// The name that is asked for (SNI) and that the certificate must have; none: the name that the configuration gives for
    /// the address; of an instance that has none, its IP address.
    pub(crate) server_name: Option<String>,
    /// What the gateway shows of itself.
    pub(crate) certificate: Option<CertificateFiles>,
    /// Whether the instance's certificate is checked.
    pub(crate) verify: bool,
}

impl Default for ServiceTls {
    fn default() -> Self {
        Self { ca: None, server_name: None, certificate: None, verify: true }
    }
}
