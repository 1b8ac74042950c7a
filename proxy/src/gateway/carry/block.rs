//! Bytes that came from a connection and have not gone on yet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

/// The room that a block begins with.
const LEAST: usize = 4 * 1024;

/// Bytes that came and have not gone on. It has no room at all until something comes, and more the more comes at once.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Block {
    /// All of it can be written to; `room[at..end]` is here.
    room: Vec<u8>,
    at: usize,
    end: usize,
    /// Whether what came last took all the room there was: more is likely to wait.
    was_filled: bool,
}

impl Block {
    /// What is here.
    pub(in crate::gateway) fn bytes(&self) -> &[u8] {
        self.room.get(self.at..self.end).unwrap_or_default()
    }

    pub(in crate::gateway) fn len(&self) -> usize {
        self.end - self.at
    }

    pub(in crate::gateway) fn is_empty(&self) -> bool {
        self.at == self.end
    }

    /// All that is here, which is here no more.
    pub(in crate::gateway) fn take(&mut self) -> Bytes {
        let bytes = Bytes::copy_from_slice(self.bytes());
        self.clear();
        bytes
    }

    /// So many bytes have gone on.
    pub(in crate::gateway) fn consume(&mut self, count: usize) {
        self.at = (self.at + count).min(self.end);
        if self.is_empty() {
            (self.at, self.end) = (0, 0);
        }
    }

    /// Nothing is here any more. Of its room as much stays as it began with.
    pub(in crate::gateway) fn clear(&mut self) {
        (self.at, self.end, self.was_filled) = (0, 0, false);
        if self.room.len() > LEAST {
            self.room = Vec::new();
        }
    }

    /// Whether something could be read into it.
    pub(in crate::gateway) fn has_room(&self) -> bool {
        !self.room.is_empty()
    }

    /// Nothing is here, and nothing is expected soon: a room that is as small as it began goes.
    pub(in crate::gateway) fn give_back(&mut self) {
        if self.is_empty() && self.room.len() <= LEAST {
            *self = Self::default();
        }
    }

    /// Of what is here, the first so many bytes stay.
    pub(super) fn truncate(&mut self, count: usize) {
        self.end = self.end.min(self.at + count);
    }

    /// Appends what has come in another block.
    pub(in crate::gateway) fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.compact();
        if self.room.len() < self.end + bytes.len() {
            self.room.resize((self.end + bytes.len()).max(LEAST), 0);
        }
        let end = self.end + bytes.len();
        if let Some(room) = self.room.get_mut(self.end..end) {
            room.copy_from_slice(bytes);
            self.end = end;
        }
    }

    /// Takes the bytes from `from` up to `to` out of what is here.
    pub(super) fn cut(&mut self, from: usize, to: usize) {
        let (from, to) = (self.at + from, self.at + to);
        if from <= to && to <= self.end {
            self.room.copy_within(to..self.end, from);
            self.end -= to - from;
        }
    }

    /// Reads as much as there is room for; what is here takes at most `most` bytes then. 0: the other side has ended.
    /// (Not to be called when so many are here.)
    pub(in crate::gateway) fn poll_fill(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        most: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.make_room(most);
        let mut room = ReadBuf::new(self.room.get_mut(self.end..).unwrap_or_default());
        ready!(Pin::new(from).poll_read(cx, &mut room))?;
        let (count, left) = (room.filled().len(), room.remaining());
        self.end += count;
        self.was_filled = left == 0;
        Poll::Ready(Ok(count))
    }

    fn make_room(&mut self, most: usize) {
        self.compact();
        if self.end == self.room.len() || self.was_filled && self.room.len() < most {
            let room = (2 * self.room.len()).clamp(LEAST, most.max(LEAST));
            self.room.resize(room.max(self.end), 0);
            self.was_filled = false;
        }
    }

    /// How many bytes it has room for.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.room.len()
    }

    fn compact(&mut self) {
        if self.at > 0 {
            self.room.copy_within(self.at..self.end, 0);
            (self.at, self.end) = (0, self.end - self.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    async fn filled(block: &mut Block, mut from: &[u8], most: usize) -> usize {
        poll_fn(|cx| block.poll_fill(&mut from, most, cx)).await.unwrap()
    }

    #[tokio::test]
    async fn what_comes_stays_until_it_has_gone_on() {
        let mut block = Block::default();
        assert_eq!(filled(&mut block, b"hello", 64).await, 5);
        block.consume(2);
        assert_eq!(filled(&mut block, b" world", 4096).await, 6);
        assert_eq!(block.bytes(), b"llo world");
        block.cut(3, 4);
        block.push(b"!");
        assert_eq!(block.bytes(), b"lloworld!");
        block.consume(100);
        assert!(block.is_empty());
    }

    #[tokio::test]
    async fn it_grows_only_while_all_its_room_is_taken_and_never_beyond_its_bound() {
        let (mut block, much) = (Block::default(), vec![7; 1 << 20]);
        let mut rooms = Vec::new();
        for _ in 0..5 {
            rooms.push(filled(&mut block, &much, 4 * LEAST).await);
            block.consume(usize::MAX);
        }
        assert_eq!(rooms, [LEAST, 2 * LEAST, 4 * LEAST, 4 * LEAST, 4 * LEAST]);
        block.give_back();
        assert!(block.has_room(), "it was made for much");
        block.clear();
        assert_eq!(filled(&mut block, b"a", 4 * LEAST).await, 1);
        block.consume(1);
        assert_eq!(filled(&mut block, &much, 4 * LEAST).await, LEAST);
        block.give_back();
        assert!(block.has_room(), "something is here");
        block.consume(usize::MAX);
        block.give_back();
        assert!(!block.has_room());
    }
}
