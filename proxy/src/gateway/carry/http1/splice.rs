//! A head on its way: the lines that came, without those that are left out, and those that are added.

use std::convert::Infallible;

use bytes::Bytes;

use crate::gateway::edits::FieldsToSend;
use crate::gateway::grammar::{Fields, Kind, Lengths};

/// So much room for what is written of a head is kept for the next one.
pub(super) const ROOM: usize = 4 * 1024;

/// The lines of a head on its way. What came keeps its order, its case and its duplicates.
#[derive(Debug)]
pub(super) struct Splice<'s> {
    came: &'s Fields,
    bytes: &'s [u8],
    left_out: LeftOut,
    added: &'s mut Added,
}

/// Which of the lines that came are left out, a bit each. (No head has more than 256.)
#[derive(Debug, Default)]
struct LeftOut([u64; 4]);

impl LeftOut {
    fn add(&mut self, n: usize) {
        if let Some(word) = self.0.get_mut(n / 64) {
            *word |= 1 << (n % 64);
        }
    }

    fn has(&self, n: usize) -> bool {
        self.0.get(n / 64).is_some_and(|word| word >> (n % 64) & 1 == 1)
    }
}

/// Lines that are added.
#[derive(Debug, Default)]
pub(super) struct Added {
    text: Vec<u8>,
    lines: Vec<Line>,
    lengths: Lengths,
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
        added.lengths = Lengths::default();
        Self { came, bytes, left_out: LeftOut::default(), added }
    }

    /// Leaves out the lines of which this is true. It is given their names, in small letters, and their values.
    pub(super) fn leave_out(&mut self, is_left_out: impl Fn(&str, &[u8]) -> bool) {
        for (n, (name, value)) in self.came.iter(self.bytes).enumerate() {
            if is_left_out(name, value) {
                self.left_out.add(n);
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

    /// Leaves out the lines of this name, in letters of any size.
    fn leave_out_all_of(&mut self, name: &[u8]) {
        for n in self.came.places(self.bytes, name) {
            self.left_out.add(n);
        }
        while let Some(at) = self.added.position(name) {
            self.added.remove(at);
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
            if self.left_out.has(n) {
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
        self.leave_out_all_of(name.as_bytes());
    }

    fn set(&mut self, name: &Bytes, value: &[u8]) -> Result<(), Infallible> {
        self.leave_out_all_of(name);
        self.added.push(name, value);
        Ok(())
    }

    fn add(&mut self, name: &Bytes, value: &[u8]) -> Result<(), Infallible> {
        self.added.push(name, value);
        Ok(())
    }
}

impl Added {
    /// Nothing is added; little room is kept for it.
    pub(super) fn clear(&mut self) {
        if self.text.capacity() > ROOM {
            *self = Self::default();
        }
    }

    fn push(&mut self, name: &[u8], value: &[u8]) {
        let begin = self.text.len();
        self.text.extend_from_slice(name);
        let name = self.text.len();
        self.text.extend_from_slice(b": ");
        self.text.extend_from_slice(value);
        self.text.extend_from_slice(b"\r\n");
        self.lines.push(Line { begin, name, end: self.text.len() });
        self.lengths.add(name - begin);
    }

    /// The first line of this name, in letters of any size.
    fn position(&self, name: &[u8]) -> Option<usize> {
        if !self.lengths.has(name.len()) {
            return None;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::grammar::{AnswerHead, Asked};

    /// What becomes of an answer's head.
    fn spliced(head: &str, edit: impl FnOnce(&mut Splice<'_>)) -> String {
        let (mut read, mut added, mut out) = (AnswerHead::default(), Added::default(), Vec::new());
        read.read(head.as_bytes(), Asked::default()).unwrap().unwrap();
        let mut lines = Splice::of(read.fields(), head.as_bytes(), &mut added);
        edit(&mut lines);
        lines.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn set(lines: &mut Splice<'_>, name: &'static str, value: &str) {
        let Ok(()) = lines.set(&Bytes::from_static(name.as_bytes()), value.as_bytes());
    }

    #[test]
    fn what_is_set_takes_the_place_of_all_of_its_name_and_what_is_added_stands_beside() {
        let head = "HTTP/1.1 200 OK\r\nTrace_ID: 1\r\nA:  2 \r\ntrace_id: 3\r\nAge: 4\r\n\r\n";
        let out = spliced(head, |lines| {
            set(lines, "trace_id", "5");
            set(lines, "x", "6");
            set(lines, "X", "7");
            let Ok(()) = lines.add(&Bytes::from_static(b"x"), b"8");
            lines.remove("age");
        });
        assert_eq!(out, "A:  2 \r\ntrace_id: 5\r\nX: 7\r\nx: 8\r\n\r\n");
    }

    #[test]
    fn a_line_is_found_by_its_name_however_long_that_is() {
        let names = ["a".repeat(62), "b".repeat(63), "c".repeat(64), "d".repeat(300)];
        let lines: String = names.iter().map(|name| format!("{name}: 1\r\n")).collect();
        let head = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        for (n, name) in names.iter().enumerate() {
            let out = spliced(&head, |lines| lines.remove(name));
            assert!(!out.contains(&**name) && out.lines().count() == names.len(), "{n}");
        }
    }

    #[test]
    fn each_of_as_many_lines_as_a_head_may_have_can_be_left_out() {
        let lines: String = (0..256).map(|n| format!("x-{n}: {n}\r\n")).collect();
        let head = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        for n in [0, 63, 64, 127, 128, 255] {
            let out = spliced(&head, |lines| lines.remove(&format!("x-{n}")));
            assert_eq!(out, lines.replace(&format!("x-{n}: {n}\r\n"), "") + "\r\n", "{n}");
        }
    }
    #[test]
    fn what_connection_names_is_left_out_unless_it_must_stay() {
        let head = "HTTP/1.1 200 OK\r\nX-A: 1\r\nConnection: x-a, ,X-B\r\nx-b: 2\r\nConnection: date\r\nDate: 3\r\n\r\n";
        let out = spliced(head, |lines| lines.leave_out_named_by_connection(|name| name == b"date"));
        assert_eq!(out, "Connection: x-a, ,X-B\r\nConnection: date\r\nDate: 3\r\n\r\n");
    }
}
