//! The keys of a section, declared once for all who want to know them.

use std::collections::BTreeMap;

use crate::key::Key;
use crate::kind::Kind;
use crate::section::Section;

/// Takes the declarations of a section's keys, one after another, each with the place of its value.
///
/// Whoever reads a file sets the values; whoever writes about the keys takes the values as defaults; whoever compares
/// two configurations takes them as they are. `N`: see [`Reader`](crate::Reader).
pub trait Visitor<N>: Sized {
    /// A key with a value. If it is not required, `slot` holds its default.
    fn key<K: Kind<N>>(&mut self, key: Key, kind: K, slot: &mut K::Value);

    /// A key without which there is no value.
    fn optional<K: Kind<N>>(&mut self, key: Key, kind: K, slot: &mut Option<K::Value>);

    /// Keys below a key.
    fn section(&mut self, key: Key, keys: impl FnOnce(&mut Self));

    /// Keys below a key, without which there is nothing. `new`: what holds where it is there and says nothing.
    fn optional_section<T>(
        &mut self,
        key: Key,
        slot: &mut Option<T>,
        new: impl FnOnce() -> T,
        keys: impl FnOnce(&mut T, &mut Self),
    );

    /// Keys below a key that can be `off`. `new`: what holds where it is on and says nothing.
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

    /// A key that people may expect, and that is not taken.
    fn refuse(&mut self, _key: &'static str, _reason: &str) {}

    /// Whether the key stands in the file that is read.
    fn stands(&self, _key: &str) -> bool {
        false
    }

    /// What involves more than one key's own value. It is done only where a file is read.
    fn check(&mut self, _check: impl FnOnce(&Section<'_, N>)) {}
}
