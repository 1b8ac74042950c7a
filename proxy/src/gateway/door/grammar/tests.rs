//! The whole grammar at work: the corpus, and what must hold of any bytes.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Deserialize;

use super::reading::{End, Reading, read};

#[derive(Debug, Deserialize)]
struct Row {
    id: String,
    raw: String,
    class: Class,
    /// So many whole messages stand before what is to be refused, or in all.
    msgs: usize,
    /// The connection must end.
    close: bool,
    /// What must not be sent on.
    forbid: Vec<String>,
    reason: String,
}

#[derive(Debug, Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Class {
    Accept,
    Reject,
    Either,
    Wait,
}

impl Row {
    fn raw(&self) -> Vec<u8> {
        BASE64_STANDARD.decode(&self.raw).unwrap()
    }

    fn is_right(&self, reading: &Reading, bytes: &[u8]) -> bool {
        let (whole, end) = (reading.found.messages.len(), reading.found.end);
        let is_refused = matches!(end, Some(End::Refused(_)));
        let is_right = match self.class {
            Class::Accept => whole == self.msgs && reading.is_done(bytes),
            // (What must be repaired before it goes on is refused here, even where it is good with that.)
            Class::Reject => (whole == self.msgs || !self.forbid.is_empty()) && is_refused,
            Class::Wait => whole <= self.msgs && (is_refused || !reading.is_done(bytes)),
            Class::Either => whole <= self.msgs,
        };
        is_right && (end.is_some() || !self.close)
    }
}

fn corpus() -> Vec<Row> {
    let lines = include_str!("../../../../tests/corpus/http-requests.jsonl").lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_request_of_the_corpus_is_read_as_it_must_be() {
    let rows = corpus();
    assert!(rows.len() >= 550, "{}", rows.len());
    let mut wrong = Vec::new();
    for row in rows {
        let bytes = row.raw();
        let reading = read(&bytes, &[]);
        if !row.is_right(&reading, &bytes) {
            let found = (reading.found.messages.len(), reading.found.end);
            wrong.push(format!("{} {:?} {}: {found:?}, {}", row.id, row.class, row.msgs, row.reason));
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn how_the_bytes_come_makes_no_difference() {
    for row in corpus() {
        let bytes = row.raw();
        let whole = read(&bytes, &[]).found;
        let short = bytes.len() < 3_000;
        for cut in (0..bytes.len()).step_by(if short { 1 } else { 499 }) {
            assert_eq!(read(&bytes, &[cut]).found, whole, "{} cut at {cut}", row.id);
        }
        let each: Vec<usize> = (0..bytes.len()).step_by(if short { 1 } else { 37 }).collect();
        assert_eq!(read(&bytes, &each).found, whole, "{} byte by byte", row.id);
    }
}
