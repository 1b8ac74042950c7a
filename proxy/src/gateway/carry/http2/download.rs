//! An answer's body on its way to the client.

use bytes::Bytes;

/// An answer's body on its way. What comes is taken only when all that came before has gone on.
#[derive(Debug, Default)]
pub(super) struct Download {
    /// What is to go on next.
    pub(super) due: Bytes,
    /// Nothing comes behind it.
    pub(super) is_last: bool,
    /// How many bytes have gone on.
    sent: usize,
}

impl Download {
    /// This is all that there is.
    pub(super) fn put(&mut self, body: Bytes) {
        (self.due, self.is_last) = (body, true);
    }

    pub(super) fn went(&mut self, count: usize) {
        self.sent += count;
    }

    /// How many bytes have gone on.
    pub(super) fn sent(&self) -> usize {
        self.sent
    }
}
