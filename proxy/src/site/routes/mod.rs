//! Which route takes a request.

mod asked;

use std::sync::Arc;

use super::route::Route;
use crate::config::{self, PathPattern};
use crate::head::Head;

pub(crate) use asked::Asked;

/// All routes, sorted by their paths: most gateways have a handful, which a search finds sooner than a hash.
#[derive(Debug)]
pub(super) struct Routes<R = Arc<Route>>(Vec<(String, R)>);

impl<R> Default for Routes<R> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<R> Routes<R> {
    /// Routes by what they take, of which no two are equal.
    pub(super) fn new<'m>(routes: impl IntoIterator<Item = (&'m config::Match, R)>) -> Self {
        let path = |takes: &config::Match| match &takes.path {
            PathPattern::Prefix(path) => path.clone(),
            _ => String::new(),
        };
        let mut routes: Vec<_> = routes.into_iter().map(|(takes, route)| (path(takes), route)).collect();
        routes.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self(routes)
    }

    /// The route that takes a request.
    pub(super) fn find(&self, asked: &Asked<'_, impl Head>) -> Option<&R> {
        self.by_path(asked.path)
    }

    /// The route of a normalised path: its own, else that of the nearest path above it. `/goods` takes
    /// `/goods` and `/goods/...`, not `/goods2`; `/` takes everything.
    fn by_path(&self, path: &str) -> Option<&R> {
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
        let takes = |path: &str| config::Match {
            path: PathPattern::Prefix(path.to_owned()),
            ..config::Match::default()
        };
        let matches: Vec<_> = routes.iter().map(|(path, service)| (takes(path), *service)).collect();
        Routes::new(matches.iter().map(|(takes, service)| (takes, *service)))
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
            assert_eq!(routes.by_path(path).copied(), service, "{path}");
        }
    }

    #[test]
    fn the_root_takes_what_no_other_route_does() {
        let routes = routes(&[("/", "website"), ("/goods", "goods")]);
        for (path, service) in [("/", "website"), ("/goods2/x", "website"), ("/goods/", "goods")] {
            assert_eq!(routes.by_path(path).copied(), Some(service), "{path}");
        }
    }
}
