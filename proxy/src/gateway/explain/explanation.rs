//! Which route takes a request, what happens to it, and why none before it did.

use std::borrow::Cow;
use std::fmt::{self, Display};

use http::{HeaderName, Method};

use super::columns::Columns;
use super::words;
use super::{Matcher, Question};
use crate::config::{self, Action, Config, FieldChanges, Gateway, Rank, Route, Template};
use crate::gateway::answer::Answer;
use crate::gateway::entry::{self, FieldsFound};
use crate::gateway::{changed_path, is_for_itself, redirect};
use crate::head::Head;
use crate::site::{Asked, Unmet, first_unmet};

/// Which route takes a request, and why.
#[derive(Debug)]
pub struct Explanation {
    /// Whether one does.
    pub is_taken: bool,
    /// What is known of it, each by its name.
    told: Columns<2>,
    /// The places of the routes that were tried before it, or all: each by the route's name, and what did not hold.
    passed: Columns<3>,
}

impl Explanation {
    fn new() -> Self {
        Self { is_taken: false, told: Columns::new(), passed: Columns::new() }
    }

    fn tell(&mut self, name: &str, value: impl Display) {
        self.told.push([name.to_owned(), value.to_string()]);
    }

    fn answered(&mut self, answer: Answer) {
        self.tell("answer", in_words(answer));
    }
}

impl Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.told, self.passed)
    }
}

/// Which route of a configuration takes a request, and why.
#[must_use]
pub fn explain(config: &Config, question: &Question) -> Explanation {
    let matcher = Matcher::new(config);
    let (config, head) = (&config.gateway, &question.head);
    let mut explanation = Explanation::new();
    let path = match enter(config, question) {
        Ok(path) => path,
        Err(answer) => {
            explanation.tell("route", "none is tried: the request is declined before");
            explanation.tell("answer", answer);
            return explanation;
        }
    };
    let asked = Asked::of(head, &path, question.scheme, question.client, None);
    let number = matcher.of(question, &path);
    match number.and_then(|number| Some((number, config.routes.get(number)?))) {
        Some((number, route)) => {
            explanation.is_taken = true;
            explanation.tell("route", &route.name);
            explanation.tell("key", format_args!("gateway.routes[{number}]"));
            tell_what_happens(&mut explanation, route, &asked);
        }
        None => {
            explanation.tell("route", "none takes this request");
            tell_without_route(&mut explanation, &asked);
        }
    }
    for (route, unmet) in passed(config, &asked) {
        let why = words::why_not(&unmet, asked.client.is_some());
        explanation.passed.push(["not".to_owned(), route.name.clone(), why]);
    }
    explanation
}

fn in_words(answer: Answer) -> String {
    let message = answer.error().map_or("", |(_, message)| message);
    format!("{} {message}", answer.status)
}

/// The path by which it is routed, or what declines it.
fn enter<'q>(config: &Gateway, question: &'q Question) -> Result<Cow<'q, str>, String> {
    let head = &question.head;
    // The grammar does that.
    if head.method == Method::CONNECT {
        return Err("501".to_owned());
    }
    let fields = FieldsFound::of(head, config.trace_header.as_str().as_bytes());
    entry::enter(head, fields, config.http1.paths).map_err(in_words)
}

/// Those that are tried before the one that takes it, in their order, or all: each with the first of its conditions that
/// does not hold.
pub(super) fn passed<'c>(
    config: &'c Gateway,
    asked: &Asked<'_, impl Head>,
) -> impl Iterator<Item = (&'c Route, Unmet<'c>)> {
    let order = config::order(config.routes.iter().map(|route| &route.takes));
    let unmet = |rank: Rank<'c>| {
        let route = config.routes.get(rank.number)?;
        Some((route, first_unmet(&rank, route, asked)?))
    };
    order.into_iter().map_while(unmet)
}

fn tell_without_route(explanation: &mut Explanation, asked: &Asked<'_, impl Head>) {
    if is_for_itself(asked.head, asked.path) {
        explanation.tell("answer", "200 by the gateway for itself, 503 while it is not ready");
    } else {
        explanation.answered(Answer::NO_ROUTE);
    }
}

fn tell_what_happens(explanation: &mut Explanation, route: &Route, asked: &Asked<'_, impl Head>) {
    let changed = match changed_path(&route.changes.path, asked.head, asked.path) {
        Ok(changed) => changed,
        Err(refusal) => return explanation.answered(Answer::bad_request(refusal.as_str())),
    };
    match &route.action {
        Action::Forward(shares) => {
            explanation.tell("service", words::services(shares));
            tell_request(explanation, route, asked, changed.as_deref());
        }
        Action::ForwardByPath(_) => {
            explanation.tell("service", route.takes.path.service(asked.path).unwrap_or_default());
            tell_request(explanation, route, asked, changed.as_deref());
        }
        Action::Redirect(to) => {
            let (host, query) = (asked.head.host(), asked.head.query());
            let (method, scheme, path) = (asked.head.method(), asked.scheme, asked.path);
            let of = redirect::Asked { method, scheme, host, path, query };
            match redirect::location(to, of, changed.as_deref()) {
                Ok(location) => {
                    let location = String::from_utf8_lossy(location.as_bytes());
                    explanation.tell("redirect", format_args!("{} {location}", to.status));
                }
                Err(answer) => explanation.answered(answer),
            }
        }
        Action::Answer(answer) => {
            explanation.tell("answer", format_args!("{} with {} bytes", answer.status, answer.body.len()));
            for (name, value) in &answer.headers {
                explanation
                    .tell("header", format_args!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
            }
        }
    }
    tell_changes(explanation, "response", &route.changes.response);
}

/// What an instance gets.
fn tell_request(
    explanation: &mut Explanation,
    route: &Route,
    asked: &Asked<'_, impl Head>,
    changed: Option<&str>,
) {
    if let Some(sticky) = &route.sticky {
        explanation.tell("sticky", format_args!("cookie {}", sticky.cookie));
    }
    let target = String::from_utf8_lossy(asked.head.target());
    match (changed, asked.head.query()) {
        (None, _) => explanation.tell("target", target),
        (Some(path), None) => explanation.tell("target", path),
        (Some(path), Some(query)) => {
            explanation.tell("target", format_args!("{path}?{}", String::from_utf8_lossy(query)));
        }
    }
    let own = route.changes.host.as_ref().map(|host| host.as_bytes());
    match own.or_else(|| asked.head.host()) {
        Some(host) => explanation.tell("host", String::from_utf8_lossy(host)),
        None => explanation.tell("host", "the instance's own address"),
    }
    tell_changes(explanation, "request", &route.changes.request);
}

/// In the order in which they are done. (`of`: a request or a response.)
fn tell_changes(explanation: &mut Explanation, of: &str, changes: &FieldChanges) {
    for name in &changes.remove {
        explanation.tell(of, format_args!("remove {name}"));
    }
    let mut tell = |how: &str, (name, value): &(HeaderName, Template)| {
        explanation.tell(of, format_args!("{how} {name}: {value}"));
    };
    changes.set.iter().for_each(|change| tell("set", change));
    changes.add.iter().for_each(|change| tell("add", change));
}
