//! The snapshot: the directory on disk, for a start while the registry cannot be reached.
//!
//! # The file
//!
//! Text, one instance per line; a value is what [`Record::encode`] writes into the registry.
//!
//! ```text
//! leaseway-snapshot version=1 crc32=e284930d revision=812 instances=2
//! {"service":"goods","id":"goods-1","value":"10.0.0.5:80","lease":7587,"revision":811}
//! {"service":"goods","id":"goods-2","value":"10.0.0.6:80","lease":7588,"revision":812}
//! ```
//!
//! Whatever the version, the first line starts with the name and `version=`. The checksum is that of all
//! bytes after it, the rest of the first line included: CRC-32 as in RFC 1952, eight digits. It is there
//! for torn writes and bad sectors, and finds each that is at most 32 bits long. A digest such as SHA-256
//! would find no more of them, and is no guard against intent either: who can write the file can write
//! its digest. That guard is the file's owner: a file that is neither root's nor the gateway's user's, or
//! that everybody may write to, is not read ([`LoadError::Foreign`]).
//!
//! # Writing it
//!
//! As rename(2) and fsync(2) ask for: the whole text goes into `{name}.tmp` beside the file and to the
//! disk, that is renamed to the file's name, and then the directory goes to the disk. A reader finds the
//! former file or the new one, and so does a start after a power failure. A temporary file that a crash
//! left behind is overwritten by the next one.
//!
//! Two processes may write the same file: during an upgrade (`proxy -u`) the old one and the new one do.
//! The temporary file is locked while it is written, so that it is never the work of two; who finds it
//! locked leaves the file to the other ([`StoreError::Busy`]). Each of them puts a whole picture in place
//! with one rename, and the last one stays. Both pictures are of the same registry, so that needs no more.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crc32fast::Hasher;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::geteuid;
use registry::contract::{Instance, MAX_SEGMENT, MAX_VALUE, Record, RecordError, check_segment};
use serde::{Deserialize, Serialize};

const NAME: &str = "leaseway-snapshot";
const VERSION: u32 = 1;

/// The largest file that is read or written, in bytes: more than two million instances.
const MAX_SIZE: u64 = 256 << 20;

/// The longest line, in bytes with its line feed. JSON doubles quotes and backslashes; control characters
/// are in neither names nor values. 128 bytes hold the keys and the two numbers.
const MAX_LINE: usize = 2 * (2 * MAX_SEGMENT + MAX_VALUE) + 128;

/// The gateway's user alone: addresses and metadata are nobody else's business.
const MODE: u32 = 0o600;

/// The directory as the registry had it at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The revision that it shows.
    pub revision: i64,
    /// All instances of all services.
    pub instances: Vec<Instance>,
}

/// Where the snapshot is kept. Its methods wait for the disk: call them where that blocks nobody.
#[derive(Debug, Clone)]
pub struct File {
    path: PathBuf,
}

/// Why there is no snapshot to start with.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The system did not let us read it. It was left as it is.
    #[error("cannot read the snapshot {}: {source}: the gateway starts without it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Something that is no file has its name. It was left as it is.
    #[error("the snapshot {} is not a file: the gateway starts without it; name a file", .0.display())]
    NotAFile(PathBuf),
    /// Another user made it, or may write to it: it may name any address. It was left as it is.
    #[error("the snapshot {} belongs to another user than the gateway's and root, or everybody may write to it: the gateway starts without it; name a file in a directory that others cannot write to", .0.display())]
    Foreign(PathBuf),
    /// It is damaged or not ours. It was renamed, over an older one that had been set aside.
    #[error("the snapshot {} {fault}: it was renamed to {}, and the gateway starts without it", path.display(), aside.display())]
    SetAside {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: Fault,
        /// Its new name.
        aside: PathBuf,
    },
    /// It is damaged or not ours, and still there.
    #[error("the snapshot {} {fault}: the gateway starts without it; it cannot be renamed to {}: {source}: remove it", path.display(), aside.display())]
    NotSetAside {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: Fault,
        /// The name that it cannot have.
        aside: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

/// What is wrong with a snapshot's file. Each reads on after the file's name.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file is larger than any that we write.
    #[error("has {0} bytes, more than {MAX_SIZE}")]
    TooLarge(u64),
    /// A line is longer than any that we write.
    #[error("has more than {MAX_LINE} bytes in line {0}")]
    LineTooLong(usize),
    /// The first line is none of ours.
    #[error("is not a snapshot: its first line does not start as one")]
    NotASnapshot,
    /// Another version of Leaseway wrote it.
    #[error("has the format's version {0}; this gateway reads version {VERSION}")]
    Version(u32),
    /// It ends within a line.
    #[error("ends within line {0}")]
    Cut(usize),
    /// Lines are missing, or there are too many.
    #[error("has {found} instances, and its first line says {expected}")]
    Count {
        /// What the first line says.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// Something in it was changed after it was written.
    #[error("was damaged or edited: its checksum is {found:08x}, and its first line says {expected}")]
    Checksum {
        /// What the first line says.
        expected: String,
        /// That of the bytes that are there.
        found: u32,
    },
    /// A line is no instance.
    #[error("has no instance in line {line}: {reason}")]
    Line {
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        reason: LineFault,
    },
}

/// Why a line is no instance.
#[derive(Debug, thiserror::Error)]
pub enum LineFault {
    /// It is not the JSON that we write.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The contract does not take it.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Why the snapshot was not written. The former one is still there, if there was one.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused. If it was to save the directory, the new one is there, but may not outlast a
    /// power failure.
    #[error("cannot {attempt} {}: {source}", path.display())]
    Io {
        /// What was attempted: "write the snapshot's temporary file".
        attempt: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Another process writes it at this moment.
    #[error("the snapshot {} is being written by another process, and was left to it", .0.display())]
    Busy(PathBuf),
    /// It would be larger than what is read.
    #[error("the snapshot {} would have {size} bytes, more than {MAX_SIZE}: it was not written", path.display())]
    TooLarge {
        /// The snapshot's file.
        path: PathBuf,
        /// The size that it would have, in bytes.
        size: u64,
    },
}

impl File {
    /// `path`: absolute. The directory must be there; the file need not.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Reads the snapshot; none if there is no file. The networks of its addresses are not looked at.
    ///
    /// # Errors
    /// When the file cannot be read; or when it is damaged or of another version, and was therefore set
    /// aside as `{name}.corrupt`.
    pub fn load(&self) -> Result<Option<Snapshot>, LoadError> {
        let path = self.path.clone();
        match read(&self.path) {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(ReadError::Io(source)) => Err(LoadError::Read { path, source }),
            Err(ReadError::NotAFile) => Err(LoadError::NotAFile(path)),
            Err(ReadError::Foreign) => Err(LoadError::Foreign(path)),
            Err(ReadError::Fault(fault)) => Err(self.set_aside(fault)),
        }
    }

    /// Replaces the snapshot.
    ///
    /// # Errors
    /// When the file cannot be written, or another process writes it. The former one is still there.
    pub fn store(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let bytes = encode(snapshot).map_err(failed("encode the snapshot", &self.path))?;
        let size = bytes.len() as u64;
        if size > MAX_SIZE {
            return Err(StoreError::TooLarge { path: self.path.clone(), size });
        }
        let temporary = self.beside(".tmp");
        let file = self.open_alone(&temporary)?;
        // A full disk is not left with a file that nobody reads.
        self.put_in_place(&file, &temporary, &bytes).inspect_err(|_| drop(fs::remove_file(&temporary)))?;
        self.save_directory()
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

    fn put_in_place(&self, file: &fs::File, temporary: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        write(file, bytes).map_err(failed("write the snapshot's temporary file", temporary))?;
        fs::rename(temporary, &self.path).map_err(failed("rename the temporary file to", &self.path))
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

fn write(mut file: &fs::File, bytes: &[u8]) -> io::Result<()> {
    // One that a crash left behind keeps its mode.
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.set_len(0)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Why a file gave no snapshot.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("is not a file")]
    NotAFile,
    #[error("is another user's")]
    Foreign,
    #[error(transparent)]
    Fault(#[from] Fault),
}

fn read(path: &Path) -> Result<Snapshot, ReadError> {
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
    decode(BufReader::new(file.take(MAX_SIZE)))
}

/// Whether nobody but root and `us` can have written a file. Its group may: Kubernetes gives a volume's files
/// to a group, and no other user can have done that.
fn is_trusted(owner: u32, mode: u32, us: u32) -> bool {
    (owner == 0 || owner == us) && mode & 0o002 == 0
}

/// An instance as it stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    service: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
    lease: i64,
    revision: i64,
}

fn encode(snapshot: &Snapshot) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for instance in &snapshot.instances {
        encode_line(instance, &mut lines)?;
    }
    let count = snapshot.instances.len();
    let counts = format!(" revision={} instances={count}\n", snapshot.revision);
    let mut checksum = Hasher::new();
    checksum.update(counts.as_bytes());
    checksum.update(&lines);
    let start = format!("{NAME} version={VERSION} crc32={:08x}", checksum.finalize());
    Ok([start.as_bytes(), counts.as_bytes(), &lines].concat())
}

fn encode_line(instance: &Instance, lines: &mut Vec<u8>) -> io::Result<()> {
    let line = Line {
        service: Cow::Borrowed(&instance.service),
        id: Cow::Borrowed(&instance.id),
        value: Cow::Owned(instance.record.encode()),
        lease: instance.lease,
        revision: instance.revision,
    };
    serde_json::to_writer(&mut *lines, &line)?;
    lines.push(b'\n');
    Ok(())
}

fn decode(input: impl BufRead) -> Result<Snapshot, ReadError> {
    let mut lines = Lines { input, line: Vec::new(), number: 0 };
    let header = Header::decode(lines.next()?.unwrap_or_default())?;
    let mut checksum = header.checksum;
    let mut instances = Vec::new();
    while let Some(line) = lines.next()? {
        checksum.update(line);
        let instance = decode_line(line);
        instances.push(instance.map_err(|reason| Fault::Line { line: lines.number, reason })?);
    }
    if instances.len() != header.instances {
        return Err(Fault::Count { expected: header.instances, found: instances.len() }.into());
    }
    let found = checksum.finalize();
    // As text: no other way to write the same number is ours.
    if format!("{found:08x}") != header.expected {
        return Err(Fault::Checksum { expected: header.expected, found }.into());
    }
    Ok(Snapshot { revision: header.revision, instances })
}

fn decode_line(line: &[u8]) -> Result<Instance, LineFault> {
    let line: Line<'_> = serde_json::from_slice(line)?;
    check_segment(&line.service)?;
    check_segment(&line.id)?;
    Ok(Instance {
        service: line.service.into(),
        id: line.id.into(),
        record: Record::decode(line.value.as_bytes())?,
        lease: line.lease,
        revision: line.revision,
    })
}

/// The first line.
struct Header {
    /// The checksum that it states.
    expected: String,
    /// Of what follows that.
    checksum: Hasher,
    revision: i64,
    instances: usize,
}

impl Header {
    fn decode(line: &[u8]) -> Result<Self, Fault> {
        let line = std::str::from_utf8(line).map_err(|_| Fault::NotASnapshot)?;
        let (version, rest) = split_version(line).ok_or(Fault::NotASnapshot)?;
        if version != VERSION {
            return Err(Fault::Version(version));
        }
        Self::decode_rest(rest).ok_or(Fault::NotASnapshot)
    }

    fn decode_rest(rest: &str) -> Option<Self> {
        let (expected, counts) = rest.strip_prefix("crc32=")?.split_at_checked(8)?;
        let (revision, instances) = counts.strip_prefix(" revision=")?.split_once(" instances=")?;
        let mut checksum = Hasher::new();
        checksum.update(counts.as_bytes());
        Some(Self {
            expected: expected.to_owned(),
            checksum,
            revision: revision.parse().ok()?,
            instances: instances.strip_suffix('\n')?.parse().ok()?,
        })
    }
}

fn split_version(line: &str) -> Option<(u32, &str)> {
    let (version, rest) = line.strip_prefix(NAME)?.strip_prefix(" version=")?.split_once(' ')?;
    Some((version.parse().ok()?, rest))
}

/// Lines of bounded length, each with the line feed that it must have.
struct Lines<R> {
    input: R,
    line: Vec<u8>,
    /// Of the line that was read last, from 1.
    number: usize,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<Option<&[u8]>, ReadError> {
        self.line.clear();
        self.number += 1;
        let length = self.input.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut self.line)?;
        if length == 0 {
            Ok(None)
        } else if self.line.ends_with(b"\n") {
            Ok(Some(&self.line))
        } else if length == MAX_LINE {
            Err(Fault::LineTooLong(self.number).into())
        } else {
            Err(Fault::Cut(self.number).into())
        }
    }
}

#[cfg(test)]
mod tests;
