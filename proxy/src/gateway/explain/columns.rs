//! Text in columns.

use std::fmt::{self, Display};

/// Rows of cells, each column as wide as its widest cell. The last one is as long as it is: nothing is wrapped, and no
/// line ends with spaces.
#[derive(Debug)]
pub(super) struct Columns<const N: usize>(Vec<[String; N]>);

impl<const N: usize> Columns<N> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn push(&mut self, row: [String; N]) {
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
                let cell = cell.replace(char::is_control, "\u{fffd}");
                line.push_str(&format!("{cell:width$}  "));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
