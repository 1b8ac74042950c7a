//! The services that a route leads to.

use std::collections::HashSet;

use config_reader::key;
use config_reader::kind::{Kind, list, number, text};
use registry::contract::check_segment;

use super::{Action, ServicePattern, ServicesAllowed, Share, some};
use crate::config::keys::Visit;
use crate::config::machine::Need;
use crate::config::{Section, Value};

/// How many services of one route a path may name, if nothing else is said. It bounds what is kept for each, metrics too.
const MOST: usize = 100;

/// What was written.
#[derive(Debug, Default)]
pub(super) struct WrittenForward {
    service: String,
    services: Vec<Share>,
    allowed: Vec<ServicePattern>,
    most: Option<usize>,
}

/// The name of a service.
fn service() -> impl Kind<Need, Value = String> {
    let read = |value: &Value<'_>| {
        let name = value.text()?;
        value.accept(check_segment(name))?;
        Some(name.to_owned())
    };
    text(read, String::clone)
}

impl WrittenForward {
    /// `others`: what a route does that leads to no service.
    pub(super) fn keys<V: Visit>(&mut self, v: &mut V) {
        let one = key("service", "the service that answers")
            .required("the name of a service, such as goods; or services, services_allowed, redirect or answer in its place")
            .or_instead(&["services", "services_allowed", "redirect", "answer"])
            .example("goods");
        v.key(one, service(), &mut self.service);
        let several = key("services", "several services, each of which gets a share of the requests");
        let mut seen = HashSet::new();
        let new = || Share { service: String::new(), weight: 1 };
        v.list(several, &mut self.services, new, |share, v| {
            share.keys(v);
            v.check(|section| {
                if section.is_set("service") && !seen.insert(share.service.clone()) {
                    section.reject("service", "has a share already: write one for each service");
                }
            });
        });
        let allowed =
            key("services_allowed", "services that the path may name, where it ends with `/{service}`")
                .more("`shop-*` is any name that begins with shop-.")
                .example("[goods, \"shop-*\"]");
        some(
            v,
            allowed,
            list(pattern()).distinct().not_empty("name, such as goods or shop-*"),
            &mut self.allowed,
        );
        let most = key("max_services", "how many of them at most").default("100").example("100");
        v.optional(most, number(1..=10_000), &mut self.most);
    }

    pub(super) fn settled(self, section: &Section<'_>) -> Option<Action> {
        if section.has("services") {
            check_shares(section, &self.services);
            return Some(Action::Forward(self.services));
        }
        if section.has("services_allowed") {
            return Some(Action::ForwardByPath(ServicesAllowed {
                patterns: self.allowed,
                most: self.most.unwrap_or(MOST),
            }));
        }
        let share = Share { service: self.service, weight: 1 };
        section.has("service").then(|| Action::Forward(vec![share]))
    }
}

impl Share {
    fn keys<V: Visit>(&mut self, v: &mut V) {
        let name =
            key("service", "its name").required("the name of a service, such as goods").example("goods");
        v.key(name, service(), &mut self.service);
        let weight = key("weight", "its share, in proportion to those of the others; 0: none");
        v.key(weight, number(0..=u16::MAX), &mut self.weight);
    }
}

fn check_shares(section: &Section<'_>, shares: &[Share]) {
    if !section.is_set("services") {
        return;
    }
    if shares.is_empty() {
        section.reject("services", "is empty: expected at least one service");
    } else if shares.iter().all(|share| share.weight == 0) {
        section.reject("services", "has weights that sum to 0: no service would get a request");
    }
}

/// Why a text is no pattern of services. Reads on after the text that was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum PatternError {
    #[error("has a \"*\" that is not at its end: a pattern is the begin of names, such as shop-*")]
    Star,
    #[error("is no name of a service: it has no \"/\" in it")]
    Malformed,
}

fn pattern() -> impl Kind<Need, Value = ServicePattern> {
    let show = |pattern: &ServicePattern| match pattern {
        ServicePattern::Exact(name) => name.clone(),
        ServicePattern::Prefix(prefix) => format!("{prefix}*"),
    };
    text(|value: &Value<'_>| value.parse(parse_pattern), show).takes("`goods` or `shop-*`")
}

fn parse_pattern(text: &str) -> Result<ServicePattern, PatternError> {
    let name = text.strip_suffix('*').unwrap_or(text);
    if name.contains('*') {
        return Err(PatternError::Star);
    }
    match check_segment(text) {
        Err(_) => Err(PatternError::Malformed),
        Ok(()) if name.len() < text.len() => Ok(ServicePattern::Prefix(name.to_owned())),
        Ok(()) => Ok(ServicePattern::Exact(name.to_owned())),
    }
}
