//! What is wrong with a configuration, said so that its author can mend it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::access::Denied;

/// More mistakes than this are counted, not listed: whoever has so many gave us the wrong file.
const LISTED: usize = 100;

/// Why a configuration was not taken. Nothing has been started or changed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file as it was named.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The file's owner keeps it from us.
    #[error("cannot read the configuration: {0}")]
    Denied(Box<Denied>),
    /// The file is larger than any configuration can be.
    #[error("{file}: is larger than {limit} bytes: is it a configuration?")]
    TooLarge {
        /// The file as it was named.
        file: String,
        /// The largest size taken, in bytes.
        limit: usize,
    },
    /// The file is not text.
    #[error("{file}:{line}: is not UTF-8 text: save the file as UTF-8")]
    Encoding {
        /// The file as it was named.
        file: String,
        /// The line of the first byte that is not UTF-8, from 1.
        line: usize,
    },
    /// The text is not YAML, or uses a part of YAML that a configuration has no need for.
    #[error("{file}:{line}: is not a YAML configuration: {message}")]
    Syntax {
        /// The file as it was named.
        file: String,
        /// The line where reading stopped, from 1.
        line: usize,
        /// What stands there and what was expected.
        message: String,
    },
    /// The text is YAML, with mistakes in it: all of them, in the order of their lines.
    #[error("{}", Listing(.0))]
    Invalid(Vec<Problem>),
}

/// One mistake, at one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named.
    pub file: Arc<str>,
    /// The line of the key, or of the section that lacks it, from 1.
    pub line: usize,
    /// The key with its sections: `gateway.routes[0].path`.
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

struct Listing<'a>(&'a [Problem]);

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
            more => write!(f, "\n... and {more} more"),
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
        let text = ConfigError::Invalid(vec![problem(1), problem(2)]).to_string();
        assert_eq!(text, format!("{}\n{}", problem(1), problem(2)));
    }

    #[test]
    fn a_flood_of_problems_is_cut_and_counted() {
        let text = ConfigError::Invalid((1..=LISTED + 7).map(problem).collect()).to_string();
        assert_eq!(text.lines().count(), LISTED + 1);
        assert!(text.ends_with("... and 7 more"), "{text}");
    }
}
