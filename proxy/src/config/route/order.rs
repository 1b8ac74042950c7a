//! The order in which routes are tried. It is total: of two routes, it is always clear which one a request that both
//! take goes to.

use std::cmp::Reverse;
use std::fmt;

use super::{HostPattern, Match, PathPattern};

/// The place of a route in that order, under one of its hosts; a lesser one is tried first. It goes by the host, then
/// by the path, then by the number of further conditions, of which more are tried first, then by the order in the file.
///
/// So a request falls through: whatever no route of its host takes is tried on the wider ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Rank<'r> {
    pub(crate) host: HostRank<'r>,
    pub(crate) path: PathRank<'r>,
    conditions: Reverse<usize>,
    /// Its place in the file, from 0.
    pub(crate) number: usize,
}

/// Hosts, in the order in which they are tried. Where two of them are as long, no request has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum HostRank<'r> {
    Exact(&'r str),
    /// The longest first.
    Below(Reverse<usize>, &'r str),
    /// No host is named.
    Any,
}

/// Paths, in the order in which they are tried. Where two prefixes are as long, no request has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum PathRank<'r> {
    Exact(&'r str),
    /// The longest first. Before a prefix come those of its services that are named in the path.
    Prefix(Reverse<usize>, Part, &'r str),
    /// One after the other, by what comes after the path in the order.
    Regex,
    /// No path is named.
    Any,
}

/// What of a prefix a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Part {
    /// What names a service below it.
    Service,
    /// All of it.
    Whole,
}

impl<'r> Rank<'r> {
    /// The places of a route, of which it has one for each of its hosts. `number`: its place in the file.
    pub(crate) fn of(takes: &'r Match, number: usize) -> impl Iterator<Item = Self> {
        let named = takes.hosts.iter().map(HostRank::of);
        let any = takes.hosts.is_empty().then_some(HostRank::Any);
        let (path, conditions) = (PathRank::of(&takes.path), Reverse(takes.conditions()));
        named.chain(any).map(move |host| Self { host, path, conditions, number })
    }
}

impl HostPattern {
    /// Whether this host, in small letters and without a port and a trailing dot, is one of them.
    pub(crate) fn takes(&self, host: &str) -> bool {
        HostRank::of(self).takes(host.as_bytes())
    }
}

impl<'r> HostRank<'r> {
    fn of(host: &'r HostPattern) -> Self {
        match host {
            HostPattern::Exact(host) => Self::Exact(host),
            HostPattern::Below(host) => Self::Below(Reverse(host.len()), host),
        }
    }

    /// Whether this host, in small letters and without a port and a trailing dot, is one of them.
    pub(crate) fn takes(&self, host: &[u8]) -> bool {
        match self {
            Self::Exact(known) => host == known.as_bytes(),
            Self::Below(_, known) => {
                let labels = host.strip_suffix(known.as_bytes()).and_then(|labels| labels.strip_suffix(b"."));
                labels.is_some_and(|labels| !labels.is_empty())
            }
            Self::Any => true,
        }
    }
}

/// As it is written; a star for any.
impl fmt::Display for HostRank<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Below(_, host) => write!(f, "*.{host}"),
            Self::Any => f.write_str("*"),
        }
    }
}

impl<'r> PathRank<'r> {
    fn of(path: &'r PathPattern) -> Self {
        match path {
            PathPattern::Exact(path) => Self::Exact(path),
            PathPattern::Prefix(path) => {
                let path = path.trim_end_matches('/');
                Self::Prefix(Reverse(path.len()), Part::Whole, path)
            }
            PathPattern::Service(path) => Self::Prefix(Reverse(path.len()), Part::Service, path),
            PathPattern::Regex(_) => Self::Regex,
            PathPattern::Any => Self::Any,
        }
    }
}

/// All places of these routes, in the order in which they are tried.
pub(crate) fn order<'r>(routes: impl IntoIterator<Item = &'r Match>) -> Vec<Rank<'r>> {
    let mut ranks: Vec<_> =
        routes.into_iter().enumerate().flat_map(|(number, takes)| Rank::of(takes, number)).collect();
    ranks.sort_unstable();
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Condition, Expression};
    use http::Method;

    fn prefix(path: &str) -> PathPattern {
        PathPattern::Prefix(path.into())
    }

    /// Whether these are tried in this order, however they stand in the file.
    fn assert_order(routes: &[Match]) {
        let numbers = |routes: Vec<&Match>| order(routes).iter().map(|rank| rank.number).collect::<Vec<_>>();
        let forth: Vec<_> = (0..routes.len()).collect();
        let back: Vec<_> = (0..routes.len()).rev().collect();
        assert_eq!(numbers(routes.iter().collect()), forth);
        assert_eq!(numbers(routes.iter().rev().collect()), back);
    }

    #[test]
    fn an_exact_host_is_tried_before_a_wildcard_and_the_longest_of_these_first() {
        let hosts = ["a.shop.example.com", "*.shop.example.com", "*.example.com", "*.com", ""];
        assert_order(&hosts.map(|host| Match::at(host, prefix("/"))));
    }

    #[test]
    fn the_host_goes_before_the_path() {
        assert_order(&[
            Match::at("a.example.com", PathPattern::Any),
            Match::at("*.example.com", PathPattern::Exact("/a".into())),
            Match::at("", PathPattern::Exact("/a/b".into())),
        ]);
    }

    #[test]
    fn an_exact_path_is_tried_before_a_prefix_and_the_longest_of_these_first_then_expressions() {
        assert_order(&[
            Match::at("", PathPattern::Exact("/".into())),
            Match::at("", prefix("/api/v1")),
            Match::at("", PathPattern::Service("/api".into())),
            Match::at("", prefix("/api")),
            Match::at("", PathPattern::Service(String::new())),
            Match::at("", prefix("/")),
            Match::at("", PathPattern::Regex(Expression::parse("/.*").unwrap())),
            Match::at("", PathPattern::Any),
        ]);
    }

    #[test]
    fn more_conditions_go_first_then_the_order_in_the_file() {
        let plain = Match::at("", prefix("/a"));
        let get = Match { methods: vec![Method::GET], ..plain.clone() };
        let query = vec![("x".into(), Condition::Present), ("y".into(), Condition::Absent)];
        let two = Match { query, ..plain.clone() };
        assert_order(&[two, get.clone(), plain]);
        let post = Match { methods: vec![Method::POST], ..get.clone() };
        for routes in [[&get, &post], [&post, &get]] {
            assert_eq!(order(routes).iter().map(|rank| rank.number).collect::<Vec<_>>(), [0, 1]);
        }
    }

    #[test]
    fn a_route_has_a_place_under_each_of_its_hosts() {
        let mut two = Match::at("b.example.com", prefix("/a"));
        two.hosts.push(HostPattern::Below("example.com".into()));
        let other = Match::at("c.b.example.com", prefix("/"));
        let order = order([&two, &other]);
        assert_eq!(order.iter().map(|rank| rank.number).collect::<Vec<_>>(), [0, 1, 0]);
    }
}
