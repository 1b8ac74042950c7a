//! A line that is too long is cut, and says so.
//!
//! What makes a line long is one text in it, or two: a path, an error. The others are what it is found by: a trace id,
//! a service. So each text of a line is cut to the same length, which leaves the short ones whole.

use std::ops::Range;

use super::Form;

/// A line of at most so many bytes is left as it is: 2 KiB for what others wrote, and room for its own fields.
pub(super) const LONGEST: usize = BUDGET + 512;

/// What the texts of a line that is cut have together.
const BUDGET: usize = 2048;
/// A text of at most so many bytes is never cut: it may be a name or an id.
const SHORT: usize = 64;
/// Stands where something is missing.
const MARK: &str = "\u{2026}";

/// The line, cut, which a field `cut` says: it is the number of bytes that are missing.
pub(super) fn cut(line: &[u8], form: Form) -> Vec<u8> {
    let texts = texts(line, form);
    let most = share(texts.iter().map(Range::len).collect(), BUDGET).max(SHORT);
    let mut shorter = Vec::with_capacity(LONGEST);
    let mut rest = 0;
    for text in texts.into_iter().filter(|text| text.len() > most) {
        let end = text.start + boundary(&line[text.clone()], most);
        shorter.extend_from_slice(&line[rest..end]);
        shorter.extend_from_slice(MARK.as_bytes());
        rest = text.end;
    }
    shorter.extend_from_slice(&line[rest..]);
    match form {
        Form::Json => tell_in_json(shorter, line.len()),
        Form::Text => tell_in_text(without_middle(shorter), line.len()),
    }
}

/// The texts of a line: in JSON its strings, without their quotes; for people what stands in quotes, and words.
fn texts(line: &[u8], form: Form) -> Vec<Range<usize>> {
    let mut texts = Vec::new();
    let (mut begin, mut is_quoted, mut is_escaped) = (0, false, false);
    for (at, byte) in line.iter().enumerate() {
        let is_quote = *byte == b'"' && !is_escaped;
        let is_gap = *byte == b' ' && !is_quoted && form == Form::Text;
        if is_quote || is_gap {
            if is_quoted || form == Form::Text {
                texts.push(begin..at);
            }
            begin = at + 1;
            is_quoted ^= is_quote;
        }
        is_escaped = *byte == b'\\' && !is_escaped;
    }
    if form == Form::Text {
        texts.push(begin..line.len());
    }
    texts
}

/// The most that each may have, so that all of these lengths come to no more than the budget.
fn share(mut lengths: Vec<usize>, budget: usize) -> usize {
    lengths.sort_unstable();
    let (mut left, mut others) = (budget, lengths.len());
    for length in lengths {
        let share = left / others;
        if length > share {
            return share;
        }
        (left, others) = (left - length, others - 1);
    }
    budget
}

/// How much of a longer text has at most so many bytes, without a part of a character or of an escape.
fn boundary(text: &[u8], most: usize) -> usize {
    let mut end = 0;
    loop {
        let next = end + unit(&text[end..]);
        if next > most {
            return end;
        }
        end = next;
    }
}

/// The length of the character or the escape that a text begins with.
fn unit(text: &[u8]) -> usize {
    let least = match text {
        [b'\\', b'u', b'{', ..] => text.iter().take(10).position(|byte| *byte == b'}').map_or(2, |at| at + 1),
        [b'\\', b'u', ..] => 6,
        [b'\\', ..] => 2,
        _ => 1,
    };
    let is_inside = |byte: &&u8| **byte & 0b1100_0000 == 0b1000_0000;
    least + text.get(least..).unwrap_or_default().iter().take_while(is_inside).count()
}

/// A line for people may be long because it has many words, of which each is short. Its beginning says what it is
/// about, and its end has the fields; so the middle goes.
fn without_middle(line: Vec<u8>) -> Vec<u8> {
    if line.len() <= LONGEST {
        return line;
    }
    let end = line.len() - BUDGET / 2;
    let tail = line[end..].iter().position(|byte| *byte == b' ').map_or(&[][..], |at| &line[end + at..]);
    let head = &line[..boundary(&line, BUDGET / 2)];
    [head, MARK.as_bytes(), tail].concat()
}

fn tell_in_json(mut shorter: Vec<u8>, whole: usize) -> Vec<u8> {
    let missing = missing(&shorter, whole);
    if shorter.last() == Some(&b'}') {
        shorter.pop();
        shorter.extend_from_slice(format!(",\"cut\":{missing}}}").as_bytes());
    }
    shorter
}

fn tell_in_text(mut shorter: Vec<u8>, whole: usize) -> Vec<u8> {
    let missing = missing(&shorter, whole);
    shorter.extend_from_slice(format!(" cut={missing}").as_bytes());
    shorter
}

/// Off by the length of the marks, which is of no matter.
fn missing(shorter: &[u8], whole: usize) -> usize {
    whole.saturating_sub(shorter.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    fn json(value: &Value) -> (String, Value) {
        let line = String::from_utf8(cut(value.to_string().as_bytes(), Form::Json)).unwrap();
        let value = serde_json::from_str(&line).unwrap();
        (line, value)
    }

    #[test]
    fn a_long_path_is_cut_and_the_other_fields_are_whole() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        let whole =
            serde_json::json!({ "path": "/a".repeat(30_000), "trace_id": id, "status": 200, "z": "\\" });
        let (line, value) = json(&whole);
        assert!((2_000..=LONGEST).contains(&line.len()), "{}", line.len());
        assert_eq!(
            (&value["trace_id"], &value["status"], &value["z"]),
            (&id.into(), &200.into(), &"\\".into())
        );
        let path = value["path"].as_str().unwrap();
        assert!(path.ends_with("a/a\u{2026}") || path.ends_with("/a/\u{2026}"), "{path}");
        let told = value["cut"].as_u64().unwrap();
        assert_eq!(told, (60_000 - path.trim_end_matches('\u{2026}').len() - 3) as u64);
    }

    #[test]
    fn two_long_texts_have_the_same_length_and_neither_hides_the_other() {
        let (line, value) =
            json(&serde_json::json!({ "path": "p".repeat(60_000), "error": "e".repeat(3_000) }));
        let length = |key: &str| value[key].as_str().unwrap().len();
        assert_eq!(length("path"), length("error"));
        assert!(length("path") > 1_000 && line.len() <= LONGEST, "{line}");
    }

    #[test]
    fn four_long_texts_leave_each_other_a_quarter() {
        let long = |n: usize| (format!("t{n}"), Value::from("x".repeat(2_000)));
        let (line, value) = json(&Value::Object((0..4).map(long).collect()));
        assert!((1_900..=LONGEST).contains(&line.len()), "{}", line.len());
        assert_eq!(value["t0"].as_str().unwrap().len(), value["t3"].as_str().unwrap().len());
    }

    #[test]
    fn what_is_no_text_is_not_cut() {
        let numbers = vec![7; 1_500];
        let (_, value) = json(&serde_json::json!({ "numbers": numbers, "path": "x".repeat(3_000) }));
        assert_eq!(value["numbers"], serde_json::json!(numbers));
        assert!(value["path"].as_str().unwrap().ends_with(MARK));
    }

    #[test]
    fn a_line_for_people_keeps_what_comes_behind_a_long_path() {
        let line = format!(
            "INFO GET \"/{}\" 200 12.034ms trace_id=0af7 error=\"{}\"",
            "x".repeat(60_000),
            "no ".repeat(900)
        );
        let line = String::from_utf8(cut(line.as_bytes(), Form::Text)).unwrap();
        assert!(line.len() <= LONGEST, "{}", line.len());
        assert!(line.contains("x\u{2026}\" 200 12.034ms trace_id=0af7 error=\"no no"), "{line}");
        assert!(line.contains("\u{2026}\" cut=6"), "{line}");
    }

    #[test]
    fn a_line_of_many_words_keeps_its_begin_and_its_end() {
        let line = format!("WARN skipped: {}revision=7", "word ".repeat(2_000));
        let line = String::from_utf8(cut(line.as_bytes(), Form::Text)).unwrap();
        assert!(
            line.starts_with("WARN skipped: word word") && line.contains("word revision=7 cut="),
            "{line}"
        );
        assert!((2_000..=LONGEST).contains(&line.len()), "{}", line.len());
    }

    #[test]
    fn an_escape_is_cut_whole() {
        for (text, expected) in [
            (r"ab\n", 2),
            (r"abc\", 3),
            (r"a\\bc", 3),
            (r"a\u001b", 1),
            (r"\u{1b}[31m", 0),
            ("a\u{e9}\u{e9}", 3),
            ("ab\u{1f600}", 2),
            (r"abcd", 3),
            ("a\\\u{e9}b", 1),
        ] {
            assert_eq!(boundary(format!("{text}....").as_bytes(), 3), expected, "{text}");
        }
    }

    #[test]
    fn a_share_is_what_the_short_ones_leave() {
        assert_eq!(share(vec![10, 500, 20, 1000], 430), 200);
        assert_eq!(share(vec![10, 20], 430), 430);
        assert_eq!(share(vec![], 430), 430);
        assert_eq!(share(vec![7; 100], 50), 0);
    }

    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![
            r#"[a-z0-9/."\\ \n]{0,40}"#,
            r#"[a-z"\\\x1b é中]{1,30}"#.prop_map(|text| text.repeat(200)),
            any::<String>(),
        ]
    }

    proptest! {
        #[test]
        fn json_stays_json_of_the_same_fields(texts in prop::collection::vec(any_text(), 1..12)) {
            let fields = texts.iter().enumerate().map(|(n, text)| (format!("f{n}"), Value::from(&**text)));
            let whole = Value::Object(fields.collect::<Map<_, _>>());
            let (line, mut value) = json(&whole);
            let length = whole.to_string().len();
            let most = if length > LONGEST { LONGEST } else { length + 20 };
            prop_assert!(line.len() <= most, "{} of {length}", line.len());
            prop_assert!(value.as_object_mut().unwrap().remove("cut").is_some());
            for (key, text) in value.as_object().unwrap() {
                let (text, whole) = (text.as_str().unwrap(), whole[key].as_str().unwrap());
                prop_assert!(text == whole || whole.starts_with(text.strip_suffix(MARK).unwrap()), "{text}");
            }
        }

        #[test]
        fn a_line_for_people_stays_text_and_is_short(texts in prop::collection::vec(any_text(), 1..12)) {
            let whole = texts.iter().map(|text| format!("{text:?} {text} ")).collect::<String>();
            let line = String::from_utf8(cut(whole.as_bytes(), Form::Text)).unwrap();
            prop_assert!(line.len() <= LONGEST + 32, "{}", line.len());
        }
    }
}
