//! Where the snapshot is kept, and how it is written there.
//!
//! As rename(2) and fsync(2) ask for: the text goes into `{name}.tmp` beside the file and, once it is whole, to the
//! disk, that is renamed to the file's name, and then the directory goes to the disk. A reader finds the
//! former file or the new one, and so does a start after a power failure. A temporary file that a crash
//! left behind is overwritten by the next one.
//!
//! Two processes may write the same file: during an upgrade (`proxy -u`) the old one and the new one do.
//! The temporary file is locked while it is written, so that it is never the work of two; who finds it
//! locked leaves the file to the other ([`StoreError::Busy`]). Each of them puts a whole picture in place
//! with one rename, and the last one stays. Both pictures are of the same registry, so that needs no more.

use std::ffi::OsString;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, BufReader, BufWriter, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::geteuid;
use registry::contract::Instance;

use super::format::{Fault, MAX_SIZE, ReadError, Snapshot, Stored, decode, encode};

/// The gateway's user alone: addresses and metadata are nobody else's business.
const MODE: u32 = 0o600;

/// Where the snapshot is kept. Its methods wait for the disk: call them where that blocks nobody.
#[derive(Debug, Clone)]
pub(crate) struct File {
    path: PathBuf,
    /// So many instances are read.
    most: usize,
}

/// Why there is no snapshot to start with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The system did not let us read it. It was left as it is.
    #[error("cannot read the snapshot {}: {source}: the gateway starts without it", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// Something that is no file has its name. It was left as it is.
    #[error("the snapshot {} is not a file: the gateway starts without it; name a file", .0.display())]
    NotAFile(PathBuf),
    /// Another user made it, or may write to it: it may name any address. It was left as it is.
    #[error("the snapshot {} belongs to another user than the gateway's and root, or everybody may write to it: the gateway starts without it; name a file in a directory that others cannot write to", .0.display())]
    Foreign(PathBuf),
    /// It is damaged or not ours. It was renamed, over an older one that had been set aside.
    #[error("the snapshot {} {fault}: it was renamed to {}, and the gateway starts without it", path.display(), aside.display())]
    SetAside { path: PathBuf, fault: Fault, aside: PathBuf },
    /// It is damaged or not ours, and still there.
    #[error("the snapshot {} {fault}: the gateway starts without it; it cannot be renamed to {}: {source}: remove it", path.display(), aside.display())]
    NotSetAside {
        path: PathBuf,
        fault: Fault,
        /// The name that it cannot have.
        aside: PathBuf,
        source: io::Error,
    },
}

/// Why the snapshot was not written. The former one is still there, if there was one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The system refused. If it was to save the directory, the new one is there, but may not outlast a
    /// power failure.
    #[error("cannot {attempt} {}: {source}", path.display())]
    Io {
        /// What was attempted: "write the snapshot's temporary file".
        attempt: &'static str,
        /// With which file or directory.
        path: PathBuf,
        source: io::Error,
    },
    /// Another process writes it at this moment.
    #[error("the snapshot {} is being written by another process, and was left to it", .0.display())]
    Busy(PathBuf),
}

impl File {
    /// `path`: absolute. The directory must be there; the file need not.
    #[must_use]
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, most: usize::MAX }
    }

    /// The same, of which no more instances are read. The first ones count: what matters most is written first.
    #[must_use]
    pub(crate) fn within(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// Reads the snapshot; none if there is no file. The networks of its addresses are not looked at.
    ///
    /// # Errors
    /// When the file cannot be read; or when it is damaged or of another version, and was therefore set
    /// aside as `{name}.corrupt`.
    pub(crate) fn load(&self) -> Result<Option<Snapshot>, LoadError> {
        let path = self.path.clone();
        match read(&self.path, self.most) {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(ReadError::Io(source)) => Err(LoadError::Read { path, source }),
            Err(ReadError::NotAFile) => Err(LoadError::NotAFile(path)),
            Err(ReadError::Foreign) => Err(LoadError::Foreign(path)),
            Err(ReadError::Fault(fault)) => Err(self.set_aside(fault)),
        }
    }

    /// Replaces the snapshot by the registry at this revision: as many of the instances as the file holds, from the
    /// first on.
    ///
    /// # Errors
    /// When the file cannot be written, or another process writes it. The former one is still there.
    pub(crate) fn store(
        &self,
        revision: i64,
        instances: impl IntoIterator<Item = Instance>,
    ) -> Result<Stored, StoreError> {
        let temporary = self.beside(".tmp");
        let file = self.open_alone(&temporary)?;
        let written = write(&file, revision, instances)
            .map_err(failed("write the snapshot's temporary file", &temporary))
            .and_then(|stored| {
                fs::rename(&temporary, &self.path)
                    .map_err(failed("rename the temporary file to", &self.path))?;
                Ok(stored)
            });
        // A full disk is not left with a file that nobody reads.
        let stored = written.inspect_err(|_| drop(fs::remove_file(&temporary)))?;
        self.save_directory()?;
        Ok(stored)
    }

    fn set_aside(&self, fault: Fault) -> LoadError {
        let (path, aside) = (self.path.clone(), self.beside(".corrupt"));
        match fs::rename(&path, &aside) {
            Ok(()) => LoadError::SetAside { path, fault, aside },
            Err(source) => LoadError::NotSetAside { path, fault, aside, source },
        }
    }

    /// The temporary file, which is ours alone as long as it is open.
    fn open_alone(&self, temporary: &Path) -> Result<Flock<fs::File>, StoreError> {
        let mut options = OpenOptions::new();
        // Not truncated before it is ours. Never through somebody's link, never waiting for a FIFO.
        options.write(true).create(true).truncate(false).mode(MODE);
        options.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits());
        let file =
            options.open(temporary).map_err(failed("make the snapshot's temporary file", temporary))?;
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => StoreError::Busy(self.path.clone()),
            other => failed("lock the snapshot's temporary file", temporary)(other.into()),
        })?;
        // Between our open and our lock it may have been finished and renamed: it is the snapshot then.
        if is_at(&file, temporary).map_err(failed("look at the snapshot's temporary file", temporary))? {
            Ok(file)
        } else {
            Err(StoreError::Busy(self.path.clone()))
        }
    }

    fn save_directory(&self) -> Result<(), StoreError> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let saved = fs::File::open(directory).and_then(|directory| directory.sync_all());
        saved.map_err(failed("save the snapshot's directory", directory))
    }

    fn beside(&self, extension: &str) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(extension);
        name.into()
    }
}

fn failed(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { attempt, path, source }
}

/// Whether a file still has this name.
fn is_at(file: &fs::File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn write(
    file: &fs::File,
    revision: i64,
    instances: impl IntoIterator<Item = Instance>,
) -> io::Result<Stored> {
    // One that a crash left behind keeps its mode.
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.set_len(0)?;
    let stored = encode(BufWriter::new(file), revision, instances, MAX_SIZE)?;
    file.sync_all()?;
    Ok(stored)
}

fn read(path: &Path, most: usize) -> Result<Snapshot, ReadError> {
    // A FIFO would keep us waiting for its writer.
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(ReadError::NotAFile);
    }
    if !is_trusted(found.uid(), found.mode(), geteuid().as_raw()) {
        return Err(ReadError::Foreign);
    }
    if found.len() > MAX_SIZE {
        return Err(Fault::TooLarge(found.len()).into());
    }
    decode(BufReader::new(file.take(MAX_SIZE)), most)
}

/// Whether nobody but root and `us` can have written a file. Its group may: Kubernetes gives a volume's files
/// to a group, and no other user can have done that.
fn is_trusted(owner: u32, mode: u32, us: u32) -> bool {
    (owner == 0 || owner == us) && mode & 0o002 == 0
}

#[cfg(test)]
mod tests;
