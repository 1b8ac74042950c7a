//! All keys as a file, with their defaults and what they are for.

use super::{alternatives, plain, sentences};
use crate::key::Key;
use crate::outline::{Branch, Entry, Form, Leaf, Outline};

/// No line is longer, in characters.
const WIDTH: usize = 120;
/// So long is the line of a title.
const TITLE: usize = 100;

/// A file with every key of an outline. What has a default has it there; what has none is commented out, with an
/// example. `above`: what stands above it all, without the marks of a comment.
#[must_use]
pub fn reference(outline: &Outline, above: &str) -> String {
    let mut lines: Vec<String> = above.lines().map(comment).collect();
    lines.push(String::new());
    lines.extend(section(&outline.entries, 0, false));
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn comment(text: &str) -> String {
    if text.is_empty() { "#".to_owned() } else { format!("# {text}") }
}

/// The lines of a section, not indented. `depth`: how far they will be. `is_out`: whether they will be commented out as
/// a whole.
fn section(entries: &[Entry], depth: usize, is_out: bool) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let (mut was_apart, mut is_under_aside) = (false, false);
    for entry in entries {
        let block = match entry {
            Entry::Heading(text) => title(text),
            Entry::Aside(text) => wrapped(&plain(text), depth),
            Entry::Leaf(found) => leaf(found, depth, is_out),
            Entry::Branch(found) => branch(found, depth, is_out),
        };
        let is_apart = !matches!(entry, Entry::Leaf(_)) || block.len() > 1;
        // The large sections are set apart; in a small one the lines belong together.
        if depth <= INDENT && !lines.is_empty() && (is_apart || (was_apart && !is_under_aside)) {
            lines.push(String::new());
        }
        was_apart = is_apart;
        is_under_aside = matches!(entry, Entry::Aside(_));
        lines.extend(block);
    }
    lines
}

const INDENT: usize = 2;

fn title(text: &str) -> Vec<String> {
    let begin = format!("# ---- {text} ");
    vec![format!("{begin:-<TITLE$}")]
}

fn leaf(leaf: &Leaf, depth: usize, is_out: bool) -> Vec<String> {
    let Leaf { key, default, takes, .. } = leaf;
    let (value, is_commented) = match (default, key.required, key.example) {
        (Some(default), ..) => (default.as_str(), false),
        (None, required, example) => (example.unwrap_or_default(), required.is_none()),
    };
    let value = if value.is_empty() { String::new() } else { format!(" {value}") };
    let mark = if is_commented && !is_out { "# " } else { "" };
    let line = format!("{mark}{}:{value}", key.name);
    with_text(*key, &line, takes, depth, is_out)
}

/// The line of a key, with its text behind it if there is room, else above it.
fn with_text(key: Key, line: &str, takes: &str, depth: usize, is_out: bool) -> Vec<String> {
    let required = match (key.required, alternatives(key)) {
        (Some(_), Some(others)) if key.is_alone => format!("required, or {others} in its place"),
        (Some(_), Some(others)) => format!("required, or {others}"),
        (Some(_), None) => "required".to_owned(),
        (None, _) => String::new(),
    };
    let default = key.default.map(|default| format!("default: {default}")).unwrap_or_default();
    let parts = [key.text, takes, &default, &required].map(plain);
    let behind =
        parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join(". ");
    let one_line = format!("{line} # {behind}");
    if behind.is_empty() {
        return vec![line.to_owned()];
    }
    let room = WIDTH - depth - if is_out { "# ".len() } else { 0 };
    // Where the text is a table of what there is, it needs no second list of that.
    let takes_if_new = if key.more.contains('\n') { "" } else { parts[1].as_str() };
    if key.more.is_empty() && one_line.chars().count() <= room {
        return vec![one_line];
    }
    let [text, _, default, required] = &parts;
    let above = sentences(&[text, takes_if_new, default, required, &plain(key.more)]);
    let mut lines = wrapped(&above, depth);
    lines.push(line.to_owned());
    lines
}

fn branch(branch: &Branch, depth: usize, is_out: bool) -> Vec<String> {
    let Branch { key, form, below, .. } = branch;
    let is_commented = match form {
        Form::Section => key.like.is_some(),
        Form::Optional | Form::Named | Form::OrOff { on: false } => true,
        Form::OrOff { on: true } => false,
        Form::List | Form::ListBy { .. } => key.required.is_none(),
    };
    let is_below_out = is_out || is_commented;
    let below = match (key.like, form) {
        (Some(_), _) => key.example.unwrap_or_default().lines().map(str::to_owned).collect(),
        (None, Form::List | Form::ListBy { .. }) => item(section(below, depth + 2 * INDENT, is_below_out)),
        (None, _) => section(below, depth + INDENT, is_below_out),
    };
    let takes = if *form == (Form::OrOff { on: false }) { "default: `off`" } else { "" };
    let mut lines = with_text(*key, &format!("{}:", key.name), takes, depth, is_out);
    let head = lines.len() - 1;
    lines.extend(below.iter().map(|line| format!("{:INDENT$}{line}", "")));
    if is_commented && !is_out {
        lines[head..].iter_mut().for_each(|line| *line = comment(line));
    }
    lines
}

/// The lines of a list's one item. What is said of its first key stands above it.
fn item(lines: Vec<String>) -> Vec<String> {
    let mut mark = "- ";
    let mut item = Vec::new();
    for line in lines {
        if mark == "- " && line.starts_with("# ") {
            item.push(line);
            continue;
        }
        item.push(format!("{mark}{line}"));
        mark = "  ";
    }
    item
}

/// Text as comments that fill the width. Lines that begin with two spaces stay as they are.
fn wrapped(text: &str, depth: usize) -> Vec<String> {
    let room = WIDTH - depth - "# ".len();
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with("  ") {
            lines.push(line.to_owned());
            continue;
        }
        let mut filled = String::new();
        for word in line.split_whitespace() {
            if !filled.is_empty() && filled.chars().count() + 1 + word.chars().count() > room {
                lines.push(std::mem::take(&mut filled));
            }
            if !filled.is_empty() {
                filled.push(' ');
            }
            filled += word;
        }
        lines.push(filled);
    }
    lines.iter().map(|line| comment(line)).collect()
}
