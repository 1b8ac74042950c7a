//! Protocol buffers as bytes: fields, each with a number and a value. etcd's messages use two of the kinds of value
//! that there are.

/// A field's value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a kind that etcd's messages do not have.
    Other,
}

/// The kinds of value, as the last bits of a field's key tell them.
const NUMBER: u64 = 0;
const EIGHT_BYTES: u64 = 1;
const BYTES: u64 = 2;
const FOUR_BYTES: u64 = 5;
const KIND_BITS: u32 = 3;

/// The first field of a message, which is then taken from it. None if this is no message.
pub(crate) fn take<'a>(message: &mut &'a [u8]) -> Option<(u32, Value<'a>)> {
    let key = take_number(message)?;
    let tag = u32::try_from(key >> KIND_BITS).ok()?;
    let value = match key & ((1 << KIND_BITS) - 1) {
        NUMBER => Value::Number(take_number(message)?),
        BYTES => {
            let length = usize::try_from(take_number(message)?).ok()?;
            Value::Bytes(take_bytes(message, length)?)
        }
        EIGHT_BYTES => take_bytes(message, 8).map(|_| Value::Other)?,
        FOUR_BYTES => take_bytes(message, 4).map(|_| Value::Other)?,
        _ => return None,
    };
    Some((tag, value))
}

fn take_bytes<'a>(message: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (bytes, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(bytes)
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn take_number(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Writes a field at the end of a message.
pub(crate) fn put(message: &mut Vec<u8>, tag: u32, value: Value<'_>) {
    let key = |kind| u64::from(tag) << KIND_BITS | kind;
    match value {
        Value::Number(number) => {
            put_number(message, key(NUMBER));
            put_number(message, number);
        }
        Value::Bytes(bytes) => {
            put_number(message, key(BYTES));
            put_number(message, bytes.len() as u64);
            message.extend_from_slice(bytes);
        }
        // No message of etcd has such a field.
        Value::Other => {}
    }
}

fn put_number(message: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        message.push(0x80 | number as u8);
        number >>= 7;
    }
    message.push(number as u8);
}
