//! The site: all that a configuration says of requests, at one moment. A request takes the one that there is when it
//! begins, and keeps it to its end.

mod routes;

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;

use crate::config;
use crate::config::Timeouts;
use crate::directory::Directory;
use crate::health::service_health::ServicesHealth;
use crate::metrics::Metrics;

pub(crate) use routes::Route;
use routes::Routes;

/// All that a configuration says of requests.
#[derive(Debug, Default)]
pub struct Site {
    routes: Routes,
    /// How long things may take.
    pub(crate) timeouts: Timeouts,
    /// The name of the header that carries the trace id, ready to be shared by many heads.
    pub(crate) trace_header: Bytes,
    /// Requests in flight in all, at most.
    pub(crate) max_requests: u32,
}

impl Site {
    /// The site of a configuration. The directory and the services' health must have been made with the routes'
    /// services.
    pub(crate) fn new(
        config: &config::Gateway,
        directory: &Directory,
        health: &ServicesHealth,
        metrics: &Metrics,
    ) -> Self {
        Self {
            routes: Routes::new(&config.routes, &config.services, directory, health, metrics),
            timeouts: config.timeouts,
            trace_header: Bytes::copy_from_slice(config.trace_header.as_str().as_bytes()),
            max_requests: config.max_requests.get(),
        }
    }

    /// The route that takes a normalised path.
    pub(crate) fn route(&self, path: &str) -> Option<&Arc<Route>> {
        self.routes.find(path)
    }
}

/// The site as it is now.
#[derive(Debug)]
pub struct Current(ArcSwap<Site>);

impl Current {
    pub(crate) fn new(site: Site) -> Self {
        Self(ArcSwap::from_pointee(site))
    }

    /// For a request: to be kept to its end.
    pub(crate) fn get(&self) -> Arc<Site> {
        self.0.load_full()
    }
}
