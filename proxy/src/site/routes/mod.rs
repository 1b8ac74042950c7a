//! Which route takes a request.
//!
//! ```text
//! asked       what a request is matched by
//! hosts       the routes of each host
//! paths       those of one host, by their paths
//! conditions  what must be so beside host and path
//! ```

mod asked;
mod conditions;
mod hosts;
mod paths;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::route::Route;
use crate::config::{self, HostRank, Match, PathPattern, ServicesAllowed};
use crate::head::Head;

pub(crate) use asked::Asked;
pub(crate) use conditions::{Unmet, first_unmet};
use conditions::{allowed, further_unmet};
use hosts::Hosts;
use paths::Paths;

/// All routes, so that a request finds the first one, in their [order](config::order), that takes it.
#[derive(Debug)]
pub(crate) struct Routes<R = Arc<Route>> {
    /// In the order of the file.
    entries: Vec<Entry<R>>,
    /// Their places in that list, in the order in which they are tried first.
    tried: Box<[usize]>,
    /// None: none names a host.
    hosts: Option<Box<Hosts>>,
    /// Those that name no host.
    any: Paths,
}

/// A route, and what must be so beside host and path.
#[derive(Debug)]
struct Entry<R> {
    /// None: nothing.
    further: Option<Box<Further>>,
    route: R,
}

#[derive(Debug)]
struct Further {
    takes: Match,
    /// The services that the path may name, if it is to name one.
    allowed: Option<ServicesAllowed>,
}

impl<R> Default for Routes<R> {
    fn default() -> Self {
        Self { entries: Vec::new(), tried: Box::default(), hosts: None, any: Paths::default() }
    }
}

impl<R> Routes<R> {
    /// `routes`: in the order of the file.
    pub(crate) fn new<'c>(routes: impl IntoIterator<Item = (&'c config::Route, R)>) -> Self {
        let (configured, entries): (Vec<_>, Vec<_>) = routes
            .into_iter()
            .map(|(configured, route)| (configured, Entry { further: Further::of(configured), route }))
            .unzip();
        let routes: Vec<_> = configured.iter().map(|route| &route.takes).collect();
        let order = config::order(routes.iter().copied());
        let mut is_new = vec![true; routes.len()];
        let tried =
            order.iter().map(|rank| rank.number).filter(|number| std::mem::take(&mut is_new[*number]));
        let mut found = Self { entries, tried: tried.collect(), ..Self::default() };
        for ranks in order.chunk_by(|a, b| a.host == b.host) {
            match ranks.first().map_or(HostRank::Any, |first| first.host) {
                HostRank::Any => found.any = Paths::new(ranks, &routes),
                host => found.hosts.get_or_insert_default().push(host, ranks, &routes),
            }
        }
        found
    }

    /// All of them, in the order in which they are tried. A route of several hosts has a place for each, and comes here at
    /// its first.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &R> {
        self.tried.iter().filter_map(|number| self.entries.get(*number)).map(|entry| &entry.route)
    }

    /// The route that takes a request.
    pub(crate) fn find(&self, asked: &Asked<'_, impl Head>) -> Option<&R> {
        let holds = |number: usize| self.entries.get(number).is_some_and(|entry| entry.holds(asked));
        let named =
            self.hosts.as_deref().and_then(|hosts| hosts.find(asked.host().as_bytes(), asked.path, holds));
        let number = named.or_else(|| self.any.find(asked.path, holds))?;
        self.entries.get(number).map(|entry| &entry.route)
    }
}

impl<R> Entry<R> {
    fn holds(&self, asked: &Asked<'_, impl Head>) -> bool {
        self.further.as_ref().is_none_or(|further| further.holds(asked))
    }
}

impl Further {
    fn of(route: &config::Route) -> Option<Box<Self>> {
        let allowed = allowed(&route.action).cloned();
        let is_any = allowed.is_some() || route.takes.conditions() > 0;
        // Of its place, only where a service is named in the path is looked at again.
        let path = match &route.takes.path {
            PathPattern::Service(above) => PathPattern::Service(above.clone()),
            _ => PathPattern::Any,
        };
        let takes = || Match { hosts: Vec::new(), path, ..route.takes.clone() };
        is_any.then(|| Box::new(Self { takes: takes(), allowed }))
    }

    fn holds(&self, asked: &Asked<'_, impl Head>) -> bool {
        further_unmet(&self.takes, self.allowed.as_ref(), asked).is_none()
    }
}
