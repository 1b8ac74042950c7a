//! A connection's bytes, read as a carrier would read them: head, body, head, and so on.

use super::super::grammar::{Body, Fields, Refusal, RequestHead, Step};

/// What has been read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    head: RequestHead,
    /// Where the head begins.
    begin: usize,
    /// The body that is being read, and where its next bytes are.
    body: Option<(Body, usize)>,
    pub(super) found: Found,
}

/// What is the same however the bytes came.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The messages that are whole.
    pub(super) messages: Vec<Message>,
    /// The one that is not, if its head is.
    pub(super) begun: Option<Message>,
    pub(super) end: Option<End>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Where its head and its body end.
    pub(super) head: usize,
    pub(super) end: usize,
    pub(super) data: Vec<u8>,
    pub(super) trailers: Vec<(String, Vec<u8>)>,
}

/// Why nothing more is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With this status.
    Refused(u16),
    /// The client has said that it sends nothing more.
    Closed,
}

impl Reading {
    /// Reads as far as these bytes go, which are all since the connection's begin.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        while self.found.end.is_none() && self.step(bytes) {}
    }

    /// Whether nothing of a message is there that is not whole.
    pub(super) fn is_done(&self, bytes: &[u8]) -> bool {
        self.found.end == Some(End::Closed) || self.body.is_none() && self.begin == bytes.len()
    }

    /// Whether there may be more.
    fn step(&mut self, bytes: &[u8]) -> bool {
        let step = match &mut self.body {
            None => self.read_head(bytes),
            Some((body, at)) => match body.next(&bytes[*at..]) {
                Ok(step) => Ok(self.take(bytes, step)),
                Err(refusal) => Err(refusal),
            },
        };
        step.unwrap_or_else(|refusal| {
            self.found.end = Some(End::Refused(refusal.status));
            false
        })
    }

    fn read_head(&mut self, bytes: &[u8]) -> Result<bool, Refusal> {
        let Some(length) = self.head.read(&bytes[self.begin..])? else { return Ok(false) };
        let head = self.begin + length;
        self.body = Some((Body::of(self.head.framing()), head));
        self.found.begun = Some(Message { head, end: head, data: Vec::new(), trailers: Vec::new() });
        Ok(true)
    }

    fn take(&mut self, bytes: &[u8], step: Step) -> bool {
        let (Some((_, at)), Some(message)) = (&mut self.body, &mut self.found.begun) else {
            return false;
        };
        match step {
            Step::Framing(length) => *at += length,
            Step::Data(length) => {
                message.data.extend_from_slice(&bytes[*at..*at + length]);
                *at += length;
            }
            Step::Trailers(length) => {
                let mut fields = Fields::default();
                let section = &bytes[*at..*at + length];
                fields.read_trailers(section);
                let owned = |(name, value): (&str, &[u8])| (name.to_owned(), value.to_vec());
                message.trailers = fields.iter(section).map(owned).collect();
                *at += length;
            }
            Step::More => return false,
            Step::End => {
                message.end = *at;
                self.begin = *at;
                self.found.messages.extend(self.found.begun.take());
                self.body = None;
                self.found.end = (!self.head.keeps_alive()).then_some(End::Closed);
                self.head.clear();
            }
        }
        true
    }
}

/// Reads all of them at once.
pub(super) fn read(bytes: &[u8]) -> Reading {
    read_cut(bytes, [])
}

/// Reads bytes of which so many have come, then so many, and at last all.
pub(super) fn read_cut(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) -> Reading {
    let mut reading = Reading::default();
    for cut in cuts {
        reading.read(bytes.get(..cut).unwrap_or(bytes));
    }
    reading.read(bytes);
    reading
}
