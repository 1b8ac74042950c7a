//! A value, or something else in its place.

use serde_json::{Value as Json, json};

use super::Kind;
use crate::value::Value;

/// A value or `off`.
pub const fn or_off<K>(kind: K) -> OrOff<K> {
    OrOff(kind)
}

/// See [`or_off`].
#[derive(Debug)]
pub struct OrOff<K>(K);

impl<N, K: Kind<N>> Kind<N> for OrOff<K> {
    type Value = Option<K::Value>;

    fn read(&self, value: &Value<'_, N>) -> Option<Option<K::Value>> {
        value.or_off(|value| self.0.read(&value))
    }

    fn show(&self, value: &Option<K::Value>) -> String {
        value.as_ref().map_or_else(|| "off".to_owned(), |value| self.0.show(value))
    }

    fn schema(&self) -> Json {
        json!({"anyOf": [self.0.schema(), {"const": "off"}]})
    }

    fn takes(&self) -> String {
        match self.0.takes() {
            takes if takes.is_empty() => "`off`: none".to_owned(),
            takes => format!("{takes}, or `off`"),
        }
    }
}

/// A value, or nothing after the key.
pub const fn or_nothing<K>(kind: K) -> OrNothing<K> {
    OrNothing(kind)
}

/// See [`or_nothing`].
#[derive(Debug)]
pub struct OrNothing<K>(K);

impl<N, K: Kind<N>> Kind<N> for OrNothing<K> {
    type Value = Option<K::Value>;

    fn read(&self, value: &Value<'_, N>) -> Option<Option<K::Value>> {
        if value.is_null() { Some(None) } else { self.0.read(value).map(Some) }
    }

    fn show(&self, value: &Option<K::Value>) -> String {
        value.as_ref().map(|value| self.0.show(value)).unwrap_or_default()
    }

    fn schema(&self) -> Json {
        json!({"anyOf": [self.0.schema(), {"type": "null"}]})
    }

    fn takes(&self) -> String {
        format!("{}, or nothing", self.0.takes())
    }
}
