//! Mistakes, with all that the author of the file needs to correct them.

use std::fmt;
use std::sync::Arc;

/// Mistakes beyond this number are counted and not listed: with so many it is most likely the wrong file.
pub(crate) const LISTED: usize = 100;
/// Mistakes beyond this number are not kept: a file of nothing but mistakes must not fill the memory.
pub(crate) const KEPT: usize = 1_000;

/// One mistake, or one remark, at one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named.
    pub file: Arc<str>,
    /// The line of the key, or of the section that lacks it, from 1.
    pub line: usize,
    /// The key with its sections: `gateway.routes[0].path`. Empty for the whole file.
    pub key: String,
    /// What was found and what was expected.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, key, message } = self;
        write!(f, "{file}:{line}: ")?;
        if !key.is_empty() {
            write!(f, "{key}: ")?;
        }
        f.write_str(message)
    }
}

/// Shows problems, each on a line of its own: the first 100, and then how many more there are.
#[derive(Debug)]
pub struct Listing<'a>(pub &'a [Problem]);

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().take(LISTED).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        match self.0.len().saturating_sub(LISTED) {
            0 => Ok(()),
            more if self.0.len() < KEPT => write!(f, "\n... and {more} more"),
            more => write!(f, "\n... and at least {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: usize) -> Problem {
        Problem {
            file: "conf/pingora.yaml".into(),
            line,
            key: "gateway.routes[0].path".into(),
            message: "\"goods\" must start with \"/\"".into(),
        }
    }

    #[test]
    fn a_problem_is_one_line_with_file_line_key_and_message() {
        assert_eq!(
            problem(12).to_string(),
            r#"conf/pingora.yaml:12: gateway.routes[0].path: "goods" must start with "/""#
        );
    }

    #[test]
    fn every_problem_stands_on_a_line_of_its_own() {
        let text = Listing(&[problem(1), problem(2)]).to_string();
        assert_eq!(text, format!("{}\n{}", problem(1), problem(2)));
    }

    #[test]
    fn a_flood_of_problems_is_cut_and_counted() {
        let problems: Vec<_> = (1..=LISTED + 7).map(problem).collect();
        let text = Listing(&problems).to_string();
        assert_eq!(text.lines().count(), LISTED + 1);
        assert!(text.ends_with("... and 7 more"), "{text}");
    }
}
