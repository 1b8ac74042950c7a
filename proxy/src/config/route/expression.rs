//! Regular expressions.

use std::fmt;
use std::sync::Arc;

use config_reader::kind::{Kind, text};
use regex::bytes::{Regex, RegexBuilder};

use crate::config::Value;
use crate::config::machine::Need;

/// The longest expression, in bytes.
const LENGTH: usize = 1024;
/// How much memory its program may take. A step of a match costs the program's length at worst.
const PROGRAM: usize = 16 * 1024;
/// How much memory the states may take that a match remembers, for each thread that matches at the same time. Where they
/// do not fit, each letter is compared with the whole program.
const STATES: usize = 1024 * 1024;
/// The longest value that one looks at, in bytes: what servers take in a request's line is seldom more. With `PROGRAM` it
/// bounds the time of a match.
pub(super) const LONGEST_VALUE: usize = 8 * 1024;
/// How deep its parts may be nested.
const DEPTH: u32 = 50;

/// A regular expression that takes a value from its first letter to its last. Its classes are ASCII's: what is matched
/// are paths with escapes, and headers. A match takes at worst the length of the value times that of the program, so both
/// are bounded. Its clones share what it remembers.
#[derive(Clone)]
pub(crate) struct Expression {
    text: String,
    compiled: Arc<Regex>,
}

/// Why a text is no expression. Reads on after the text that was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExpressionError {
    #[error("is longer than {LENGTH} bytes")]
    Length,
    #[error("is a regular expression that would take more than {} KiB: shorten it, or bound its repetitions, such as {{1,20}}", PROGRAM / 1024)]
    Size,
    #[error("is no regular expression: {0}")]
    Syntax(String),
}

/// An expression that is a part of something else.
pub(super) fn expression<T>(
    part_of: impl Fn(Expression) -> T,
    show: impl Fn(&T) -> String,
) -> impl Kind<Need, Value = T> {
    text(move |value: &Value<'_>| value.parse(Expression::parse).map(&part_of), show)
        .takes("a regular expression")
}

impl Expression {
    pub(crate) fn parse(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > LENGTH {
            return Err(ExpressionError::Length);
        }
        // It is compiled alone first, or `a)(b` would be one.
        let build = |text: &str| {
            let mut builder = RegexBuilder::new(text);
            builder.unicode(false).size_limit(PROGRAM).dfa_size_limit(STATES).nest_limit(DEPTH).build()
        };
        // With `(?x)`, a comment at its end would take the closing parenthesis with it.
        let whole = || build(&format!("^(?:{text})$")).or_else(|_| build(&format!("^(?:{text}\n)$")));
        let built = build(text).and_then(|_| whole());
        let compiled = built.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => ExpressionError::Size,
            other => ExpressionError::Syntax(reason(&other)),
        })?;
        Ok(Self { text: text.to_owned(), compiled: Arc::new(compiled) })
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it takes this value, which is not too long.
    pub(crate) fn takes(&self, value: &[u8]) -> bool {
        value.len() <= LONGEST_VALUE && self.compiled.is_match(value)
    }

    /// The compiled form, for its groups.
    pub(crate) fn compiled(&self) -> &Regex {
        &self.compiled
    }
}

/// The last line of what the parser says: the others draw the expression.
fn reason(error: &regex::Error) -> String {
    let said = error.to_string();
    let last = said.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_eight_kilobytes_is_looked_at_and_no_longer_one() {
        let all = Expression::parse("/a*").unwrap();
        let value = |length: usize| format!("/{}", "a".repeat(length - 1));
        assert!(all.takes(value(LONGEST_VALUE).as_bytes()));
        assert!(!all.takes(value(LONGEST_VALUE + 1).as_bytes()));
    }

    /// A program of twice the length would take twice the time: docs/figures.md has that of these.
    #[test]
    fn what_each_letter_might_have_to_be_compared_with_is_bounded() {
        for (text, most) in [("/.*[ab]{1,N}c", 150), ("/.*a.{N}", 210), ("/(.*a){N}x", 80)] {
            let of = |number: usize| Expression::parse(&text.replace('N', &number.to_string()));
            assert_eq!(of(most), Err(ExpressionError::Size), "{text}");
            assert!(of(most * 9 / 10).is_ok(), "{text}");
        }
    }

    #[test]
    fn clones_share_what_they_remember() {
        let one = Expression::parse("/a").unwrap();
        assert!(std::ptr::eq(one.compiled(), one.clone().compiled()));
    }
}
