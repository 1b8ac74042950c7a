//! All that is declared of a key.

/// A key: its name, what it is for, and how it is shown.
///
/// Its texts may hold Markdown's `[label](target)` and backticks. What is no Markdown shows the label alone.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    pub(crate) more: &'static str,
    pub(crate) required: Option<&'static str>,
    pub(crate) others: &'static [&'static str],
    pub(crate) is_alone: bool,
    pub(crate) shape: Option<&'static str>,
    pub(crate) default: Option<&'static str>,
    pub(crate) example: Option<&'static str>,
    pub(crate) like: Option<&'static str>,
    pub(crate) fixed: bool,
}

/// Declares a key. `text`: what it is for, in a line, beginning with a small letter and without a full stop.
#[must_use]
pub const fn key(name: &'static str, text: &'static str) -> Key {
    Key {
        name,
        text,
        more: "",
        required: None,
        others: &[],
        is_alone: false,
        shape: None,
        default: None,
        example: None,
        like: None,
        fixed: false,
    }
}

impl Key {
    /// More about it in whole sentences, which stand in the reference and in the schema. Lines that begin with two
    /// spaces are shown as they are; all others are wrapped anew.
    #[must_use]
    pub const fn more(self, more: &'static str) -> Self {
        Self { more, ..self }
    }

    /// It must be there. `expected` is told if it is not. The documents show it with its example.
    #[must_use]
    pub const fn required(self, expected: &'static str) -> Self {
        Self { required: Some(expected), ..self }
    }

    /// It must be there, or one of these other keys in its place; not two of them.
    #[must_use]
    pub const fn or_instead(self, others: &'static [&'static str]) -> Self {
        Self { others, is_alone: true, ..self }
    }

    /// It must be there, or one of these other keys; or several of them.
    #[must_use]
    pub const fn or_beside(self, others: &'static [&'static str]) -> Self {
        Self { others, is_alone: false, ..self }
    }

    /// How its section looks, which is told if something else stands there: `a section such as {probe: /healthz}`.
    #[must_use]
    pub const fn shape(self, shape: &'static str) -> Self {
        Self { shape: Some(shape), ..self }
    }

    /// Its default in words, because it follows from something else. It is shown with its example.
    #[must_use]
    pub const fn default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// A value in YAML, to be shown where there is no default. Of a section: its lines.
    #[must_use]
    pub const fn example(self, example: &'static str) -> Self {
        Self { example: Some(example), ..self }
    }

    /// The keys below it are those of another section, and take its values where they are not set.
    #[must_use]
    pub const fn like(self, other: &'static str) -> Self {
        Self { like: Some(other), ..self }
    }

    /// A running process cannot take a new value over, neither of it nor of what stands below it.
    #[must_use]
    pub const fn fixed(self) -> Self {
        Self { fixed: true, ..self }
    }
}
