//! A tree as JSON, without a look at the declarations: as an editor sees it, which checks it by the schema.

use serde_json::{Map, Value as Json};

use crate::tree::{Content, Node, Scalar};

/// A tree as JSON. What a scalar without quotes means is said by the core schema of YAML 1.2. Of a key that stands
/// several times, the last holds.
#[must_use]
pub fn to_json(node: &Node<'_>) -> Json {
    match &node.content {
        Content::Scalar(scalar) => scalar_to_json(scalar),
        Content::List(items) => items.iter().map(to_json).collect(),
        Content::Mapping(entries) => {
            let entries = entries.iter().map(|entry| (entry.key.to_string(), to_json(&entry.value)));
            Json::Object(entries.collect::<Map<_, _>>())
        }
    }
}

fn scalar_to_json(scalar: &Scalar<'_>) -> Json {
    let text = &*scalar.text;
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    match text {
        _ if scalar.is_null() => Json::Null,
        _ if !scalar.plain => text.into(),
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        _ if is_number => number(text).unwrap_or_else(|| text.into()),
        _ => text.into(),
    }
}

fn number(text: &str) -> Option<Json> {
    match text.strip_prefix('+').unwrap_or(text) {
        text if text.parse::<i128>().is_ok() => text.parse::<i64>().ok().map(Json::from),
        text => text.parse::<f64>().ok().map(Json::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::parse;
    use serde_json::json;

    #[test]
    fn a_scalar_is_what_yamls_core_schema_says() {
        let text = "[1, 010, 1.5, off, true, \"true\", ~, 10.0.0.1, 5s, \"7\", -3]";
        let expected = json!([1, 10, 1.5, "off", true, "true", null, "10.0.0.1", "5s", "7", -3]);
        assert_eq!(to_json(&parse(text).unwrap().unwrap()), expected);
    }

    #[test]
    fn lists_and_sections_stay_what_they_are() {
        let node = parse("a: [{b: c}]\nd: {}\n").unwrap().unwrap();
        assert_eq!(to_json(&node), json!({"a": [{"b": "c"}], "d": {}}));
    }
}
