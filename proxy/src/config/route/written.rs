//! A route as it is written, and what it comes to.

use config_reader::kind::{boolean, text};
use config_reader::{Place, key};

use super::changes::WrittenChanges;
use super::forward::WrittenForward;
use super::path::path;
use super::upgrades::WrittenUpgrades;
use super::{
    Action, Beside, ErrorAnswers, FixedAnswer, Match, PathPattern, Redirect, Retry, Route, Sticky, errors,
    name, sense,
};
use crate::config::keys::Visit;
use crate::config::timeouts::{RouteTimeouts, Timeouts};
use crate::config::{Section, Value};

/// What says what happens to a request: a route has one of these.
const ACTIONS: [&str; 5] = ["service", "services", "services_allowed", "redirect", "answer"];

/// What was written. The lists of keys say in which order they are written best.
#[derive(Debug)]
pub(super) struct Written {
    name: String,
    path: PathPattern,
    /// Where `match` has its path, if it has one.
    match_path: Option<Place>,
    /// How many mistakes were found before it.
    mistakes: usize,
    takes: Option<Match>,
    forward: WrittenForward,
    redirect: Option<Redirect>,
    answer: Option<FixedAnswer>,
    sticky: Option<Sticky>,
    changes: WrittenChanges,
    errors: ErrorAnswers,
    timeouts: RouteTimeouts,
    retry: Retry,
    upgrades: WrittenUpgrades,
    grpc_web: bool,
}

impl Written {
    /// What holds where a route says nothing. `timeouts`: the gateway's.
    pub(super) fn unsaid(timeouts: &Timeouts) -> Self {
        Self {
            name: String::new(),
            path: PathPattern::Any,
            match_path: None,
            mistakes: 0,
            takes: None,
            forward: WrittenForward::default(),
            redirect: None,
            answer: None,
            sticky: None,
            changes: WrittenChanges::default(),
            errors: ErrorAnswers::default(),
            timeouts: timeouts.into(),
            retry: Retry::default(),
            upgrades: WrittenUpgrades::default(),
            grpc_web: false,
        }
    }

    pub(super) fn keys<V: Visit>(&mut self, v: &mut V, beside: Beside<'_>) {
        v.check(|section| self.mistakes = section.mistakes());
        self.match_keys(v);
        self.action_keys(v, beside);
        self.changes.keys(v, beside.trace);
        let errors = "what the gateway's own error answers look like on this route; what it does not say, `errors` of the \
                      gateway does";
        errors::keys(&mut self.errors, v, beside.files, errors);
        let timeouts =
            key("timeouts", "a route's own; what is not set here is as in `timeouts` of the gateway")
                .like("gateway.timeouts")
                .example("first_byte: 5s\ntotal: 10s");
        v.section(timeouts, |v| self.timeouts.keys(v));
        let retry = key("retry", "when a request is [sent again](requests.md#retries)").more(
            "When an attempt fails, the gateway sends the request to another instance where that is safe: if the \
             connection was never opened; or, before a byte of an answer came, if the connection broke or the instance \
             stalled, and the request is idempotent (GET, HEAD, PUT, DELETE, OPTIONS, TRACE; all with `idempotent: true`) with a body of at most \
             64 KiB. It does not do so when a timeout ended the attempt, except for the timeout of a connect.",
        );
        v.section(retry, |v| self.retry.keys(v));
        self.upgrades.keys(v);
        let grpc_web = key(
            "grpc_web",
            "whether calls of [gRPC-Web](grpc.md#grpc-web), as browsers make them, go on as gRPC",
        );
        v.key(grpc_web, boolean(), &mut self.grpc_web);
    }

    fn match_keys<V: Visit>(&mut self, v: &mut V) {
        let path_key = key("path", "the path that it takes")
            .more(
                "A path takes everything below it, too; with `/{service}` at its end, what is below the name of one of \
                 `services_allowed`. `{exact: /goods}` is that path alone, `{regex: \"/v[0-9]+/.*\"}` what the \
                 expression takes as a whole.",
            )
            .required("a path, such as /goods, or a section match")
            .or_beside(&["match"])
            .example("/goods");
        v.key(path_key, path(), &mut self.path);
        let takes = key(
            "match",
            "which requests it takes, beside the path: those of which all this is so; `{}`: all",
        );
        let match_path = &mut self.match_path;
        v.optional_section(takes, &mut self.takes, Match::default, |takes, v| {
            takes.keys(v);
            v.check(|section| {
                *match_path = section.has("path").then(|| section.place_of("path"));
            });
        });
        let mut name = Some(self.name.clone()).filter(|name| !name.is_empty());
        let name_key = key("name", "what logs and metrics call it")
            .default("its host and its path, and what else it takes, without the values of headers, parameters and cookies")
            .example("shop-api");
        let kind = text(|value: &Value<'_>| value.parse(parse_name), String::clone);
        v.optional(name_key, kind.takes("up to 200 letters of ASCII"), &mut name);
        self.name = name.unwrap_or_default();
    }

    fn action_keys<V: Visit>(&mut self, v: &mut V, beside: Beside<'_>) {
        self.forward.keys(v);
        let redirect = key("redirect", "clients are sent elsewhere, with their query")
            .shape("a section such as {scheme: https}");
        v.optional_section(redirect, &mut self.redirect, Redirect::unsaid, Redirect::keys);
        let answer = key("answer", "the gateway answers by itself").shape("a section such as {status: 200}");
        v.optional_section(answer, &mut self.answer, FixedAnswer::unsaid, |answer, v| {
            answer.keys(v, beside.trace);
        });
        let sticky = key("sticky", "clients come back to the instance that answered them first, by a cookie")
            .shape("a section such as {cookie: lw}");
        v.optional_section(sticky, &mut self.sticky, Sticky::unsaid, |sticky, v| {
            sticky.keys(v, beside.files);
        });
    }

    /// What it comes to; none: it does not say what happens, or says several things, which was reported.
    pub(super) fn settled(self, section: &Section<'_>) -> Option<Route> {
        let mut takes = self.takes.unwrap_or_default();
        match &self.match_path {
            Some(_) if section.has("path") => {
                section.reject("path", "stands beside match.path: write one of them")
            }
            Some(_) => {}
            None => takes.path = self.path,
        }
        let mut actions = ACTIONS.into_iter().filter(|action| section.has(action));
        let first = actions.next()?;
        if let Some(second) = actions.next() {
            section.reject(second, format_args!("stands beside {first}: a route does one of them"));
            return None;
        }
        let action = match first {
            "redirect" => {
                let is_by_client =
                    !takes.headers.is_empty() || !takes.cookies.is_empty() || takes.client_cert.is_some();
                Action::Redirect(Redirect { is_by_client, ..self.redirect? })
            }
            "answer" => Action::Answer(self.answer?),
            _ => self.forward.settled(section)?,
        };
        // (That it means nothing where no instance gets the request, `sense` says.)
        if self.sticky.is_some() && matches!(action, Action::ForwardByPath(_)) {
            section
                .reject("sticky", format_args!("means nothing beside {first}: it needs service or services"));
        }
        let name = if self.name.is_empty() { name::derived(&takes, &action) } else { self.name };
        let (sticky, changes) = (self.sticky, self.changes.settled(section));
        let (errors, timeouts, retry) = (self.errors, self.timeouts, self.retry);
        let (upgrades, grpc_web) = (self.upgrades.settled(), self.grpc_web);
        let route =
            Route { name, takes, action, sticky, changes, errors, timeouts, retry, upgrades, grpc_web };
        let path = self.match_path.unwrap_or_else(|| section.place_of("path"));
        sense::check(section, &route, &path, section.mistakes() == self.mistakes);
        Some(route)
    }
}

/// Why a text is no name. Each reads on after the text that was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum NameError {
    #[error("is longer than {} bytes", name::LENGTH)]
    Length,
    #[error("is no name: expected letters of ASCII, without a space at its begin or its end")]
    Malformed,
}

fn parse_name(text: &str) -> Result<String, NameError> {
    let is_visible = text.chars().all(|c| matches!(c, ' '..='~'));
    if text.is_empty() || !is_visible || text.trim_matches(' ') != text {
        return Err(NameError::Malformed);
    }
    if text.len() > name::LENGTH { Err(NameError::Length) } else { Ok(text.to_owned()) }
}
