//! Regular expressions.

use std::fmt;

use config_reader::kind::{Kind, text};
use regex::bytes::{Regex, RegexBuilder};

use crate::config::Value;
use crate::config::machine::Need;

/// The longest expression, in bytes.
const LENGTH: usize = 1024;
/// How much memory one may take when it is compiled, and as much again while it runs.
const SIZE: usize = 128 * 1024;
/// How deep its parts may be nested.
const DEPTH: u32 = 50;

/// A regular expression that takes a value from its first letter to its last. Its classes are ASCII's: what is matched
/// are paths with escapes, and headers. It takes time in proportion to the value, whatever the value is.
#[derive(Clone)]
pub(crate) struct Expression {
    text: String,
    compiled: Regex,
}

/// Why a text is no expression. Reads on after the text that was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExpressionError {
    #[error("is longer than {LENGTH} bytes")]
    Length,
    #[error("is a regular expression that would take more than {} KiB: bound its repetitions, such as {{1,20}}", SIZE / 1024)]
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
            builder.unicode(false).size_limit(SIZE).dfa_size_limit(SIZE).nest_limit(DEPTH).build()
        };
        let built = build(text).and_then(|_| build(&format!("^(?:{text})$")));
        let compiled = built.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => ExpressionError::Size,
            other => ExpressionError::Syntax(reason(&other)),
        })?;
        Ok(Self { text: text.to_owned(), compiled })
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn takes(&self, value: &[u8]) -> bool {
        self.compiled.is_match(value)
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
