//! What a configuration names on this machine: files, directories, users. It must be there at start,
//! because Pingora and OpenSSL would find out too late, some of them by a panic.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{Group, User};
use pingora::tls::error::ErrorStack;
use pingora::tls::pkey::{PKey, Private};
use pingora::tls::x509::{X509, X509Crl};
use registry::connect::Exposed;

use super::access::{AccessError, Who, Wish};
use super::ours::{self, NotOurs};

/// Something that must exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Need {
    /// A file with a password, for the gateway's user.
    Password(PathBuf),
    /// A file of certificates in PEM, for whoever starts the gateway.
    Certificates(PathBuf),
    /// One for the gateway's user, who reads it again and again.
    ReadCertificates(PathBuf),
    /// A file of certificates that are revoked, in PEM, likewise.
    Revocations(PathBuf),
    /// A file with a private key in PEM, without a pass phrase, for the gateway's user.
    PrivateKey(PathBuf),
    /// A file with a key of sticky cookies, which the gateway's user reads again at each reload.
    StickyKey(PathBuf),
    /// A file with an error answer, likewise.
    ErrorFile(PathBuf),
    /// A private key and the certificate that was made for it.
    Pair {
        cert: PathBuf,
        key: PathBuf,
    },
    /// A file that is made, or added to, when the process starts: its directory must be there.
    NewFile(PathBuf),
    /// A file that the gateway's user replaces as a whole: nothing but a file may have its name, and its
    /// directory must be there for this user.
    ReplacedFile(PathBuf),
    /// A file that a daemon opens before it becomes another user: nobody but who starts it, and root, may write
    /// where it is.
    DaemonFile(PathBuf),
    /// The upgrade socket: its place must be the gateway's user's alone.
    UpgradeSocket(PathBuf),
    Directory(PathBuf),
    User(String),
    Group(String),
}

/// Why it is not there. Each names what was looked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum NeedError {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    NotOurs(#[from] NotOurs),
    #[error("{} is not a file", .0.display())]
    NotAFile(PathBuf),
    #[error("{} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    #[error(
        "the directory {} is missing: make it for {who}, as with `install -d -o {} -m 700 {}`",
        path.display(), who.name(), path.display()
    )]
    NoDirectory { path: PathBuf, who: Who },
    #[error("{} is empty but for white space: write the user's password into it", .0.display())]
    NoPassword(PathBuf),
    #[error("{} is not UTF-8 text, as a password is", .0.display())]
    NotText(PathBuf),
    #[error("{} has no certificate in PEM format{}", path.display(), hint)]
    NoCertificate { path: PathBuf, hint: &'static str },
    #[error("{} has no list of revoked certificates (CRL) in PEM format{}", path.display(), hint)]
    NoRevocations { path: PathBuf, hint: &'static str },
    #[error("{} has no private key in PEM format, or one with a pass phrase{}", path.display(), hint)]
    NoPrivateKey { path: PathBuf, hint: &'static str },
    #[error("{} is not the key of the certificate {}: take the two that were made together", key.display(), cert.display())]
    NoPair { cert: PathBuf, key: PathBuf },
    #[error("this machine has no user {0:?}")]
    NoUser(String),
    #[error("this machine has no group {0:?}")]
    NoGroup(String),
}

impl NeedError {
    /// Whether the gateway serves without it: a snapshot that cannot be written, for example because its
    /// directory has another owner now, must not keep it from a start in which the snapshot may be read.
    /// What is no file is another matter: it would be replaced by one.
    pub(super) fn spares_the_start(&self, need: &Need) -> bool {
        matches!(need, Need::ReplacedFile(_)) && !matches!(self, Self::NotAFile(_))
    }
}

impl Need {
    /// What is to be told of it although it is there.
    pub(super) fn exposed(&self) -> Option<Exposed> {
        match self {
            Self::Password(path) | Self::PrivateKey(path) | Self::StickyKey(path) => Exposed::file(path),
            _ => None,
        }
    }

    /// Looks whether it is there. `who`: the gateway's user. Changes nothing.
    pub(super) fn check(&self, who: &Who) -> Result<(), NeedError> {
        match self {
            Self::Password(path) => check_password(path, &read_as(who, path)?),
            Self::Certificates(path) => certificates(path, &read(path)?).map(drop),
            Self::ReadCertificates(path) => certificates(path, &read_as(who, path)?).map(drop),
            Self::Revocations(path) => check_revocations(path, &read_as(who, path)?),
            Self::PrivateKey(path) => private_key(path, &read_as(who, path)?).map(drop),
            // What is in them was read with the configuration.
            Self::StickyKey(path) | Self::ErrorFile(path) => Ok(who.may(Wish::Read, path)?),
            Self::Pair { cert, key } => check_pair(cert, key),
            Self::NewFile(path) => check_new_file(path),
            Self::ReplacedFile(path) => check_replaced_file(path, who),
            Self::DaemonFile(path) => {
                check_new_file(path)?;
                Ok(ours::check_kept_file(path, Who::of_this_process().uid())?)
            }
            Self::UpgradeSocket(path) => {
                check_new_file(path)?;
                Ok(ours::check_place(path, who.uid())?)
            }
            Self::Directory(path) => check_directory(path),
            Self::User(name) => match User::from_name(name) {
                Ok(Some(_)) => Ok(()),
                _ => Err(NeedError::NoUser(name.clone())),
            },
            Self::Group(name) => match Group::from_name(name) {
                Ok(Some(_)) => Ok(()),
                _ => Err(NeedError::NoGroup(name.clone())),
            },
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, NeedError> {
    read_as(&Who::of_this_process(), path)
}

fn read_as(who: &Who, path: &Path) -> Result<Vec<u8>, NeedError> {
    who.may(Wish::Read, path)?;
    let unreadable = |source| NeedError::Unreadable { path: path.to_owned(), source };
    // Not opened before this is known: a FIFO would keep us waiting for its writer.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(NeedError::NotAFile(path.to_owned()));
    }
    fs::read(path).map_err(unreadable)
}

fn check_password(path: &Path, bytes: &[u8]) -> Result<(), NeedError> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.trim().is_empty() => Err(NeedError::NoPassword(path.to_owned())),
        Ok(_) => Ok(()),
        Err(_) => Err(NeedError::NotText(path.to_owned())),
    }
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<X509>, NeedError> {
    match X509::stack_from_pem(pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => {
            let hint = if has(pem, "PRIVATE KEY-----") { ": it is a private key" } else { "" };
            Err(NeedError::NoCertificate { path: path.to_owned(), hint })
        }
    }
}

fn check_revocations(path: &Path, pem: &[u8]) -> Result<(), NeedError> {
    X509Crl::from_pem(pem).map(drop).map_err(|_| {
        let hint = if has(pem, "CERTIFICATE-----") { ": it is a certificate" } else { "" };
        NeedError::NoRevocations { path: path.to_owned(), hint }
    })
}

fn private_key(path: &Path, pem: &[u8]) -> Result<PKey<Private>, NeedError> {
    // The callback stands for "no pass phrase": without one OpenSSL asks at the terminal.
    PKey::private_key_from_pem_callback(pem, |_| Err(ErrorStack::get())).map_err(|_| {
        let hint = if has(pem, "CERTIFICATE-----") { ": it is a certificate" } else { "" };
        NeedError::NoPrivateKey { path: path.to_owned(), hint }
    })
}

fn has(pem: &[u8], label: &str) -> bool {
    memchr::memmem::find(pem, label.as_bytes()).is_some()
}

/// What is wrong with one of them by itself is told elsewhere.
fn check_pair(cert: &Path, key: &Path) -> Result<(), NeedError> {
    let certificate = read(cert).and_then(|pem| certificates(cert, &pem));
    let private = read(key).and_then(|pem| private_key(key, &pem));
    let (Ok(certificate), Ok(private)) = (certificate, private) else { return Ok(()) };
    let public = certificate.first().map(|certificate| certificate.public_key());
    match public {
        Some(Ok(public)) if !public.public_eq(&private) => {
            Err(NeedError::NoPair { cert: cert.to_owned(), key: key.to_owned() })
        }
        _ => Ok(()),
    }
}

fn check_new_file(path: &Path) -> Result<(), NeedError> {
    match path.parent() {
        Some(parent) if !path.is_dir() => check_directory(parent),
        _ => Err(NeedError::NotAFile(path.to_owned())),
    }
}

/// Of a device or a socket a rename would leave nothing.
fn check_replaced_file(path: &Path, who: &Who) -> Result<(), NeedError> {
    let found = fs::metadata(path).ok();
    if found.as_ref().is_some_and(|found| !found.is_file()) {
        return Err(NeedError::NotAFile(path.to_owned()));
    }
    let Some(directory) = path.parent() else { return Err(NeedError::NotAFile(path.to_owned())) };
    if fs::metadata(directory).is_ok_and(|found| !found.is_dir()) {
        return Err(NeedError::NotADirectory(directory.to_owned()));
    }
    match who.may(Wish::WriteInto, directory) {
        // It could be written to once, so the disk has failed since: that is a time to start in.
        Err(AccessError::ReadOnly(_)) if found.is_some() => Ok(()),
        Err(AccessError::Io { path, source })
            if source.kind() == io::ErrorKind::NotFound && path == directory =>
        {
            Err(NeedError::NoDirectory { path, who: who.clone() })
        }
        outcome => Ok(outcome?),
    }
}

fn check_directory(path: &Path) -> Result<(), NeedError> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(NeedError::NotADirectory(path.to_owned())),
        Err(source) => Err(NeedError::Unreadable { path: path.to_owned(), source }),
    }
}
