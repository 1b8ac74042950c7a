//! What a header, a parameter of the query or a cookie must be, as the configuration has it.

use config_reader::kind::{AnyKind, Kind, boolean, plain_or_way, text};
use serde_json::Value as Json;

use super::Condition;
use super::expression::expression;
use crate::config::Value;
use crate::config::machine::Need;

/// A value alone, or `{exact: ...}`, `{prefix: ...}`, `{regex: ...}`, `{present: ...}`.
pub(super) fn condition() -> impl Kind<Need, Value = Condition> {
    let exact =
        || text(|value: &Value<'_>| Some(Condition::Exact(value.text()?.to_owned())), as_text).may_be_empty();
    let ways: Vec<(_, AnyKind<Need, Condition>)> = vec![
        ("exact", Box::new(exact())),
        ("prefix", Box::new(text(read_prefix, as_text))),
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

fn read_prefix(value: &Value<'_>) -> Option<Condition> {
    match value.text()? {
        "" => {
            value.reject("is empty, which every value begins with: write {present: true}");
            None
        }
        prefix => Some(Condition::Prefix(prefix.to_owned())),
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
