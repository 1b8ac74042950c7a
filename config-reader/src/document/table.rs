//! All keys as a table in Markdown.

use std::fmt::Write;

use super::alternatives;
use crate::outline::{Branch, Entry, Form, Leaf, Outline};

/// A table in Markdown of the keys of a section, or of those that stand in no section if its name is empty.
#[must_use]
pub fn table(outline: &Outline, section: &str) -> String {
    let mut table = String::from("| key | default | takes | changed by | |\n|---|---|---|---|---|\n");
    for entry in &outline.entries {
        match entry {
            Entry::Branch(branch) if branch.key.name == section => {
                branch.below.iter().for_each(|entry| row(&mut table, "", entry));
            }
            Entry::Branch(_) => {}
            leaf if section.is_empty() => row(&mut table, "", leaf),
            _ => {}
        }
    }
    table
}

fn row(table: &mut String, prefix: &str, entry: &Entry) {
    match entry {
        Entry::Leaf(leaf) => leaf_row(table, prefix, leaf),
        Entry::Branch(branch) => branch_rows(table, prefix, branch),
        Entry::Heading(_) | Entry::Aside(_) => {}
    }
}

fn leaf_row(table: &mut String, prefix: &str, leaf: &Leaf) {
    let Leaf { key, default, takes, is_fixed, .. } = leaf;
    let default = match (key.required, alternatives(*key), key.default, default.as_deref()) {
        (Some(_), Some(others), ..) => format!("this or {others}"),
        (Some(_), None, ..) => "required".to_owned(),
        (None, _, Some(words), _) => words.to_owned(),
        (None, _, None, Some("[]") | None) => "none".to_owned(),
        (None, _, None, Some(default)) => format!("`{default}`"),
    };
    line(table, &format!("{prefix}{}", key.name), &default, takes, *is_fixed, key.text);
}

fn branch_rows(table: &mut String, prefix: &str, branch: &Branch) {
    let Branch { key, form, below, is_fixed } = branch;
    let name = format!("{prefix}{}", key.name);
    let if_not_there = if key.required.is_some() { "required" } else { "none" };
    let of_either;
    let (default, takes, path) = match form {
        Form::Section if key.like.is_none() => ("", "", format!("{name}.")),
        Form::Section => ("", "", String::new()),
        Form::Optional => ("none", "a section", format!("{name}.")),
        Form::OrOff { on: true } => ("on", "a section, or `off`", format!("{name}.")),
        Form::OrOff { on: false } => ("`off`", "a section, or `off`", format!("{name}.")),
        Form::List => (if_not_there, "a list of sections", format!("{name}[].")),
        Form::ListBy { takes, .. } => {
            of_either = format!("a list: {takes}, or a section");
            (if_not_there, of_either.as_str(), format!("{name}[]."))
        }
        Form::Named => ("none", "a section for each name", format!("{name}.NAME.")),
    };
    match key.like {
        Some(other) => {
            let text = format!("{}. Its keys: those of `{}`", key.text, short(other));
            let keys: Vec<_> = below.iter().filter_map(name_of).collect();
            let text = if *form == Form::Named { text } else { format!("{}: {}", key.text, keys.join(", ")) };
            line(table, &name, &format!("those of `{}`", short(other)), takes, *is_fixed, &text);
        }
        None => {
            line(table, &name, default, takes, *is_fixed, key.text);
            below.iter().for_each(|entry| row(table, &path, entry));
        }
    }
}

/// The name of a section below the table's own.
fn short(section: &str) -> &str {
    section.rsplit('.').next().unwrap_or(section)
}

fn name_of(entry: &Entry) -> Option<String> {
    match entry {
        Entry::Leaf(leaf) => Some(format!("`{}`", leaf.key.name)),
        Entry::Branch(branch) => Some(format!("`{}`", branch.key.name)),
        Entry::Heading(_) | Entry::Aside(_) => None,
    }
}

fn line(table: &mut String, name: &str, default: &str, takes: &str, is_fixed: bool, text: &str) {
    let by = if is_fixed { "restart" } else { "reload" };
    let [default, takes, text] = [default, takes, text].map(|cell| cell.replace('|', "\\|"));
    // Writing to a string cannot fail.
    let _ = writeln!(table, "| `{name}` | {default} | {takes} | {by} | {text} |");
}
