//! Files that are read with the configuration: what they hold is a part of it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::Value;
use super::machine::Need;

/// The files that were read. Each is read once, however often it is named.
#[derive(Default)]
pub(super) struct Files(RefCell<HashMap<String, Bytes>>);

/// Why a file cannot be taken. Each names it.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is not a file", .0.display())]
    NotAFile(PathBuf),
    #[error("{} is larger than {most} bytes", path.display())]
    Large { path: PathBuf, most: usize },
}

impl Files {
    /// What is in the file that a value names, at most so many bytes. `need` says what it is to the gateway's user, who
    /// reads it again at each reload.
    pub(super) fn read(&self, value: &Value<'_>, most: usize, need: fn(PathBuf) -> Need) -> Option<Bytes> {
        let path = value.path(need)?;
        let known = self.0.borrow().get(&path).filter(|bytes| bytes.len() <= most).cloned();
        let bytes = match known {
            Some(bytes) => bytes,
            None => value.accept(read(Path::new(&path), most))?,
        };
        self.0.borrow_mut().insert(path, bytes.clone());
        Some(bytes)
    }
}

fn read(path: &Path, most: usize) -> Result<Bytes, FileError> {
    let unreadable = |source| FileError::Unreadable { path: path.to_owned(), source };
    // Not opened before this is known: a FIFO would keep us waiting for its writer.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(FileError::NotAFile(path.to_owned()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > most { Err(FileError::Large { path: path.to_owned(), most }) } else { Ok(bytes.into()) }
}
