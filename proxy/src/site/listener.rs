//! Where clients are served, and how.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::Site;
use crate::config;
use crate::tls::{ServerTls, TlsError};

/// Where clients are served, and how.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) rules: config::Listener,
    /// What handshakes go by; none: it serves in clear.
    pub(crate) tls: Option<Arc<ServerTls>>,
}

impl Listener {
    /// In clear, for everybody.
    pub(crate) fn clear(address: SocketAddr) -> Self {
        Self { rules: config::Listener::clear(address), tls: None }
    }

    /// As a configuration says. What is known of its certificates' files goes on from the site that serves.
    pub(super) fn new(rules: &config::Listener, serving: &Site, now: SystemTime) -> Result<Self, TlsError> {
        let serving = serving.listener(rules.address);
        let before = serving.and_then(|listener| listener.tls.as_ref());
        let tls = rules.tls.as_ref().map(|tls| ServerTls::new(tls, rules.http2, before, now));
        Ok(Self { rules: rules.clone(), tls: tls.transpose()?.map(Arc::new) })
    }
}
