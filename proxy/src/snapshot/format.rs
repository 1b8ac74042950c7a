//! The snapshot's text. Pure but for the reader and the writer that are passed in.
//!
//! Text, one instance per line; a value is what [`Record::encode`] writes into the registry.
//!
//! ```text
//! leaseway-snapshot version=1 crc32=4490c103 revision=812 instances=0000000002
//! {"service":"goods","id":"goods-1","value":"10.0.0.5:80","lease":7587,"revision":811}
//! {"service":"goods","id":"goods-2","value":"10.0.0.6:80","lease":7588,"revision":812}
//! ```
//!
//! The services that routes lead to come first: if the file would be larger than what is read, it is theirs that
//! are in it. The instances are written as they are looked up, so their number and the checksum are known at the
//! end; their place in the first line has a fixed width. (Any number of digits is read.)
//!
//! A line that the contract does not take is skipped when the file is read, once the checksum says that it is what
//! was written: a gateway with a stricter contract must not lose all that the former one knew.
//!
//! Whatever the version, the first line starts with the name and `version=`. The checksum is that of all
//! bytes after it, the rest of the first line included: CRC-32 as in RFC 1952, eight digits. It is there
//! for torn writes and bad sectors, and finds each that is at most 32 bits long. A digest such as SHA-256
//! would find no more of them, and is no guard against intent either: who can write the file can write
//! its digest. That guard is the file's owner: a file that is neither root's nor the gateway's user's, or
//! that everybody may write to, is not read ([`ReadError::Foreign`]).

use std::borrow::Cow;
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use crc32fast::Hasher;
use registry::contract::{Instance, MAX_SEGMENT, MAX_VALUE, Record, RecordError, check_segment};
use serde::{Deserialize, Serialize};

pub(super) const NAME: &str = "leaseway-snapshot";
const VERSION: u32 = 1;

/// The longest line, in bytes with its line feed. JSON doubles quotes and backslashes; control characters
/// are in neither names nor values. 128 bytes hold the keys and the two numbers.
const MAX_LINE: usize = 2 * (2 * MAX_SEGMENT + MAX_VALUE) + 128;

/// The largest file that is read or written, in bytes: more than two million instances.
pub(super) const MAX_SIZE: u64 = 256 << 20;

/// Why a file gave no snapshot.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("is not a file")]
    NotAFile,
    #[error("is another user's")]
    Foreign,
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The directory as the registry had it at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) revision: i64,
    pub(crate) instances: Vec<Instance>,
    /// Lines that were skipped, if any were.
    pub(crate) skipped: Option<SkippedLines>,
}

/// Lines that are no instances to this gateway, although they are what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SkippedLines {
    pub(crate) count: usize,
    /// Which is the first, and what is wrong with it.
    pub(crate) first: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Instances that are not in the file, for want of room.
    pub(crate) without_room: usize,
}

/// What is wrong with a snapshot's file. Each reads on after the file's name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
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
    Count { expected: usize, found: usize },
    /// Something in it was changed after it was written.
    #[error("was damaged or edited: its checksum is {found:08x}, and its first line says {expected}")]
    Checksum {
        expected: String,
        /// The checksum of the bytes that are there.
        found: u32,
    },
}

/// Why a line is no instance.
#[derive(Debug, thiserror::Error)]
enum LineFault {
    /// It is not the JSON that we write.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The contract does not take it.
    #[error(transparent)]
    Record(#[from] RecordError),
}

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

/// Writes a snapshot of at most `most` bytes, one instance after the other: the whole of it is never in memory.
/// Instances for which there is no room are left out.
pub(super) fn encode(
    mut output: impl Write + Seek,
    revision: i64,
    instances: impl IntoIterator<Item = Instance>,
    most: u64,
) -> io::Result<Stored> {
    // The first line is written last, into the place that is kept for it: its length does not depend on what it says.
    let first = first_line(&Hasher::new(), revision, 0);
    output.write_all(&first)?;
    let mut room = most.saturating_sub(first.len() as u64);
    let (mut count, mut without_room) = (0, 0);
    let (mut checksum, mut line) = (Hasher::new(), Vec::new());
    for instance in instances {
        line.clear();
        encode_line(&instance, &mut line)?;
        let Some(rest) = room.checked_sub(line.len() as u64) else {
            without_room += 1;
            continue;
        };
        (room, count) = (rest, count + 1);
        checksum.update(&line);
        output.write_all(&line)?;
    }
    output.seek(SeekFrom::Start(0))?;
    output.write_all(&first_line(&checksum, revision, count))?;
    output.flush()?;
    Ok(Stored { without_room })
}

fn encode_line(instance: &Instance, line: &mut Vec<u8>) -> io::Result<()> {
    let text = Line {
        service: Cow::Borrowed(&instance.service),
        id: Cow::Borrowed(&instance.id),
        value: Cow::Owned(instance.record.encode()),
        lease: instance.lease,
        revision: instance.revision,
    };
    serde_json::to_writer(&mut *line, &text)?;
    line.push(b'\n');
    Ok(())
}

/// `lines`: the checksum of what follows.
fn first_line(lines: &Hasher, revision: i64, count: usize) -> Vec<u8> {
    let counts = format!(" revision={revision} instances={count:010}\n");
    let mut checksum = Hasher::new();
    checksum.update(counts.as_bytes());
    checksum.combine(lines);
    format!("{NAME} version={VERSION} crc32={:08x}{counts}", checksum.finalize()).into()
}

pub(super) fn decode(input: impl BufRead, most: usize) -> Result<Snapshot, ReadError> {
    let mut lines = Lines { input, line: Vec::new(), number: 0 };
    let first = FirstLine::decode(lines.next()?.unwrap_or_default())?;
    let mut checksum = first.checksum;
    let (mut count, mut skipped) = (0, None::<SkippedLines>);
    let mut instances: Vec<Instance> = Vec::new();
    while let Some(line) = lines.next()? {
        count += 1;
        checksum.update(line);
        if instances.len() == most {
            continue;
        }
        match decode_line(line, instances.last()) {
            Ok(instance) => instances.push(instance),
            Err(reason) => {
                let first = || SkippedLines { count: 0, first: format!("line {}: {reason}", count + 1) };
                skipped.get_or_insert_with(first).count += 1;
            }
        }
    }
    if count != first.instances {
        return Err(Fault::Count { expected: first.instances, found: count }.into());
    }
    let found = checksum.finalize();
    // Compared as text: we write the number in one way, and any other is not ours.
    if format!("{found:08x}") != first.expected {
        return Err(Fault::Checksum { expected: first.expected, found }.into());
    }
    Ok(Snapshot { revision: first.revision, instances, skipped })
}

/// `former`: of the line before. Instances of one service share its name.
fn decode_line(line: &[u8], former: Option<&Instance>) -> Result<Instance, LineFault> {
    let line: Line<'_> = serde_json::from_slice(line)?;
    check_segment(&line.service)?;
    check_segment(&line.id)?;
    let service = match former {
        Some(former) if *former.service == *line.service => former.service.clone(),
        _ => Arc::from(line.service),
    };
    Ok(Instance {
        service,
        id: line.id.into(),
        record: Record::decode(line.value.as_bytes())?,
        lease: line.lease,
        revision: line.revision,
    })
}

struct FirstLine {
    /// The checksum that it states.
    expected: String,
    /// Of what follows that.
    checksum: Hasher,
    revision: i64,
    instances: usize,
}

impl FirstLine {
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
