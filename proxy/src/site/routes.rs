//! From a path to its service: the longest prefix wins, by segment.

use std::sync::Arc;

use super::Lasting;
use crate::config;
use crate::directory::Service;
use crate::health::ServiceHealth;
use crate::metrics::ServiceMetrics;

/// A route that holds on to its service.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) service: Arc<Service>,
    pub(crate) health: Arc<ServiceHealth>,
    pub(crate) metrics: Arc<ServiceMetrics>,
    pub(crate) timeouts: config::RouteTimeouts,
    pub(crate) retry: config::Retry,
    /// How many requests may be in flight.
    pub(crate) limits: config::Limits,
    /// How many retries there may be.
    pub(crate) budget: config::Budget,
}

impl Route {
    /// `rules`: what the configuration says of its service.
    pub(super) fn new(route: &config::Route, to: &Lasting, rules: &config::Service) -> Self {
        let Lasting { service, health, metrics } = to.clone();
        let config::Service { limits, budget, .. } = *rules;
        Self {
            service,
            health,
            metrics,
            timeouts: route.timeouts,
            retry: route.retry.clone(),
            limits,
            budget,
        }
    }
}

/// All routes, sorted by their paths: most gateways have a handful, which a search finds sooner than a hash.
#[derive(Debug)]
pub(super) struct Routes<R = Arc<Route>>(Vec<(String, R)>);

impl<R> Default for Routes<R> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<R> Routes<R> {
    /// Routes by their paths, no two of which are equal.
    pub(super) fn new(routes: impl IntoIterator<Item = (String, R)>) -> Self {
        let mut routes: Vec<_> = routes.into_iter().collect();
        routes.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self(routes)
    }

    /// The route of a normalised path: its own, else that of the nearest path above it. `/goods` takes
    /// `/goods` and `/goods/...`, not `/goods2`; `/` takes everything.
    pub(super) fn find(&self, path: &str) -> Option<&R> {
        let mut prefix = path;
        while !prefix.is_empty() {
            if let Some(route) = self.of(prefix) {
                return Some(route);
            }
            (prefix, _) = prefix.rsplit_once('/')?;
        }
        self.of("/")
    }

    fn of(&self, path: &str) -> Option<&R> {
        let at = self.0.binary_search_by(|(known, _)| known.as_str().cmp(path)).ok()?;
        self.0.get(at).map(|(_, route)| route)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(routes: &[(&str, &'static str)]) -> Routes<&'static str> {
        Routes::new(routes.iter().map(|(path, service)| ((*path).to_owned(), *service)))
    }

    #[test]
    fn a_route_takes_whole_segments_and_the_longest_wins() {
        let routes = routes(&[("/goods/list", "list"), ("/goods", "goods"), ("/a%2Fb", "slash")]);
        for (path, service) in [
            ("/goods", Some("goods")),
            ("/goods/", Some("goods")),
            ("/goods/x", Some("goods")),
            ("/goods/list", Some("list")),
            ("/goods/list/1", Some("list")),
            ("/goods/listing", Some("goods")),
            ("/goods2", None),
            ("/", None),
            ("/a%2Fb/c", Some("slash")),
            ("//goods", None),
        ] {
            assert_eq!(routes.find(path).copied(), service, "{path}");
        }
    }

    #[test]
    fn the_root_takes_what_no_other_route_does() {
        let routes = routes(&[("/", "website"), ("/goods", "goods")]);
        for (path, service) in [("/", "website"), ("/goods2/x", "website"), ("/goods/", "goods")] {
            assert_eq!(routes.find(path).copied(), Some(service), "{path}");
        }
    }
}
