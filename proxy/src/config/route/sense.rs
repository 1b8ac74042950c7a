//! What means nothing on a route: keys that say something of what it does not do.

use config_reader::Place;

use super::{Action, HostPattern, PathChange, PathPattern, Redirect, Route, Scheme, below};
use crate::config::Section;

/// Keys that say how a request is forwarded.
const OF_FORWARDING: [&str; 7] =
    ["sticky", "host", "request_headers", "timeouts", "retry", "upgrades", "grpc_web"];
/// Keys that say what becomes of its path.
const OF_A_PATH: [&str; 2] = ["strip_prefix", "rewrite"];

/// `path`: where the route's path stands. `is_sound`: whether all of the route could be read. If not, its values are best
/// not judged by each other.
pub(super) fn check(section: &Section<'_>, route: &Route, path: &Place, is_sound: bool) {
    match &route.action {
        Action::Forward(_) | Action::ForwardByPath(_) => {}
        Action::Redirect(redirect) => {
            refuse(section, &OF_FORWARDING, "means nothing on a redirect: no instance gets the request");
            if redirect.path.is_some() {
                refuse(section, &OF_A_PATH, "means nothing beside redirect.path, which is the whole path");
            }
            if let (true, Some(problem)) = (is_sound, leads_back(route, redirect)) {
                section.reject("redirect", problem);
            }
        }
        Action::Answer(_) => {
            refuse(section, &OF_FORWARDING, "means nothing on an answer: no instance gets the request");
            refuse(section, &OF_A_PATH, "means nothing on an answer: nobody gets the path");
        }
    }
    if section.has("max_services") && !section.has("services_allowed") {
        section.reject("max_services", "means nothing without services_allowed");
    }
    if is_sound {
        check_named_services(section, route, path);
        check_stripped(section, route);
    }
}

fn refuse(section: &Section<'_>, keys: &[&str], reason: &str) {
    for key in keys {
        if section.has(key) {
            section.reject(key, reason);
        }
    }
}

/// Why a redirect sends clients to where they are. What it does not change is looked at, no more: whether another route
/// takes them there is not known here. Nor is it if more than the URL's scheme, host and path decides which route takes
/// them: they may come back with another method or another cookie.
fn leads_back(route: &Route, redirect: &Redirect) -> Option<String> {
    let Redirect { scheme, host, path, .. } = redirect;
    let takes = &route.takes;
    let is_judged = takes.conditions() == usize::from(takes.scheme.is_some());
    let is_same_host = |host: &String| takes.hosts.contains(&HostPattern::Exact(host.clone()));
    if !is_judged
        || path.is_some()
        || route.changes.path != PathChange::None
        || !host.as_ref().is_none_or(is_same_host)
    {
        return None;
    }
    let other = match (scheme, takes.scheme) {
        (None, _) if host.is_some() => {
            return Some(
                "leads clients that are at this host already back to where they are: take the host out of `match`"
                    .into(),
            );
        }
        (None, _) => {
            return Some(
                "leads back to where the request came from: set another scheme, host or path".into(),
            );
        }
        (Some(to), Some(from)) if *to != from => return None,
        (Some(Scheme::Https), _) => Scheme::Http,
        (Some(Scheme::Http), _) => Scheme::Https,
    };
    let (to, other) = (scheme.unwrap_or(other).as_str(), other.as_str());
    Some(format!(
        "leads clients that speak {to} already back to where they are: say which it is for, with \
         `match: {{scheme: {other}}}`"
    ))
}

/// A path that names services, and the services that it may name, go together.
fn check_named_services(section: &Section<'_>, route: &Route, path: &Place) {
    let names_service = matches!(route.takes.path, PathPattern::Service(_));
    if section.has("services_allowed") {
        if !names_service {
            section.reject("services_allowed", "means nothing without a path that ends with /{service}");
        }
    } else if names_service {
        section.reject_at(
            path,
            "ends with /{service}, for which only services_allowed says which services those may be",
        );
    }
}

/// A prefix that no path has which the route takes.
fn check_stripped(section: &Section<'_>, route: &Route) {
    if let PathChange::StripService(above) = &route.changes.path {
        if route.takes.path != PathPattern::Service(above.clone()) {
            section.reject(
                "strip_prefix",
                "means nothing: the route's path ends with no such name of a service",
            );
        }
        return;
    }
    let PathChange::Strip(prefix) = &route.changes.path else { return };
    let (taken, may_go_on) = match &route.takes.path {
        PathPattern::Any | PathPattern::Regex(_) => return,
        PathPattern::Exact(path) => (path, false),
        PathPattern::Prefix(path) | PathPattern::Service(path) => (path, true),
    };
    let (taken, prefix) = (taken.trim_end_matches('/'), prefix.trim_end_matches('/'));
    let is_there = below(prefix, taken).is_some() || (may_go_on && below(taken, prefix).is_some());
    if prefix.is_empty() {
        section.reject("strip_prefix", "is \"/\", of which nothing can be taken away");
    } else if !is_there {
        section.reject(
            "strip_prefix",
            format_args!("means nothing: no path that the route takes is below {prefix}"),
        );
    }
}
