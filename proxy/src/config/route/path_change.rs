//! How a route changes a path.

use std::borrow::Cow;

use regex::bytes::Captures;

use super::expression::LONGEST_VALUE;
use super::path::{PathError, check_characters};
use super::{Expression, below};
use crate::path::normalise;

/// The longest path that a rewrite reads or makes, in bytes: a group that is named many times must not make a megabyte
/// of a path.
const LENGTH: usize = LONGEST_VALUE;

/// How a path becomes another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum PathChange {
    #[default]
    None,
    /// This prefix of whole segments is taken away, where it is one. (It ends with no slash, but for `/` itself, of which
    /// nothing can be taken away.)
    Strip(String),
    /// The same of the segment below it, too, in which a service is named. (It ends with no slash, so the root's is
    /// empty.)
    StripService(String),
    /// Where the expression takes the normalised path, this takes its place.
    Rewrite { from: Expression, to: Replacement },
}

/// Why a path cannot be changed as a route says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathRefusal {
    /// It would not begin with a slash.
    Relative,
    /// It would climb above the root, or hold a `%` that escapes nothing, or half a letter.
    Malformed,
    /// It is too long, or would be.
    Length,
    /// It would be too long with its query.
    WithQuery,
}

impl PathRefusal {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Relative => "the path that the route makes of this one does not begin with a slash",
            Self::Malformed => {
                "the path that the route makes of this one climbs above the root or is malformed"
            }
            Self::Length => "the path is longer than 8 KiB, or the one that the route makes of it",
            Self::WithQuery => "the path that the route makes of this one is too long with its query",
        }
    }
}

impl PathChange {
    /// The path that takes the place of this normalised one, normalised; none: it stays.
    pub(crate) fn apply<'p>(&self, path: &'p str) -> Result<Option<Cow<'p, str>>, PathRefusal> {
        match self {
            Self::None => Ok(None),
            Self::Strip(prefix) => Ok(strip(prefix, path).map(Cow::Borrowed)),
            Self::StripService(above) => Ok(strip_service(above, path).map(Cow::Borrowed)),
            Self::Rewrite { .. } if path.len() > LENGTH => Err(PathRefusal::Length),
            Self::Rewrite { from, to } => {
                let Some(groups) = from.compiled().captures(path.as_bytes()) else { return Ok(None) };
                let made = to.expand(&groups).ok_or(PathRefusal::Length)?;
                check(made).map(|path| Some(Cow::Owned(path)))
            }
        }
    }
}

/// What is left below a prefix of whole segments; none: it is not below it.
fn strip<'p>(prefix: &str, path: &'p str) -> Option<&'p str> {
    let rest = path.strip_prefix(prefix)?;
    match rest.chars().next() {
        // Of `/` nothing is left to begin with.
        _ if prefix.ends_with('/') => None,
        None => Some("/"),
        Some('/') => Some(rest),
        Some(_) => None,
    }
}

/// What is left below a segment below a prefix; none: there is no such segment.
fn strip_service<'p>(above: &str, path: &'p str) -> Option<&'p str> {
    let segments = below(above, path)?.strip_prefix('/').filter(|segments| !segments.is_empty())?;
    Some(segments.find('/').map_or("/", |slash| &segments[slash..]))
}

/// Groups may come to stand beside each other that did not before: `.` and `.`, or `%` and two letters.
fn check(made: Vec<u8>) -> Result<String, PathRefusal> {
    let path = String::from_utf8(made).map_err(|_| PathRefusal::Malformed)?;
    match path.as_bytes().first() {
        None => Ok("/".to_owned()),
        Some(b'/') => normalise(&path).map(Cow::into_owned).ok_or(PathRefusal::Malformed),
        Some(_) => Err(PathRefusal::Relative),
    }
}

/// A path in which the groups of an expression are named: `/shop/$1`, `/shop/${rest}`. A dollar sign is written twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replacement {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(usize),
}

/// Why a text is no replacement. Each reads on after the text that was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReplacementError {
    /// It begins neither with a slash nor with a group.
    #[error("must start with \"/\", or with a group that does")]
    Relative,
    /// It has a dollar sign that names nothing.
    #[error("has a \"$\" that names no group: write $1 or ${{name}}, or $$ for the sign itself")]
    Dollar,
    /// It names what the expression does not have.
    #[error("names the group \"{0}\", which the expression does not have")]
    Group(String),
    /// Something in it can be in no path.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl Replacement {
    /// `from`: the expression whose groups it names.
    pub(super) fn parse(text: &str, from: &Expression) -> Result<Self, ReplacementError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (part, left) = next(rest, from)?;
            parts.push(part);
            rest = left;
        }
        match parts.first() {
            Some(Part::Text(first)) if first.starts_with('/') => {}
            Some(Part::Group(_)) => {}
            _ => return Err(ReplacementError::Relative),
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// None: it would be too long.
    fn expand(&self, groups: &Captures<'_>) -> Option<Vec<u8>> {
        let mut made = Vec::new();
        for part in &self.parts {
            let bytes = match part {
                Part::Text(text) => text.as_bytes(),
                // A group that took no part in the match is empty.
                Part::Group(group) => groups.get(*group).map_or(&[][..], |taken| taken.as_bytes()),
            };
            if made.len() + bytes.len() > LENGTH {
                return None;
            }
            made.extend_from_slice(bytes);
        }
        Some(made)
    }
}

/// The first part of a text that is not empty, and what follows upon it.
fn next<'t>(text: &'t str, from: &Expression) -> Result<(Part, &'t str), ReplacementError> {
    let Some(after) = text.strip_prefix('$') else {
        let (before, rest) = text.split_at(text.find('$').unwrap_or(text.len()));
        check_characters(before)?;
        return Ok((Part::Text(before.to_owned()), rest));
    };
    if let Some(rest) = after.strip_prefix('$') {
        return Ok((Part::Text("$".to_owned()), rest));
    }
    let (name, rest) = match after.strip_prefix('{') {
        Some(braced) => braced.split_once('}').ok_or(ReplacementError::Dollar)?,
        None => after.split_at(after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len())),
    };
    if name.is_empty() {
        return Err(ReplacementError::Dollar);
    }
    let group = group(name, from).ok_or_else(|| ReplacementError::Group(name.to_owned()))?;
    Ok((Part::Group(group), rest))
}

fn group(name: &str, from: &Expression) -> Option<usize> {
    let expression = from.compiled();
    match name.parse() {
        Ok(number) => (number < expression.captures_len()).then_some(number),
        Err(_) => expression.capture_names().position(|known| known == Some(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rewrite(from: &str, to: &str) -> PathChange {
        let from = Expression::parse(from).unwrap();
        let to = Replacement::parse(to, &from).unwrap();
        PathChange::Rewrite { from, to }
    }

    fn changed(change: &PathChange, path: &str) -> Result<Option<String>, PathRefusal> {
        change.apply(path).map(|path| path.map(Cow::into_owned))
    }

    #[test]
    fn a_prefix_is_taken_away_by_whole_segments_and_a_path_is_left() {
        let strip = PathChange::Strip("/api/v1".into());
        for (path, expected) in [
            ("/api/v1/goods/7", Some("/goods/7")),
            ("/api/v1", Some("/")),
            ("/api/v1/", Some("/")),
            ("/api/v1//x", Some("//x")),
            ("/api/v12", None),
            ("/api", None),
            ("/x/api/v1/y", None),
        ] {
            assert_eq!(changed(&strip, path), Ok(expected.map(str::to_owned)), "{path}");
        }
        assert_eq!(changed(&PathChange::Strip("/".into()), "/a"), Ok(None));
        assert_eq!(changed(&PathChange::None, "/a"), Ok(None));
    }

    #[test]
    fn the_name_of_a_service_is_taken_away_with_what_is_above_it() {
        for (above, path, expected) in [
            ("", "/goods/7", Some("/7")),
            ("", "/goods", Some("/")),
            ("", "/goods/", Some("/")),
            ("", "/", None),
            ("/shop", "/shop/goods/7/x", Some("/7/x")),
            ("/shop", "/shop/goods//x", Some("//x")),
            ("/shop", "/shop", None),
            ("/shop", "/shop/", None),
            ("/shop", "/shops/goods", None),
        ] {
            let strip = PathChange::StripService(above.into());
            assert_eq!(changed(&strip, path), Ok(expected.map(str::to_owned)), "{above} {path}");
        }
    }

    #[test]
    fn a_rewrite_takes_groups_into_another_path() {
        for (from, to, path, expected) in [
            ("/api/v[0-9]+(/.*)?", "/shop$1", "/api/v2/goods", Some("/shop/goods")),
            ("/api/v[0-9]+(/.*)?", "/shop$1", "/api/v2", Some("/shop")),
            ("/api/v[0-9]+(/.*)?", "/shop$1", "/old/api/v2", None),
            ("/api(/.*)?", "$1", "/api/x", Some("/x")),
            ("/api(/.*)?", "$1", "/api", Some("/")),
            ("/(?P<shop>[a-z]+)/([0-9]+)", "/$2x/${shop}/$0", "/toys/7", Some("/7x/toys//toys/7")),
            ("/a", "/cost$$1", "/a", Some("/cost$1")),
            ("/a/(.*)", "/b/../c/./$1", "/a/%41", Some("/c/A")),
        ] {
            assert_eq!(
                changed(&rewrite(from, to), path),
                Ok(expected.map(str::to_owned)),
                "{from} {to} {path}"
            );
        }
    }

    #[test]
    fn a_rewrite_never_makes_what_is_no_path_below_the_root() {
        for (from, to, path, expected) in [
            ("/(.*)x(.*)", "/$1$2", "/.x./etc", PathRefusal::Malformed),
            ("/(.*)", "/a/../../$1", "/b", PathRefusal::Malformed),
            ("/(.*)x(.*)", "/$1$2", "/%2x", PathRefusal::Malformed),
            ("/(.).*", "/$1", "/\u{e9}", PathRefusal::Malformed),
            ("/(.*)", "$1", "/evil.example", PathRefusal::Relative),
        ] {
            assert_eq!(changed(&rewrite(from, to), path), Err(expected), "{from} {to} {path}");
        }
        let dots = rewrite("/(.*)x(.*)", "/a/$1$2/b");
        assert_eq!(changed(&dots, "/.x."), Ok(Some("/b".into())), "resolved, as a client's own are");
    }

    #[test]
    fn no_path_grows_beyond_what_servers_take() {
        let tenfold = rewrite("/(.*)", "/$1$1$1$1$1$1$1$1$1$1");
        assert!(
            matches!(changed(&tenfold, &format!("/{}", "a".repeat(800))), Ok(Some(path)) if path.len() == 8001)
        );
        for length in [900, LENGTH, 1024 * 1024] {
            assert_eq!(changed(&tenfold, &format!("/{}", "a".repeat(length))), Err(PathRefusal::Length));
        }
    }

    #[test]
    fn what_names_no_group_or_is_no_path_is_no_replacement() {
        use ReplacementError::{Dollar, Group, Path, Relative};
        let from = Expression::parse("/(?P<rest>.*)").unwrap();
        for (to, expected) in [
            ("", Relative),
            ("shop", Relative),
            ("$$/a", Relative),
            ("http://a/$1", Relative),
            ("/$", Dollar),
            ("/$x", Dollar),
            ("/${}", Dollar),
            ("/${rest", Dollar),
            ("/$2", Group("2".into())),
            ("/$99999999999999999999", Group("99999999999999999999".into())),
            ("/${other}", Group("other".into())),
            ("/a?b=$1", Path(PathError::Character('?'))),
            ("/a b", Path(PathError::Character(' '))),
            ("/%$1", Path(PathError::Escape)),
        ] {
            assert_eq!(Replacement::parse(to, &from), Err(expected), "{to}");
        }
        assert_eq!(Replacement::parse("/a/${rest}", &from).unwrap().text, "/a/${rest}");
    }

    proptest! {
        #[test]
        fn whatever_is_made_is_a_normal_path(
            path in "/[a-c./%2eEF]{0,12}",
            from in "/(\\(\\.\\*\\)|a|\\.|%){0,4}",
            to in "(/|\\$1|\\$2|\\.|a|%2E){0,6}",
        ) {
            let from = Expression::parse(&from).unwrap();
            if let (Ok(to), Some(path)) = (Replacement::parse(&to, &from), normalise(&path)) {
                let change = PathChange::Rewrite { from, to };
                if let Ok(Some(made)) = change.apply(&path) {
                    let again = normalise(&made).map(Cow::into_owned);
                    prop_assert_eq!(again.as_deref(), Some(&*made));
                    prop_assert!(made.len() <= LENGTH);
                }
            }
        }

        #[test]
        fn no_replacement_makes_it_panic(text in "/?(.|\\$|\\$\\{|\\}|1|%)*") {
            let from = Expression::parse("/(.*)").unwrap();
            let _ = Replacement::parse(&text, &from);
        }
    }
}
