//! Why a file cannot be used.

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use humantime::format_rfc3339_seconds as at;
use openssl::error::ErrorStack;

/// What the configuration names cannot be used. The text names the file, and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("no certificate is in {}: write it there in PEM format, then those that have signed it", .0.display())]
    NoCertificate(PathBuf),
    #[error("no certificate is in {}: write those of the authorities there, in PEM format", .0.display())]
    NoAuthority(PathBuf),
    #[error("a certificate in {} is damaged: {}", file.display(), reason(why))]
    DamagedCertificate { file: PathBuf, why: ErrorStack },
    #[error("no private key is in {}: write it there in PEM format", .0.display())]
    NoKey(PathBuf),
    #[error("the private key in {} has a pass phrase, which nobody is there to type: write it without (openssl pkey)", .0.display())]
    PassPhrase(PathBuf),
    #[error("the private key in {} is damaged: {}", file.display(), reason(why))]
    DamagedKey { file: PathBuf, why: ErrorStack },
    #[error("the private key in {} is not that of the first certificate in {}: renew both together", key.display(), cert.display())]
    Misfit { cert: PathBuf, key: PathBuf },
    /// The certificates are counted from 1.
    #[error(
        "certificate {place} in {} is not signed by the next one: put the server's own first, then each before the one that \
         has signed it, and no others", file.display()
    )]
    Order { file: PathBuf, place: usize },
    #[error("the key of certificate {place} in {} is weak ({bits} bits): RSA needs 2048, elliptic curves 224", file.display())]
    WeakKey { file: PathBuf, place: usize, bits: u32 },
    #[error("certificate {place} in {} is signed with {digest}, which can be forged: have it signed with SHA-256", file.display())]
    WeakSignature { file: PathBuf, place: usize, digest: &'static str },
    #[error("certificate {place} in {} has expired at {}: renew it", file.display(), at(*end))]
    Expired { file: PathBuf, place: usize, end: SystemTime },
    #[error("certificate {place} in {} is not valid before {}: is the clock right?", file.display(), at(*start))]
    NotYetValid { file: PathBuf, place: usize, start: SystemTime },
    #[error(
        "{} is now for {}, and has served {}: it seems to be made for other hosts; if that is meant, name it anew in the \
         configuration, by another path", file.display(), list(names), list(served)
    )]
    OtherNames { file: PathBuf, names: Vec<String>, served: Vec<String> },
    #[error("no certificate revocation list is in {}: write those of all authorities there, in PEM format", .0.display())]
    NoRevocations(PathBuf),
    #[error("a certificate revocation list in {} is damaged: {}", file.display(), reason(why))]
    DamagedRevocations { file: PathBuf, why: ErrorStack },
    /// The certificates are counted from 1, as are the lists in the next two.
    #[error(
        "no certificate revocation list in {} is signed by certificate {place} in {}, and without one nobody whom that has \
         signed would be let in: write its list there, too, or take the certificate out", crl.display(), ca.display()
    )]
    NoRevocationsOf { ca: PathBuf, place: usize, crl: PathBuf },
    #[error("certificate revocation list {place} in {} has ended at {}: renew it", file.display(), at(*end))]
    EndedRevocations { file: PathBuf, place: usize, end: SystemTime },
    #[error(
        "certificate revocation list {place} in {} is not valid before {}: is the clock right?", file.display(), at(*start)
    )]
    EarlyRevocations { file: PathBuf, place: usize, start: SystemTime },
    /// What OpenSSL minds, and the checks above do not.
    #[error("OpenSSL declines {}: {}", file.display(), reason(why))]
    Declined { file: PathBuf, why: ErrorStack },
    /// A server without a name is one whose certificate nobody has compared.
    #[error("{0:?} is not the name of a server")]
    NotAName(String),
    #[error("cannot trust the system's authorities: {0}")]
    System(#[from] registry::connect::AuthoritiesError),
    #[error("the list of revoked certificates cannot be handed to OpenSSL: {0}")]
    Memory(#[from] io::Error),
    #[error("cannot use TLS: {}", reason(.0))]
    OpenSsl(#[from] ErrorStack),
}

/// What OpenSSL says of a file, without its own source's lines.
pub(super) fn reason(stack: &ErrorStack) -> String {
    let reasons: Vec<&str> =
        stack.errors().iter().filter_map(|error| error.data().or(error.reason())).collect();
    if reasons.is_empty() { "OpenSSL does not say why".to_owned() } else { reasons.join(", ") }
}

fn list(names: &[String]) -> String {
    names.join(", ")
}
