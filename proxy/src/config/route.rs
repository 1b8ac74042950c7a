//! A route: which service answers below which path.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use registry::contract::check_segment;

use super::pattern::{self, Pattern};
use super::server::ATTEMPTS;
use super::timeouts::{self, RouteTimeouts, Timeouts};
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
pub struct Route {
    /// The path that it takes, with everything below it: `/goods` takes `/goods` and `/goods/list`, not
    /// `/goods2`. It starts with `/` and ends with none (but for `/` itself), has no empty and no dot
    /// segment, no query, and needless or lower-case escapes neither: equal paths are equal texts.
    pub path: String,
    /// The service that answers: one segment of a registry's key.
    pub service: String,
    /// How long things may take on it.
    pub timeouts: RouteTimeouts,
    /// What is tried again on it.
    pub retry: Retry,
}

/// What is tried again on a route, beside what is always safe: a connection that never opened, and an
/// idempotent request of whose answer no byte came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all: 1 to [`ATTEMPTS`]; 1: nothing is tried again.
    pub attempts: usize,
    /// Statuses at which an idempotent request is tried on another endpoint: 500 to 599, but for 508.
    pub statuses: Vec<u16>,
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

/// Reads all routes. Two of one path are a mistake: only one could be taken.
pub(super) fn read_all(list: &Value<'_>, timeouts: &Timeouts) -> Option<Vec<Route>> {
    let mut owners = HashMap::new();
    let routes = list.list(|item| read(&item, &mut owners, timeouts))?;
    if routes.is_empty() {
        list.reject("is empty: expected at least one route");
    }
    Some(routes)
}

/// `owners`: the route that each path belongs to already.
fn read(item: &Value<'_>, owners: &mut HashMap<String, String>, gateway: &Timeouts) -> Option<Route> {
    let mut section = item.section();
    let path = section.required("path", "a path, such as /goods", |value| {
        let path = value.parse(parse_path)?;
        if let Some(owner) = owners.get(&path) {
            value.reject(format_args!("\"{path}\" is the path of {owner} already"));
            return None;
        }
        owners.insert(path.clone(), item.place().key.clone());
        Some(path)
    });
    let service = section.required("service", "the name of a service, such as goods", |value| {
        let name = value.text()?;
        value.accept(check_segment(name))?;
        Some(name.to_owned())
    });
    let timeouts = timeouts::read_route(section.section("timeouts"), gateway);
    let retry = read_retry(section.section("retry"));
    section.close(None);
    Some(Route { path: path?, service: service?, timeouts, retry })
}

fn read_retry(mut section: Section<'_>) -> Retry {
    let mut retry = Retry::default();
    section.set("attempts", &mut retry.attempts, |value| value.number(1..=ATTEMPTS));
    section.set("statuses", &mut retry.statuses, |value| value.list(|item| retried(&item)));
    if retry.attempts == 1 && !retry.statuses.is_empty() {
        section.reject("statuses", "means nothing with one attempt: set attempts to 2 or more");
    }
    section.close(None);
    retry
}

fn retried(item: &Value<'_>) -> Option<u16> {
    let status = item.number(STATUS)?;
    if status == LOOP {
        item.reject(
            "is 508, which says that a request goes round in circles: it must not be sent round again",
        );
        return None;
    }
    Some(status)
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
