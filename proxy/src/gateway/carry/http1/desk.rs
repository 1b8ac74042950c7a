//! What a request needs room for.

use std::sync::{Mutex, PoisonError};

use super::pump::Pump;
use super::request_head;
use super::splice::Added;
use crate::gateway::carry::Block;
use crate::gateway::grammar::{AnswerHead, RequestHead};

/// So many desks are kept for the next requests. More are made where more are needed, and dropped afterwards.
const KEPT: usize = 256;

/// What a request needs room for, from the first byte of its head to the end of its answer. A connection without a
/// request has none, and a desk that is used again has its room already.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Desk {
    /// The bytes of the head, which stay as they came.
    pub(in crate::gateway) head: Block,
    /// What they say.
    pub(in crate::gateway) parsed: RequestHead,
    /// From the client to the instance.
    pub(super) upload: Pump,
    /// From the instance to the client.
    pub(super) download: Pump,
    /// What the head of the answer says.
    pub(super) answer: AnswerHead,
    pub(super) added: Added,
}

/// The desks that nobody has.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "a desk goes from hand to hand, and is large")]
pub(in crate::gateway) struct Desks(Mutex<Vec<Box<Desk>>>);

impl Desks {
    /// One on which nothing lies.
    pub(in crate::gateway) fn lend(&self) -> Box<Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Takes one back.
    pub(in crate::gateway) fn take_back(&self, mut desk: Box<Desk>) {
        desk.clear();
        let mut desks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if desks.len() < KEPT {
            desks.push(desk);
        }
    }
}

impl Desk {
    /// The head is whole and takes so many bytes: what came behind it is of its body, or of what comes next.
    pub(in crate::gateway) fn split(&mut self, head: usize) {
        let beyond = self.head.bytes().get(head..).unwrap_or_default();
        self.upload.input.push(beyond);
        self.head.truncate(head);
    }

    /// The head, for somebody who parses it again.
    pub(in crate::gateway) fn plain_head(&mut self) -> Vec<u8> {
        let mut plain = Vec::with_capacity(self.head.len());
        request_head::write_plain(&self.parsed.of(self.head.bytes()), &mut self.added, &mut plain);
        plain
    }

    /// What came behind the head, for somebody else to read on.
    pub(in crate::gateway) fn take_input(&mut self) -> Block {
        std::mem::take(&mut self.upload.input)
    }

    /// What somebody else has left of it.
    pub(in crate::gateway) fn give_input(&mut self, input: Block) {
        self.upload.input = input;
    }

    /// A request is over: what came behind it is the beginning of the next one's head. Whether anything is here.
    pub(in crate::gateway) fn next(&mut self) -> bool {
        self.parsed.clear();
        self.head.clear();
        std::mem::swap(&mut self.head, &mut self.upload.input);
        !self.head.is_empty()
    }

    fn clear(&mut self) {
        self.head.clear();
        self.parsed.clear();
        self.upload.clear();
        self.download.clear();
        self.answer.clear();
        self.added.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(desk: &mut Desk, bytes: &[u8]) {
        desk.head.push(bytes);
        let length = desk.parsed.read(desk.head.bytes()).unwrap().expect("a whole head");
        desk.split(length);
    }

    #[test]
    fn what_came_behind_a_request_is_the_beginning_of_the_next() {
        let mut desk = Desk::default();
        put(&mut desk, b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n");
        assert!(desk.head.bytes().starts_with(b"GET /1 "));
        assert!(desk.next());
        let length = desk.parsed.read(desk.head.bytes()).unwrap().unwrap();
        assert_eq!(length, desk.head.len());
        desk.split(length);
        assert!(!desk.next());
    }

    #[test]
    fn a_desk_that_was_taken_back_has_nothing_of_what_lay_on_it() {
        let desks = Desks::default();
        let mut desk = desks.lend();
        put(&mut desk, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nsecret");
        desk.upload.out.extend_from_slice(b"secret");
        desk.download.input.push(b"secret");
        desks.take_back(desk);
        let desk = desks.lend();
        assert!(desk.head.is_empty() && desk.upload.input.is_empty() && desk.upload.out.is_empty());
        assert!(desk.download.input.is_empty() && desk.upload.is_done());
        assert_eq!(desk.parsed.framing(), crate::gateway::grammar::Framing::None);
    }

    #[test]
    fn a_desk_that_was_taken_back_has_little_room_however_much_lay_on_it() {
        let (desks, mut desk) = (Desks::default(), Box::<Desk>::default());
        let large = vec![b'x'; 60_000];
        let Desk { head, upload, download, .. } = &mut *desk;
        head.push(&large);
        for pump in [upload, download] {
            pump.input.push(&large);
            pump.out.extend_from_slice(&large);
        }
        desks.take_back(desk);
        let Desk { head, upload, download, .. } = &*desks.lend();
        let blocks = [head, &upload.input, &download.input].map(Block::room);
        let rooms = blocks.into_iter().chain([upload.out.capacity(), download.out.capacity()]);
        assert!(rooms.clone().all(|room| room <= 4_096), "{:?}", rooms.collect::<Vec<_>>());
    }

    #[test]
    fn no_more_are_kept_than_may_be() {
        let desks = Desks::default();
        let lent: Vec<_> = (0..KEPT + 10).map(|_| desks.lend()).collect();
        lent.into_iter().for_each(|desk| desks.take_back(desk));
        assert_eq!(desks.0.lock().unwrap().len(), KEPT);
    }
}
