//! Text in columns.

use std::fmt::{self, Display};
use std::iter::repeat_n;

/// The longest cell, in letters, of all columns but the last: one that is longer would push all others out of sight.
const LONGEST: usize = 200;
/// In the place of what is cut off.
const CUT: &str = "...";

/// Rows of cells, each column as wide as its widest cell. The last one is as long as it is: nothing is wrapped, and no
/// line ends with spaces.
#[derive(Debug)]
pub(super) struct Columns<const N: usize>(Vec<[String; N]>);

impl<const N: usize> Columns<N> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn push(&mut self, mut row: [String; N]) {
        if let Some((_, cells)) = row.split_last_mut() {
            cells.iter_mut().for_each(cut);
        }
        self.0.push(row);
    }
}

impl<const N: usize> Display for Columns<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.0.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: [usize; N] = std::array::from_fn(width);
        for row in &self.0 {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                // What a file says may not make two lines of one.
                line.push_str(&cell.replace(char::is_control, "\u{fffd}"));
                // By hand: the width of a format is 65,535 at most.
                line.extend(repeat_n(' ', width.saturating_sub(cell.chars().count()) + 2));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn cut(cell: &mut String) {
    if cell.chars().count() > LONGEST {
        let kept = cell.char_indices().nth(LONGEST - CUT.len()).map_or(0, |(at, _)| at);
        cell.truncate(kept);
        cell.push_str(CUT);
    }
}
