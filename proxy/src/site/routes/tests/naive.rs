//! Which route takes a request, by what the documents say alone: each is asked for itself, with plain texts and nothing of
//! the matcher's, the order's or the explanation's code, which this is to be held against.

use std::cmp::Reverse;

use super::*;

/// The first of those that take it.
pub(super) fn first(routes: &[config::Route], asked: &Asked<'_, impl Head>) -> Option<usize> {
    let host = host(asked.head);
    let places = routes.iter().enumerate().filter(|(_, route)| takes_all_else(route, asked));
    let places = places.flat_map(|(number, route)| {
        let path = path_place(&route.takes.path);
        let count = Reverse(conditions(&route.takes));
        host_places(&route.takes, &host).into_iter().map(move |host| ((host, path, count, number), number))
    });
    places.min().map(|(_, number)| number)
}

/// Whether it takes it if no other does.
pub(super) fn takes(route: &config::Route, asked: &Asked<'_, impl Head>) -> bool {
    !host_places(&route.takes, &host(asked.head)).is_empty() && takes_all_else(route, asked)
}

/// In small letters, without a port and a dot at its end; empty: none.
fn host(head: &impl Head) -> String {
    let host = head.value(&http::header::HOST).unwrap_or_default();
    let host = String::from_utf8_lossy(host).to_lowercase();
    let name = match host.split_once(':') {
        Some((name, port)) if port.chars().all(|digit| digit.is_ascii_digit()) => name,
        Some(_) => "",
        None => &host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_host = name.split('.').all(|label| !label.is_empty());
    if is_host { name.to_owned() } else { String::new() }
}

/// Those of its hosts that this one is, each by its place in the order.
fn host_places(takes: &Match, host: &str) -> Vec<(u8, Reverse<usize>)> {
    if takes.hosts.is_empty() {
        return vec![(2, Reverse(0))];
    }
    let place = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(name) => (host == name).then_some((0, Reverse(0))),
        HostPattern::Below(name) => host.ends_with(&format!(".{name}")).then_some((1, Reverse(name.len()))),
    };
    takes.hosts.iter().filter_map(place).collect()
}

/// `/{service}` is as if it were a little longer than what it is below.
fn path_place(path: &PathPattern) -> (u8, Reverse<usize>) {
    match path {
        PathPattern::Exact(_) => (0, Reverse(0)),
        PathPattern::Prefix(path) if path == "/" => (1, Reverse(0)),
        PathPattern::Prefix(path) => (1, Reverse(2 * path.len())),
        PathPattern::Service(above) => (1, Reverse(2 * above.len() + 1)),
        PathPattern::Regex(_) => (2, Reverse(0)),
        PathPattern::Any => (3, Reverse(0)),
    }
}

fn conditions(takes: &Match) -> usize {
    let named = takes.headers.len() + takes.query.len() + takes.cookies.len();
    named
        + usize::from(!takes.methods.is_empty())
        + usize::from(!takes.clients.is_empty())
        + usize::from(takes.scheme.is_some())
        + usize::from(takes.client_cert.is_some())
}

fn takes_all_else(route: &config::Route, asked: &Asked<'_, impl Head>) -> bool {
    let takes = &route.takes;
    let holds = |name: &str, is: &Condition, all: &[(String, String)]| {
        let mut values = all.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        match is {
            Condition::Present => values.next().is_some(),
            Condition::Absent => values.next().is_none(),
            Condition::Exact(expected) => values.any(|value| value == expected),
            Condition::Prefix(prefix) => values.any(|value| value.starts_with(prefix)),
            Condition::Regex(regex) => values.any(|value| is_matched(regex.as_str(), value)),
        }
    };
    let (headers, query, cookies) = (headers(asked.head), query(asked.head), cookies(asked.head));
    takes_path(route, asked.path)
        && (takes.methods.is_empty() || takes.methods.iter().any(|method| method == asked.head.method()))
        && takes.headers.iter().all(|(name, is)| holds(name.as_str(), is, &headers))
        && takes.query.iter().all(|(name, is)| holds(name, is, &query))
        && takes.cookies.iter().all(|(name, is)| holds(name, is, &cookies))
        && takes.scheme.is_none_or(|scheme| scheme == asked.scheme)
        && (takes.clients.is_empty() || asked.client.is_some_and(|client| is_client(takes, client)))
        && takes.client_cert.as_ref().is_none_or(|wanted| {
            let patterns = wanted.san.iter().map(ToString::to_string);
            asked.identity.is_some_and(|identity| patterns.into_iter().any(|san| names(&san, identity)))
        })
}

/// A name's kind is seen by what stands in it.
fn names(pattern: &str, identity: &Identity) -> bool {
    if pattern.contains(':') {
        return identity.uris.iter().any(|uri| match pattern.strip_suffix('*') {
            Some(begin) => uri.starts_with(begin),
            None => uri == pattern,
        });
    }
    if pattern.contains('@') {
        return identity.emails.iter().any(|email| email == pattern);
    }
    identity.dns.iter().any(|name| match pattern.strip_prefix("*.") {
        Some(above) => name
            .to_lowercase()
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest == above),
        None => name.to_lowercase() == pattern,
    })
}

/// Of networks of two addresses each, 10.0.0.0/31 and the like.
fn is_client(takes: &Match, client: std::net::IpAddr) -> bool {
    let half =
        |address: &str| address.strip_prefix("10.0.0.").and_then(|n| n.parse::<u8>().ok()).map(|n| n / 2);
    takes.clients.iter().any(|network| half(&network.addr().to_string()) == half(&client.to_string()))
}

fn takes_path(route: &config::Route, path: &str) -> bool {
    match &route.takes.path {
        PathPattern::Any => true,
        PathPattern::Exact(expected) => path == expected,
        PathPattern::Prefix(prefix) if prefix == "/" => true,
        PathPattern::Prefix(prefix) => path == prefix || path.starts_with(&format!("{prefix}/")),
        PathPattern::Regex(regex) => is_matched(regex.as_str(), path),
        PathPattern::Service(above) => {
            let Some(below) = path.strip_prefix(&format!("{above}/")) else { return false };
            let name = below.split('/').next().unwrap_or_default();
            let Action::ForwardByPath(allowed) = &route.action else { return false };
            allowed.patterns.iter().any(|pattern| match pattern {
                ServicePattern::Exact(expected) => name == expected,
                ServicePattern::Prefix(prefix) => name.starts_with(prefix),
            })
        }
    }
}

/// The few expressions that are used here.
fn is_matched(regex: &str, text: &str) -> bool {
    let only = |text: &str, letters: &str| !text.is_empty() && text.chars().all(|c| letters.contains(c));
    match regex {
        "/a.*" => text.starts_with("/a"),
        "/[ab]+" => text.strip_prefix('/').is_some_and(|rest| only(rest, "ab")),
        "(/a|/b)+/?" => {
            let segments = text.strip_suffix('/').unwrap_or(text).split('/').collect::<Vec<_>>();
            segments.len() > 1
                && segments[0].is_empty()
                && segments[1..].iter().all(|s| ["a", "b"].contains(s))
        }
        "a+" => only(text, "a"),
        "[^a]*" => !text.contains('a'),
        other => panic!("write down what {other} takes"),
    }
}

fn headers(head: &impl Head) -> Vec<(String, String)> {
    head.fields()
        .map(|(name, value)| (name.to_lowercase(), String::from_utf8_lossy(value).into_owned()))
        .collect()
}

fn cookies(head: &impl Head) -> Vec<(String, String)> {
    let lines = headers(head).into_iter().filter(|(name, _)| name == "cookie");
    let pairs =
        lines.flat_map(|(_, line)| line.split(';').map(|pair| pair.trim().to_owned()).collect::<Vec<_>>());
    pairs.filter_map(|pair| pair.split_once('=').map(|(name, value)| (name.into(), value.into()))).collect()
}

fn query(head: &impl Head) -> Vec<(String, String)> {
    let target = String::from_utf8_lossy(head.target()).into_owned();
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(n, v)| (decoded(n), decoded(v)))
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let hex = hex.filter(|hex| hex.chars().all(|c| c.is_ascii_hexdigit()));
        match (first, hex) {
            (b'%', Some(hex)) => {
                bytes.push(u8::from_str_radix(hex, 16).unwrap());
                rest = &after[2..];
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
