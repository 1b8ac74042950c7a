//! One value: read as the kind that is declared, or reported.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::duration;
use crate::reader::{Place, Reader};
use crate::section::Section;
use crate::text::{join, quoted, shown, variables};
use crate::tree::{Content, Node, Scalar};

/// What is told of a value where keys were expected.
pub(crate) const SECTION: &str = "a section: keys and values, indented by two spaces";

/// A value and its place.
#[derive(Debug)]
pub struct Value<'a, N> {
    node: &'a Node<'a>,
    place: Place,
    reader: &'a Reader<N>,
    /// The last item of the list of what was expected, such as "or off".
    or: &'static str,
}

impl<'a, N> Value<'a, N> {
    pub(crate) fn new(node: &'a Node<'a>, place: Place, reader: &'a Reader<N>) -> Self {
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

    /// Text as it was written: here `010` and `off` are text too.
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

    /// Text of one or more lines, which may be empty.
    pub fn lines(&self) -> Option<&'a str> {
        let is_line = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
        let scalar = self.scalar().filter(|scalar| !scalar.is_null() && scalar.text.chars().all(is_line));
        // What is none is reported as for text of one line.
        scalar.map(|scalar| &*scalar.text).or_else(|| self.text())
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

    /// An absolute path. `note` says what must be there, which is checked after the whole file was read.
    pub fn path(&self, note: impl FnOnce(PathBuf) -> N) -> Option<String> {
        let path = self.text()?;
        if !Path::new(path).is_absolute() {
            // A daemon changes its directory, and files are read again later.
            return self.mismatch("an absolute path");
        }
        self.note(note(path.into()));
        Some(path.to_owned())
    }

    /// Notes something at this place: see [`Reader::notes`].
    pub fn note(&self, note: N) {
        self.reader.note(self.place.clone(), note);
    }

    /// How many items a list has; `None` if there is no list.
    pub(crate) fn count(&self) -> Option<usize> {
        match &self.node.content {
            Content::List(items) => Some(items.len()),
            _ => None,
        }
    }

    /// Reads every item of a list, also those after one that cannot be read.
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

    /// Reads every key and its value, where the keys are names, also those after one that cannot be read.
    pub fn entries<T>(&self, mut read: impl FnMut(&'a str, Value<'a, N>) -> Option<T>) -> Option<Vec<T>> {
        // The section reports names that come twice.
        let entries = self.section().entries()?;
        let values = entries.iter().map(|entry| {
            let place = Place { key: join(&self.place.key, &entry.key), line: entry.line };
            read(&entry.key, Value::new(&entry.value, place, self.reader))
        });
        let read: Vec<Option<T>> = values.collect();
        read.into_iter().collect()
    }

    /// `off`, or what is read.
    pub fn or_off<T>(&self, read: impl FnOnce(Value<'a, N>) -> Option<T>) -> Option<Option<T>> {
        if self.is_word("off") {
            return Some(None);
        }
        let value = Value { or: ", or off", ..Value::new(self.node, self.place.clone(), self.reader) };
        read(value).map(Some)
    }

    /// Whether keys stand below this value.
    pub fn is_section(&self) -> bool {
        matches!(self.node.content, Content::Mapping(_))
    }

    /// The keys below this value.
    pub fn section(&self) -> Section<'a, N> {
        let entries = match &self.node.content {
            Content::Mapping(entries) => Some(entries.as_slice()),
            _ => self.mismatch(SECTION),
        };
        Section::new(self.reader, self.place.clone(), entries)
    }

    /// Whether the key stands there without a value.
    pub fn is_null(&self) -> bool {
        self.scalar().is_some_and(Scalar::is_null)
    }

    /// Reports that something else than the expected stands here.
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
