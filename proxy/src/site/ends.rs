//! Where a site's requests come from, and where they go: what is made of files of certificates, before anything else is.

use std::sync::Arc;
use std::time::SystemTime;

use super::tls::ServicesTls;
use super::{DraftError, Listener, Site};
use crate::config::{self, Config};
use crate::tls::Expired;

/// Where clients are served, and how instances are spoken to.
pub(crate) struct Ends {
    pub(super) listeners: Vec<Arc<Listener>>,
    pub(super) tls: ServicesTls,
}

impl Ends {
    /// Those of a process that starts.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(crate) fn first(config: &config::Gateway) -> Result<Self, DraftError> {
        Self::new((&config.listen, &config.services), &Site::default(), Expired::Used)
    }

    /// Those of the site that follows upon another one. It reads files, which may take any time.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(crate) fn next(
        (listen, services): (&[config::Listener], &config::Services),
        serving: &Site,
    ) -> Result<Self, DraftError> {
        Self::new((listen, services), serving, Expired::Refused)
    }

    fn new(
        (listen, services): (&[config::Listener], &config::Services),
        serving: &Site,
        expired: Expired,
    ) -> Result<Self, DraftError> {
        let now = SystemTime::now();
        let tls = serving.tls.next(services, expired, now)?;
        let listener = |rules| Listener::new(rules, serving, expired, now);
        let listeners = listen.iter().map(listener).collect::<Result<_, _>>()?;
        Ok(Self { listeners, tls })
    }
}

/// Whether what a configuration names of certificates could be used now.
///
/// # Errors
/// A file cannot be used.
pub fn check_certificates(config: &Config) -> Result<(), DraftError> {
    let Config { gateway, .. } = config;
    Ends::next((&gateway.listen, &gateway.services), &Site::default()).map(drop)
}
