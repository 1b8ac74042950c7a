//! What handshakes with a service's instances go by.

use std::sync::Arc;

use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslConnector, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::X509;
use pingora::utils::tls::CertKey;

use super::TlsError;
use crate::config::ServiceTls;

/// What handshakes with a service's instances go by.
pub(crate) struct ClientTls {
    connector: SslConnector,
    verify: bool,
    authorities: Option<Arc<Box<[X509]>>>,
    certificate: Option<Arc<CertKey>>,
    generation: u64,
}

/// The same for Pingora, which makes handshakes of its own.
#[derive(Debug, Clone)]
pub(crate) struct PeerTls {
    pub(crate) verify: bool,
    /// None: the system's.
    pub(crate) authorities: Option<Arc<Box<[X509]>>>,
    pub(crate) certificate: Option<Arc<CertKey>>,
}

impl ClientTls {
    /// # Errors
    /// A file cannot be used.
    pub(crate) fn new(config: &ServiceTls) -> Result<Self, TlsError> {
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        if let Some(ca) = &config.ca {
            builder.set_ca_file(ca)?;
        }
        if !config.verify {
            builder.set_verify(SslVerifyMode::NONE);
        }
        Ok(Self {
            connector: builder.build(),
            verify: config.verify,
            authorities: None,
            certificate: None,
            generation: 1,
        })
    }

    /// One more handshake, as things are now, with an instance that is asked for by this name, or IP address, and has to have
    /// it.
    ///
    /// # Errors
    /// It is no name, or there is no memory.
    pub(crate) fn connect(&self, name: &str) -> Result<Ssl, ErrorStack> {
        let mut configuration = self.connector.configure()?;
        if name.parse::<std::net::IpAddr>().is_ok() {
            configuration.set_use_server_name_indication(false);
        }
        configuration.set_verify_hostname(self.verify);
        configuration.into_ssl(name)
    }

    /// Another number for each of what its handshakes have gone by, and never 0: a connection that was made by another one is
    /// not used any more.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn for_pingora(&self) -> PeerTls {
        let (authorities, certificate) = (self.authorities.clone(), self.certificate.clone());
        PeerTls { verify: self.verify, authorities, certificate }
    }
}
