//! Keys and values at one level.
//!
//! A [`Section`] learns which keys there are by being asked for them; what is left when it is closed is unknown.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::Duration;

use crate::duration;
use crate::key::Key;
use crate::reader::{Place, Reader};
use crate::text::{closest, join};
use crate::tree::Entry;
use crate::value::Value;

/// Keys and values at one level.
#[derive(Debug)]
pub struct Section<'a, N> {
    reader: &'a Reader<N>,
    place: Place,
    /// `None`: there is no such section, or no readable one. It is not asked for required keys.
    entries: Option<&'a [Entry<'a>]>,
    known: Vec<&'static str>,
    refused: Vec<&'static str>,
    /// Keys whose values could not be read, and were reported.
    unreadable: Vec<&'static str>,
}

impl<'a, N> Section<'a, N> {
    pub(crate) fn new(reader: &'a Reader<N>, place: Place, entries: Option<&'a [Entry<'a>]>) -> Self {
        let (known, refused, unreadable) = Default::default();
        let section = Self { reader, place, entries, known, refused, unreadable };
        section.reject_repeated_keys();
        section
    }

    /// Reads a key and takes its value, if it is there. A key that must be there and is not is reported.
    pub(crate) fn read<T>(
        &mut self,
        key: Key,
        read: impl FnOnce(Value<'a, N>) -> Option<T>,
        take: impl FnOnce(T),
    ) {
        self.require(key);
        let Some(value) = self.value(key.name) else { return };
        match self.reader.read(value, read) {
            Some(read) => take(read),
            None => self.unreadable.push(key.name),
        }
    }

    /// The section below a key. If the file does not have it, it is empty, and its required keys are not missed.
    pub fn below(&mut self, key: Key) -> Self {
        self.require(key);
        match self.value(key.name) {
            Some(value) => value.section(),
            None => Self::new(self.reader, self.place_of(key.name), None),
        }
    }

    fn require(&self, key: Key) {
        let is_there = || self.has(key.name) || key.others.iter().any(|other| self.has(other));
        if let (Some(expected), Some(_), false) = (key.required, self.entries, is_there()) {
            self.reject(key.name, format_args!("is missing: expected {expected}"));
        }
    }

    /// The key of this section, with those that it stands in; empty for the whole file.
    pub fn key(&self) -> &str {
        &self.place.key
    }

    /// Where the section stands.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// How many mistakes were found so far in the whole file: whether something was wrong between two points.
    pub fn mistakes(&self) -> usize {
        self.reader.found()
    }

    /// Notes a mistake at another place.
    pub fn reject_at(&self, place: &Place, message: impl Display) {
        self.reader.reject(place, message);
    }

    /// Where the key stands, or else the section that lacks it.
    pub fn place_of(&self, key: &str) -> Place {
        let line = self.entry(key).map_or(self.place.line, |entry| entry.line);
        Place { key: join(&self.place.key, key), line }
    }

    /// Notes a mistake of the section itself.
    pub fn reject_itself(&self, message: impl Display) {
        self.reader.reject(&self.place, message);
    }

    /// A key that people may expect, and that is not taken.
    pub(crate) fn refuse(&mut self, key: &'static str, reason: impl Display) {
        if self.has(key) {
            self.reject(key, reason);
        }
        self.refused.push(key);
    }

    /// Reports if one of two keys stands here without the other.
    pub fn require_both(&self, keys: [&str; 2]) {
        for (key, other) in [(keys[0], keys[1]), (keys[1], keys[0])] {
            if self.has(key) && !self.has(other) {
                self.reject(key, format_args!("needs {other} beside it"));
            }
        }
    }

    /// Makes sure that the first of two durations is not longer than the second. If both are set here and are not so,
    /// it is reported; one that is a default is changed to fit.
    pub fn in_order(&self, shorter: (&str, &mut Duration), longer: (&str, &mut Duration)) {
        if *shorter.1 <= *longer.1 {
            return;
        }
        match (self.is_set(shorter.0), self.is_set(longer.0)) {
            (true, true) => {
                let (key, most) = (longer.0, duration::show(*longer.1));
                self.reject(shorter.0, format_args!("must not be longer than {key}, {most}"));
            }
            (true, false) => *longer.1 = *shorter.1,
            (false, _) => *shorter.1 = *longer.1,
        }
    }

    /// Notes something at a key: see [`Reader::notes`].
    pub fn note(&self, key: &str, note: N) {
        self.reader.note(self.place_of(key), note);
    }

    /// Whether the key stands here, with whatever value.
    pub fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Whether the key stands here with a value that could be read. If it could not, other keys are best not judged by
    /// it.
    pub fn is_set(&self, key: &str) -> bool {
        self.has(key) && self.is_sound(key)
    }

    /// Whether nothing was wrong with the key's own value.
    pub fn is_sound(&self, key: &str) -> bool {
        !self.unreadable.contains(&key)
    }

    /// Whether the section is there, without a key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_some_and(<[_]>::is_empty)
    }

    /// Notes a remark on a key: something that is to be told, but is no mistake.
    pub fn remark(&self, key: &str, message: impl Display) {
        self.reader.remark(&self.place_of(key), message);
    }

    /// Notes a remark on another place.
    pub fn remark_at(&self, place: &Place, message: impl Display) {
        self.reader.remark(place, message);
    }

    /// Notes a mistake that involves more than the key's own value.
    pub fn reject(&self, key: &str, message: impl Display) {
        self.reader.reject(&self.place_of(key), message);
    }

    /// The keys that were asked for so far.
    pub fn known(&self) -> &[&'static str] {
        &self.known
    }

    /// Reports all keys that were not declared. `elsewhere` are keys that are known in another place, and which:
    /// these words read on after "it", as in "it belongs under gateway:".
    pub fn close(&self, elsewhere: Option<(&[&'static str], &str)>) {
        for entry in self.entries.unwrap_or_default() {
            let key = &*entry.key;
            if !self.known.contains(&key) && !self.refused.contains(&key) {
                let place = || Place { key: join(&self.place.key, key), line: entry.line };
                self.reader.reject_with(place, || self.unknown(key, elsewhere));
            }
        }
    }

    fn unknown(&self, key: &str, elsewhere: Option<(&[&'static str], &str)>) -> String {
        if let Some((keys, belongs)) = elsewhere
            && keys.contains(&key)
        {
            return format!("is an unknown key here: it {belongs}");
        }
        match self.closest(key, self.known.iter().copied()) {
            Some(known) => format!("is an unknown key: did you mean {known}?"),
            None => format!("is an unknown key: expected one of {}", self.known.join(", ")),
        }
    }

    /// The name that a misspelt one was likely meant to be. It is not looked for when there are many mistakes already.
    pub fn closest<'k>(&self, name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
        if self.reader.has_many_problems() { None } else { closest(name, known) }
    }

    /// The keys and values themselves; `None`: there is no readable section.
    pub(crate) fn entries(&self) -> Option<&'a [Entry<'a>]> {
        self.entries
    }

    fn value(&mut self, key: &'static str) -> Option<Value<'a, N>> {
        self.known.push(key);
        let place = self.place_of(key);
        self.entry(key).map(|entry| Value::new(&entry.value, place, self.reader))
    }

    fn entry(&self, key: &str) -> Option<&'a Entry<'a>> {
        self.entries?.iter().find(|entry| entry.key == key)
    }

    fn reject_repeated_keys(&self) {
        let mut lines: HashMap<&str, usize> = HashMap::new();
        for entry in self.entries.unwrap_or_default() {
            match lines.get(&*entry.key) {
                None => {
                    lines.insert(&entry.key, entry.line);
                }
                Some(first) => {
                    let place = || Place { key: join(&self.place.key, &entry.key), line: entry.line };
                    self.reader.reject_with(place, || format!("stands in line {first} already"));
                }
            }
        }
    }
}
