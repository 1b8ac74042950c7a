//! TLS to the instances of services.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use super::DraftError;
use crate::config::{self, ServiceTls};
use crate::tls::{Expired, InstanceTls};

/// What a configuration says of TLS to the instances of services, made ready: one for each service that it names, and one
/// for all others. What stays as it was under the next configuration is the same object, so that connections that are kept
/// stay of use.
#[derive(Debug, Default)]
pub(super) struct ServicesTls {
    /// None: in clear.
    named: BTreeMap<String, Option<Arc<InstanceTls>>>,
    others: Option<Arc<InstanceTls>>,
}

impl ServicesTls {
    /// As the next configuration has it. `expired`: what becomes of certificates that were not used before.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(super) fn next(
        &self,
        services: &config::Services,
        expired: Expired,
        now: SystemTime,
    ) -> Result<Self, DraftError> {
        let mut next = Self::default();
        for (name, service) in services.all() {
            let before = name.map_or(self.others.as_ref(), |name| self.of(name));
            let tls = service.tls.as_ref().map(|tls| made((name, tls), before, expired, now)).transpose()?;
            match name {
                Some(name) => drop(next.named.insert(name.to_owned(), tls)),
                None => next.others = tls,
            }
        }
        Ok(next)
    }

    /// Each once: a service that was not named before may go on by what all others go by.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<InstanceTls>> {
        let mut seen = BTreeSet::new();
        let all = self.named.values().chain([&self.others]).flatten();
        all.filter(move |tls| seen.insert(Arc::as_ptr(tls)))
    }

    /// None: the instances of this service are spoken to in clear.
    pub(super) fn of(&self, service: &str) -> Option<&Arc<InstanceTls>> {
        self.named.get(service).unwrap_or(&self.others).as_ref()
    }
}

fn made(
    (service, tls): (Option<&str>, &ServiceTls),
    before: Option<&Arc<InstanceTls>>,
    expired: Expired,
    now: SystemTime,
) -> Result<Arc<InstanceTls>, DraftError> {
    if let Some(before) = before.filter(|before| before.config() == tls) {
        return Ok(before.clone());
    }
    let made = InstanceTls::new(tls, before.map(|tls| &**tls), expired, now);
    made.map(Arc::new).map_err(|error| {
        let section = service.map_or("defaults".into(), |service| format!("services.{service}"));
        DraftError::Tls(section, error)
    })
}
