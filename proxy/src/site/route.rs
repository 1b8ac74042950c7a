//! What a route does with the requests that it takes, and whom it leads to.

use std::ops::Deref;
use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};

use super::by_path::ByPath;
use super::changes::Changes;
use super::split::Split;
use super::sticky::Sticky;
use super::target::Target;
use crate::config;
use crate::metrics::{Metrics, RouteMetrics};

/// A route that holds on to what it leads to.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: RouteName,
    pub(crate) metrics: Arc<RouteMetrics>,
    /// What it takes, in the words of the configuration: operators are told. As text, it takes the least memory.
    pub(crate) takes: Box<RawValue>,
    pub(crate) action: Action,
    /// What is changed of a request, and of its answer.
    pub(crate) changes: Changes,
    /// What the gateway's own error answers look like, before what is said for all routes.
    pub(crate) errors: config::ErrorAnswers,
    pub(crate) timeouts: config::RouteTimeouts,
    pub(crate) retry: config::Retry,
    /// What its requests may upgrade their connections to.
    pub(crate) upgrades: config::Upgrades,
    /// Whether calls of gRPC-Web go on as gRPC.
    pub(crate) grpc_web: bool,
}

/// What logs, metrics and operators call a route.
#[derive(Debug)]
pub(crate) struct RouteName {
    text: Arc<str>,
    json: Box<str>,
}

impl RouteName {
    pub(crate) fn new(text: Arc<str>) -> Self {
        let json = serde_json::Value::from(&*text).to_string().into();
        Self { text, json }
    }

    /// As a string of JSON: every request's line in the log has it.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }
}

impl Deref for RouteName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

/// What happens to a request.
#[derive(Debug)]
pub(crate) enum Action {
    /// It is forwarded to this service.
    Forward(Arc<Target>),
    /// It is forwarded to one of several services; or to where its client was before.
    Split(Split),
    /// It is forwarded to the service that its path names.
    ForwardByPath(Arc<ByPath>),
    /// The client is sent elsewhere.
    Redirect {
        to: config::Redirect,
        /// Those that the route takes; none: any.
        hosts: Box<[config::HostPattern]>,
    },
    /// The gateway answers.
    Answer(config::FixedAnswer),
}

/// A route, and that of its services to which a request goes.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    pub(crate) route: Arc<Route>,
    pub(crate) target: Arc<Target>,
}

impl Route {
    /// What is counted of it lasts for as long as its name does: `metrics` finds it.
    pub(super) fn new(route: &config::Route, action: Action, metrics: &Metrics) -> Self {
        let name: Arc<str> = route.name.as_str().into();
        Self {
            metrics: metrics.route(&name),
            name: RouteName::new(name),
            // Text and numbers: that cannot fail.
            takes: to_raw_value(&route.takes).unwrap_or_else(|_| RawValue::NULL.to_owned()),
            action,
            changes: (&route.changes).into(),
            errors: route.errors.clone(),
            timeouts: route.timeouts,
            retry: route.retry.clone(),
            upgrades: route.upgrades.clone(),
            grpc_web: route.grpc_web,
        }
    }

    /// How its clients come back; none: they need not.
    pub(super) fn sticky(&self) -> Option<&Sticky> {
        match &self.action {
            Action::Split(split) => split.sticky.as_ref(),
            Action::Forward(_) | Action::ForwardByPath(_) | Action::Redirect { .. } | Action::Answer(_) => {
                None
            }
        }
    }

    /// The services that its paths name; none: they name none.
    pub(super) fn by_path(&self) -> Option<&Arc<ByPath>> {
        match &self.action {
            Action::ForwardByPath(by_path) => Some(by_path),
            Action::Forward(_) | Action::Split(_) | Action::Redirect { .. } | Action::Answer(_) => None,
        }
    }

    /// The service that it leads to.
    #[cfg(test)]
    pub(crate) fn target(&self) -> &Arc<Target> {
        match &self.action {
            Action::Forward(target) => target,
            Action::Split(_) | Action::ForwardByPath(_) | Action::Redirect { .. } | Action::Answer(_) => {
                panic!("it does not lead to one service")
            }
        }
    }
}

impl Action {
    /// Whether a service to which requests go has an endpoint that is up; none: they go to no service, or to none yet.
    pub(crate) fn is_up(&self) -> Option<bool> {
        match self {
            Self::Forward(target) => Some(target.service.endpoints().any_up()),
            Self::Split(split) => Some(split.is_up()),
            Self::ForwardByPath(by_path) => {
                let targets = by_path.targets();
                let is_up = targets.iter().any(|target| target.service.endpoints().any_up());
                (!targets.is_empty()).then_some(is_up)
            }
            Self::Redirect { .. } | Self::Answer(_) => None,
        }
    }

    /// The services that paths may name, and for which there is no place.
    pub(crate) fn left_out(&self) -> Vec<Arc<str>> {
        match self {
            Self::ForwardByPath(by_path) => by_path.left_out(),
            Self::Forward(_) | Self::Split(_) | Self::Redirect { .. } | Self::Answer(_) => Vec::new(),
        }
    }

    /// Whether requests go to a service, and none to an endpoint that is up.
    pub(crate) fn leads_to_nothing(&self) -> bool {
        self.is_up() == Some(false)
    }
}
