//! A route: which requests it takes, and what happens to them.

mod action;
mod answer;
mod certificate;
mod changes;
mod condition;
pub(super) mod errors;
mod expression;
mod fields;
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
mod sense;
mod sticky;
mod template;
mod upgrades;
mod words;
mod written;

use std::collections::HashMap;
use std::{mem, ptr};

use config_reader::kind::Kind;
use config_reader::{Key as ConfigKey, Place, key};
use http::HeaderName;

use super::Section;
use super::files::Files;
use super::http1::Http1Carrier;
use super::keys::Visit;
use super::machine::Need;
use super::timeouts::{RouteTimeouts, Timeouts};

pub(crate) use self::action::{
    Action, Changes, ErrorAnswer, ErrorAnswers, FieldChanges, FixedAnswer, Key, Redirect, ServicePattern,
    ServicesAllowed, Share, Sticky,
};
pub(crate) use self::certificate::{CertificateMatch, SanPattern};
pub(crate) use self::expression::Expression;
pub(crate) use self::hidden::{Hidden, hidden};
pub(crate) use self::matching::{Condition, HostPattern, Match, PathPattern, Scheme, below};
pub(crate) use self::order::{HostRank, Part, PathRank, Rank, order};
pub(crate) use self::path_change::{PathChange, PathRefusal};
pub(crate) use self::retry::Retry;
pub(crate) use self::template::{Piece, Template, Variable};
pub(crate) use self::upgrades::Upgrades;

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
    /// What its requests may upgrade their connections to.
    pub(crate) upgrades: Upgrades,
    /// Whether calls of gRPC-Web on it go on as gRPC.
    pub(crate) grpc_web: bool,
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
            upgrades: Upgrades::default(),
            grpc_web: false,
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

/// What the keys of routes are read beside.
#[derive(Clone, Copy)]
pub(super) struct Beside<'b> {
    /// The gateway's.
    pub(super) timeouts: &'b Timeouts,
    pub(super) http1: Http1Carrier,
    /// The header that carries the trace id.
    pub(super) trace: &'b HeaderName,
    pub(super) files: &'b Files,
    /// Whether clients are asked for certificates anywhere.
    pub(super) asks_for_certificates: bool,
}

/// Where a route stands in the file.
struct Origin {
    place: Place,
    /// Whether it was given its name.
    is_named: bool,
    /// Where it says what it takes beside its path.
    takes: Place,
    /// Where it is told to be sticky.
    sticky: Place,
    upgrades: Place,
}

/// All routes. What was written of them is not kept: a running process takes over every key of a route. Returns whether
/// all are there that the file has, with all their services.
pub(super) fn keys<V: Visit>(routes: &mut Vec<Route>, v: &mut V, beside: Beside<'_>) -> bool {
    let key = key("routes", "which service answers what; at least one")
        .more(
            "A path takes itself and everything below it, by segment: /goods takes /goods and /goods/list, not /goods2. \
             Tried first are those of an exact host, then of an exact path, then of the longest prefix, then expressions, \
             then those without a path.",
        )
        .required("a list such as [{path: /goods, service: goods}]");
    let (mut written, mut origins, mut mistakes) = (Vec::new(), Vec::new(), 0);
    v.check(|section| mistakes = section.mistakes());
    let new = || Written::unsaid(beside.timeouts);
    v.list(key, &mut written, new, |written, v| {
        written.keys(v, beside);
        v.check(|section| {
            if let Some(route) = mem::replace(written, new()).settled(section) {
                let [takes, sticky, upgrades] =
                    ["match", "sticky", "upgrades"].map(|key| section.place_of(key));
                let place = section.place().clone();
                origins.push(Origin { place, is_named: section.has("name"), takes, sticky, upgrades });
                routes.push(route);
            }
        });
    });
    let mut are_there = false;
    v.check(|section| {
        are_there = section.is_set("routes") && written.len() == routes.len();
        if section.is_set("routes") && written.is_empty() {
            section.reject("routes", "is empty: expected at least one route");
        }
        // What could not be read may be what tells two routes apart.
        let is_sound = section.mistakes() == mistakes;
        number_names(routes, &origins);
        check_names(section, routes, &origins, is_sound);
        if is_sound {
            check_hidden(section, routes, &origins);
            remark_on_keys(section, routes, &origins);
            remark_on_cookies(section, routes, &origins);
            remark_on_upgrades(section, routes, &origins, beside.http1);
            remark_on_certificates(section, routes, &origins, beside.asks_for_certificates);
        }
    });
    are_there && routes.iter().flat_map(Route::services).all(|service| !service.is_empty())
}

/// Those without a name whose names would be the same get a number each from the second on, in their order.
fn number_names(routes: &mut [Route], origins: &[Origin]) {
    let mut numbers: HashMap<String, usize> = HashMap::new();
    for (route, _) in routes.iter_mut().zip(origins).filter(|(_, origin)| !origin.is_named) {
        let number = numbers.entry(route.name.clone()).or_default();
        *number += 1;
        if *number > 1 {
            route.name = name::numbered(&route.name, *number);
        }
    }
}

/// `is_sound`: whether names that were not given are known.
fn check_names(section: &Section<'_>, routes: &[Route], origins: &[Origin], is_sound: bool) {
    let mut owners: HashMap<&str, &Origin> = HashMap::new();
    for (route, origin) in routes.iter().zip(origins).filter(|(_, origin)| is_sound || origin.is_named) {
        match owners.get(&*route.name) {
            Some(owner) => {
                let (name, Place { key, line }) = (&route.name, &owner.place);
                section.reject_at(
                    &origin.place,
                    format_args!("has the name \"{name}\" of {key} in line {line}"),
                );
            }
            None => {
                owners.insert(&route.name, origin);
            }
        }
    }
}

/// Routes to which no request comes.
fn check_hidden(section: &Section<'_>, routes: &[Route], origins: &[Origin]) {
    let all: Vec<_> = routes.iter().zip(origins).collect();
    for Hidden { route, by } in hidden(routes) {
        let (Some((route, origin)), Some((by, before))) = (all.get(route), all.get(by)) else { continue };
        let Place { key, line } = &before.place;
        let hint = match (&route.takes.path, &by.takes.path) {
            (PathPattern::Regex(_), PathPattern::Prefix(_)) => {
                "; `path: /` goes before expressions: leave the path out there (`match: {}` takes everything), and it \
                 goes behind them"
            }
            _ => "",
        };
        section.reject_at(
            &origin.place,
            format_args!("takes nothing: {key} in line {line} takes all of it before{hint}"),
        );
    }
}

/// Each answer of one would replace the cookie of the other, and a client that uses both would never stay. Compared is
/// with the first route that has the cookie at the same host, as there may be very many.
fn remark_on_cookies(section: &Section<'_>, routes: &[Route], origins: &[Origin]) {
    let mut first: HashMap<(&str, Option<&HostPattern>), (&Route, &Origin)> = HashMap::new();
    for (route, origin) in routes.iter().zip(origins) {
        let Some(sticky) = &route.sticky else { continue };
        let any = route.takes.hosts.is_empty().then_some(None);
        for host in route.takes.hosts.iter().map(Some).chain(any) {
            let (before, at) = *first.entry((&sticky.cookie, host)).or_insert((route, origin));
            if ptr::eq(before, route)
                || before.services().any(|service| route.services().any(|s| s == service))
            {
                continue;
            }
            let (key, line) = (&at.place.key, at.place.line);
            section.remark_at(
                &origin.sticky,
                format_args!(
                    "has the cookie of {key} in line {line}, and no service in common with it: each would replace the \
                     other's. Give it another name"
                ),
            );
            break;
        }
    }
}

/// Told once, of the first of such routes.
fn remark_on_upgrades(section: &Section<'_>, routes: &[Route], origins: &[Origin], http1: Http1Carrier) {
    if http1 == Http1Carrier::Ours {
        return;
    }
    let lost = routes
        .iter()
        .zip(origins)
        .find_map(|(route, origin)| Some((route.upgrades.beyond_websocket().next()?, &origin.upgrades)));
    if let Some((protocol, place)) = lost {
        let message =
            format_args!("{protocol} does not pass with `http1: pingora`, by which only websocket does");
        section.remark_at(place, message);
    }
}

/// Told once, of the first of such routes.
fn remark_on_certificates(section: &Section<'_>, routes: &[Route], origins: &[Origin], are_asked_for: bool) {
    let asks = |(route, _): &(&Route, &Origin)| route.takes.client_cert.is_some();
    if let (false, Some((_, origin))) = (are_asked_for, routes.iter().zip(origins).find(asks)) {
        let message = "takes nothing: it has client_cert, and nowhere in gateway.listen are clients asked for a certificate, \
                       by tls.client";
        section.remark_at(&origin.takes, message);
    }
}

/// Told once, of the first of such routes.
fn remark_on_keys(section: &Section<'_>, routes: &[Route], origins: &[Origin]) {
    let is_without = |route: &Route| route.sticky.as_ref().is_some_and(|sticky| sticky.key.is_none());
    if let Some((_, origin)) = routes.iter().zip(origins).find(|(route, _)| is_without(route)) {
        section.remark_at(
            &origin.sticky,
            "has no key_file: its cookies are signed with a key of this process, which another gateway does not take, \
             nor this one after a restart",
        );
    }
}
