//! A head on its way: the lines that came, without those that are left out, and those that are added.

use std::convert::Infallible;

use bytes::Bytes;
use http::HeaderValue;

use crate::gateway::edits::FieldsToSend;
use crate::gateway::grammar::{Fields, Kind};

/// The lines of a head on its way. What came keeps its order, its case and its duplicates.
#[derive(Debug)]
pub(super) struct Splice<'s> {
    came: &'s Fields,
    bytes: &'s [u8],
    /// Which of these lines are left out. (No head has more than a hundred.)
    left_out: u128,
    added: &'s mut Added,
}

/// Lines that are added.
#[derive(Debug, Default)]
pub(super) struct Added {
    text: Vec<u8>,
    lines: Vec<Line>,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    begin: usize,
    /// Where its name ends.
    name: usize,
    end: usize,
}

impl<'s> Splice<'s> {
    /// All lines of what came, and no other.
    pub(super) fn of(came: &'s Fields, bytes: &'s [u8], added: &'s mut Added) -> Self {
        added.text.clear();
        added.lines.clear();
        Self { came, bytes, left_out: 0, added }
    }

    /// Leaves out the lines of whose name in small letters and value this is true.
    pub(super) fn leave_out(&mut self, is_left_out: impl Fn(&str, &[u8]) -> bool) {
        for (n, (name, value)) in self.came.iter(self.bytes).enumerate() {
            if is_left_out(name, value) {
                self.left_out |= 1 << n;
            }
        }
    }

    /// Leaves out the lines that `Connection` names, but for those of which this is true: RFC 9110, 7.6.1.
    pub(super) fn leave_out_named_by_connection(&mut self, stays: impl Fn(&[u8]) -> bool) {
        let (came, bytes) = (self.came, self.bytes);
        for list in came.of_kind(bytes, Kind::Connection) {
            for name in list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                self.leave_out(|found, _| found.as_bytes().eq_ignore_ascii_case(name) && !stays(name));
            }
        }
    }

    /// Adds a line.
    pub(super) fn line(&mut self, name: &[u8], value: &[u8]) {
        self.added.push(name, value);
    }

    /// Writes the lines, and the empty one that ends a head.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        // Lines that stand side by side and go on are copied at once.
        let mut run: Option<(usize, usize)> = None;
        let mut flush = |run: Option<(usize, usize)>| {
            if let Some((begin, end)) = run {
                out.extend_from_slice(self.bytes.get(begin..end).unwrap_or_default());
            }
        };
        for (n, field) in self.came.list().iter().enumerate() {
            let line = field.line;
            if self.left_out & 1 << n != 0 {
                flush(run.take());
            } else {
                let begin = run.map_or(line.start(), |(begin, _)| begin);
                run = Some((begin, line.end()));
            }
        }
        flush(run);
        out.extend_from_slice(&self.added.text);
        out.extend_from_slice(b"\r\n");
    }
}

impl FieldsToSend for Splice<'_> {
    type Error = Infallible;

    fn remove(&mut self, name: &str) {
        for (n, field) in self.came.list().iter().enumerate() {
            if self.came.name(field) == name {
                self.left_out |= 1 << n;
            }
        }
        while let Some(at) = self.added.position(name.as_bytes()) {
            self.added.remove(at);
        }
    }

    fn set(&mut self, name: Bytes, value: HeaderValue) -> Result<(), Infallible> {
        for (n, field) in self.came.list().iter().enumerate() {
            if self.came.name(field).as_bytes().eq_ignore_ascii_case(&name) {
                self.left_out |= 1 << n;
            }
        }
        while let Some(at) = self.added.position(&name) {
            self.added.remove(at);
        }
        self.added.push(&name, value.as_bytes());
        Ok(())
    }

    fn add(&mut self, name: Bytes, value: HeaderValue) -> Result<(), Infallible> {
        self.added.push(&name, value.as_bytes());
        Ok(())
    }
}

impl Added {
    fn push(&mut self, name: &[u8], value: &[u8]) {
        let begin = self.text.len();
        self.text.extend_from_slice(name);
        let name = self.text.len();
        self.text.extend_from_slice(b": ");
        self.text.extend_from_slice(value);
        self.text.extend_from_slice(b"\r\n");
        self.lines.push(Line { begin, name, end: self.text.len() });
    }

    /// The first line of this name, in letters of any size.
    fn position(&self, name: &[u8]) -> Option<usize> {
        let is = |line: &Line| {
            line.name - line.begin == name.len()
                && self.text.get(line.begin..line.name).is_some_and(|found| found.eq_ignore_ascii_case(name))
        };
        self.lines.iter().position(is)
    }

    fn remove(&mut self, at: usize) {
        let Line { begin, end, .. } = self.lines.remove(at);
        self.text.drain(begin..end);
        for line in self.lines.iter_mut().skip(at) {
            line.begin -= end - begin;
            line.name -= end - begin;
            line.end -= end - begin;
        }
    }
}
