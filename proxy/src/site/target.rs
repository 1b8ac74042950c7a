//! A service to which requests go.

use std::sync::Arc;

use super::Lasting;
use crate::config;
use crate::directory::Service;
use crate::health::ServiceHealth;
use crate::metrics::ServiceMetrics;
use crate::tls::InstanceTls;

/// A service that a route leads to.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) service: Arc<Service>,
    pub(crate) health: Arc<ServiceHealth>,
    pub(crate) metrics: Arc<ServiceMetrics>,
    /// How many requests may be in flight.
    pub(crate) limits: config::Limits,
    /// How many retries there may be.
    pub(crate) budget: config::Budget,
    /// Whether its addresses are given by the configuration, and not by the registry.
    pub(crate) is_given: bool,
    /// How its instances are spoken to under TLS; none: in clear.
    pub(crate) tls: Option<Arc<InstanceTls>>,
    /// How they are spoken to.
    pub(crate) protocol: config::Protocol,
}

impl Target {
    /// `rules`: what the configuration says of the service.
    pub(super) fn new(to: &Lasting, rules: &config::Service, tls: Option<&Arc<InstanceTls>>) -> Self {
        let Lasting { service, health, metrics } = to.clone();
        let config::Service { limits, budget, protocol, .. } = *rules;
        let (is_given, tls) = (rules.addresses.is_some(), tls.cloned());
        Self { service, health, metrics, limits, budget, is_given, tls, protocol }
    }

    /// What lasts of it.
    pub(super) fn lasting(&self) -> Lasting {
        let Self { service, health, metrics, .. } = self;
        Lasting { service: service.clone(), health: health.clone(), metrics: metrics.clone() }
    }
}
