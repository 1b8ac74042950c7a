//! What a route does, and what it asks for in vain, in words.

use crate::config::{Action, Condition, PathPattern, Redirect, ServicePattern, ServicesAllowed, Share};
use crate::site::Unmet;

/// What happens to a request, in a few words.
pub(super) fn does(action: &Action) -> String {
    match action {
        Action::Forward(shares) => format!("to {}", services(shares)),
        Action::ForwardByPath(allowed) => format!("to {{service}} of {}", patterns(allowed)),
        Action::Redirect(redirect) => format!("redirect {}", redirected(redirect)),
        Action::Answer(answer) => format!("answer {}", answer.status),
    }
}

/// Services with their weights, if there are several.
pub(super) fn services(shares: &[Share]) -> String {
    match shares {
        [only] => only.service.clone(),
        shares => listed(shares.iter().map(|share| format!("{} {}", share.service, share.weight))),
    }
}

pub(super) fn patterns(allowed: &ServicesAllowed) -> String {
    listed(allowed.patterns.iter().map(|pattern| match pattern {
        ServicePattern::Exact(name) => name.clone(),
        ServicePattern::Prefix(prefix) => format!("{prefix}*"),
    }))
}

fn redirected(redirect: &Redirect) -> String {
    let scheme = redirect.scheme.map(|scheme| format!(" scheme={}", scheme.as_str()));
    let host = redirect.host.as_ref().map(|host| format!(" host={host}"));
    let path = redirect.path.as_ref().map(|path| format!(" path={path}"));
    let parts: String = [scheme, host, path].into_iter().flatten().collect();
    format!("{}{parts}", redirect.status)
}

/// Why a route does not take a request.
pub(super) fn why_not(unmet: &Unmet<'_>, is_client_known: bool) -> String {
    match unmet {
        Unmet::Host(host) => format!("host is not {host}"),
        Unmet::Path(path) => elsewhere(path),
        Unmet::Services(allowed) => format!("path names none of {}", patterns(allowed)),
        Unmet::Methods(methods) => format!("method is not {}", any_of(methods)),
        Unmet::Header(name, condition) => format!("header {name} {}", fails(condition)),
        Unmet::Query(name, condition) => format!("query parameter {name:?} {}", fails(condition)),
        Unmet::Cookie(name, condition) => format!("cookie {name:?} {}", fails(condition)),
        Unmet::Clients(networks) if is_client_known => format!("client is not in {}", any_of(networks)),
        Unmet::Clients(networks) => {
            format!("client is not known to be in {}: say --client", any_of(networks))
        }
        Unmet::Scheme(scheme) => format!("scheme is not {}", scheme.as_str()),
        Unmet::Certificate(wanted) => format!("client has shown no certificate of {}", any_of(&wanted.san)),
    }
}

fn elsewhere(path: &PathPattern) -> String {
    match path {
        PathPattern::Any => "path is none".to_owned(),
        PathPattern::Exact(path) => format!("path is not {path}"),
        PathPattern::Prefix(path) => format!("path is neither {path} nor below it"),
        PathPattern::Regex(expression) => format!("path does not match {}", expression.as_str()),
        PathPattern::Service(path) => format!("path names no service below {path}/"),
    }
}

fn fails(condition: &Condition) -> String {
    match condition {
        Condition::Present => "is missing".to_owned(),
        Condition::Absent => "is there".to_owned(),
        Condition::Exact(value) => format!("is not {value:?}"),
        Condition::Prefix(value) => format!("does not begin with {value:?}"),
        Condition::Regex(expression) => format!("does not match {}", expression.as_str()),
    }
}

fn any_of<T: ToString>(all: &[T]) -> String {
    let all: Vec<_> = all.iter().map(ToString::to_string).collect();
    all.join(" or ")
}

fn listed(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}
