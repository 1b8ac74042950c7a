//! A section of a file takes the declarations of its keys: it reads them.

use std::collections::BTreeMap;

use crate::key::Key;
use crate::kind::{Kind, List};
use crate::section::Section;
use crate::value::{SECTION, Value};
use crate::visitor::Visitor;

impl<'a, N> Visitor<N> for Section<'a, N> {
    fn key<K: Kind<N>>(&mut self, key: Key, kind: K, slot: &mut K::Value) {
        self.read(key, |value| kind.read(&value), |read| *slot = read);
    }

    fn optional<K: Kind<N>>(&mut self, key: Key, kind: K, slot: &mut Option<K::Value>) {
        self.read(key, |value| kind.read(&value), |read| *slot = Some(read));
    }

    fn section(&mut self, key: Key, keys: impl FnOnce(&mut Self)) {
        let mut below = self.below(key);
        keys(&mut below);
        below.close(None);
    }

    fn optional_section<T>(
        &mut self,
        key: Key,
        slot: &mut Option<T>,
        new: impl FnOnce() -> T,
        keys: impl FnOnce(&mut T, &mut Self),
    ) {
        self.read(key, |value| read_section(&value, key, new, keys), |read| *slot = Some(read));
    }

    fn section_or_off<T>(
        &mut self,
        key: Key,
        slot: &mut Option<T>,
        new: impl FnOnce() -> T,
        keys: impl FnOnce(&mut T, &mut Self),
    ) {
        let read = |value: Value<'a, N>| value.or_off(|value| read_section(&value, key, new, keys));
        self.read(key, read, |read| *slot = read);
    }

    fn list<T>(
        &mut self,
        key: Key,
        slot: &mut Vec<T>,
        new: impl Fn() -> T,
        mut keys: impl FnMut(&mut T, &mut Self),
    ) {
        let read = |value: Value<'a, N>| value.list(|item| read_section(&item, key, &new, &mut keys));
        self.read(key, read, |read| *slot = read);
    }

    fn list_by<T, K: Kind<N>>(
        &mut self,
        key: Key,
        (by, plain): (Key, List<K>),
        slot: &mut Vec<T>,
        place: impl Fn(&mut T) -> &mut K::Value,
        new: impl Fn() -> T,
        mut keys: impl FnMut(&mut T, &mut Self),
    ) {
        let mut item = |item: Value<'a, N>| {
            if !item.is_section() {
                let mut read = new();
                *place(&mut read) = plain.item().read(&item)?;
                return Some(read);
            }
            read_section(&item, key, &new, |t, below| {
                below.read(by, |value| plain.item().read(&value), |read| *place(t) = read);
                keys(t, below);
            })
        };
        let read = |value: Value<'a, N>| if plain.refuse(&value) { None } else { value.list(&mut item) };
        self.read(key, read, |read| *slot = read);
    }

    fn named<T>(
        &mut self,
        key: Key,
        slot: &mut BTreeMap<String, T>,
        new: impl Fn() -> T,
        mut keys: impl FnMut(&str, &mut T, &mut Self),
    ) {
        let read = |value: Value<'a, N>| {
            value.entries(|name, value| {
                let read = read_section(&value, key, &new, |t, below| keys(name, t, below))?;
                Some((name.to_owned(), read))
            })
        };
        self.read(key, read, |read| slot.extend(read));
    }

    fn refuse(&mut self, key: &'static str, reason: &str) {
        Self::refuse(self, key, reason);
    }

    fn stands(&self, key: &str) -> bool {
        self.has(key)
    }

    fn check(&mut self, check: impl FnOnce(&Section<'_, N>)) {
        check(self);
    }
}

fn read_section<'a, N, T>(
    value: &Value<'a, N>,
    key: Key,
    new: impl FnOnce() -> T,
    keys: impl FnOnce(&mut T, &mut Section<'a, N>),
) -> Option<T> {
    if !value.is_section() {
        return value.mismatch(key.shape.unwrap_or(SECTION));
    }
    let (mut read, mut section) = (new(), value.section());
    keys(&mut read, &mut section);
    section.close(None);
    Some(read)
}
