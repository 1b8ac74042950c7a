//! Walks a tree, hands out values of the asked type and collects every mistake on the way.
//!
//! A [`Section`] learns which keys exist by being asked for them; what is left when it is closed is
//! unknown. Whatever cannot be read is reported at once and yields `None`, so that reading goes on.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::duration;
use crate::problem::Problem;
use crate::tree::{Content, Entry, Node, Scalar};

/// How much of a value an error repeats, in characters.
const SHOWN: usize = 60;
/// From here on (Jaro-Winkler, 1 is equal) a key is taken for a misspelt one.
const ALIKE: f64 = 0.85;

/// Collects what the walk finds. `N` is what its user wants noted beside mistakes, such as files that must be there; it is
/// handed back with the place of its key.
#[derive(Debug)]
pub struct Reader<N> {
    file: Arc<str>,
    problems: RefCell<Vec<Problem>>,
    remarks: RefCell<Vec<Problem>>,
    notes: RefCell<Vec<(Place, N)>>,
}

/// A key and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The key with its sections: `gateway.routes[0].path`.
    pub key: String,
    /// From 1.
    pub line: usize,
}

impl<N> Reader<N> {
    /// `file`: its name in what is told.
    pub fn new(file: &str) -> Self {
        Self {
            file: file.into(),
            problems: RefCell::default(),
            remarks: RefCell::default(),
            notes: RefCell::default(),
        }
    }

    /// The whole document, which has keys or is empty.
    pub fn root<'a>(&'a self, node: Option<&'a Node<'a>>) -> Section<'a, N> {
        let place = Place { key: String::new(), line: 1 };
        match node {
            Some(node) => Value::new(node, place, self).section(),
            None => Section::new(self, place, Some(&[])),
        }
    }

    /// Notes a mistake.
    pub fn reject(&self, place: &Place, message: impl Display) {
        self.problems.borrow_mut().push(self.problem(place, message));
    }

    /// Notes what is to be told, but keeps nobody from a start.
    pub fn remark(&self, place: &Place, message: impl Display) {
        self.remarks.borrow_mut().push(self.problem(place, message));
    }

    fn problem(&self, place: &Place, message: impl Display) -> Problem {
        Problem {
            file: Arc::clone(&self.file),
            line: place.line,
            key: place.key.clone(),
            message: message.to_string(),
        }
    }

    /// A value that could not be read and was not reported would silently leave the default.
    fn read<'a, T>(&self, value: Value<'a, N>, read: impl FnOnce(Value<'a, N>) -> Option<T>) -> Option<T> {
        let before = self.problems.borrow().len();
        let read = read(value);
        debug_assert!(read.is_some() || self.problems.borrow().len() > before);
        read
    }

    /// What was noted so far, each with its place.
    pub fn notes(&self) -> Vec<(Place, N)>
    where
        N: Clone,
    {
        self.notes.borrow().clone()
    }

    /// All mistakes and all remarks, each in the order of their lines.
    pub fn into_problems_and_remarks(self) -> (Vec<Problem>, Vec<Problem>) {
        let (mut problems, mut remarks) = (self.problems.into_inner(), self.remarks.into_inner());
        problems.sort_by_key(|problem| problem.line);
        remarks.sort_by_key(|remark| remark.line);
        (problems, remarks)
    }
}

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
    fn new(reader: &'a Reader<N>, place: Place, entries: Option<&'a [Entry<'a>]>) -> Self {
        let (known, refused, unreadable) = Default::default();
        let section = Self { reader, place, entries, known, refused, unreadable };
        section.reject_repeated_keys();
        section
    }

    /// A key that may be left out: `slot` holds its default.
    pub fn set<T: Into<S>, S>(
        &mut self,
        key: &'static str,
        slot: &mut S,
        read: impl FnOnce(Value<'a, N>) -> Option<T>,
    ) {
        let Some(value) = self.value(key) else { return };
        match self.reader.read(value, read) {
            Some(read) => *slot = read.into(),
            None => self.unreadable.push(key),
        }
    }

    /// A key that must be there.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(Value<'a, N>) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(key);
        if value.is_none() && self.entries.is_some() {
            self.reject(key, format_args!("is missing: expected {expected}"));
        }
        value.and_then(|value| self.reader.read(value, read))
    }

    /// A key that must be there, unless it was said elsewhere.
    pub fn required_unless<T>(
        &mut self,
        key: &'static str,
        elsewhere: Option<T>,
        expected: &str,
        read: impl FnOnce(Value<'a, N>) -> Option<T>,
    ) -> Option<T> {
        match elsewhere {
            Some(said) if !self.has(key) => {
                self.known.push(key);
                Some(said)
            }
            _ => self.required(key, expected, read),
        }
    }

    /// A section below this one that may be left out.
    pub fn section(&mut self, key: &'static str) -> Section<'a, N> {
        match self.value(key) {
            Some(value) => value.section(),
            None => Section::new(self.reader, self.place_of(key), None),
        }
    }

    /// A section below this one that must be there.
    pub fn required_section(&mut self, key: &'static str, expected: &str) -> Section<'a, N> {
        if !self.has(key) && self.entries.is_some() {
            self.reject(key, format_args!("is missing: expected {expected}"));
        }
        self.section(key)
    }

    /// A key that people may expect, and that is not taken.
    pub fn refuse(&mut self, key: &'static str, reason: impl Display) {
        if self.has(key) {
            self.reject(key, reason);
        }
        self.refused.push(key);
    }

    /// Two keys of which one says nothing without the other.
    pub fn require_both(&self, keys: [&str; 2]) {
        for (key, other) in [(keys[0], keys[1]), (keys[1], keys[0])] {
            if self.has(key) && !self.has(other) {
                self.reject(key, format_args!("needs {other} beside it"));
            }
        }
    }

    /// Two durations of which the first is never longer. One that is not set here gives way to the other.
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

    /// Notes something at a key, for whoever reads on.
    pub fn note(&self, key: &str, note: N) {
        self.reader.notes.borrow_mut().push((self.place_of(key), note));
    }

    /// Whether the key stands here, with whatever value.
    pub fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Whether the key stands here with a value that could be read. A value that could not says nothing
    /// about others.
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

    /// Notes what is to be told of a key, but keeps nobody from a start.
    pub fn remark(&self, key: &str, message: impl Display) {
        self.reader.remark(&self.place_of(key), message);
    }

    /// Notes a mistake that involves more than the key's own value.
    pub fn reject(&self, key: &str, message: impl Display) {
        self.reader.reject(&self.place_of(key), message);
    }

    /// The keys that were asked for so far.
    pub fn known(&self) -> &[&'static str] {
        &self.known
    }

    /// Reports all keys that nobody asked for. `elsewhere`: keys of another section, and where they belong.
    pub fn close(&self, elsewhere: Option<(&[&'static str], &str)>) {
        for entry in self.entries.unwrap_or_default() {
            let key = &*entry.key;
            if !self.known.contains(&key) && !self.refused.contains(&key) {
                let place = Place { key: join(&self.place.key, key), line: entry.line };
                self.reader.reject(&place, self.unknown(key, elsewhere));
            }
        }
    }

    fn unknown(&self, key: &str, elsewhere: Option<(&[&'static str], &str)>) -> String {
        if let Some((keys, belongs)) = elsewhere
            && keys.contains(&key)
        {
            return format!("is an unknown key here: it {belongs}");
        }
        match closest(key, self.known.iter().copied()) {
            Some(known) => format!("is an unknown key: did you mean {known}?"),
            None => format!("is an unknown key: expected one of {}", self.known.join(", ")),
        }
    }

    fn value(&mut self, key: &'static str) -> Option<Value<'a, N>> {
        self.known.push(key);
        let place = self.place_of(key);
        self.entry(key).map(|entry| Value::new(&entry.value, place, self.reader))
    }

    fn entry(&self, key: &str) -> Option<&'a Entry<'a>> {
        self.entries?.iter().find(|entry| entry.key == key)
    }

    /// Where the key stands, or else the section that lacks it.
    fn place_of(&self, key: &str) -> Place {
        let line = self.entry(key).map_or(self.place.line, |entry| entry.line);
        Place { key: join(&self.place.key, key), line }
    }

    fn reject_repeated_keys(&self) {
        let mut lines: HashMap<&str, usize> = HashMap::new();
        for entry in self.entries.unwrap_or_default() {
            match lines.get(&*entry.key) {
                None => {
                    lines.insert(&entry.key, entry.line);
                }
                Some(first) => {
                    let place = Place { key: join(&self.place.key, &entry.key), line: entry.line };
                    self.reader.reject(&place, format_args!("stands in line {first} already"));
                }
            }
        }
    }
}

/// A value and its place.
#[derive(Debug)]
pub struct Value<'a, N> {
    node: &'a Node<'a>,
    place: Place,
    reader: &'a Reader<N>,
    /// What ends the list of what was expected.
    or: &'static str,
}

impl<'a, N> Value<'a, N> {
    fn new(node: &'a Node<'a>, place: Place, reader: &'a Reader<N>) -> Self {
        Self { node, place, reader, or: "" }
    }

    /// Where it stands.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Notes a mistake in this value.
    pub fn reject(&self, message: impl Display) {
        self.reader.reject(&self.place, message);
    }

    /// Takes a result whose error says by itself what was found.
    pub fn accept<T, E: Display>(&self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.reject(error)).ok()
    }

    /// Text as it was written: `010` and `off` are text to who asks for text.
    pub fn text(&self) -> Option<&'a str> {
        match self.scalar() {
            Some(scalar) if scalar.is_null() => {
                self.reject("has no value: give it one, or remove the key");
                None
            }
            Some(scalar) if scalar.text.contains(char::is_control) => {
                self.reject(format_args!("{} has a control character in it", quoted(&scalar.text)));
                None
            }
            Some(scalar) => Some(&scalar.text),
            None => self.mismatch("a single value"),
        }
    }

    /// Text that is read further; the error goes on after the text that was found.
    pub fn parse<T, E: Display>(&self, read: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let text = self.text()?;
        self.accept(read(text).map_err(|error| format!("{} {error}{}", quoted(text), variables(text))))
    }

    /// `true` or `false`, as YAML 1.2 has them.
    pub fn boolean(&self) -> Option<bool> {
        match self.plain() {
            Some("true" | "True" | "TRUE") => Some(true),
            Some("false" | "False" | "FALSE") => Some(false),
            _ => self.mismatch("true or false"),
        }
    }

    /// A decimal number in a range.
    pub fn number<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + Display,
    {
        // No sign, no leading zero: 010 is ten to YAML 1.2 and eight to YAML 1.1.
        let decimal = |text: &&str| {
            text.chars().all(|c| c.is_ascii_digit()) && (!text.starts_with('0') || text.len() == 1)
        };
        let number = self.plain().filter(decimal).and_then(|text| text.parse().ok());
        match number {
            Some(number) if range.contains(&number) => Some(number),
            _ if range.start() == range.end() => self.mismatch(range.start()),
            _ => {
                let (least, most) = (range.start(), range.end());
                self.mismatch(format_args!("a whole number from {least} to {most}"))
            }
        }
    }

    /// A decimal number from 0 to 1.
    pub fn fraction(&self) -> Option<f64> {
        let decimal = |text: &&str| text.chars().all(|c| c.is_ascii_digit() || c == '.');
        let number = self.plain().filter(decimal).and_then(|text| text.parse().ok());
        match number {
            Some(number) if (0.0..=1.0).contains(&number) => Some(number),
            _ => self.mismatch("a number from 0 to 1, such as 0.5"),
        }
    }

    /// A duration in a range.
    pub fn duration(&self, range: &RangeInclusive<Duration>) -> Option<Duration> {
        let parse = |text: &str| duration::parse(text).map_err(|error| format!("{error}{}", self.or));
        let duration = self.parse(parse)?;
        if range.contains(&duration) {
            return Some(duration);
        }
        let bounds = [range.start(), range.end()].map(|bound| duration::show(*bound));
        self.mismatch(format_args!("a duration from {} to {}", bounds[0], bounds[1]))
    }

    /// An absolute path. What it must lead to is noted: it is looked at when all else has been read.
    pub fn path(&self, note: impl FnOnce(PathBuf) -> N) -> Option<String> {
        let path = self.text()?;
        if !Path::new(path).is_absolute() {
            // A daemon changes its directory, and files are read again later.
            return self.mismatch("an absolute path");
        }
        self.note(note(path.into()));
        Some(path.to_owned())
    }

    /// The name of something, which is noted.
    pub fn name(&self, note: impl FnOnce(String) -> N) -> Option<String> {
        let name = self.text()?;
        self.note(note(name.to_owned()));
        Some(name.to_owned())
    }

    fn note(&self, note: N) {
        self.reader.notes.borrow_mut().push((self.place.clone(), note));
    }

    /// Reads every item, also after one that cannot be read.
    pub fn list<T>(&self, mut read: impl FnMut(Value<'a, N>) -> Option<T>) -> Option<Vec<T>> {
        let Content::List(items) = &self.node.content else {
            return match self.scalar() {
                Some(scalar) if !scalar.is_null() => {
                    self.mismatch(format_args!("a list: write [{}]", shown(scalar)))
                }
                _ => self.mismatch("a list, [..., ...] or lines that start with \"- \""),
            };
        };
        let values = items.iter().enumerate().map(|(index, node)| {
            let place = Place { key: format!("{}[{index}]", self.place.key), line: node.line };
            Value::new(node, place, self.reader)
        });
        let read: Vec<Option<T>> = values.map(&mut read).collect();
        read.into_iter().collect()
    }

    /// Reads every key and its value, where keys are names. Also after one that cannot be read.
    pub fn entries<T>(&self, mut read: impl FnMut(&'a str, Value<'a, N>) -> Option<T>) -> Option<Vec<T>> {
        // The section reports names that come twice.
        let entries = self.section().entries?;
        let values = entries.iter().map(|entry| {
            let place = Place { key: join(&self.place.key, &entry.key), line: entry.line };
            read(&entry.key, Value::new(&entry.value, place, self.reader))
        });
        let read: Vec<Option<T>> = values.collect();
        read.into_iter().collect()
    }

    /// `off`, or what is read.
    pub fn or_off<T>(self, read: impl FnOnce(Value<'a, N>) -> Option<T>) -> Option<Option<T>> {
        if self.is_word("off") { Some(None) } else { read(Value { or: ", or off", ..self }).map(Some) }
    }

    /// Whether keys stand below this value.
    pub fn is_section(&self) -> bool {
        matches!(self.node.content, Content::Mapping(_))
    }

    /// The keys below this value.
    pub fn section(&self) -> Section<'a, N> {
        let entries = match &self.node.content {
            Content::Mapping(entries) => Some(entries.as_slice()),
            _ => self.mismatch("a section: keys and values, indented by two spaces"),
        };
        Section::new(self.reader, self.place.clone(), entries)
    }

    /// Whether the key stands there without a value.
    pub fn is_null(&self) -> bool {
        self.scalar().is_some_and(Scalar::is_null)
    }

    /// Notes that something else stands here.
    pub fn mismatch<T>(&self, expected: impl Display) -> Option<T> {
        let found = match &self.node.content {
            Content::List(_) => "a list".to_owned(),
            Content::Mapping(_) => "a section".to_owned(),
            Content::Scalar(scalar) if scalar.is_null() => "nothing".to_owned(),
            Content::Scalar(scalar) => shown(scalar),
        };
        let hint = self.scalar().map_or("", |scalar| variables(&scalar.text));
        self.reject(format_args!("found {found}, expected {expected}{}{hint}", self.or));
        None
    }

    fn is_word(&self, word: &str) -> bool {
        self.scalar().is_some_and(|scalar| scalar.text == word)
    }

    fn scalar(&self) -> Option<&'a Scalar<'a>> {
        match &self.node.content {
            Content::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    fn plain(&self) -> Option<&'a str> {
        self.scalar().filter(|scalar| scalar.plain).map(|scalar| &*scalar.text)
    }
}

/// What is said of a value that was meant to be replaced before we read it.
fn variables(text: &str) -> &'static str {
    if text.contains("${") || text.starts_with('$') {
        ". This file knows no variables: write the value itself, or have the file made from a template"
    } else {
        ""
    }
}

/// A value for an error: as it was written.
fn shown(scalar: &Scalar<'_>) -> String {
    if scalar.plain { bounded(&scalar.text) } else { quoted(&scalar.text) }
}

/// A value for an error: in quotes, on one line.
fn quoted(text: &str) -> String {
    format!("\"{}\"", bounded(text))
}

/// Text for a terminal: without control characters, not too long, and without a URL's password.
fn bounded(text: &str) -> String {
    let hidden = match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 <= at => {
            format!("{}://***{}", &text[..scheme], &text[at..])
        }
        _ => text.to_owned(),
    };
    let mut shown: String = hidden.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if hidden.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}

fn join(section: &str, key: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let key = match key {
        "" => quoted(key),
        word if word.len() <= SHOWN && word.chars().all(is_word) => word.to_owned(),
        odd => quoted(odd),
    };
    if section.is_empty() { key } else { format!("{section}.{key}") }
}

/// The name that a misspelt one was likely meant to be.
pub fn closest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if name.len() > SHOWN {
        return None;
    }
    let likeness = |known: &'k str| (strsim::jaro_winkler(name, known), known);
    let best = known.into_iter().map(likeness).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(likeness, _)| *likeness >= ALIKE).map(|(_, known)| known)
}
