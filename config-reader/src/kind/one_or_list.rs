//! Several values, of which one alone needs no brackets.

use serde_json::{Value as Json, json};

use super::{Kind, List};
use crate::value::Value;

/// A value, or a list of such.
pub const fn one_or_list<K>(list: List<K>) -> OneOrList<K> {
    OneOrList(list)
}

/// See [`one_or_list`].
#[derive(Debug)]
pub struct OneOrList<K>(List<K>);

impl<N, K: Kind<N>> Kind<N> for OneOrList<K> {
    type Value = Vec<K::Value>;

    fn read(&self, value: &Value<'_, N>) -> Option<Vec<K::Value>> {
        if value.count().is_some() {
            self.0.read(value)
        } else {
            self.0.item().read(value).map(|one| vec![one])
        }
    }

    fn show(&self, value: &Vec<K::Value>) -> String {
        match &value[..] {
            [one] => self.0.item().show(one),
            _ => self.0.show(value),
        }
    }

    fn schema(&self) -> Json {
        json!({"anyOf": [self.0.item().schema(), Kind::<N>::schema(&self.0)]})
    }

    fn takes(&self) -> String {
        match self.0.item().takes() {
            takes if takes.is_empty() => "one, or a list".to_owned(),
            takes => format!("{takes}; one, or a list"),
        }
    }
}
