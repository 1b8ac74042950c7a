//! Where a site's requests come from, and where they go: what is made of files of certificates, before anything else is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use super::tls::ServicesTls;
use super::{DraftError, Listener, Site};
use crate::config::{self, Config};
use crate::tls::{Expired, Kind, Watched};

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

/// What follows its files, each once.
pub(super) fn watched(listeners: &[Arc<Listener>], services: &ServicesTls) -> Vec<Arc<dyn Watched>> {
    let of_listeners = listeners.iter().filter_map(|listener| listener.tls.clone());
    let of_listeners = of_listeners.map(|tls| tls as Arc<dyn Watched>);
    of_listeners.chain(services.all().map(|tls| tls.client().clone() as Arc<dyn Watched>)).collect()
}

/// Whether a gateway could start now with what a configuration names of certificates. What it would start with, and is not well,
/// is a remark.
///
/// # Errors
/// A file cannot be used.
pub fn check_certificates(config: &Config) -> Result<BTreeSet<String>, DraftError> {
    let Ends { listeners, tls } = Ends::first(&config.gateway)?;
    let now = SystemTime::now();
    let states = watched(&listeners, &tls).into_iter().flat_map(|watched| watched.states());
    let ended = states.filter_map(|state| {
        let end = state.not_after.filter(|end| *end <= now)?;
        let what = match state.kind {
            Kind::Certificate => "the certificate in it has ended, and is shown all the same: who verifies it refuses it",
            Kind::Revocations => "a list of revoked certificates in it has ended: no client whom its authority has signed is let in",
            Kind::Authorities => return None,
        };
        Some(format!("{}: {what} since {}", state.file, humantime::format_rfc3339_seconds(end)))
    });
    Ok(ended.collect())
}
