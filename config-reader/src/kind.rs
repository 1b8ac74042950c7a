//! What values there are: how each is read, shown, and described to an editor.

mod list;
mod map;
mod one_or_list;
mod or;
mod ways;

use std::fmt::Display;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::duration;
use crate::value::Value;

pub use self::list::{List, list};
pub use self::map::{Map, map};
pub use self::one_or_list::{OneOrList, one_or_list};
pub use self::or::{OrNothing, OrOff, or_nothing, or_off};
pub use self::ways::{AnyKind, PlainOrWay, plain_or_way};

/// A kind of values: how they are read, shown and described. `N` is what is noted ([`Reader`](crate::Reader)).
pub trait Kind<N> {
    /// What is read.
    type Value;

    /// Reads a value. One that cannot be read is reported, and is `None`.
    fn read(&self, value: &Value<'_, N>) -> Option<Self::Value>;

    /// A value as it is written in a file, on one line.
    fn show(&self, value: &Self::Value) -> String;

    /// What is taken, as JSON Schema.
    fn schema(&self) -> Json;

    /// What is taken, for people; nothing if the key's own text says it.
    fn takes(&self) -> String {
        String::new()
    }
}

/// Text as it is written in YAML: in quotes where it could be taken for something else.
#[must_use]
pub fn scalar(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/_.-".contains(c);
    let is_word =
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') && text.chars().all(is_plain);
    let is_network =
        text.contains('/') && text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(is_plain);
    let is_other =
        matches!(text, "true" | "false" | "null" | "True" | "False" | "Null" | "TRUE" | "FALSE" | "NULL");
    if (is_word || is_network) && !is_other { text.to_owned() } else { Json::from(text).to_string() }
}

/// A whole number in a range.
pub const fn number<T>(range: RangeInclusive<T>) -> Number<T> {
    Number(range)
}

/// See [`number`].
#[derive(Debug)]
pub struct Number<T>(RangeInclusive<T>);

impl<N, T: FromStr + PartialOrd + Display + Clone> Kind<N> for Number<T> {
    type Value = T;

    fn read(&self, value: &Value<'_, N>) -> Option<T> {
        value.number(self.0.clone())
    }

    fn show(&self, value: &T) -> String {
        value.to_string()
    }

    fn schema(&self) -> Json {
        let bound = |bound: &T| bound.to_string().parse::<u64>().unwrap_or_default();
        json!({"type": "integer", "minimum": bound(self.0.start()), "maximum": bound(self.0.end())})
    }

    fn takes(&self) -> String {
        match (self.0.start(), self.0.end()) {
            (least, most) if least == most => String::new(),
            (least, most) => format!("{least} to {most}"),
        }
    }
}

/// A decimal number from 0 to 1.
#[must_use]
pub const fn fraction() -> Fraction {
    Fraction(())
}

/// See [`fraction`].
#[derive(Debug)]
pub struct Fraction(());

impl<N> Kind<N> for Fraction {
    type Value = f64;

    fn read(&self, value: &Value<'_, N>) -> Option<f64> {
        value.fraction()
    }

    fn show(&self, value: &f64) -> String {
        value.to_string()
    }

    fn schema(&self) -> Json {
        json!({"type": "number", "minimum": 0, "maximum": 1})
    }

    fn takes(&self) -> String {
        "0 to 1".to_owned()
    }
}

/// A duration in a range.
#[must_use]
pub const fn duration(range: RangeInclusive<Duration>) -> Span {
    Span { range, in_seconds: false }
}

/// A duration of whole seconds in a range.
#[must_use]
pub const fn seconds(range: RangeInclusive<Duration>) -> Span {
    Span { range, in_seconds: true }
}

/// See [`duration`](duration()) and [`seconds`].
#[derive(Debug)]
pub struct Span {
    range: RangeInclusive<Duration>,
    in_seconds: bool,
}

impl<N> Kind<N> for Span {
    type Value = Duration;

    fn read(&self, value: &Value<'_, N>) -> Option<Duration> {
        match value.duration(&self.range)? {
            fraction if self.in_seconds && fraction.subsec_nanos() > 0 => value.mismatch("whole seconds"),
            duration => Some(duration),
        }
    }

    fn show(&self, value: &Duration) -> String {
        duration::show(*value)
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"})
    }

    fn takes(&self) -> String {
        let [least, most] = [self.range.start(), self.range.end()].map(|bound| duration::show(*bound));
        let unit = if self.in_seconds { ", whole seconds" } else { "" };
        format!("{least} to {most}{unit}")
    }
}

/// `true` or `false`.
#[must_use]
pub const fn boolean() -> Boolean {
    Boolean(())
}

/// See [`boolean`].
#[derive(Debug)]
pub struct Boolean(());

impl<N> Kind<N> for Boolean {
    type Value = bool;

    fn read(&self, value: &Value<'_, N>) -> Option<bool> {
        value.boolean()
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }

    fn schema(&self) -> Json {
        json!({"type": "boolean"})
    }
}

/// One of some words, each of which stands for a value.
#[must_use]
pub const fn words<T, const COUNT: usize>(words: [(&'static str, T); COUNT]) -> Words<T, COUNT> {
    Words { words, hint: "" }
}

/// See [`words`].
#[derive(Debug)]
pub struct Words<T, const COUNT: usize> {
    words: [(&'static str, T); COUNT],
    hint: &'static str,
}

impl<T, const COUNT: usize> Words<T, COUNT> {
    /// What is told, beside the list of the words, if the file has another one.
    #[must_use]
    pub fn hint(self, hint: &'static str) -> Self {
        Self { hint, ..self }
    }

    fn listed(&self, quote: &str) -> String {
        let words: Vec<_> = self.words.iter().map(|(word, _)| format!("{quote}{word}{quote}")).collect();
        match &words[..] {
            [words @ .., last] if !words.is_empty() => format!("{} or {last}", words.join(", ")),
            words => words.concat(),
        }
    }
}

impl<N, T: Clone + PartialEq, const COUNT: usize> Kind<N> for Words<T, COUNT> {
    type Value = T;

    fn read(&self, value: &Value<'_, N>) -> Option<T> {
        let text = value.text()?;
        match self.words.iter().find(|(word, _)| *word == text) {
            Some((_, meaning)) => Some(meaning.clone()),
            None => value.mismatch(format_args!("{}{}", self.listed(""), self.hint)),
        }
    }

    fn show(&self, value: &T) -> String {
        let found = self.words.iter().find(|(_, meaning)| meaning == value);
        found.map(|(word, _)| (*word).to_owned()).unwrap_or_default()
    }

    fn schema(&self) -> Json {
        json!({"enum": self.words.iter().map(|(word, _)| word).collect::<Vec<_>>()})
    }

    fn takes(&self) -> String {
        self.listed("`")
    }
}

/// Text that `read` makes into a value, and reports if it cannot; `show` makes the value into text again.
pub const fn text<N, T, R, S>(read: R, show: S) -> Text<N, T, R, S>
where
    R: Fn(&Value<'_, N>) -> Option<T>,
    S: Fn(&T) -> String,
{
    Text { read, show, pattern: None, least: 1, takes: "", of: PhantomData }
}

/// See [`text`].
#[derive(Debug)]
pub struct Text<N, T, R, S> {
    read: R,
    show: S,
    pattern: Option<&'static str>,
    /// How long it is at least, in characters.
    least: usize,
    takes: &'static str,
    of: PhantomData<fn(N) -> T>,
}

impl<N, T, R, S> Text<N, T, R, S> {
    /// A regular expression that all such texts match.
    #[must_use]
    pub fn pattern(self, pattern: &'static str) -> Self {
        Self { pattern: Some(pattern), ..self }
    }

    /// It may be empty.
    #[must_use]
    pub fn may_be_empty(self) -> Self {
        Self { least: 0, ..self }
    }

    /// What is taken, for people.
    #[must_use]
    pub fn takes(self, takes: &'static str) -> Self {
        Self { takes, ..self }
    }
}

impl<N, T, R, S> Kind<N> for Text<N, T, R, S>
where
    R: Fn(&Value<'_, N>) -> Option<T>,
    S: Fn(&T) -> String,
{
    type Value = T;

    fn read(&self, value: &Value<'_, N>) -> Option<T> {
        (self.read)(value)
    }

    fn show(&self, value: &T) -> String {
        scalar(&(self.show)(value))
    }

    fn schema(&self) -> Json {
        match self.pattern {
            Some(pattern) => json!({"type": "string", "pattern": pattern}),
            None if self.least == 0 => json!({"type": "string"}),
            None => json!({"type": "string", "minLength": self.least}),
        }
    }

    fn takes(&self) -> String {
        self.takes.to_owned()
    }
}

/// An absolute path. `note` says what must be there, to be checked after the whole file was read: see
/// [`Reader::notes`](crate::Reader::notes).
pub const fn path<N, T, F: Fn(PathBuf) -> N>(note: F) -> AbsolutePath<T, F> {
    AbsolutePath { note, of: PhantomData }
}

/// See [`path`].
#[derive(Debug)]
pub struct AbsolutePath<T, F> {
    note: F,
    of: PhantomData<fn() -> T>,
}

impl<N, T: From<String> + AsRef<Path>, F: Fn(PathBuf) -> N> Kind<N> for AbsolutePath<T, F> {
    type Value = T;

    fn read(&self, value: &Value<'_, N>) -> Option<T> {
        value.path(&self.note).map(T::from)
    }

    fn show(&self, value: &T) -> String {
        scalar(&value.as_ref().to_string_lossy())
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "pattern": "^/"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::to_json;
    use crate::reader::Reader;
    use crate::tree::parse;
    use crate::{Listing, Visitor, key};

    /// What a kind reads after `k: `, or what it has against it.
    fn read<K: Kind<()>>(kind: K, text: &str) -> Result<K::Value, String> {
        let text = format!("k: {text}");
        let (document, reader) = (parse(&text).unwrap(), Reader::new("f"));
        let (mut root, mut found) = (reader.root(document.as_ref()), None);
        root.optional(key("k", ""), kind, &mut found);
        let (problems, _) = reader.into_problems_and_remarks();
        found.ok_or_else(|| Listing(&problems).to_string())
    }

    fn names() -> impl Kind<(), Value = Vec<(String, u8)>> {
        let name = |name: &str| if name.is_empty() { Err("is empty") } else { Ok(name.to_lowercase()) };
        map(name, "^[a-z]+$", number(1..=7_u8))
    }

    #[test]
    fn a_map_has_values_by_names_of_which_no_two_mean_the_same() {
        assert_eq!(read(names(), "{a: 1, B: 2}"), Ok(vec![("a".into(), 1), ("b".into(), 2)]));
        for (text, expected) in [
            ("{a: 1, A: 2}", "f:1: k.A: is the same as a in line 1"),
            ("{\"\": 1}", "f:1: k.\"\": is empty"),
            ("{a: 8}", "f:1: k.a: found 8, expected a whole number from 1 to 7"),
            ("[a]", "f:1: k: found a list, expected a section: keys and values, indented by two spaces"),
        ] {
            assert_eq!(read(names(), text), Err(expected.to_owned()));
        }
        assert_eq!(names().show(&vec![("a".into(), 1), ("b c".into(), 2)]), "{a: 1, \"b c\": 2}");
    }

    fn plain_or_high() -> impl Kind<(), Value = u8> {
        let high: Vec<(_, AnyKind<(), u8>)> =
            vec![("high", Box::new(number(8..=9))), ("higher", Box::new(number(10..=11)))];
        plain_or_way(Box::new(number(1..=7)), high, |value| match value {
            8..=9 => Some("high"),
            10.. => Some("higher"),
            _ => None,
        })
    }

    #[test]
    fn a_value_is_written_plainly_or_below_the_key_that_says_how_it_is_meant() {
        for (text, value) in [("7", 7), ("{high: 8}", 8), ("{higher: 11}", 11)] {
            assert_eq!(read(plain_or_high(), text), Ok(value));
            assert_eq!(plain_or_high().show(&value), text);
        }
        for (text, expected) in [
            ("{}", "f:1: k: is empty: expected one of high, higher"),
            ("{high: 8, higher: 10}", "f:1: k.higher: stands beside high: write one of them"),
            ("{hihg: 8}", "f:1: k.hihg: is an unknown key: did you mean high?"),
            ("{high: 7}", "f:1: k.high: found 7, expected a whole number from 8 to 9"),
            ("8", "f:1: k: found 8, expected a whole number from 1 to 7"),
        ] {
            assert_eq!(read(plain_or_high(), text), Err(expected.to_owned()));
        }
        assert_eq!(plain_or_high().takes(), "1 to 7, `{high: ...}`, `{higher: ...}`");
    }

    #[test]
    fn of_one_value_no_list_need_be_made() {
        let kind = || one_or_list(list(number(1..=7_u8)).not_empty("number, such as 7"));
        for (text, values) in [("7", vec![7]), ("[7, 1]", vec![7, 1])] {
            assert_eq!(read(kind(), text), Ok(values.clone()));
            assert_eq!(Kind::<()>::show(&kind(), &values), text);
        }
        assert_eq!(read(kind(), "[7]"), Ok(vec![7]));
        for (text, expected) in [
            ("[]", "f:1: k: is empty: expected at least one number, such as 7"),
            ("[8]", "f:1: k[0]: found 8, expected a whole number from 1 to 7"),
            ("8", "f:1: k: found 8, expected a whole number from 1 to 7"),
        ] {
            assert_eq!(read(kind(), text), Err(expected.to_owned()));
        }
    }

    #[test]
    fn a_text_is_in_quotes_where_it_could_be_taken_for_something_else() {
        for (text, expected) in [
            ("trace_id", "trace_id"),
            ("/a/b.c-d", "/a/b.c-d"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("127.0.0.1:80", "\"127.0.0.1:80\""),
            ("fd00::/8", "\"fd00::/8\""),
            ("true", "\"true\""),
            ("null", "\"null\""),
            ("7", "\"7\""),
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("a: b", "\"a: b\""),
            ("\"", "\"\\\"\""),
        ] {
            assert_eq!(scalar(text), expected);
            assert_eq!(to_json(&parse(&scalar(text)).unwrap().unwrap()), Json::from(text));
        }
    }

    #[test]
    fn what_is_taken_is_told_to_people() {
        let second = Duration::from_secs(1);
        for (told, expected) in [
            (Kind::<()>::takes(&number(1..=7)), "1 to 7"),
            (Kind::<()>::takes(&number(1..=1)), ""),
            (Kind::<()>::takes(&duration(second..=60 * second)), "1s to 1m"),
            (Kind::<()>::takes(&or_off(number(1..=7))), "1 to 7, or `off`"),
            (Kind::<()>::takes(&words([("a", 1), ("b", 2), ("c", 3)])), "`a`, `b` or `c`"),
            (Kind::<()>::takes(&list(number(1..=7))), "1 to 7"),
        ] {
            assert_eq!(told, expected);
        }
    }
}
