//! A configuration as a flat list of keys and values, to compare it with another one.

use std::collections::{BTreeMap, HashMap};

use crate::key::Key;
use crate::kind::{Kind, List};
use crate::text::join;
use crate::visitor::Visitor;

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// With its sections.
    pub key: String,
    /// The value as it is written in a file; none if the key has none.
    pub value: Option<String>,
    /// Whether a running process cannot take a new value over.
    pub is_fixed: bool,
}

/// The keys whose values differ, in the order of the declarations. Of a section that only one of the two has, it names
/// the section alone.
#[must_use]
pub fn differences(a: &[Shown], b: &[Shown]) -> Vec<String> {
    let (of_a, of_b) = (by_key(a), by_key(b));
    let mut differing: Vec<String> = Vec::new();
    for Shown { key, .. } in a.iter().chain(b) {
        let values = [&of_a, &of_b].map(|of| of.get(&**key));
        if values[0].copied().flatten() == values[1].copied().flatten() {
            continue;
        }
        let lacking = if values[0].is_none() { &of_a } else { &of_b };
        let key = sections(key).find(|section| lacking.contains_key(section)).unwrap_or(key);
        if !differing.iter().any(|told| told == key) {
            differing.push(key.to_owned());
        }
    }
    differing
}

fn by_key(shown: &[Shown]) -> HashMap<&str, Option<&str>> {
    shown.iter().map(|Shown { key, value, .. }| (&**key, value.as_deref())).collect()
}

/// The sections that a key stands in, the innermost first.
fn sections(key: &str) -> impl Iterator<Item = &str> {
    key.rmatch_indices('.').map(|(at, _)| &key[..at])
}

/// Collects the values of a configuration.
#[derive(Debug, Default)]
pub struct Values {
    section: String,
    is_fixed: bool,
    of_fixed_alone: bool,
    found: Vec<Shown>,
}

impl Values {
    /// Collects only those whose new values a running process cannot take over ([`Key::fixed`](crate::Key::fixed)).
    #[must_use]
    pub fn fixed() -> Self {
        Self { of_fixed_alone: true, ..Self::default() }
    }

    /// All that was collected, in the order of the declarations.
    #[must_use]
    pub fn into_shown(self) -> Vec<Shown> {
        self.found
    }

    fn push(&mut self, key: Key, value: impl FnOnce() -> Option<String>) {
        let is_fixed = self.is_fixed || key.fixed;
        if is_fixed || !self.of_fixed_alone {
            self.found.push(Shown { key: join(&self.section, key.name), value: value(), is_fixed });
        }
    }

    fn within(&mut self, key: Key, section: String, keys: impl FnOnce(&mut Self)) {
        let before = (std::mem::replace(&mut self.section, section), self.is_fixed);
        self.is_fixed |= key.fixed;
        keys(self);
        (self.section, self.is_fixed) = before;
    }

    fn below(&mut self, key: Key, keys: impl FnOnce(&mut Self)) {
        self.within(key, join(&self.section, key.name), keys);
    }
}

impl<N> Visitor<N> for Values {
    fn key<K: Kind<N>>(&mut self, key: Key, kind: K, slot: &mut K::Value) {
        self.push(key, || Some(kind.show(slot)));
    }

    fn optional<K: Kind<N>>(&mut self, key: Key, kind: K, slot: &mut Option<K::Value>) {
        self.push(key, || slot.as_ref().map(|value| kind.show(value)));
    }

    fn section(&mut self, key: Key, keys: impl FnOnce(&mut Self)) {
        self.below(key, keys);
    }

    fn optional_section<T>(
        &mut self,
        key: Key,
        slot: &mut Option<T>,
        _new: impl FnOnce() -> T,
        keys: impl FnOnce(&mut T, &mut Self),
    ) {
        match slot {
            Some(value) => self.below(key, |visitor| keys(value, visitor)),
            None => self.push(key, || None),
        }
    }

    fn section_or_off<T>(
        &mut self,
        key: Key,
        slot: &mut Option<T>,
        _new: impl FnOnce() -> T,
        keys: impl FnOnce(&mut T, &mut Self),
    ) {
        match slot {
            Some(value) => self.below(key, |visitor| keys(value, visitor)),
            None => self.push(key, || Some("off".to_owned())),
        }
    }

    fn list<T>(
        &mut self,
        key: Key,
        slot: &mut Vec<T>,
        _new: impl Fn() -> T,
        mut keys: impl FnMut(&mut T, &mut Self),
    ) {
        for (index, value) in slot.iter_mut().enumerate() {
            let section = format!("{}[{index}]", join(&self.section, key.name));
            self.within(key, section, |visitor| keys(value, visitor));
        }
    }

    fn list_by<T, K: Kind<N>>(
        &mut self,
        key: Key,
        (by, plain): (Key, List<K>),
        slot: &mut Vec<T>,
        place: impl Fn(&mut T) -> &mut K::Value,
        _new: impl Fn() -> T,
        mut keys: impl FnMut(&mut T, &mut Self),
    ) {
        let shown: Vec<_> = slot.iter_mut().map(|item| plain.item().show(place(item))).collect();
        let mut known = shown.clone();
        known.sort();
        let all = if by.fixed { key.fixed() } else { key };
        self.push(all, || Some(format!("[{}]", known.join(", "))));
        for (item, shown) in slot.iter_mut().zip(shown) {
            let section = format!("{}[{shown}]", join(&self.section, key.name));
            self.within(key, section, |visitor| keys(item, visitor));
        }
    }

    fn named<T>(
        &mut self,
        key: Key,
        slot: &mut BTreeMap<String, T>,
        _new: impl Fn() -> T,
        mut keys: impl FnMut(&str, &mut T, &mut Self),
    ) {
        for (name, value) in slot {
            let section = join(&join(&self.section, key.name), name);
            self.within(key, section, |visitor| keys(name, value, visitor));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::key;
    use crate::kind::{list, number, or_off};

    #[derive(Clone, Default)]
    struct Config {
        threads: u32,
        limit: Option<u32>,
        log: Option<u32>,
    }

    impl Config {
        fn shown(&self) -> Vec<Shown> {
            let (mut config, mut values) = (self.clone(), Values::default());
            config.keys(&mut values);
            values.into_shown()
        }

        fn keys(&mut self, v: &mut impl Visitor<()>) {
            v.key(key("threads", "").fixed(), number(0..=9), &mut self.threads);
            v.section(key("limits", ""), |v| v.key(key("all", ""), or_off(number(0..=9)), &mut self.limit));
            let log = key("log", "").fixed();
            v.optional_section(
                log,
                &mut self.log,
                || 0,
                |level, v| {
                    v.key(key("level", ""), number(0..=9), level);
                },
            );
        }
    }

    fn differing(a: &Config, b: &Config) -> Vec<String> {
        differences(&a.shown(), &b.shown())
    }

    #[test]
    fn each_key_is_shown_with_its_sections_and_its_value() {
        let config = Config { threads: 3, limit: None, log: Some(7) };
        let shown = |key: &str, value: &str, is_fixed| Shown {
            key: key.to_owned(),
            value: Some(value.to_owned()),
            is_fixed,
        };
        let expected =
            [shown("threads", "3", true), shown("limits.all", "off", false), shown("log.level", "7", true)];
        assert_eq!(config.shown(), expected);
    }

    #[test]
    fn values_that_differ_are_named_by_their_keys() {
        let config = Config::default();
        assert_eq!(differing(&config, &config), [""; 0]);
        let other = Config { threads: 1, limit: Some(2), ..Config::default() };
        assert_eq!(differing(&config, &other), ["threads", "limits.all"]);
    }

    #[test]
    fn a_section_that_only_one_has_is_named_alone() {
        let (without, with) = (Config::default(), Config { log: Some(0), ..Config::default() });
        assert_eq!(differing(&without, &with), ["log"]);
        assert_eq!(differing(&with, &without), ["log"]);
        let more = Config { log: Some(1), ..Config::default() };
        assert_eq!(differing(&with, &more), ["log.level"]);
    }

    /// Doors by their numbers, each with what is said of it.
    fn doors(doors: &[(u32, u32)], is_fixed: bool) -> Vec<Shown> {
        let (mut doors, mut values) = (doors.to_vec(), Values::default());
        let by = key("number", "");
        let by = (if is_fixed { by.fixed() } else { by }, list(number(0..=9)));
        let new = || (0, 0);
        Visitor::<()>::list_by(
            &mut values,
            key("doors", ""),
            by,
            &mut doors,
            |door| &mut door.0,
            new,
            |door, v| {
                Visitor::<()>::key(v, key("width", ""), number(0..=9), &mut door.1);
            },
        );
        values.into_shown()
    }

    #[test]
    fn items_that_are_known_by_a_key_are_the_same_in_any_order() {
        let before = doors(&[(1, 5), (2, 6)], true);
        assert_eq!(differences(&before, &doors(&[(2, 6), (1, 5)], true)), [""; 0]);
        assert_eq!(differences(&before, &doors(&[(2, 7), (1, 5)], true)), ["doors[2].width"]);
        assert_eq!(differences(&before, &doors(&[(3, 6), (1, 5)], true))[0], "doors");
    }

    #[test]
    fn whether_there_are_the_same_items_is_as_fixed_as_the_key_by_which_they_are_known() {
        for is_fixed in [true, false] {
            let fixed: Vec<_> =
                doors(&[(1, 5)], is_fixed).into_iter().map(|shown| (shown.key, shown.is_fixed)).collect();
            assert_eq!(fixed, [("doors".to_owned(), is_fixed), ("doors[1].width".to_owned(), false)]);
        }
    }
}
