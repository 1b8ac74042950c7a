//! Values by names.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;

use serde_json::{Value as Json, json};

use super::{Kind, scalar};
use crate::value::Value;

/// A section whose keys are names, each with a value. `name` reads a name; its error says what is wrong with it. Two
/// names that mean the same, such as those of headers in capital letters and in small ones, are a mistake.
pub const fn map<T, E, F, K>(name: F, pattern: &'static str, kind: K) -> Map<F, K>
where
    F: Fn(&str) -> Result<T, E>,
    E: Display,
{
    Map { name, pattern, kind }
}

/// See [`map`].
#[derive(Debug)]
pub struct Map<F, K> {
    name: F,
    /// A regular expression that all names match.
    pattern: &'static str,
    kind: K,
}

impl<N, T, E, F, K> Kind<N> for Map<F, K>
where
    T: Hash + Eq + Clone + Display,
    E: Display,
    F: Fn(&str) -> Result<T, E>,
    K: Kind<N>,
{
    /// In the order of the file.
    type Value = Vec<(T, K::Value)>;

    fn read(&self, value: &Value<'_, N>) -> Option<Self::Value> {
        let mut lines = HashMap::new();
        value.entries(|written, value| {
            let name = value.accept((self.name)(written));
            let read = self.kind.read(&value);
            let (name, read) = (name?, read?);
            match lines.insert(name.clone(), (written, value.place().line)) {
                // The same text twice is reported for any section.
                Some((before, line)) if before != written => {
                    value.reject(format_args!("is the same as {before} in line {line}"));
                    None
                }
                _ => Some((name, read)),
            }
        })
    }

    fn show(&self, value: &Self::Value) -> String {
        let entries = value
            .iter()
            .map(|(name, value)| format!("{}: {}", scalar(&name.to_string()), self.kind.show(value)));
        format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
    }

    fn schema(&self) -> Json {
        json!({
            "type": "object",
            "propertyNames": {"pattern": self.pattern},
            "additionalProperties": self.kind.schema(),
        })
    }

    fn takes(&self) -> String {
        self.kind.takes()
    }
}
