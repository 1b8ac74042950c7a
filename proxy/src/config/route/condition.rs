//! What a header, a parameter of the query or a cookie must be, as the configuration has it.

use config_reader::kind::{AnyKind, Kind, boolean, plain_or_way, text};
use serde_json::Value as Json;

use super::Condition;
use super::expression::expression;
use crate::config::Value;
use crate::config::machine::Need;

/// The longest value, in bytes.
const LENGTH: usize = 1024;

/// Whose value it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Header,
    Cookie,
    Parameter,
}

/// Why no request can have a value. Each reads on after the text that was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum ValueError {
    #[error("is longer than {LENGTH} bytes")]
    Length,
    #[error("{0} with a space, which HTTP takes away")]
    Space(&'static str),
    #[error("has \";\" in it, which ends a cookie")]
    Semicolon,
}

/// A value alone, or `{exact: ...}`, `{prefix: ...}`, `{regex: ...}`, `{present: ...}`.
pub(super) fn condition(of: Of) -> impl Kind<Need, Value = Condition> {
    let exact = || {
        let read = move |value: &Value<'_>| {
            value.parse(|text| of.check(text, true).map(|()| Condition::Exact(text.to_owned())))
        };
        text(read, as_text).may_be_empty()
    };
    let ways: Vec<(_, AnyKind<Need, Condition>)> = vec![
        ("exact", Box::new(exact())),
        ("prefix", Box::new(text(move |value: &Value<'_>| read_prefix(value, of), as_text))),
        ("regex", Box::new(expression(Condition::Regex, as_text))),
        ("present", Box::new(Presence)),
    ];
    plain_or_way(Box::new(exact()), ways, |condition| match condition {
        Condition::Exact(_) => None,
        Condition::Prefix(_) => Some("prefix"),
        Condition::Regex(_) => Some("regex"),
        Condition::Present | Condition::Absent => Some("present"),
    })
}

fn read_prefix(value: &Value<'_>, of: Of) -> Option<Condition> {
    if value.text()?.is_empty() {
        value.reject("is empty, which every value begins with: write {present: true}");
        return None;
    }
    value.parse(|text| of.check(text, false).map(|()| Condition::Prefix(text.to_owned())))
}

impl Of {
    /// `is_whole`: it is the value from its first letter to its last.
    fn check(self, text: &str, is_whole: bool) -> Result<(), ValueError> {
        if text.len() > LENGTH {
            return Err(ValueError::Length);
        }
        // What a parameter has is decoded, so it may have everything.
        if self == Self::Parameter {
            return Ok(());
        }
        // A space behind the "=" of a cookie is part of its value.
        if self == Self::Header && text.starts_with(' ') {
            return Err(ValueError::Space("begins"));
        }
        if is_whole && text.ends_with(' ') {
            return Err(ValueError::Space("ends"));
        }
        if self == Self::Cookie && text.contains(';') { Err(ValueError::Semicolon) } else { Ok(()) }
    }
}

fn as_text(condition: &Condition) -> String {
    match condition {
        Condition::Exact(text) | Condition::Prefix(text) => text.clone(),
        Condition::Regex(expression) => expression.as_str().to_owned(),
        Condition::Present | Condition::Absent => String::new(),
    }
}

/// Whether it must be there.
struct Presence;

impl Kind<Need> for Presence {
    type Value = Condition;

    fn read(&self, value: &Value<'_>) -> Option<Condition> {
        Some(if value.boolean()? { Condition::Present } else { Condition::Absent })
    }

    fn show(&self, condition: &Condition) -> String {
        Kind::<Need>::show(&boolean(), &(*condition == Condition::Present))
    }

    fn schema(&self) -> Json {
        Kind::<Need>::schema(&boolean())
    }
}
