//! The paths that a route takes.

use config_reader::kind::{AnyKind, Kind, plain_or_way, text};

use super::PathPattern;
use super::expression::{Expression, ExpressionError};
use crate::config::Value;
use crate::config::machine::Need;
use crate::config::pattern::{self, Pattern};

/// The longest path of a route, in bytes.
const LENGTH: usize = 1024;

/// Below a path, in the place of a service's name.
pub(super) const SERVICE: &str = "/{service}";

/// A path, which takes all below it, too, and may end with `/{service}`; or `{exact: ...}`, `{prefix: ...}`,
/// `{regex: ...}`.
pub(super) fn path() -> impl Kind<Need, Value = PathPattern> {
    let plain = text(|value: &Value<'_>| value.parse(parse_plain), as_text).pattern("^/").takes("a path");
    let exact = |value: &Value<'_>| value.parse(parse_exact).map(PathPattern::Exact);
    let prefix = |value: &Value<'_>| value.parse(parse_path).map(PathPattern::Prefix);
    let regex = |value: &Value<'_>| value.parse(parse_regex).map(PathPattern::Regex);
    let ways: Vec<(_, AnyKind<Need, PathPattern>)> = vec![
        ("exact", Box::new(text(exact, as_text).pattern("^/"))),
        ("prefix", Box::new(text(prefix, as_text).pattern("^/"))),
        ("regex", Box::new(text(regex, as_text).takes("a regular expression"))),
    ];
    plain_or_way(Box::new(plain), ways, |path| match path {
        PathPattern::Any | PathPattern::Prefix(_) | PathPattern::Service(_) => None,
        PathPattern::Exact(_) => Some("exact"),
        PathPattern::Regex(_) => Some("regex"),
    })
}

fn as_text(path: &PathPattern) -> String {
    match path {
        PathPattern::Any => String::new(),
        PathPattern::Exact(path) | PathPattern::Prefix(path) => path.clone(),
        PathPattern::Regex(expression) => expression.as_str().to_owned(),
        PathPattern::Service(above) => format!("{above}{SERVICE}"),
    }
}

pub(super) fn parse_plain(text: &str) -> Result<PathPattern, PathError> {
    match text.strip_suffix(SERVICE) {
        Some("") => Ok(PathPattern::Service(String::new())),
        Some(above) if above.ends_with('/') => Err(PathError::EmptySegment),
        Some(above) => parse_path(above).map(PathPattern::Service),
        None if text.contains(SERVICE) => Err(PathError::ServiceWithin),
        None => parse_path(text).map(PathPattern::Prefix),
    }
}

fn parse_regex(text: &str) -> Result<Expression, PathError> {
    let expression = Expression::parse(text)?;
    // What else an expression may begin with that takes a slash: a class, a group, an anchor, an escape, or nothing at all
    // before other ways.
    let may_take_slash = text.starts_with(|c| "/.[(^\\|".contains(c));
    if may_take_slash { Ok(expression) } else { Err(PathError::RelativeRegex) }
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
    /// It is no expression.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// It is an expression that takes none.
    #[error("takes no path: each starts with \"/\"")]
    RelativeRegex,
    /// What stands for a service's name is not its end.
    #[error(
        "has more after {{service}}: the name of a service is the last segment, and all below it is taken, too"
    )]
    ServiceWithin,
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

/// A path that starts with `/` and ends with none (but for `/` itself), has no empty and no dot segment, no query, and
/// needless or lower-case escapes neither: equal paths are equal texts.
pub(super) fn parse_path(text: &str) -> Result<String, PathError> {
    let path = parse_exact(text)?;
    match path.strip_suffix('/') {
        Some(better) if !better.is_empty() => Err(PathError::TrailingSlash(better.to_owned())),
        _ => Ok(path),
    }
}

/// The same, but that it may end with a slash.
pub(super) fn parse_exact(text: &str) -> Result<String, PathError> {
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
    match rest.split('/').find(|segment| matches!(*segment, "." | "..")) {
        Some(segment) => Err(PathError::DotSegment(segment.to_owned())),
        None => Ok(text.to_owned()),
    }
}

/// The characters of a path in RFC 3986, section 3.3.
pub(super) fn check_characters(path: &str) -> Result<(), PathError> {
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
