#[path = "../../../proxy/src/gateway/edits/fields_to_send.rs"]
mod edits;
#[path = "../../../proxy/src/gateway/grammar/mod.rs"]
mod grammar;
#[path = "../../../proxy/src/gateway/grammar_checks/mod.rs"]
mod grammar_checks;
mod proxy_protocol;
mod splicing;

use grammar::{AnswerHead, Asked, RequestHead};

use crate::head::Head;

pub fn requests(input: &[u8]) {
    grammar_checks::requests(input);
}

pub fn answers(input: &[u8]) {
    grammar_checks::answers(input);
}

pub fn chunks(input: &[u8]) {
    grammar_checks::chunks(input);
}

pub fn proxy_headers(input: &[u8]) {
    proxy_protocol::checks::headers(input);
}

/// Heads that are read again and again.
#[derive(Default)]
pub struct Heads {
    request: RequestHead,
    answer: AnswerHead,
    sent: splicing::Sent,
}

impl Heads {
    /// The length of this request's head and of its path.
    pub fn request(&mut self, bytes: &[u8]) -> Option<(usize, usize)> {
        self.request.clear();
        let length = self.request.read(bytes).ok()??;
        Some((length, self.request.of(bytes).path().len()))
    }

    /// The length of this answer's head.
    pub fn answer(&mut self, bytes: &[u8]) -> Option<usize> {
        self.answer.clear();
        self.answer.read(bytes, Asked::default()).ok()?
    }

    /// The length of this request's head as an instance gets it, with what the gateway says by default.
    pub fn request_on(&mut self, bytes: &[u8]) -> Option<usize> {
        self.request(bytes)?;
        Some(self.sent.request(self.request.fields(), bytes))
    }

    /// The length of this answer's head as a client gets it.
    pub fn answer_on(&mut self, bytes: &[u8]) -> Option<usize> {
        self.answer(bytes)?;
        Some(self.sent.answer(self.answer.fields(), bytes))
    }
}
