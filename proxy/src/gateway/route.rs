//! From a path to its service: the longest prefix wins, by segment.

use std::sync::Arc;

use crate::config;
use crate::directory::{Directory, Service};
use crate::metrics::{Metrics, ServiceMetrics};

/// A route that holds on to its service.
#[derive(Debug)]
pub(super) struct Route {
    path: String,
    pub service: Arc<Service>,
    pub metrics: ServiceMetrics,
}

/// All routes, the longest path first.
#[derive(Debug)]
pub(super) struct Routes(Vec<Arc<Route>>);

impl Routes {
    /// The directory must have been made with the routes' services.
    pub fn new(routes: &[config::Route], directory: &Directory, metrics: &Metrics) -> Self {
        let hold = |route: &config::Route| {
            Some(Arc::new(Route {
                path: route.path.clone(),
                service: directory.service(&route.service)?,
                metrics: metrics.service(&route.service),
            }))
        };
        let mut routes: Vec<_> = routes.iter().filter_map(hold).collect();
        routes.sort_by_key(|route| std::cmp::Reverse(route.path.len()));
        Self(routes)
    }

    /// The route of a normalised path.
    pub fn find(&self, path: &str) -> Option<&Arc<Route>> {
        self.0.iter().find(|route| route.takes(path))
    }
}

impl Route {
    /// `/goods` takes `/goods` and `/goods/...`, not `/goods2`; `/` takes everything.
    fn takes(&self, path: &str) -> bool {
        match path.strip_prefix(self.path.as_str()) {
            Some(rest) => rest.is_empty() || rest.starts_with('/') || self.path == "/",
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory;

    fn service_of(path: &str) -> Option<String> {
        let route = |path: &str, service: &str| config::Route { path: path.into(), service: service.into() };
        let routes = [route("/goods", "goods"), route("/goods/list", "list"), route("/a%2Fb", "slash")];
        let (directory, _writer) = directory::new(routes.iter().map(|r| r.service.as_str()));
        let metrics = Metrics::new().unwrap();
        let routes = Routes::new(&routes, &directory, &metrics);
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
    }
}
