//! The figures as Markdown: the same text is printed and written.

use std::fmt::Write as _;

use crate::{case::Case, results::Results};

/// All of it.
pub(crate) fn page(results: &Results) -> String {
    let mut text = String::from("# Leaseway beside other proxies\n\n");
    let scale = results.scale;
    let _ = writeln!(
        text,
        "{}. One core for each proxy, one for the load and the backend. Median [min - max] of {} rounds of {} s; ratios \
         are those of each round. [What is measured, and how](../../docs/benchmark.md).\n",
        results.machine.line(),
        scale.rounds,
        scale.load.as_secs_f64(),
    );
    text.push_str(&proxies(results));
    for case in &results.cases {
        let _ = write!(text, "\n## {}\n\n{}", case.title(), table(results, *case));
    }
    if !results.failures.is_empty() {
        text.push_str("\n## What failed\n\n");
        for failure in &results.failures {
            let _ = writeln!(text, "- {}", one_line(failure));
        }
    }
    text
}

/// Which proxies there are, and which are missing.
fn proxies(results: &Results) -> String {
    let mut rows = vec![vec!["proxy".to_owned(), "version".to_owned(), "what it does beside".to_owned()]];
    for proxy in &results.proxies {
        rows.push(vec![proxy.name.to_owned(), proxy.version.clone(), proxy.duties.to_owned()]);
    }
    for (name, why) in &results.missing {
        rows.push(vec![(*name).to_owned(), "missing".to_owned(), one_line(why)]);
    }
    rows_as_text(&rows)
}

/// One case: a row for each proxy.
fn table(results: &Results, case: Case) -> String {
    let columns = case.columns();
    let titles = columns.iter().map(|column| column.title());
    let mut rows = vec![["proxy".to_owned()].into_iter().chain(titles).collect::<Vec<_>>()];
    for proxy in results.proxies_in(case) {
        let cells = columns.iter().map(|column| results.spread(case, proxy.name, *column).to_string());
        rows.push([proxy.name.to_owned()].into_iter().chain(cells).collect());
    }
    rows_as_text(&rows)
}

/// A table whose columns stand below each other, in a terminal too. The first row has the titles.
fn rows_as_text(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let _ = writeln!(text, "| {} |", cells.collect::<Vec<_>>().join(" | "));
        if number == 0 {
            let line: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
            let _ = writeln!(text, "| {} |", line.join(" | "));
        }
    }
    text
}

/// What stands in one cell or line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::example;

    #[test]
    fn every_row_of_a_table_has_as_many_cells_as_its_head() {
        let text = page(&example());
        for block in text.split("\n\n").filter(|block| block.starts_with('|')) {
            let cells: Vec<_> = block.lines().map(|line| line.matches(" | ").count()).collect();
            assert!(cells.windows(2).all(|pair| pair[0] == pair[1]), "{block}");
            let lengths: Vec<_> = block.lines().map(|line| line.chars().count()).collect();
            assert!(lengths.windows(2).all(|pair| pair[0] == pair[1]), "{block}");
        }
    }

    #[test]
    fn the_page_has_the_figures_and_names_what_is_missing_or_failed() {
        let text = page(&example());
        for part in [
            "2026-11-30, commit abc & <def>. One core",
            "of 2 rounds of 3 s;",
            "## Answers of 60 bytes, 64 connections",
            "| 15 [15 - 25] ",
            "| 0.75 [0.75 - 1.00] ",
            "| Caddy    | missing | `tools/setup.sh bench` installs it |",
            "- Envoy, small, round 2: it ended",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn what_would_break_a_table_is_made_harmless() {
        assert_eq!(one_line("a\n| b\t c"), "a \\| b c");
    }
}
