//! What is told of certificates.

use std::path::Path;
use std::time::SystemTime;

use super::kept::{Kept, News};

/// What a look at the files has come to. `file` is the certificate's, or the authorities'.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// What the files say now is used. Authorities have neither names nor an end.
    Renewed { file: String, names: Vec<String>, not_after: Option<SystemTime> },
    /// What they say now is not used, but what they said before.
    Refused { file: String, why: String },
    /// They say again what is used.
    Recovered { file: String },
    /// A certificate that is used ends in so many whole days.
    EndsSoon { file: String, names: Vec<String>, not_after: SystemTime, days: u64 },
    /// A certificate that is used has expired.
    Ended { file: String, names: Vec<String>, not_after: SystemTime },
    /// A list of revoked certificates that is used ends soon. Those in a file are counted from 1.
    RevocationsEndSoon { file: String, place: usize, not_after: SystemTime },
    /// It has ended: until there is another one, no client's certificate is taken that its authority has signed.
    RevocationsEnded { file: String, place: usize, not_after: SystemTime },
}

impl Event {
    pub(super) fn of_authorities(file: &Path, news: News) -> Self {
        let file = file.display().to_string();
        match news {
            News::Renewed => Self::Renewed { file, names: Vec::new(), not_after: None },
            News::Refused(why) => Self::Refused { file, why },
            News::Recovered => Self::Recovered { file },
        }
    }
}

/// What a file has, as it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateState {
    /// Where it was read.
    pub(crate) file: String,
    pub(crate) kind: Kind,
    /// Those of a certificate.
    pub(crate) names: Vec<String>,
    /// When a certificate ends, or the first of those that have signed it; or the first list of revoked ones. Of authorities
    /// it is not looked at.
    pub(crate) not_after: Option<SystemTime>,
    /// Why what the file says now is not used.
    pub(crate) refused: Option<String>,
}

/// What may be in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Shown to clients, or to instances.
    Certificate,
    Authorities,
    /// A list of what these have revoked.
    Revocations,
}

impl CertificateState {
    /// `kept`: what was made of it.
    pub(super) fn of_authorities<T>(file: &Path, kept: &Kept<T>) -> Self {
        Self {
            file: file.display().to_string(),
            kind: Kind::Authorities,
            names: Vec::new(),
            not_after: None,
            refused: kept.refused().map(str::to_owned),
        }
    }

    /// What is to be shown of a file that is used in two places: the earliest end, and why it is refused in either.
    pub(crate) fn and(self, other: Self) -> Self {
        let end = |state: &Self| (state.not_after.is_none(), state.not_after);
        let (first, second) = if end(&self) <= end(&other) { (self, other) } else { (other, self) };
        Self { refused: first.refused.or(second.refused), ..first }
    }
}
