//! A route: which requests it takes, and what happens to them.

mod action;
mod expression;
mod hidden;
mod matching;
mod order;
mod path;
mod path_change;
mod retry;
mod template;
mod words;

use std::collections::HashMap;

use config_reader::key;
use config_reader::kind::text;
use registry::contract::check_segment;

use super::keys::{Visit, parsed};
use super::timeouts::{RouteTimeouts, Timeouts};
use super::{Section, Value};

pub(crate) use self::action::{
    Action, Changes, ErrorAnswer, ErrorAnswers, FieldChanges, FixedAnswer, Key, Redirect, ServicePattern,
    ServicesAllowed, Share, Sticky,
};
pub(crate) use self::expression::Expression;
pub(crate) use self::hidden::{Hidden, hidden};
pub(crate) use self::matching::{Condition, HostPattern, Match, PathPattern, Scheme, below};
pub(crate) use self::order::{HostRank, Part, PathRank, Rank, order};
pub(crate) use self::path_change::PathChange;
pub(crate) use self::retry::Retry;
pub(crate) use self::template::{Piece, Template, Variable};

use self::path::parse_path;

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
    /// What holds where a route says nothing. It must say what happens.
    fn unsaid(gateway: &Timeouts) -> Self {
        Self {
            name: String::new(),
            takes: Match::default(),
            action: Action::Forward(Vec::new()),
            sticky: None,
            changes: Changes::default(),
            errors: ErrorAnswers::default(),
            timeouts: gateway.into(),
            retry: Retry::default(),
        }
    }

    /// One that takes this prefix and leads to this service.
    #[cfg(test)]
    pub(crate) fn plain(prefix: &str, service: &str) -> Self {
        Self {
            name: prefix.to_owned(),
            takes: Match { path: PathPattern::Prefix(prefix.to_owned()), ..Match::default() },
            action: Action::Forward(vec![Share { service: service.to_owned(), weight: 1 }]),
            ..Self::unsaid(&Timeouts::default())
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

    fn keys<V: Visit>(&mut self, v: &mut V) {
        let path = key(
            "path",
            "the path that it takes, with everything below it; [the longest wins](requests.md#route)",
        )
        .required("a path, such as /goods")
        .example("/goods");
        let mut prefix = self.name.clone();
        v.key(path, parsed(parse_path, "^/"), &mut prefix);
        self.name.clone_from(&prefix);
        self.takes.path = PathPattern::Prefix(prefix);
        let service = key("service", "the service that answers")
            .required("the name of a service, such as goods")
            .example("goods");
        let read = |value: &Value<'_>| {
            let name = value.text()?;
            value.accept(check_segment(name))?;
            Some(name.to_owned())
        };
        let mut name = self.services().next().unwrap_or_default().to_owned();
        v.key(service, text(read, String::clone), &mut name);
        self.action = Action::Forward(vec![Share { service: name, weight: 1 }]);
        let timeouts =
            key("timeouts", "a route's own; what is not set here is as in `timeouts` of the gateway")
                .like("gateway.timeouts")
                .example("first_byte: 5s\ntotal: 10s");
        v.section(timeouts, |v| self.timeouts.keys(v));
        let retry = key("retry", "when a request is [sent again](requests.md#retries)").more(
            "When an attempt fails, the gateway sends the request to another instance where that is safe: if the \
             connection was never opened; or, before a byte of an answer came, if the connection broke or the instance \
             stalled, and the request is idempotent (GET, HEAD, PUT, DELETE, OPTIONS, TRACE) with a body of at most \
             64 KiB. It does not do so when a timeout ended the attempt, except for the timeout of a connect.",
        );
        v.section(retry, |v| self.retry.keys(v));
    }
}

/// All routes. Two of one path are a mistake: only one could be taken.
pub(super) fn keys<V: Visit>(routes: &mut Vec<Route>, v: &mut V, timeouts: &Timeouts) {
    let mut owners = HashMap::new();
    let key = key("routes", "which service answers what; at least one")
        .more(
            "A path takes itself and everything below it, by segment: /goods takes /goods and /goods/list, not /goods2. \
             The longest wins.",
        )
        .required("a list such as [{path: /goods, service: goods}]");
    v.list(
        key,
        routes,
        || Route::unsaid(timeouts),
        |route, v| {
            route.keys(v);
            v.check(|section| claim(&route.name, section, &mut owners));
        },
    );
    v.check(|section| {
        if section.is_set("routes") && routes.is_empty() {
            section.reject("routes", "is empty: expected at least one route");
        }
    });
}

/// `owners`: the route that each path belongs to already.
fn claim(path: &str, section: &Section<'_>, owners: &mut HashMap<String, String>) {
    if !section.is_set("path") {
        return;
    }
    match owners.get(path) {
        Some(owner) => section.reject("path", format_args!("\"{path}\" is the path of {owner} already")),
        None => {
            owners.insert(path.to_owned(), section.key().to_owned());
        }
    }
}
