//! What must be so of a request, beside its host and its path.

use std::borrow::Cow;

use crate::config::{Condition, Match, Scheme};
use crate::head::Head;

use super::Asked;

/// What a route asks of a request that is not so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unmet<'m> {
    Method,
    Header(&'m str, &'m Condition),
    Query(&'m str, &'m Condition),
    Cookie(&'m str, &'m Condition),
    Client,
    Scheme(Scheme),
}

/// The first of the further conditions that does not hold, in the order of the form; none: all do.
pub(crate) fn unmet<'m>(takes: &'m Match, asked: &Asked<'_, impl Head>) -> Option<Unmet<'m>> {
    let head = asked.head;
    if !takes.methods.is_empty() && !takes.methods.contains(head.method()) {
        return Some(Unmet::Method);
    }
    for (name, condition) in &takes.headers {
        if !condition.holds(head.values(name)) {
            return Some(Unmet::Header(name.as_str(), condition));
        }
    }
    for (name, condition) in &takes.query {
        if !condition.holds(parameters(head, name)) {
            return Some(Unmet::Query(name, condition));
        }
    }
    for (name, condition) in &takes.cookies {
        if !condition.holds(head.cookies(name)) {
            return Some(Unmet::Cookie(name, condition));
        }
    }
    if !takes.takes_client(asked.client) {
        return Some(Unmet::Client);
    }
    takes.scheme.filter(|scheme| *scheme != asked.scheme).map(Unmet::Scheme)
}

/// The values of the query's parameters of this name, decoded.
fn parameters<'h>(head: &'h impl Head, name: &str) -> impl Iterator<Item = Value<'h>> {
    let parameters = form_urlencoded::parse(head.query().unwrap_or_default());
    parameters.filter(move |(found, _)| found == name).map(|(_, value)| Value(value))
}

/// A text, as bytes.
struct Value<'h>(Cow<'h, str>);

impl AsRef<[u8]> for Value<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
