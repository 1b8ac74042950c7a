//! JSON into etcd's messages, as bytes: what etcd 3.5 takes, this takes.
//!
//! Bytes are base64 with padding. 64 bits are a number or a string of digits. An enum is a name or a number.
//! `null` is as good as nothing, an unknown field is passed over, and of two fields of one name the last counts.
//! (Of two spellings too, where etcd takes the one in camel case.)
//! Nothing is built but the message itself, so that a request takes no more memory than it has bytes.

use std::{borrow::Cow, fmt};

use base64::{
    Engine, alphabet,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig},
};
use serde::de::{
    DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
};

use super::messages::{Field, FieldKind, MessageType};
use crate::wire::{self, Value};

/// As Go's, which etcd decodes with: bits that are left over in the last letter are not looked at.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// The message that a body begins with; an empty body is an empty message. As in etcd, what follows is not
/// looked at.
pub(super) fn first(message: &'static MessageType, body: &[u8]) -> serde_json::Result<Vec<u8>> {
    Ok(each(message, body).next().transpose()?.unwrap_or_default())
}

/// The messages of a body, one after the other, up to the first that is none.
pub(super) fn each(
    message: &'static MessageType,
    body: &[u8],
) -> impl Iterator<Item = serde_json::Result<Vec<u8>>> {
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<IgnoredAny>();
    let mut start = 0;
    std::iter::from_fn(move || {
        let value = values.next()?;
        let bytes = body.get(start..values.byte_offset()).unwrap_or_default();
        start = values.byte_offset();
        Some(value.and_then(|_| In(message).deserialize(&mut serde_json::Deserializer::from_slice(bytes))))
    })
}

/// An object, as a message.
struct In(&'static MessageType);

impl<'de> DeserializeSeed<'de> for In {
    type Value = Vec<u8>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for In {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<u8>, E> {
        Ok(Vec::new())
    }

    fn visit_map<M: MapAccess<'de>>(self, mut object: M) -> Result<Vec<u8>, M::Error> {
        let fields = self.0.0;
        let mut values = vec![Vec::new(); fields.len()];
        while let Some(name) = object.next_key::<Cow<'de, str>>()? {
            match self.0.place_of(&name) {
                Some(place) => values[place] = object.next_value_seed(As(&fields[place]))?,
                None => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(values.concat())
    }
}

/// A value, as a field of its message with everything that is in it; nothing for `null`.
struct As(&'static Field);

impl<'de> DeserializeSeed<'de> for As {
    type Value = Vec<u8>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u8>, D::Error> {
        if self.0.is_many {
            deserializer.deserialize_any(Many(self.0))
        } else {
            One(self.0).deserialize(deserializer)
        }
    }
}

struct Many(&'static Field);

impl<'de> Visitor<'de> for Many {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list for {}", self.0.name)
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<u8>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Vec<u8>, S::Error> {
        let mut all = Vec::new();
        while let Some(one) = list.next_element_seed(One(self.0))? {
            if one.is_empty() {
                // It has its place in the list.
                wire::put(&mut all, self.0.tag, empty(self.0.kind));
            }
            all.extend(one);
        }
        Ok(all)
    }
}

fn empty(kind: FieldKind) -> Value<'static> {
    match kind {
        FieldKind::Bool | FieldKind::Int64 | FieldKind::Uint64 | FieldKind::Enum(_) => Value::Number(0),
        FieldKind::Bytes | FieldKind::Text | FieldKind::Of(_) => Value::Bytes(&[]),
    }
}

struct One(&'static Field);

impl One {
    fn holding<E>(&self, value: Value<'_>) -> Result<Vec<u8>, E> {
        let mut field = Vec::new();
        wire::put(&mut field, self.0.tag, value);
        Ok(field)
    }

    fn number<E: Error>(&self, number: Option<u64>, found: Unexpected<'_>) -> Result<Vec<u8>, E> {
        let number = number.ok_or_else(|| E::invalid_value(found, self))?;
        self.holding(Value::Number(number))
    }
}

impl<'de> DeserializeSeed<'de> for One {
    type Value = Vec<u8>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for One {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.name;
        match self.0.kind {
            FieldKind::Bool => write!(f, "true or false for {name}"),
            FieldKind::Int64 => write!(f, "an int64 for {name}, as a number or a string"),
            FieldKind::Uint64 => write!(f, "a uint64 for {name}, as a number or a string"),
            FieldKind::Bytes => write!(f, "base64 with padding for {name}"),
            FieldKind::Text => write!(f, "a string for {name}"),
            FieldKind::Enum(names) => write!(f, "one of {} for {name}, or its number", names.join(", ")),
            FieldKind::Of(_) => write!(f, "an object for {name}"),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<u8>, E> {
        Ok(Vec::new())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Vec<u8>, E> {
        match self.0.kind {
            FieldKind::Bool => self.holding(Value::Number(value.into())),
            _ => Err(E::invalid_type(Unexpected::Bool(value), &self)),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Vec<u8>, E> {
        let found = Unexpected::Signed(value);
        match self.0.kind {
            FieldKind::Int64 => self.holding(Value::Number(value.cast_unsigned())),
            FieldKind::Uint64 => self.number(u64::try_from(value).ok(), found),
            FieldKind::Enum(_) => self.number(i32::try_from(value).ok().map(as_number), found),
            _ => Err(E::invalid_type(found, &self)),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Vec<u8>, E> {
        let found = Unexpected::Unsigned(value);
        match self.0.kind {
            FieldKind::Int64 => self.number(i64::try_from(value).ok().map(i64::cast_unsigned), found),
            FieldKind::Uint64 => self.holding(Value::Number(value)),
            FieldKind::Enum(_) => self.number(i32::try_from(value).ok().map(as_number), found),
            _ => Err(E::invalid_type(found, &self)),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Vec<u8>, E> {
        // The text may be long, so the error says where it is and not what it is.
        let found = Unexpected::Other("this string");
        match self.0.kind {
            FieldKind::Int64 => {
                self.number(digits(value).and_then(|text| text.parse().ok()).map(i64::cast_unsigned), found)
            }
            FieldKind::Uint64 => self.number(digits(value).and_then(|text| text.parse().ok()), found),
            FieldKind::Enum(names) => {
                self.number(names.iter().position(|name| *name == value).map(|n| n as u64), found)
            }
            FieldKind::Text => self.holding(Value::Bytes(value.as_bytes())),
            FieldKind::Bytes => match BASE64.decode(without_line_ends(value).as_bytes()) {
                Ok(bytes) => self.holding(Value::Bytes(&bytes)),
                Err(_) => Err(E::invalid_value(found, &self)),
            },
            FieldKind::Bool | FieldKind::Of(_) => Err(E::invalid_type(found, &self)),
        }
    }

    fn visit_map<M: MapAccess<'de>>(self, object: M) -> Result<Vec<u8>, M::Error> {
        match self.0.kind {
            FieldKind::Of(message) => self.holding(Value::Bytes(&In(message).visit_map(object)?)),
            _ => Err(M::Error::invalid_type(Unexpected::Map, &self)),
        }
    }
}

/// Negative numbers have all of 64 bits.
fn as_number(value: i32) -> u64 {
    i64::from(value).cast_unsigned()
}

/// What JSON would read as a whole number, white space around it aside.
fn digits(text: &str) -> Option<&str> {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = digits == "0" || !digits.starts_with(['0', '+', '-']);
    is_number.then_some(text)
}

/// Base64 may be wrapped.
fn without_line_ends(text: &str) -> Cow<'_, str> {
    if text.contains(['\r', '\n']) { text.replace(['\r', '\n'], "").into() } else { text.into() }
}
