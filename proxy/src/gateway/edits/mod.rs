//! What becomes of a request before an instance gets it, and of an answer before its client does: values, which are
//! computed from what is known of the request and from its route, and which any carrier applies to the head that it has.
//!
//! ```text
//! request   what an instance gets
//! answer    what a client gets
//! facts     what is known of a request, and what templates make of it
//! fields_to_send  what carriers let be done to the fields of a head
//! ```

mod answer;
mod facts;
mod fields_to_send;
mod request;

use std::borrow::Cow;

use bytes::Bytes;
use http::Version;

use crate::site::{FieldChange, FieldValue};
pub(super) use answer::AnswerEdits;
pub(super) use facts::Facts;
pub(super) use fields_to_send::FieldsToSend;
pub(super) use request::RequestEdits;

/// Changes fields as a route says.
fn change<'c, 'f, F: FieldsToSend>(
    fields: &mut F,
    changes: &'c [FieldChange],
    facts: impl FnOnce() -> Facts<'f>,
) -> Result<(), F::Error> {
    if changes.is_empty() {
        return Ok(());
    }
    let facts = facts();
    let value = |value: &'c FieldValue| match value {
        FieldValue::Fixed(value) => Some(Cow::Borrowed(value)),
        FieldValue::Made(template) => facts.value(template).map(Cow::Owned),
    };
    for change in changes {
        match change {
            FieldChange::Remove(name) => fields.remove(name.as_str()),
            FieldChange::Set(name, made) => {
                if let Some(value) = value(made) {
                    fields.set(name, value.as_bytes())?;
                }
            }
            FieldChange::Add(name, made) => {
                if let Some(value) = value(made) {
                    fields.add(name, value.as_bytes())?;
                }
            }
        }
    }
    Ok(())
}

/// The name of a field that the gateway says itself, as it is usually written.
fn said(name: &'static str) -> Bytes {
    Bytes::from_static(name.as_bytes())
}

/// What `Via` says of a message that came in this version.
fn via(version: Version) -> &'static [u8] {
    if version == Version::HTTP_10 { b"1.0 leaseway" } else { b"1.1 leaseway" }
}

#[cfg(test)]
mod tests;
