//! What is told of certificates.

use std::time::SystemTime;

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
}

/// A certificate that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateState {
    /// Where it was read.
    pub(crate) file: String,
    pub(crate) names: Vec<String>,
    /// When it ends, or the first of those that have signed it.
    pub(crate) not_after: SystemTime,
    /// Why what the file says now is not used.
    pub(crate) refused: Option<String>,
}
