//! What a route does with the requests that it takes, and whom it leads to.

use std::sync::Arc;

use super::Lasting;
use crate::config;
use crate::directory::Service;
use crate::health::ServiceHealth;
use crate::metrics::ServiceMetrics;

/// A route that holds on to what it leads to.
#[derive(Debug)]
pub(crate) struct Route {
    /// What logs, metrics and operators call it.
    pub(crate) name: Arc<str>,
    pub(crate) action: Action,
    /// What is changed of a request, and of its answer.
    pub(crate) changes: config::Changes,
    pub(crate) timeouts: config::RouteTimeouts,
    pub(crate) retry: config::Retry,
}

/// What happens to a request.
#[derive(Debug)]
pub(crate) enum Action {
    /// It is forwarded.
    Forward(Arc<Target>),
    /// The client is sent elsewhere.
    Redirect(config::Redirect),
    /// The gateway answers.
    Answer(config::FixedAnswer),
}

/// A route, and that of its services to which a request goes.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    pub(crate) route: Arc<Route>,
    pub(crate) target: Arc<Target>,
}

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
}

impl Route {
    pub(super) fn new(route: &config::Route, action: Action) -> Self {
        Self {
            name: route.name.as_str().into(),
            action,
            changes: route.changes.clone(),
            timeouts: route.timeouts,
            retry: route.retry.clone(),
        }
    }

    /// The service that it leads to.
    #[cfg(test)]
    pub(crate) fn target(&self) -> &Arc<Target> {
        match &self.action {
            Action::Forward(target) => target,
            Action::Redirect(_) | Action::Answer(_) => panic!("it leads to no service"),
        }
    }
}

impl Target {
    /// `rules`: what the configuration says of the service.
    pub(super) fn new(to: &Lasting, rules: &config::Service) -> Self {
        let Lasting { service, health, metrics } = to.clone();
        let config::Service { limits, budget, .. } = *rules;
        Self { service, health, metrics, limits, budget }
    }
}
