//! All keys as JSON Schema, by which editors complete and check a file.

use serde_json::{Value as Json, json};

use super::{plain, sentences};
use crate::json::to_json;
use crate::key::Key;
use crate::outline::{Branch, Entry, Form, Leaf, Outline};
use crate::tree::parse;

/// The schema of a file whose keys are those of the outline: JSON Schema, draft 7, which all editors know.
///
/// It has only what is declared of each key by itself. What a [check](crate::Visitor::check) finds, about several keys
/// together, is reported by the reader alone.
#[must_use]
pub fn schema(outline: &Outline, title: &str) -> Json {
    let mut schema = section(&outline.entries, true);
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["title"] = title.into();
    schema
}

/// `is_whole`: whether the section has values of its own. If it takes those of another section for keys that are not
/// set, it has no defaults, and no key is required.
fn section(entries: &[Entry], is_whole: bool) -> Json {
    let mut schema = json!({"type": "object", "properties": {}, "additionalProperties": false});
    let (mut required, mut alternatives) = (Vec::new(), Vec::new());
    for entry in entries {
        let (key, property) = match entry {
            Entry::Leaf(found) => (found.key, leaf(found, is_whole)),
            Entry::Branch(found) => (found.key, branch(found, is_whole)),
            Entry::Heading(_) | Entry::Aside(_) => continue,
        };
        schema["properties"][key.name] = property;
        match (key.required, key.others) {
            (Some(_), []) => required.push(key.name),
            (Some(_), others) if is_whole => {
                let each = [key.name].into_iter().chain(others.iter().copied());
                let each: Vec<_> = each.map(|name| json!({"required": [name]})).collect();
                alternatives.push(json!({if key.is_alone { "oneOf" } else { "anyOf" }: each}));
            }
            _ => {}
        }
    }
    if !alternatives.is_empty() {
        schema["allOf"] = alternatives.into();
    }
    if is_whole && !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

fn leaf(leaf: &Leaf, is_whole: bool) -> Json {
    let mut schema = leaf.schema.clone();
    let takes = if leaf.takes.is_empty() { String::new() } else { format!("It takes {}", leaf.takes) };
    let default = leaf.key.default.map(|default| format!("Default: {default}")).unwrap_or_default();
    schema["description"] = describe(leaf.key, &[&takes, &default]).into();
    if let (true, Some(default)) = (is_whole, leaf.default.as_deref().and_then(json_of)) {
        schema["default"] = default;
    }
    if let Some(example) = leaf.key.example.and_then(json_of) {
        schema["examples"] = json!([example]);
    }
    schema
}

fn branch(branch: &Branch, is_whole: bool) -> Json {
    let Branch { key, form, below, .. } = branch;
    let below = section(below, is_whole && key.like.is_none());
    let mut schema = match form {
        Form::Section | Form::Optional => below,
        Form::OrOff { .. } => json!({"anyOf": [below, {"const": "off"}]}),
        Form::List => json!({"type": "array", "items": below, "minItems": 1}),
        Form::ListBy { schema, .. } => {
            let mut schema = schema.clone();
            schema["items"] = json!({"anyOf": [schema["items"], below]});
            schema
        }
        Form::Named => json!({"type": "object", "additionalProperties": below}),
    };
    schema["description"] = describe(*key, &[]).into();
    schema
}

fn describe(key: Key, more: &[&str]) -> String {
    let more = more.iter().filter(|text| !text.is_empty()).map(|text| plain(text));
    let texts: Vec<_> = [plain(key.text), plain(key.more)].into_iter().chain(more).collect();
    sentences(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}

fn json_of(yaml: &str) -> Option<Json> {
    parse(yaml).ok().flatten().map(|node| to_json(&node))
}
