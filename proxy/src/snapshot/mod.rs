//! The snapshot: the directory on disk, for a start while the registry cannot be reached.
//!
//! ```text
//! keep    when it is read and written
//! file    the file: how it is replaced, and whose it must be
//! format  its text; pure
//! ```

mod file;
mod format;
mod keep;

pub(crate) use file::File;
pub(crate) use format::Snapshot;
pub(crate) use keep::{Loader, Save, Saver, Storer, Turn};
