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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::key;
    use crate::kind::{boolean, list, number};
    use crate::{Reader, parse};

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Door {
        number: u8,
        is_open: bool,
    }

    /// The doors of a text, or what is wrong with it.
    fn read(text: &str) -> Result<Vec<Door>, Vec<String>> {
        let document = parse(text).unwrap();
        let reader: Reader<()> = Reader::new("f");
        let mut root = reader.root(document.as_ref());
        let mut doors = Vec::new();
        let by = (key("number", "").required("a number"), list(number(1..=9_u8)).of(1..=3, "doors"));
        let new = || Door { number: 0, is_open: false };
        root.list_by(
            key("doors", ""),
            by,
            &mut doors,
            |door| &mut door.number,
            new,
            |door, v| {
                v.key(key("open", ""), boolean(), &mut door.is_open);
            },
        );
        root.close(None);
        let (problems, _) = reader.into_problems_and_remarks();
        if problems.is_empty() { Ok(doors) } else { Err(problems.iter().map(ToString::to_string).collect()) }
    }

    #[test]
    fn an_item_is_a_section_or_the_value_of_its_one_key() {
        let door = |number, is_open| Door { number, is_open };
        for (text, expected) in [
            ("doors: [7, 8]", vec![door(7, false), door(8, false)]),
            ("doors: [{number: 7}, 8]", vec![door(7, false), door(8, false)]),
            ("doors: [1, {open: true, number: 2}]", vec![door(1, false), door(2, true)]),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn each_mistake_of_an_item_is_told_at_its_place() {
        for (text, expected) in [
            ("doors: 7", vec!["f:1: doors: found 7, expected a list: write [7]"]),
            ("doors: []", vec!["f:1: doors: has 0 doors: expected 1 to 3"]),
            ("doors: [0, 0, 0, 0]", vec!["f:1: doors: has 4 doors: expected 1 to 3"]),
            (
                "doors:\n- 0\n- {number: 0, open: 1}",
                vec![
                    "f:2: doors[0]: found 0, expected a whole number from 1 to 9",
                    "f:3: doors[1].number: found 0, expected a whole number from 1 to 9",
                    "f:3: doors[1].open: found 1, expected true or false",
                ],
            ),
            (
                "doors: [{open: true}, {number: 7, opne: true}]",
                vec![
                    "f:1: doors[0].number: is missing: expected a number",
                    "f:1: doors[1].opne: is an unknown key: did you mean open?",
                ],
            ),
        ] {
            assert_eq!(read(text), Err(expected.into_iter().map(str::to_owned).collect()), "{text}");
        }
    }
}
