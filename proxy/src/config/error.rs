//! What is wrong with a configuration, said so that its author can mend it.

use std::io;
use std::path::PathBuf;

use config_reader::{Listing, Problem};

use super::access::Denied;

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
