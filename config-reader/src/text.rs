//! Text of the file, as it is repeated to its author.

use crate::tree::Scalar;

/// How much of a value an error repeats, in characters.
const SHOWN: usize = 60;
/// From here on (Jaro-Winkler, 1 is equal) a key is taken for a misspelt one.
const ALIKE: f64 = 0.85;

/// What is said of a value that was meant to be replaced before we read it.
pub(crate) fn variables(text: &str) -> &'static str {
    if text.contains("${") || text.starts_with('$') {
        ". This file knows no variables: write the value itself, or have the file made from a template"
    } else {
        ""
    }
}

/// A value for an error: as it was written.
pub(crate) fn shown(scalar: &Scalar<'_>) -> String {
    if scalar.plain { bounded(&scalar.text) } else { quoted(&scalar.text) }
}

/// A value for an error: in quotes, on one line, and not too long.
#[must_use]
pub fn quoted(text: &str) -> String {
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

pub(crate) fn join(section: &str, key: &str) -> String {
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
