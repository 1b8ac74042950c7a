//! An answer's body on its way to the client.

use bytes::Bytes;

/// An answer's body on its way. What comes is taken only when all that came before has gone on.
#[derive(Debug, Default)]
pub(super) struct Download {
    /// What is to go on next.
    pub(super) due: Bytes,
    /// Nothing comes behind it.
    pub(super) is_last: bool,
    /// How many bytes that have come from the instance are still to be released.
    unreleased: usize,
    /// How many bytes have gone on.
    sent: usize,
}

impl Download {
    /// This is all that there is.
    pub(super) fn put(&mut self, body: Bytes) {
        (self.due, self.is_last) = (body, true);
    }

    /// So many bytes have come, which go on as these.
    pub(super) fn take(&mut self, came: usize, due: Bytes, is_last: bool) {
        self.unreleased += came;
        (self.due, self.is_last) = (due, is_last);
    }

    /// So many bytes were sent: for how many that came the instance may send others. What comes may be shorter than what it
    /// goes on as.
    pub(super) fn releases(&mut self, sent: usize) -> usize {
        let count = if self.due.is_empty() { self.unreleased } else { sent.min(self.unreleased) };
        self.unreleased -= count;
        count
    }

    pub(super) fn went(&mut self, count: usize) {
        self.sent += count;
    }

    /// How many bytes have gone on.
    pub(super) fn sent(&self) -> usize {
        self.sent
    }
}
