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
    use crate::key::key;
    use crate::kind::{boolean, list, number};
    use crate::outline::Outline;
    use crate::visitor::Visitor;

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

    fn doors() -> Outline {
        let (mut outline, mut doors) = (Outline::default(), Vec::new());
        let of = key("doors", "which doors there are")
            .more("A number alone is one that is shut.")
            .required("a list");
        let by = key("number", "which it is").required("a number").example("7").fixed();
        let by = (by, list(number(1..=9_u8)).of(1..=3, "doors"));
        Visitor::<()>::list_by(
            &mut outline,
            of,
            by,
            &mut doors,
            |door: &mut (u8, bool)| &mut door.0,
            || (0, false),
            |door, v| {
                Visitor::<()>::key(v, key("open", "whether it is"), boolean(), &mut door.1);
            },
        );
        outline
    }

    #[test]
    fn a_list_by_a_key_is_shown_with_all_keys_of_an_item() {
        let shown = "# Which doors there are. Required. A number alone is one that is shut.\ndoors:\n  \
                     - number: 7 # which it is. 1 to 9. required\n    open: false # whether it is\n";
        assert_eq!(reference(&doors(), ""), format!("\n{shown}"));
        let mut outline = Outline::default();
        Visitor::<()>::section(&mut outline, key("house", ""), |v| *v = doors());
        let rows = "| `doors` | required | a list: 1 to 9, or a section | reload | which doors there are |\n\
                    | `doors[].number` | required | 1 to 9 | restart | which it is |\n\
                    | `doors[].open` | `false` |  | reload | whether it is |\n";
        assert!(table(&outline, "house").ends_with(rows), "{}", table(&outline, "house"));
    }

    #[test]
    fn the_schema_of_a_list_by_a_key_takes_sections_and_values() {
        let schema = schema(&doors(), "");
        let doors = &schema["properties"]["doors"];
        assert_eq!((doors["minItems"].as_u64(), doors["maxItems"].as_u64()), (Some(1), Some(3)));
        let [plain, section] = [0, 1].map(|at| &doors["items"]["anyOf"][at]);
        assert_eq!((plain["type"].as_str(), plain["maximum"].as_u64()), (Some("integer"), Some(9)));
        assert_eq!(section["required"], serde_json::json!(["number"]));
        assert!(section["properties"]["open"].is_object());
    }
}
