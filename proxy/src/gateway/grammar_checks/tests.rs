//! The whole grammar at work: the corpus, what the fuzzers have found, and chance.

use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde::Deserialize;

use super::reading::{End, Reading, read, read_cut};
use super::{Decoded, answers, chunks, decode, requests};

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
    let lines = include_str!("../../../tests/corpus/http-requests.jsonl").lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_request_of_the_corpus_is_read_as_it_must_be() {
    let rows = corpus();
    assert!(rows.len() >= 550, "{}", rows.len());
    let mut wrong = Vec::new();
    for row in rows {
        let bytes = row.raw();
        let reading = read(&bytes);
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
        let whole = read(&bytes).found;
        let short = bytes.len() < 3_000;
        for cut in (0..bytes.len()).step_by(if short { 1 } else { 499 }) {
            assert_eq!(read_cut(&bytes, [cut]).found, whole, "{} cut at {cut}", row.id);
        }
        let each = (0..bytes.len()).step_by(if short { 1 } else { 37 });
        assert_eq!(read_cut(&bytes, each).found, whole, "{} byte by byte", row.id);
    }
}

#[test]
fn all_that_the_fuzzers_have_found_holds() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let inputs = |target| {
        let files: Vec<_> = std::fs::read_dir(corpora.join(target)).unwrap().collect();
        assert!(files.len() > 20, "{target}");
        files.into_iter().map(|file| std::fs::read(file.unwrap().path()).unwrap())
    };
    inputs("requests").for_each(|input| requests(&input));
    inputs("answers").for_each(|input| answers(&input));
    inputs("chunks").for_each(|input| chunks(&input));
}

#[test]
fn all_of_the_corpus_holds() {
    for row in corpus() {
        for step in [0, 1, 30] {
            requests(&[&[step], &row.raw()[..]].concat());
        }
    }
}

/// What heads and bodies are made of, good and bad.
const PIECES: [&str; 64] = [
    "GET ",
    "POST ",
    "OPTIONS ",
    "CONNECT ",
    "/",
    "/a?b",
    "*",
    "http://a",
    "http://a/x",
    "http://a?x",
    "\u{e9}",
    " ",
    "\t",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    " HTTP/1.2\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 204\r\n",
    "HTTP/1.0 101 x\r\n",
    "HTTP/1.1 101 x\r\n",
    "HTTP/1.1 304 \r\n",
    "\r\n",
    "\r\n\r\n",
    "\r",
    "\n",
    "Host: a\r\n",
    "host:A:80 \r\n",
    "Host: a b\r\n",
    "Content-Length: 3\r\n",
    "Content-Length: 03\r\n",
    "Content-Length: 3, 3\r\n",
    "Content-Length: 4\r\n",
    "Content-Length: 0\r\n",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding:\tCHUNKED\r\n",
    "Transfer-Encoding: gzip\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Connection: upgrade, x\r\n",
    "Upgrade: websocket\r\n",
    "Upgrade: h2c\r\n",
    "Expect: 100-continue\r\n",
    "Date: x\r\n",
    "X: y\r\n",
    "X : y\r\n",
    " X: y\r\n",
    "X:\u{0}\r\n",
    "abc",
    "3\r\n",
    "3\r\nabc\r\n",
    "0\r\n",
    "0\r\n\r\n",
    "0;a=\"b\"\r\n",
    "3;x\r\nabc\r\n",
    "3 \r\n",
    "fff",
    ";a",
    "=",
    "\"",
    "a",
    ":",
    ",",
    "X: y\r\nZ: w\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n",
];

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![20 => select(&PIECES[..]).prop_map(Vec::from), 1 => vec(any::<u8>(), 0..4)];
    (any::<[u8; 2]>(), vec(piece, 0..14)).prop_map(|(start, pieces)| [&start[..], &pieces.concat()].concat())
}

/// A request of the corpus in which some bytes are others, or stand elsewhere.
fn changed() -> impl Strategy<Value = Vec<u8>> {
    let rows = corpus().iter().map(Row::raw).filter(|raw| raw.len() < 2_000).collect::<Vec<_>>();
    let change = (any::<Index>(), any::<Index>(), select(&PIECES[..]), 0..4);
    (any::<u8>(), select(rows), vec(change, 1..4)).prop_map(|(first, mut bytes, changes)| {
        for (at, to, piece, what) in changes {
            let (at, to) = (at.index(bytes.len() + 1), to.index(bytes.len() + 1));
            match what {
                0 => drop(bytes.splice(at..at, piece.bytes())),
                1 => drop(bytes.drain(at.min(to)..at.max(to))),
                2 => bytes.extend_from_within(at.min(to)..),
                _ => drop(bytes.splice(at..(at + piece.len()).min(bytes.len()).max(at), piece.bytes())),
            }
        }
        [&[first], &bytes[..]].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_hold(bytes in prop_oneof![vec(any::<u8>(), 0..60), pieces()]) {
        requests(&bytes);
        answers(&bytes);
        chunks(&bytes);
    }

    #[test]
    fn changed_requests_hold(bytes in changed()) {
        requests(&bytes);
    }

    #[test]
    fn a_chunked_body_is_read_as_it_was_framed(
        pieces in vec((vec(any::<u8>(), 1..300), 0..3_usize, "(;[a-z]{1,3}(=[a-z]{1,3}|=\"[a-z; ]{0,4}\")?){0,2}"), 0..8),
        trailers in vec(("x-[a-z]{1,5}", "[a-z]{0,5}"), 0..3),
        step in 1..40_usize,
    ) {
        let (mut body, mut data) = (Vec::new(), Vec::new());
        for (piece, zeros, extensions) in &pieces {
            body.extend(format!("{}{:x}{extensions}\r\n", "0".repeat(*zeros), piece.len()).bytes());
            body.extend([piece, &b"\r\n"[..]].concat());
            data.extend(piece);
        }
        body.extend(b"0\r\n");
        for (name, value) in &trailers {
            body.extend(format!("{name}: {value}\r\n").bytes());
        }
        body.extend(b"\r\n");
        let length = body.len();
        let trailers = trailers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect();
        body.extend(b"GET /");
        prop_assert_eq!(decode(&body, step), Ok(Some(Decoded { data, trailers, length })));
    }
}
