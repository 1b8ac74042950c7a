//! What is made of files, and made anew when they change.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openssl::sha::sha256;

use super::TlsError;
use super::looks::Looks;

/// What is made of files that belong together: the last good one, whatever they say now.
pub(super) struct Kept<T> {
    files: Vec<PathBuf>,
    stamps: Vec<Option<Stamp>>,
    looks: Looks<Found>,
    /// Of which contents the good one is.
    origin: Found,
    good: Arc<T>,
    refusal: Option<Refusal>,
}

/// Why what the files say now is not used.
#[derive(Debug, Clone)]
struct Refusal {
    why: String,
    /// Whether it may be used later, as it is.
    may_pass: bool,
}

/// What a look has found: a digest of all contents, since a key is not kept longer than it has to be; or why there are none.
type Found = Result<[u8; 32], String>;

/// What a look has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// There is another good one.
    Renewed,
    /// What the files say now is not used; this is told once.
    Refused(String),
    /// They say again what is used.
    Recovered,
}

/// By what it is seen that a file may have changed. Of what a link leads to: Kubernetes puts another in the link's place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Its own looks go on from the same place; the good one is shared.
impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self {
            files: self.files.clone(),
            stamps: self.stamps.clone(),
            looks: self.looks.clone(),
            origin: self.origin.clone(),
            good: self.good.clone(),
            refusal: self.refusal.clone(),
        }
    }
}

impl<T> Kept<T> {
    /// # Errors
    /// A file cannot be read, or `make` declines.
    pub(super) fn new(
        files: Vec<PathBuf>,
        make: impl FnOnce(&[Vec<u8>]) -> Result<T, TlsError>,
    ) -> Result<Self, TlsError> {
        let stamps = stamps(&files);
        let contents = read(&files)?;
        let good = Arc::new(make(&contents)?);
        let origin = Ok(digest(&contents));
        Ok(Self { files, stamps, looks: Looks::new(origin.clone()), origin, good, refusal: None })
    }

    /// The last good one.
    pub(super) fn good(&self) -> &T {
        &self.good
    }

    /// Whether both have made the same of their files: one was cloned from the other, and no look has changed either.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.good, &other.good)
    }

    /// Why what the files say now is not used.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refusal.as_ref().map(|refusal| refusal.why.as_str())
    }

    /// Whether a look has found what the next one takes, if it finds the same.
    pub(super) fn is_waiting(&self) -> bool {
        self.looks.is_waiting()
    }

    /// Looks at the files, and reads them if they may have changed. `make` is handed the one that is good so far.
    pub(super) fn look(&mut self, make: impl FnOnce(&[Vec<u8>], &T) -> Result<T, TlsError>) -> Option<News> {
        let may_pass = self.refusal.as_ref().is_some_and(|refusal| refusal.may_pass);
        // Before they are read: what changes after that shows at the next look.
        let stamps = stamps(&self.files);
        if stamps == self.stamps && !self.is_waiting() && !may_pass {
            return None;
        }
        self.stamps = stamps;
        let contents = read(&self.files);
        let found = match &contents {
            Ok(contents) => Ok(digest(contents)),
            Err(error) => Err(error.to_string()),
        };
        let is_taken = self.looks.found(found);
        if is_taken || (may_pass && !self.is_waiting()) {
            return self.consider(contents.and_then(|contents| make(&contents, &self.good)));
        }
        None
    }

    fn consider(&mut self, made: Result<T, TlsError>) -> Option<News> {
        let refusal = self.refusal.take();
        match made {
            Err(error) => {
                let may_pass = is_of_time(&error);
                let why = error.to_string();
                self.refusal = Some(Refusal { why: why.clone(), may_pass });
                refusal.is_none_or(|refusal| refusal.why != why).then_some(News::Refused(why))
            }
            Ok(_) if *self.looks.taken() == self.origin => refusal.map(|_| News::Recovered),
            Ok(made) => {
                self.good = Arc::new(made);
                self.origin = self.looks.taken().clone();
                Some(News::Renewed)
            }
        }
    }
}

/// Whether what is refused now may be used later: lists of revoked certificates that have ended as soon as those that are used
/// are no better.
fn is_of_time(error: &TlsError) -> bool {
    matches!(
        error,
        TlsError::NotYetValid { .. } | TlsError::EarlyRevocations { .. } | TlsError::EndedRevocations { .. }
    )
}

fn read(files: &[PathBuf]) -> Result<Vec<Vec<u8>>, TlsError> {
    let read = |file: &PathBuf| {
        std::fs::read(file).map_err(|source| TlsError::Unreadable { file: file.clone(), source })
    };
    files.iter().map(read).collect()
}

fn digest(contents: &[Vec<u8>]) -> [u8; 32] {
    let digests: Vec<u8> = contents.iter().flat_map(|content| sha256(content)).collect();
    sha256(&digests)
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|file| Stamp::of(file)).collect()
}

impl Stamp {
    fn of(file: &Path) -> Option<Self> {
        let of = |metadata: Metadata| Self {
            file: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        std::fs::metadata(file).ok().map(of)
    }
}
