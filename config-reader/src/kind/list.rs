//! Lists.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use serde_json::{Value as Json, json};

use super::Kind;
use crate::value::Value;

/// A list.
pub const fn list<K>(item: K) -> List<K> {
    List { item, least: 0, most: usize::MAX, of: "", is_distinct: false }
}

/// See [`list`].
#[derive(Debug)]
pub struct List<K> {
    item: K,
    least: usize,
    most: usize,
    of: &'static str,
    is_distinct: bool,
}

impl<K> List<K> {
    /// Takes only lists whose items all mean something else.
    #[must_use]
    pub fn distinct(self) -> Self {
        Self { is_distinct: true, ..self }
    }

    /// Takes only lists with at least one item. `one` names an item, with an example.
    #[must_use]
    pub fn not_empty(self, one: &'static str) -> Self {
        Self { least: 1, of: one, ..self }
    }

    /// Takes only lists with so many items. `items` names them.
    #[must_use]
    pub fn of(self, count: RangeInclusive<usize>, items: &'static str) -> Self {
        Self { least: *count.start(), most: *count.end(), of: items, ..self }
    }

    pub(crate) fn item(&self) -> &K {
        &self.item
    }

    /// Reports a list that is too short or too long. Its items are not read then.
    pub(crate) fn refuse<N>(&self, value: &Value<'_, N>) -> bool {
        let Self { least, most, of, .. } = self;
        match value.count() {
            Some(count) if *most < usize::MAX && !(*least..=*most).contains(&count) => {
                value.reject(format_args!("has {count} {of}: expected {least} to {most}"));
            }
            Some(count) if count < *least => {
                value.reject(format_args!("is empty: expected at least one {of}"));
            }
            _ => return false,
        }
        true
    }
}

impl<N, K: Kind<N>> Kind<N> for List<K> {
    type Value = Vec<K::Value>;

    fn read(&self, value: &Value<'_, N>) -> Option<Vec<K::Value>> {
        if self.refuse(value) {
            return None;
        }
        // By how it is shown: what means the same is, however it is written.
        let mut lines = HashMap::new();
        value.list(|item| {
            let read = self.item.read(&item)?;
            let before = self.is_distinct.then(|| lines.insert(self.item.show(&read), item.place().line));
            if let Some(line) = before.flatten() {
                item.reject(format_args!("is there already, in line {line}: remove one of them"));
                return None;
            }
            Some(read)
        })
    }

    fn show(&self, value: &Vec<K::Value>) -> String {
        let items: Vec<_> = value.iter().map(|item| self.item.show(item)).collect();
        format!("[{}]", items.join(", "))
    }

    fn schema(&self) -> Json {
        let mut schema = json!({"type": "array", "items": self.item.schema()});
        if self.least > 0 {
            schema["minItems"] = self.least.into();
        }
        if self.most < usize::MAX {
            schema["maxItems"] = self.most.into();
        }
        if self.is_distinct {
            schema["uniqueItems"] = true.into();
        }
        schema
    }

    fn takes(&self) -> String {
        self.item.takes()
    }
}
