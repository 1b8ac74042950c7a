//! Messages in a body: a flag, a length of four bytes, and the message.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// What stands before each.
const PREFIX: usize = 5;

/// A message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whether its flag says that it is compressed.
    pub is_compressed: bool,
    /// The message.
    pub bytes: Bytes,
}

/// A message as it is sent.
pub fn framed(message: &[u8]) -> Bytes {
    with_flag(0, message)
}

/// One whose flag says that it is compressed.
pub fn compressed(message: &[u8]) -> Bytes {
    with_flag(1, message)
}

fn with_flag(flag: u8, message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(PREFIX + message.len());
    bytes.put_u8(flag);
    bytes.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    bytes.put_slice(message);
    bytes.freeze()
}

/// Takes messages out of a body, however it was cut.
#[derive(Debug, Default)]
pub struct Messages {
    come: BytesMut,
}

impl Messages {
    /// What has come next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.come.extend_from_slice(bytes);
    }

    /// Whether the body may end here.
    pub fn is_between(&self) -> bool {
        self.come.is_empty()
    }
}

impl Iterator for Messages {
    type Item = Message;

    /// The next that has come whole.
    fn next(&mut self) -> Option<Message> {
        let length = usize::try_from(self.come.get(1..PREFIX)?.get_u32()).ok()?;
        if self.come.len() < PREFIX + length {
            self.come.reserve(PREFIX + length - self.come.len());
            return None;
        }
        let is_compressed = self.come[0] != 0;
        self.come.advance(PREFIX);
        Some(Message { is_compressed, bytes: self.come.split_to(length).freeze() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_the_body_was_cut() {
        let sent = [framed(b"one"), framed(b""), compressed(b"two")].concat();
        for piece in 1..sent.len() {
            let mut messages = Messages::default();
            let mut found = Vec::new();
            for bytes in sent.chunks(piece) {
                messages.push(bytes);
                found.extend(messages.by_ref());
            }
            assert!(messages.is_between(), "{piece}");
            let found: Vec<_> =
                found.iter().map(|message| (message.is_compressed, &message.bytes[..])).collect();
            assert_eq!(found, [(false, &b"one"[..]), (false, b""), (true, b"two")], "{piece}");
        }
    }
}
