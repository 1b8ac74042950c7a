//! Where clients are served, and how.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::Site;
use crate::config;
use crate::tls::{Expired, ServerTls, TlsError};

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

    /// As a configuration says. If that is what it said of handshakes before, they go on by the same object, and clients with
    /// their sessions; else what is known of its certificates' files goes on from the site that serves. `expired`: what becomes
    /// of those that were not used before.
    pub(super) fn new(
        rules: &config::Listener,
        serving: &Site,
        expired: Expired,
        now: SystemTime,
    ) -> Result<Arc<Self>, TlsError> {
        let before = serving.listener(rules.address).and_then(|listener| listener.tls.as_ref());
        let tls = rules.tls.as_ref().map(|tls| match before {
            Some(before) if before.is_for(tls, rules.http2) => Ok(before.clone()),
            _ => ServerTls::new(tls, rules.http2, before, expired, now).map(Arc::new),
        });
        Ok(Arc::new(Self { rules: rules.clone(), tls: tls.transpose()? }))
    }
}
