//! A value that can be written in several ways.

use serde_json::{Value as Json, json};

use super::Kind;
use crate::key::key;
use crate::section::Section;
use crate::value::Value;
use crate::visitor::Visitor;

/// A kind of values of this type.
pub type AnyKind<N, T> = Box<dyn Kind<N, Value = T>>;

/// A value as `plain` has it, or a section with one of these keys, which says how the value is meant: `/a` or
/// `{regex: /a+}`. `shown` says with which key a value is written; none: plainly.
pub const fn plain_or_way<N, T>(
    plain: AnyKind<N, T>,
    ways: Vec<(&'static str, AnyKind<N, T>)>,
    shown: fn(&T) -> Option<&'static str>,
) -> PlainOrWay<N, T> {
    PlainOrWay { plain, ways, shown }
}

/// See [`plain_or_way`].
#[expect(missing_debug_implementations, reason = "a kind of any type has none")]
pub struct PlainOrWay<N, T> {
    plain: AnyKind<N, T>,
    ways: Vec<(&'static str, AnyKind<N, T>)>,
    shown: fn(&T) -> Option<&'static str>,
}

impl<N, T> PlainOrWay<N, T> {
    fn names(&self) -> String {
        self.ways.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    fn read_way(&self, section: &mut Section<'_, N>) -> Option<T> {
        let mut read = None;
        let mut found: Vec<&'static str> = Vec::new();
        for (name, kind) in &self.ways {
            if section.has(name) {
                found.push(name);
            }
            section.optional(key(name, ""), kind, &mut read);
        }
        section.close(None);
        match found[..] {
            [] if section.is_empty() => {
                section.reject_itself(format_args!("is empty: expected one of {}", self.names()));
                None
            }
            // One that is unknown was reported.
            [] => None,
            [_] => read,
            [first, second, ..] => {
                section.reject(second, format_args!("stands beside {first}: write one of them"));
                None
            }
        }
    }
}

impl<N, T> Kind<N> for PlainOrWay<N, T> {
    type Value = T;

    fn read(&self, value: &Value<'_, N>) -> Option<T> {
        if value.is_section() { self.read_way(&mut value.section()) } else { self.plain.read(value) }
    }

    fn show(&self, value: &T) -> String {
        let way = (self.shown)(value).and_then(|shown| self.ways.iter().find(|(name, _)| *name == shown));
        match way {
            Some((name, kind)) => format!("{{{name}: {}}}", kind.show(value)),
            None => self.plain.show(value),
        }
    }

    fn schema(&self) -> Json {
        let properties = self.ways.iter().map(|(name, kind)| ((*name).to_owned(), kind.schema()));
        let section = json!({
            "type": "object",
            "properties": properties.collect::<serde_json::Map<_, _>>(),
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": false,
        });
        json!({"anyOf": [self.plain.schema(), section]})
    }

    fn takes(&self) -> String {
        let ways = self.ways.iter().map(|(name, _)| format!("`{{{name}: ...}}`"));
        [self.plain.takes()]
            .into_iter()
            .filter(|takes| !takes.is_empty())
            .chain(ways)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl<N, T> Kind<N> for &AnyKind<N, T> {
    type Value = T;

    fn read(&self, value: &Value<'_, N>) -> Option<T> {
        (**self).read(value)
    }

    fn show(&self, value: &T) -> String {
        (**self).show(value)
    }

    fn schema(&self) -> Json {
        (**self).schema()
    }

    fn takes(&self) -> String {
        (**self).takes()
    }
}
