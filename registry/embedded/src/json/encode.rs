//! etcd's messages into JSON, spelt as etcd 3.5 spells it: what has its default value is left out, 64 bits are a
//! string, an enum is its name.

use std::fmt::Write;

use base64::{Engine, prelude::BASE64_STANDARD};

use super::messages::{Field, FieldKind, MessageType};
use crate::wire::{self, Value};

/// Writes a message. None if its bytes are not of this message.
pub(super) fn message(message: &'static MessageType, mut bytes: &[u8], json: &mut String) -> Option<()> {
    json.push('{');
    let mut last: Option<&Field> = None;
    while !bytes.is_empty() {
        let (tag, found) = wire::take(&mut bytes)?;
        // A field that 3.5 does not know.
        let Some(field) = message.by_tag(tag) else { continue };
        match last {
            Some(last) if last.is_many && last.tag == tag => json.push(','),
            _ => {
                end(last, json);
                json.push_str(if last.is_some() { "," } else { "" });
                text(field.name, json);
                json.push_str(if field.is_many { ":[" } else { ":" });
            }
        }
        value(field.kind, found, json)?;
        last = Some(field);
    }
    end(last, json);
    json.push('}');
    Some(())
}

fn end(field: Option<&Field>, json: &mut String) {
    if field.is_some_and(|field| field.is_many) {
        json.push(']');
    }
}

fn value(kind: FieldKind, value: Value<'_>, json: &mut String) -> Option<()> {
    match (kind, value) {
        (FieldKind::Bool, Value::Number(number)) => json.push_str(if number == 0 { "false" } else { "true" }),
        (FieldKind::Int64, Value::Number(number)) => write!(json, "\"{}\"", number.cast_signed()).ok()?,
        (FieldKind::Uint64, Value::Number(number)) => write!(json, "\"{number}\"").ok()?,
        (FieldKind::Enum(names), Value::Number(number)) => {
            match usize::try_from(number).ok().and_then(|number| names.get(number)) {
                Some(name) => text(name, json),
                None => write!(json, "{}", number.cast_signed()).ok()?,
            }
        }
        (FieldKind::Bytes, Value::Bytes(bytes)) => {
            json.push('"');
            BASE64_STANDARD.encode_string(bytes, json);
            json.push('"');
        }
        (FieldKind::Text, Value::Bytes(bytes)) => text(str::from_utf8(bytes).ok()?, json),
        (FieldKind::Of(inner), Value::Bytes(bytes)) => message(inner, bytes, json)?,
        _ => return None,
    }
    Some(())
}

/// Writes a string as Go does, which etcd encodes with: no letter of it means anything to HTML.
pub(super) fn text(text: &str, json: &mut String) {
    json.push('"');
    for letter in text.chars() {
        match letter {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Into a string nothing fails to be written.
                let _ = write!(json, "\\u{:04x}", u32::from(letter));
            }
            letter => json.push(letter),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn a_string_is_written_as_by_go() {
        let mut json = String::new();
        text("a\"\\\n\r\t\0\u{1f}<>&\u{2028}\u{2029}é\u{7f}", &mut json);
        let expected = r#""a\"\\\n\r\t\u0000\u001f\u003c\u003e\u0026\u2028\u2029é"#;
        assert_eq!(json, format!("{expected}\u{7f}\""));
    }
}
