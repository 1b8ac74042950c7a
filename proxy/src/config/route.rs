//! A route: which service answers below which path.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use config_reader::key;
use config_reader::kind::{Kind, list, number, text};
use registry::contract::check_segment;
use serde_json::{Value as Json, json};

use super::keys::{Visit, parsed};
use super::machine::Need;
use super::pattern::{self, Pattern};
use super::server::ATTEMPTS;
use super::timeouts::{RouteTimeouts, Timeouts};
use super::{Section, Value};

/// The longest path of a route, in bytes.
const LENGTH: usize = 1024;

/// Those by which a server says that it failed.
const STATUS: RangeInclusive<u16> = 500..=599;

/// By which a gateway says that a request goes round in circles. Sent again, it would go through each of these
/// gateways as many times as there are attempts, to the power of the gateways that it passes.
const LOOP: u16 = 508;

/// The rule that gives a request its service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// The path that it takes, with everything below it: `/goods` takes `/goods` and `/goods/list`, not
    /// `/goods2`. It starts with `/` and ends with none (but for `/` itself), has no empty and no dot
    /// segment, no query, and needless or lower-case escapes neither: equal paths are equal texts.
    pub(crate) path: String,
    /// The service that answers: one segment of a registry's key.
    pub(crate) service: String,
    /// How long things may take on it.
    pub(crate) timeouts: RouteTimeouts,
    /// What is tried again on it.
    pub(crate) retry: Retry,
}

/// What is tried again on a route, beside what is always safe: a connection that never opened, and an
/// idempotent request of whose answer no byte came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Retry {
    /// Attempts in all: 1 to [`ATTEMPTS`]; 1: nothing is tried again.
    pub(crate) attempts: usize,
    /// Statuses at which an idempotent request is tried on another endpoint: 500 to 599, but for 508.
    pub(crate) statuses: Vec<u16>,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: ATTEMPTS, statuses: Vec::new() }
    }
}

/// Why a text is no route's path. Each reads on after the text that was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PathError {
    /// It is relative or empty.
    #[error("must start with \"/\"")]
    Relative,
    /// It is a URL, or what another program calls a location.
    #[error("is no path: it must start with \"/\", and has neither scheme nor host nor pattern")]
    NoPath,
    /// It is matched as it is written.
    #[error(transparent)]
    Pattern(#[from] Pattern),
    /// It ends with a slash.
    #[error("must not end with \"/\": {0} takes everything below it too")]
    TrailingSlash(String),
    /// Two slashes in a row.
    #[error("has an empty segment: write \"/\" for \"//\"")]
    EmptySegment,
    /// A segment `.` or `..`.
    #[error("has the segment {0:?}: requests are matched after such segments are resolved")]
    DotSegment(String),
    /// A query, a fragment, a space, a letter that is not ASCII, ...
    #[error("has {0:?} in it: a route takes a path alone, and what URLs do not allow is written as %XX")]
    Character(char),
    /// A percent sign without two hexadecimal digits.
    #[error("has \"%\" without two hexadecimal digits")]
    Escape,
    /// An escape that has a simpler or more usual form.
    #[error("has {found}: write {expected}")]
    UnusualEscape {
        /// The escape as it was written.
        found: String,
        /// What means the same.
        expected: String,
    },
    /// It is too long.
    #[error("is longer than {LENGTH} bytes")]
    Length,
}

impl Route {
    /// What holds where a route says nothing. It must say its path and its service.
    fn unsaid(gateway: &Timeouts) -> Self {
        let (path, service) = (String::new(), String::new());
        Self { path, service, timeouts: gateway.into(), retry: Retry::default() }
    }

    fn keys<V: Visit>(&mut self, v: &mut V) {
        let path = key(
            "path",
            "the path that it takes, with everything below it; [the longest wins](requests.md#route)",
        )
        .required("a path, such as /goods")
        .example("/goods");
        v.key(path, parsed(parse_path, "^/"), &mut self.path);
        let service = key("service", "the service that answers")
            .required("the name of a service, such as goods")
            .example("goods");
        let read = |value: &Value<'_>| {
            let name = value.text()?;
            value.accept(check_segment(name))?;
            Some(name.to_owned())
        };
        v.key(service, text(read, String::clone), &mut self.service);
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
            v.check(|section| claim(&route.path, section, &mut owners));
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

impl Retry {
    fn keys<V: Visit>(&mut self, v: &mut V) {
        let attempts = key("attempts", "attempts in all; 1: nothing is sent again");
        v.key(attempts, number(1..=ATTEMPTS), &mut self.attempts);
        let statuses = key(
            "statuses",
            "answers after which an idempotent request goes to another instance, such as 503; not 508, which says that \
             it [goes round in circles](requests.md#loops)",
        );
        v.key(statuses, list(Retried), &mut self.statuses);
        v.check(|section| {
            if self.attempts == 1 && !self.statuses.is_empty() {
                section.reject("statuses", "means nothing with one attempt: set attempts to 2 or more");
            }
        });
    }
}

/// A status after which a request is sent again.
struct Retried;

impl Kind<Need> for Retried {
    type Value = u16;

    fn read(&self, value: &Value<'_>) -> Option<u16> {
        let status = value.number(STATUS)?;
        if status == LOOP {
            value.reject(
                "is 508, which says that a request goes round in circles: it must not be sent round again",
            );
            return None;
        }
        Some(status)
    }

    fn show(&self, status: &u16) -> String {
        status.to_string()
    }

    fn schema(&self) -> Json {
        let (least, most) = (STATUS.start(), STATUS.end());
        json!({"type": "integer", "minimum": least, "maximum": most, "not": {"const": LOOP}})
    }

    fn takes(&self) -> String {
        Kind::<Need>::takes(&number(STATUS))
    }
}

fn parse_path(text: &str) -> Result<String, PathError> {
    let Some(rest) = text.strip_prefix('/') else {
        let is_more = text.contains(|c: char| !c.is_alphanumeric() && !"/-_".contains(c));
        return Err(if is_more { PathError::NoPath } else { PathError::Relative });
    };
    if text.len() > LENGTH {
        return Err(PathError::Length);
    }
    if rest.is_empty() {
        return Ok(text.to_owned());
    }
    pattern::refuse(text)?;
    check_characters(rest)?;
    if text.contains("//") {
        return Err(PathError::EmptySegment);
    }
    if let Some(better) = text.strip_suffix('/') {
        return Err(PathError::TrailingSlash(better.to_owned()));
    }
    match rest.split('/').find(|segment| matches!(*segment, "." | "..")) {
        Some(segment) => Err(PathError::DotSegment(segment.to_owned())),
        None => Ok(text.to_owned()),
    }
}

/// The characters of a path in RFC 3986, section 3.3.
fn check_characters(path: &str) -> Result<(), PathError> {
    let mut rest = path;
    while let Some(next) = rest.chars().next() {
        let length = match next {
            '%' => check_escape(rest)?,
            '/' | ':' | '@' => 1,
            '!' | '$' | '&' | '\'' | '(' | ')' | '*' | '+' | ',' | ';' | '=' => 1,
            c if is_unreserved(c) => 1,
            c => return Err(PathError::Character(c)),
        };
        rest = &rest[length..];
    }
    Ok(())
}

fn check_escape(rest: &str) -> Result<usize, PathError> {
    const LENGTH: usize = "%XX".len();
    let escape = rest.get(..LENGTH).ok_or(PathError::Escape)?;
    let digits = &escape[1..];
    if !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(PathError::Escape);
    }
    let byte = u8::from_str_radix(digits, 16).map_err(|_| PathError::Escape)?;
    let expected = match char::from(byte) {
        c if is_unreserved(c) => c.to_string(),
        _ => escape.to_ascii_uppercase(),
    };
    if expected == escape {
        Ok(LENGTH)
    } else {
        Err(PathError::UnusualEscape { found: escape.to_owned(), expected })
    }
}

fn is_unreserved(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_normal_path_is_taken_as_it_is() {
        for path in ["/", "/goods", "/goods/list", "/a.b/..c", "/%20", "/a%2Fb", "/v1:do@x;p=1,2"] {
            assert_eq!(parse_path(path).as_deref(), Ok(path));
        }
    }

    #[test]
    fn every_other_path_says_what_is_wrong() {
        let unusual = |found: &str, expected: &str| PathError::UnusualEscape {
            found: found.into(),
            expected: expected.into(),
        };
        for (path, expected) in [
            ("", PathError::Relative),
            ("goods", PathError::Relative),
            ("http://goods/", PathError::NoPath),
            ("/goods/", PathError::TrailingSlash("/goods".into())),
            ("//", PathError::EmptySegment),
            ("/a//b", PathError::EmptySegment),
            ("/a//", PathError::EmptySegment),
            ("/./a", PathError::DotSegment(".".into())),
            ("/a/..", PathError::DotSegment("..".into())),
            ("/a?b", PathError::Character('?')),
            ("/a#b", PathError::Character('#')),
            ("/a b", PathError::Character(' ')),
            ("/gü", PathError::Character('ü')),
            ("/a\"b", PathError::Character('"')),
            ("/goods/*", pattern::refuse("/goods/*").unwrap_err().into()),
            ("/goods/{id}", pattern::refuse("/goods/{id}").unwrap_err().into()),
            ("/%", PathError::Escape),
            ("/%2", PathError::Escape),
            ("/%zz", PathError::Escape),
            ("/%aü", PathError::Escape),
            ("/%2f", unusual("%2f", "%2F")),
            ("/%67oods", unusual("%67", "g")),
            ("/%2e%2e/x", unusual("%2e", ".")),
        ] {
            assert_eq!(parse_path(path), Err(expected), "{path:?}");
        }
        assert_eq!(parse_path(&format!("/{}", "a".repeat(LENGTH))), Err(PathError::Length));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "/?(.|%|/|\\.|ü)*") {
            let _ = parse_path(&text);
        }
    }
}
