//! A route: which requests it takes, and what happens to them.

mod action;
mod answer;
mod changes;
mod condition;
pub(super) mod errors;
mod expression;
mod fields;
mod file;
mod forward;
mod hidden;
mod host;
mod matching;
mod name;
mod order;
mod path;
mod path_change;
mod redirect;
mod retry;
mod rewrite;
mod sticky;
mod template;
mod words;
mod written;

use std::collections::HashMap;
use std::mem;

use config_reader::kind::Kind;
use config_reader::{Key as ConfigKey, Place, key};
use http::HeaderName;

use super::Section;
use super::keys::Visit;
use super::machine::Need;
use super::timeouts::{RouteTimeouts, Timeouts};

pub(crate) use self::action::{
    Action, Changes, ErrorAnswer, ErrorAnswers, FieldChanges, FixedAnswer, Key, Redirect, ServicePattern,
    ServicesAllowed, Share, Sticky,
};
pub(crate) use self::expression::Expression;
pub(crate) use self::hidden::{Hidden, hidden};
pub(crate) use self::matching::{Condition, HostPattern, Match, PathPattern, Scheme, below};
pub(crate) use self::order::{HostRank, Part, PathRank, Rank, order};
pub(crate) use self::path_change::{PathChange, PathRefusal};
pub(crate) use self::retry::Retry;
pub(crate) use self::template::{Piece, Template, Variable};

use self::written::Written;

/// The rule that says which requests it takes and what happens to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// What logs, metrics and operators call it: as it was given, else what it takes. No two are equal.
    pub(crate) name: String,
    /// Which requests it takes.
    pub(crate) takes: Match,
    /// What happens to them.
    pub(crate) action: Action,
    /// How clients come back to the instance that answered them first; none: they need not.
    pub(crate) sticky: Option<Sticky>,
    /// What is changed of them and of their answers.
    pub(crate) changes: Changes,
    /// What the gateway's own error answers look like, before what is said for all routes.
    pub(crate) errors: ErrorAnswers,
    /// How long things may take on it.
    pub(crate) timeouts: RouteTimeouts,
    /// What is tried again on it.
    pub(crate) retry: Retry,
}

impl Route {
    /// One that takes this prefix and leads to this service.
    #[cfg(test)]
    pub(crate) fn plain(prefix: &str, service: &str) -> Self {
        Self {
            name: prefix.to_owned(),
            takes: Match { path: PathPattern::Prefix(prefix.to_owned()), ..Match::default() },
            action: Action::Forward(vec![Share { service: service.to_owned(), weight: 1 }]),
            sticky: None,
            changes: Changes::default(),
            errors: ErrorAnswers::default(),
            timeouts: RouteTimeouts::from(&Timeouts::default()),
            retry: Retry::default(),
        }
    }

    /// The services that it always leads to.
    pub(crate) fn services(&self) -> impl Iterator<Item = &str> {
        let shares = match &self.action {
            Action::Forward(shares) => shares.as_slice(),
            Action::ForwardByPath(_) | Action::Redirect(_) | Action::Answer(_) => &[],
        };
        shares.iter().map(|share| share.service.as_str())
    }

    /// The services that a path may name; none: none may.
    pub(crate) fn allowed(&self) -> Option<&ServicesAllowed> {
        match &self.action {
            Action::ForwardByPath(allowed) => Some(allowed),
            Action::Forward(_) | Action::Redirect(_) | Action::Answer(_) => None,
        }
    }
}

/// Declares a key with a list of values, which has one at least if it is there.
fn some<V: Visit, K: Kind<Need, Value = Vec<T>>, T>(v: &mut V, key: ConfigKey, kind: K, slot: &mut Vec<T>) {
    let mut values = Some(mem::take(slot)).filter(|values| !values.is_empty());
    v.optional(key, kind, &mut values);
    *slot = values.unwrap_or_default();
}

/// All routes. What was written of them is not kept: a running process takes over every key of a route. Returns whether
/// all are there that the file has, with all their services.
pub(super) fn keys<V: Visit>(
    routes: &mut Vec<Route>,
    v: &mut V,
    timeouts: &Timeouts,
    trace: &HeaderName,
) -> bool {
    let mut places = Vec::new();
    let key = key("routes", "which service answers what; at least one")
        .more(
            "A path takes itself and everything below it, by segment: /goods takes /goods and /goods/list, not /goods2. \
             The longest wins.",
        )
        .required("a list such as [{path: /goods, service: goods}]");
    let mut written = Vec::new();
    v.list(
        key,
        &mut written,
        || Written::unsaid(timeouts),
        |written, v| {
            written.keys(v, trace);
            v.check(|section| {
                let written = mem::replace(written, Written::unsaid(timeouts));
                if let Some(route) = written.settled(section) {
                    places.push(section.place().clone());
                    routes.push(route);
                }
            });
        },
    );
    v.check(|section| {
        if section.is_set("routes") && written.is_empty() {
            section.reject("routes", "is empty: expected at least one route");
        }
        check_names(section, routes, &places);
    });
    let mut are_there = written.len() == routes.len();
    v.check(|section| are_there &= section.is_set("routes"));
    are_there && routes.iter().flat_map(Route::services).all(|service| !service.is_empty())
}

/// `places`: where each of the routes stands.
fn check_names(section: &Section<'_>, routes: &[Route], places: &[Place]) {
    let mut owners = HashMap::new();
    for (route, place) in routes.iter().zip(places) {
        if let Some(owner) = owners.insert(&route.name, place) {
            section
                .reject_at(place, format_args!("has the name \"{}\" of {} already", route.name, owner.key));
        }
    }
}
