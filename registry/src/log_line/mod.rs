//! Makes a line of a log safe to look at, whatever others wrote into it, and bounds its length to about 2.5 KiB.
//!
//! This crate logs keys, values and error texts, which come from anybody who may write to the registry. A line feed in
//! them would begin a line that nobody logged, an escape sequence would change the terminal, and a bidirectional
//! control would show the line in another order than it has. So a program should pass each line through [`printable`]
//! when it writes it, whatever it was made from: then no field can be forgotten.

mod cut;
mod quota;

use std::borrow::Cow;
use std::io::{IsTerminal, Write};

#[doc(hidden)] // For Leaseway's other crates; this crate's users have no need of them.
pub use quota::{Quota, Say};

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Form {
    /// The form for an output: [`Form::Text`] for a terminal, [`Form::Json`] for anything else.
    pub fn of(output: &impl IsTerminal) -> Self {
        if output.is_terminal() { Form::Text } else { Form::Json }
    }

    /// Writes a character that would act, escaped. In JSON it stands in a string, whose value stays the same.
    fn push_escaped(self, line: &mut Vec<u8>, acting: char) {
        // Writing to memory cannot fail.
        let _ = match self {
            Form::Json => write!(line, "\\u{:04x}", u32::from(acting)),
            Form::Text => write!(line, "{}", acting.escape_default()),
        };
    }
}

/// The line with everything escaped that would act instead of being shown: control characters, line and paragraph
/// separators, and the controls of bidirectional text. Bytes that are not UTF-8 become U+FFFD. A line that is longer
/// than 2.5 KiB then is cut, and gets a field `cut` with the number of bytes that are missing.
///
/// `line` must be one line, without the line feed at its end; with [`Form::Json`] it must be one JSON object.
pub fn printable(line: &[u8], form: Form) -> Cow<'_, [u8]> {
    let shown = escaped(line, form);
    if shown.len() > cut::LONGEST { Cow::Owned(cut::cut(&shown, form)) } else { shown }
}

fn escaped(line: &[u8], form: Form) -> Cow<'_, [u8]> {
    if is_plain(line) {
        return Cow::Borrowed(line);
    }
    let mut shown = Vec::with_capacity(line.len() + 32);
    for chunk in line.utf8_chunks() {
        for c in chunk.valid().chars() {
            match acts(c) {
                true => form.push_escaped(&mut shown, c),
                false => shown.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            shown.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    Cow::Owned(shown)
}

/// Whether a character does something instead of being shown.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Whether a line is ASCII without controls, as almost every one is. In pieces without an exit, which the
/// compiler makes into a few wide instructions: every request's line passes here.
fn is_plain(line: &[u8]) -> bool {
    let is_plain = |piece: &[u8]| piece.iter().fold(true, |plain, b| plain & matches!(b, b' '..=b'~'));
    line.chunks(64).all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(line: &str, form: Form) -> String {
        String::from_utf8(printable(line.as_bytes(), form).into_owned()).unwrap()
    }

    /// Text in which what acts is as frequent as what does not.
    fn any_text() -> impl Strategy<Value = String> {
        let acting = prop::sample::select(vec![
            '\n', '\r', '\t', '\u{1b}', '\0', '\u{7f}', '\u{85}', '\u{9b}', '\u{61c}', '\u{200e}',
            '\u{200f}', '\u{2028}', '\u{2029}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}',
        ]);
        prop::collection::vec(prop_oneof![acting, any::<char>(), prop::char::range(' ', '~')], 0..100)
            .prop_map(String::from_iter)
    }

    #[test]
    fn what_would_act_is_seen_instead() {
        let line = "a\n2026-01-01T00:00:00Z ERROR FORGED \u{1b}[31m \u{7f}\u{9b} \u{202e}x\u{2066} é 中";
        let text = r"a\n2026-01-01T00:00:00Z ERROR FORGED \u{1b}[31m \u{7f}\u{9b} \u{202e}x\u{2066} é 中";
        assert_eq!(shown(line, Form::Text), text);
        let json = r"a\u000a2026-01-01T00:00:00Z ERROR FORGED \u001b[31m \u007f\u009b \u202ex\u2066 é 中";
        assert_eq!(shown(line, Form::Json), json);
    }

    #[test]
    fn each_control_of_bidirectional_text_and_each_separator_is_escaped() {
        let acting = "\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\
            \u{2066}\u{2067}\u{2068}\u{2069}\u{7f}\u{80}\u{9f}";
        for c in acting.chars() {
            assert_eq!(shown(&c.to_string(), Form::Text), format!("\\u{{{:x}}}", u32::from(c)));
        }
    }

    #[test]
    fn what_needs_no_escape_is_not_copied() {
        assert!(matches!(printable(b"GET \"/goods\" 200", Form::Text), Cow::Borrowed(_)));
    }

    #[test]
    fn a_line_is_cut_when_it_is_longer_than_two_and_a_half_kibibytes_as_it_is_shown() {
        let line = |controls: usize| format!("{{\"path\":\"{}\"}}", "\u{7f}".repeat(controls));
        let shown = |controls| shown(&line(controls), Form::Json);
        assert!(!shown(424).contains("cut"), "2,555 bytes");
        let cut = shown(426);
        assert!(cut.len() < 2_100 && cut.contains("\\u007f\u{2026}\",\"cut\":"), "{cut}");
    }

    proptest! {
        #[test]
        fn nothing_in_a_line_acts(text in any_text(), is_json in any::<bool>()) {
            let shown = shown(&text, if is_json { Form::Json } else { Form::Text });
            prop_assert!(!shown.chars().any(acts), "{shown:?}");
        }

        #[test]
        fn a_json_line_says_what_it_said(text in any_text()) {
            let line = serde_json::to_vec(&serde_json::json!({ &text: &text })).unwrap();
            let line = printable(&line, Form::Json);
            let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(read[&text].as_str(), Some(&*text));
        }

        #[test]
        fn any_bytes_become_text(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(String::from_utf8(printable(&bytes, Form::Text).into_owned()).is_ok());
        }
    }
}
