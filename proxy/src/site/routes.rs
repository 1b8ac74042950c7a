//! From a path to its service: the longest prefix wins, by segment.

use std::sync::Arc;

use crate::config;
use crate::directory::{Directory, Service};
use crate::health::{ServiceHealth, service_health::ServicesHealth};
use crate::metrics::{Metrics, ServiceMetrics};

/// A route that holds on to its service.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) service: Arc<Service>,
    pub(crate) health: Arc<ServiceHealth>,
    pub(crate) timeouts: config::RouteTimeouts,
    pub(crate) retry: config::Retry,
    /// How many requests may be in flight.
    pub(crate) limits: config::Limits,
    /// How many retries there may be.
    pub(crate) budget: config::Budget,
    pub(crate) metrics: Arc<ServiceMetrics>,
    /// Whether the service's requests in flight have to be known: for a limit, or for bounded loads.
    pub(crate) counts_requests: bool,
}

/// All routes, sorted by their paths: most gateways have a handful, which a search finds sooner than a hash.
#[derive(Debug, Default)]
pub(super) struct Routes(Vec<(String, Arc<Route>)>);

impl Routes {
    /// The directory and the services' health must have been made with the routes' services.
    pub(super) fn new(
        routes: &[config::Route],
        services: &config::Services,
        directory: &Directory,
        health: &ServicesHealth,
        metrics: &Metrics,
    ) -> Self {
        let hold = |config::Route { path, service, timeouts, retry }: &config::Route| {
            let metrics = metrics.service(service);
            let config::Service { balance, limits, budget, .. } = services.get(service);
            let hashes = matches!(balance, config::Balance::Hash(_));
            let (service, health) = (directory.service(service)?, health.get(service.as_str())?.clone());
            let route = Route {
                counts_requests: hashes || limits.service.is_some(),
                service,
                health,
                timeouts: *timeouts,
                retry: retry.clone(),
                limits: *limits,
                budget: *budget,
                metrics,
            };
            Some((path.clone(), Arc::new(route)))
        };
        let mut routes: Vec<_> = routes.iter().filter_map(hold).collect();
        routes.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self(routes)
    }

    /// The route of a normalised path: its own, else that of the nearest path above it. `/goods` takes
    /// `/goods` and `/goods/...`, not `/goods2`; `/` takes everything.
    pub(super) fn find(&self, path: &str) -> Option<&Arc<Route>> {
        let mut prefix = path;
        while !prefix.is_empty() {
            if let Some(route) = self.of(prefix) {
                return Some(route);
            }
            (prefix, _) = prefix.rsplit_once('/')?;
        }
        self.of("/")
    }

    fn of(&self, path: &str) -> Option<&Arc<Route>> {
        let at = self.0.binary_search_by(|(known, _)| known.as_str().cmp(path)).ok()?;
        self.0.get(at).map(|(_, route)| route)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory;
    use crate::health::{findings, service_health};

    fn made(routes: &[config::Route], directory: &Directory) -> Routes {
        let (findings, _) = findings::channel();
        let services = config::Services::default();
        let health = service_health::of_services(directory, &services, &findings, &Arc::default());
        Routes::new(routes, &services, directory, &health, &Metrics::new().unwrap())
    }

    fn route(path: &str, service: &str) -> config::Route {
        let timeouts = (&config::Timeouts::default()).into();
        config::Route {
            path: path.into(),
            service: service.into(),
            timeouts,
            retry: config::Retry::default(),
        }
    }

    fn service_of(path: &str) -> Option<String> {
        let routes = [route("/goods", "goods"), route("/goods/list", "list"), route("/a%2Fb", "slash")];
        let (directory, _writer) = directory::new(routes.iter().map(|r| r.service.as_str()));
        let routes = made(&routes, &directory);
        routes.find(path).map(|r| r.service.name().to_string())
    }

    #[test]
    fn a_route_takes_whole_segments_and_the_longest_wins() {
        assert_eq!(service_of("/goods").as_deref(), Some("goods"));
        assert_eq!(service_of("/goods/").as_deref(), Some("goods"));
        assert_eq!(service_of("/goods/x").as_deref(), Some("goods"));
        assert_eq!(service_of("/goods/list").as_deref(), Some("list"));
        assert_eq!(service_of("/goods/list/1").as_deref(), Some("list"));
        assert_eq!(service_of("/goods/listing").as_deref(), Some("goods"));
        assert_eq!(service_of("/goods2"), None);
        assert_eq!(service_of("/"), None);
        assert_eq!(service_of("/a%2Fb/c").as_deref(), Some("slash"));
        assert_eq!(service_of("//goods"), None);
    }

    #[test]
    fn the_root_takes_what_no_other_route_does() {
        let routes = [("/", "website"), ("/goods", "goods")];
        let routes = routes.map(|(path, service)| route(path, service));
        let (directory, _writer) = directory::new(["website", "goods"]);
        let routes = made(&routes, &directory);
        let service_of = |path| routes.find(path).map(|r| r.service.name().to_string());
        assert_eq!(service_of("/").as_deref(), Some("website"));
        assert_eq!(service_of("/goods2/x").as_deref(), Some("website"));
        assert_eq!(service_of("/goods/").as_deref(), Some("goods"));
    }
}
