//! The documents that are written from an outline.

mod reference;
mod schema;
mod table;

pub use self::reference::reference;
pub use self::schema::schema;
pub use self::table::table;

use crate::key::Key;

/// The keys that may stand in a key's place; none: it has to be there.
fn alternatives(key: Key) -> Option<String> {
    let others: Vec<_> = key.others.iter().map(|other| format!("`{other}`")).collect();
    match &others[..] {
        [] => None,
        [other] => Some(other.clone()),
        [others @ .., last] => Some(format!("{} or {last}", others.join(", "))),
    }
}

/// Text without Markdown: of a link, its label.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, label, after)) = link(rest) {
        plain += before;
        plain += label;
        rest = after;
    }
    plain + rest
}

/// What stands before the first link, its label, and what stands behind it.
fn link(text: &str) -> Option<(&str, &str, &str)> {
    let middle = text.find("](")?;
    let begin = text[..middle].rfind('[')?;
    let end = middle + text[middle..].find(')')?;
    Some((&text[..begin], &text[begin + 1..middle], &text[end + 1..]))
}

/// Texts as sentences of one paragraph: each with a capital letter and a full stop.
fn sentences(texts: &[&str]) -> String {
    let sentences = texts.iter().filter(|text| !text.is_empty()).map(|text| {
        let capital =
            text.chars().next().map(|first| first.to_uppercase().to_string() + &text[first.len_utf8()..]);
        let end = if text.ends_with(['.', ':', '?']) || text.contains('\n') { "" } else { "." };
        capital.unwrap_or_default() + end
    });
    sentences.collect::<Vec<_>>().join(" ").replace(" \n", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_link_the_label_is_left() {
        for (text, expected) in [
            ("none", "none"),
            ("[how often](a.md#b) it is", "how often it is"),
            ("as [here](a) and [there](b)", "as here and there"),
            ("`[::]:8080` takes IPv4 too", "`[::]:8080` takes IPv4 too"),
            ("such as [503]", "such as [503]"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }

    #[test]
    fn texts_become_sentences() {
        assert_eq!(sentences(&["how long", "", "It ends."]), "How long. It ends.");
        assert_eq!(sentences(&["`off`: never", "1 to 7"]), "`off`: never. 1 to 7.");
    }
}
