//! What must be so of a request that a route takes.

use http::{HeaderName, Method};
use ipnet::IpNet;

use super::Asked;
use crate::config::{
    Action, CertificateMatch, Condition, HostRank, Match, PathPattern, Rank, Route, Scheme, ServicesAllowed,
};
use crate::head::Head;

/// What a route asks of a request that is not so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unmet<'c> {
    Host(HostRank<'c>),
    Path(&'c PathPattern),
    /// The path names none of these.
    Services(&'c ServicesAllowed),
    Methods(&'c [Method]),
    Header(&'c HeaderName, &'c Condition),
    Query(&'c str, &'c Condition),
    Cookie(&'c str, &'c Condition),
    Clients(&'c [IpNet]),
    Scheme(Scheme),
    Certificate(&'c CertificateMatch),
}

/// The first that does not hold of all that a route asks for at one of its places; none: it takes the request, if no
/// earlier one does.
pub(crate) fn first_unmet<'c>(
    rank: &Rank<'c>,
    route: &'c Route,
    asked: &Asked<'_, impl Head>,
) -> Option<Unmet<'c>> {
    if !rank.host.takes(asked.host().as_bytes()) {
        return Some(Unmet::Host(rank.host));
    }
    if !route.takes.path.takes(asked.path) {
        return Some(Unmet::Path(&route.takes.path));
    }
    further_unmet(&route.takes, allowed(&route.action), asked)
}

/// The services that a path may name, if it is to name one.
pub(super) fn allowed(action: &Action) -> Option<&ServicesAllowed> {
    match action {
        Action::ForwardByPath(allowed) => Some(allowed),
        _ => None,
    }
}

/// The first that does not hold of what is asked for beside the host and the path, in the order in which a configuration
/// is written; none: all of it holds.
pub(super) fn further_unmet<'c>(
    takes: &'c Match,
    allowed: Option<&'c ServicesAllowed>,
    asked: &Asked<'_, impl Head>,
) -> Option<Unmet<'c>> {
    let head = asked.head;
    let is_named = |allowed: &&ServicesAllowed| {
        takes.path.service(asked.path).is_some_and(|service| allowed.allow(service))
    };
    if let Some(allowed) = allowed.filter(|allowed| !is_named(allowed)) {
        return Some(Unmet::Services(allowed));
    }
    if !takes.methods.is_empty() && !takes.methods.contains(head.method()) {
        return Some(Unmet::Methods(&takes.methods));
    }
    for (name, condition) in &takes.headers {
        if !condition.holds(head.values(name)) {
            return Some(Unmet::Header(name, condition));
        }
    }
    for (name, condition) in &takes.query {
        if !condition.holds(asked.parameters(name)) {
            return Some(Unmet::Query(name, condition));
        }
    }
    for (name, condition) in &takes.cookies {
        if !condition.holds(asked.cookies(name)) {
            return Some(Unmet::Cookie(name, condition));
        }
    }
    if !takes.takes_client(asked.client) {
        return Some(Unmet::Clients(&takes.clients));
    }
    if let Some(scheme) = takes.scheme.filter(|scheme| *scheme != asked.scheme) {
        return Some(Unmet::Scheme(scheme));
    }
    takes.client_cert.as_ref().filter(|wanted| !asked.has_shown(wanted)).map(Unmet::Certificate)
}
