//! YAML text -> a tree of which every node knows its line.
//!
//! The parser's events are used rather than a ready-made tree, because such a tree has lost what is reported: a key
//! that is written twice, and a scalar as it was written. Aliases and tags are refused, so that a short text cannot
//! become a large one in memory (an "alias bomb") and each value is what it looks like.

use std::borrow::Cow;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput};

/// Deeper than any configuration. It bounds our recursion.
const DEPTH: usize = 16;

/// One value and where it stands.
#[derive(Debug)]
pub struct Node<'t> {
    /// From 1.
    pub line: usize,
    /// What stands there.
    pub content: Content<'t>,
}

/// What a node holds.
#[derive(Debug)]
pub enum Content<'t> {
    /// A single value.
    Scalar(Scalar<'t>),
    /// Values, one after another.
    List(Vec<Node<'t>>),
    /// Keys and their values.
    Mapping(Vec<Entry<'t>>),
}

/// A scalar as it was written: the [kind](crate::kind) that is declared decides what it means.
#[derive(Debug)]
pub struct Scalar<'t> {
    /// Without its quotes, and with what was escaped.
    pub text: Cow<'t, str>,
    /// Without quotes: it may mean a number, a boolean or nothing.
    pub plain: bool,
}

impl Scalar<'_> {
    /// Whether it is YAML's null.
    pub fn is_null(&self) -> bool {
        self.plain && matches!(&*self.text, "" | "~" | "null" | "Null" | "NULL")
    }
}

/// A key of a mapping, in the order of the text. The same key may come again.
#[derive(Debug)]
pub struct Entry<'t> {
    /// What stands before the colon.
    pub key: Cow<'t, str>,
    /// Of the key, from 1.
    pub line: usize,
    /// What stands after it.
    pub value: Node<'t>,
}

/// Where and why reading stopped.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct SyntaxError {
    /// From 1.
    pub line: usize,
    /// What stands there, and what was expected.
    pub message: Cow<'static, str>,
}

impl SyntaxError {
    fn new(line: usize, message: &'static str) -> Self {
        Self { line, message: message.into() }
    }
}

/// What the parser says where a line is indented more or less than the one above allows.
const OF_INDENTATION: [&str; 8] = [
    "mapping values are not allowed in this context",
    "mapping keys are not allowed in this context",
    "block sequence entries are not allowed in this context",
    "simple key expect",
    "did not find expected key",
    "did not find expected '-' indicator",
    "did not find expected <document start>",
    "indent",
];

impl From<ScanError> for SyntaxError {
    fn from(error: ScanError) -> Self {
        let (line, info) = (error.marker().line(), error.info());
        let is_of_indentation = OF_INDENTATION.iter().any(|known| info.contains(known));
        if info == "invalid indentation in quoted scalar" {
            return Self::new(line, "a quote that was opened above is not closed");
        }
        let advice = if is_of_indentation {
            ": check the indentation of this line and the one above, and that a space follows each colon"
        } else {
            ""
        };
        Self { line, message: format!("{info}{advice}").into() }
    }
}

/// Reads the one document of `text`; `None` if there is none.
///
/// # Errors
/// When it is no YAML, has a second document, aliases or tags, or is nested too deep.
pub fn parse(text: &str) -> Result<Option<Node<'_>>, SyntaxError> {
    document(text).map_err(|error| indenting_tab(text, error.line).unwrap_or(error))
}

/// The error of a line that is indented by a tab, if there is one: that is the likeliest reason for an error there, or
/// in the line before, because the parser takes such a line for its continuation.
fn indenting_tab(text: &str, line: usize) -> Option<SyntaxError> {
    let mut lines = text.lines().take(line + 1);
    let tab = lines.position(|line| line.trim_start_matches(' ').starts_with('\t'))?;
    Some(SyntaxError::new(tab + 1, "a tab indents this line: YAML takes spaces alone"))
}

fn document(text: &str) -> Result<Option<Node<'_>>, SyntaxError> {
    let mut events = Events(Parser::new_from_str(text));
    let mut root = None;
    loop {
        match events.next()? {
            (Event::DocumentStart(_), line) if root.is_some() => {
                return Err(SyntaxError::new(line, "a second document: a configuration is one document"));
            }
            (Event::DocumentStart(_), _) => {
                let first = events.next()?;
                root = Some(events.node(first, DEPTH)?);
            }
            (Event::StreamEnd, _) => return Ok(root),
            _ => {}
        }
    }
}

type Located<'t> = (Event<'t>, usize);

struct Events<'t>(Parser<'t, StrInput<'t>>);

impl<'t> Events<'t> {
    fn next(&mut self) -> Result<Located<'t>, SyntaxError> {
        match self.0.next_event() {
            Some(event) => {
                let (event, span) = event?;
                Ok((event, span.start.line()))
            }
            None => Err(SyntaxError::new(1, "it ends in the middle")),
        }
    }

    fn node(&mut self, (event, line): Located<'t>, depth: usize) -> Result<Node<'t>, SyntaxError> {
        if depth == 0 {
            return Err(SyntaxError::new(line, "sections and lists are nested too deep"));
        }
        let content = match event {
            Event::Scalar(text, style, _, None) => {
                Content::Scalar(Scalar { text, plain: style == ScalarStyle::Plain })
            }
            Event::SequenceStart(_, None) => Content::List(self.list(depth)?),
            Event::MappingStart(_, None) => Content::Mapping(self.mapping(depth)?),
            Event::Alias(_) => {
                return Err(SyntaxError::new(
                    line,
                    "an alias (*name) is not taken here: write the value out",
                ));
            }
            Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) => {
                return Err(SyntaxError::new(line, "a tag (!name) is not taken here: write the value alone"));
            }
            _ => return Err(SyntaxError::new(line, "a value was expected")),
        };
        Ok(Node { line, content })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node<'t>>, SyntaxError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                item => items.push(self.node(item, depth - 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Vec<Entry<'t>>, SyntaxError> {
        let mut entries = Vec::new();
        loop {
            let (key, line) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(entries),
                (Event::Scalar(key, _, _, None), line) => (key, line),
                (_, line) => return Err(SyntaxError::new(line, "a key must be text")),
            };
            let first = self.next()?;
            entries.push(Entry { key, line, value: self.node(first, depth - 1)? });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (usize, String) {
        let error = parse(text).expect_err(text);
        (error.line, error.message.into_owned())
    }

    fn entries(text: &str) -> Vec<Entry<'_>> {
        match parse(text).expect(text).expect("a document").content {
            Content::Mapping(entries) => entries,
            other => panic!("{text:?} is no mapping: {other:?}"),
        }
    }

    #[test]
    fn every_key_knows_its_line_and_comes_as_often_as_it_is_written() {
        let entries = entries("a: 1\n\nb: [x, y]\na:\n  c: 2\n");
        let seen: Vec<_> = entries.iter().map(|entry| (&*entry.key, entry.line)).collect();
        assert_eq!(seen, [("a", 1), ("b", 3), ("a", 4)]);
    }

    #[test]
    fn a_scalar_is_kept_as_it_was_written() {
        for (text, written, plain, null) in [
            ("a: off", "off", true, false),
            ("a: 010", "010", true, false),
            ("a: \"1\"", "1", false, false),
            ("a: 'null'", "null", false, false),
            ("a: ~", "~", true, true),
            ("a:", "", true, true),
            ("a: ''", "", false, false),
        ] {
            let entries = entries(text);
            let [Entry { value: Node { content: Content::Scalar(scalar), .. }, .. }] = &entries[..] else {
                panic!("{text:?} has no scalar");
            };
            assert_eq!((&*scalar.text, scalar.plain, scalar.is_null()), (written, plain, null), "{text:?}");
        }
    }

    #[test]
    fn nothing_but_comments_is_no_document() {
        for text in ["", "\n\n", "# only this\n", "\u{feff}"] {
            assert!(parse(text).expect(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        assert_eq!(entries("\u{feff}a: 1")[0].key, "a");
    }

    #[test]
    fn a_second_document_is_refused() {
        let (line, message) = refused("a: 1\n---\nb: 2\n");
        assert_eq!(line, 2);
        assert!(message.contains("second document"), "{message}");
    }

    #[test]
    fn aliases_are_refused_before_they_can_grow() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..30 {
            bomb += &format!("a{level}: &a{level} [*a{0}, *a{0}, *a{0}, *a{0}]\n", level - 1);
        }
        let (line, message) = refused(&bomb);
        assert_eq!(line, 2);
        assert!(message.contains("alias"), "{message}");
    }

    #[test]
    fn tags_are_refused() {
        for text in ["a: !!str 1", "a: !env HOME", "a: !!map {}", "a: !!seq []", "!!str a: 1"] {
            let (line, _) = refused(text);
            assert_eq!(line, 1, "{text}");
        }
    }

    #[test]
    fn a_key_that_is_not_text_is_refused() {
        for text in ["[a]: 1", "{a: b}: 1", "? [a]\n: 1"] {
            let (_, message) = refused(text);
            assert!(message.contains("key must be text"), "{text:?}: {message}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        for text in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(10_000)] {
            let (_, message) = refused(&text);
            assert!(message.contains("too deep") || message.contains("recursion"), "{message}");
        }
    }

    #[test]
    fn a_line_that_stands_too_far_left_or_right_is_told_as_such() {
        for (text, line) in [
            ("a:\n  b: 1\n   c: 2\n", 3),
            ("a:\n  b: 1\n c: 2\n", 3),
            ("a: 1\n  b: 2\n", 2),
            ("a:\n  - b: 1\n     c: 2\n", 3),
            ("a:\n  - b: 1\n   c: 2\n", 3),
            ("a:\n  - b: 1\n - c: 2\n", 3),
            ("a: 1\n- b\n", 2),
            (" a: 1\nb: 2\n", 2),
            ("a:\n  b\n  c: 1\n", 3),
            ("a:1\nb: 2\n", 2),
        ] {
            let (found, message) = refused(text);
            assert!(
                message.contains("check the indentation of this line and the one above, and that a space follows each colon"),
                "{text:?}: {message}"
            );
            assert_eq!(found, line, "{text:?}: {message}");
        }
    }

    #[test]
    fn an_error_of_another_kind_does_not_speak_of_indentation() {
        for text in ["a: \"1\nb: 2\n", "a: [1\n", "a: \"1\n", "a: {b: 1\n", "a: \"\\q\"\n", "a: @b\n"] {
            let (_, message) = refused(text);
            assert!(!message.contains("indentation"), "{text:?}: {message}");
        }
    }

    #[test]
    fn a_tab_as_indentation_is_refused_with_its_line() {
        for text in ["a:\n\tb: 1\n", "a: 1\n\tb: 1\n", "a:\n  \tb: 1\n  c: 2\n"] {
            let (line, message) = refused(text);
            assert_eq!(line, 2, "{text:?}");
            assert!(message.contains("tab"), "{message}");
        }
    }
}
