//! The keys of a section, declared once for all that is made of them.

use std::collections::BTreeMap;

use crate::key::Key;
use crate::kind::{Kind, List};
use crate::section::Section;

/// Takes the declarations of a section's keys, one after another, each with the place of its value.
///
/// A [`Section`] sets the values to those of a file. An [`Outline`](crate::Outline) takes them as defaults, and
/// [`Values`](crate::Values) as they are. `N` is what is noted ([`Reader`](crate::Reader)).
pub trait Visitor<N>: Sized {
    /// A key with a value. If it is not required, `slot` holds its default.
    fn key<K: Kind<N>>(&mut self, key: Key, kind: K, slot: &mut K::Value);

    /// A key with a value and without a default: if the file does not have it, there is none.
    fn optional<K: Kind<N>>(&mut self, key: Key, kind: K, slot: &mut Option<K::Value>);

    /// A section: keys below a key. Those that the file does not have keep their defaults.
    fn section(&mut self, key: Key, keys: impl FnOnce(&mut Self));

    /// A section that is there only if the file has it. `new` gives the defaults of its keys.
    fn optional_section<T>(
        &mut self,
        key: Key,
        slot: &mut Option<T>,
        new: impl FnOnce() -> T,
        keys: impl FnOnce(&mut T, &mut Self),
    );

    /// A section that can be `off`. `new` gives the defaults of its keys if it is on.
    fn section_or_off<T>(
        &mut self,
        key: Key,
        slot: &mut Option<T>,
        new: impl FnOnce() -> T,
        keys: impl FnOnce(&mut T, &mut Self),
    );

    /// A list of sections of the same keys.
    fn list<T>(
        &mut self,
        key: Key,
        slot: &mut Vec<T>,
        new: impl Fn() -> T,
        keys: impl FnMut(&mut T, &mut Self),
    );

    /// A list of sections of the same keys, of which one alone may suffice: then an item can be written as its value, `a`
    /// for `{name: a}`. `by`: that key, and how a list is of its values alone. `place`: where an item has it. If it is
    /// fixed, a running process takes over another order of the same items, and what else is new in each.
    fn list_by<T, K: Kind<N>>(
        &mut self,
        key: Key,
        by: (Key, List<K>),
        slot: &mut Vec<T>,
        place: impl Fn(&mut T) -> &mut K::Value,
        new: impl Fn() -> T,
        keys: impl FnMut(&mut T, &mut Self),
    );

    /// Sections of the same keys, each with a name.
    fn named<T>(
        &mut self,
        key: Key,
        slot: &mut BTreeMap<String, T>,
        new: impl Fn() -> T,
        keys: impl FnMut(&str, &mut T, &mut Self),
    );

    /// A title above the keys that follow.
    fn heading(&mut self, _text: &'static str) {}

    /// A sentence above some of the keys that follow.
    fn aside(&mut self, _text: &'static str) {}

    /// A key that people may expect, and that is not allowed here, with the reason.
    fn refuse(&mut self, _key: &'static str, _reason: &str) {}

    /// Whether the key stands in the file that is read.
    fn stands(&self, _key: &str) -> bool {
        false
    }

    /// Checks values of several keys together. It is done only when a file is read.
    fn check(&mut self, _check: impl FnOnce(&Section<'_, N>)) {}
}
