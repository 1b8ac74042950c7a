//! What a configuration names on this machine: files, directories, users. It must be there at start,
//! because Pingora and OpenSSL would find out too late, some of them by a panic.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{Group, User};
use pingora::tls::error::ErrorStack;
use pingora::tls::pkey::PKey;
use pingora::tls::x509::X509;

/// Something that must exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Need {
    /// A file that we can read.
    File(PathBuf),
    /// A file of certificates in PEM.
    Certificates(PathBuf),
    /// A file with a private key in PEM, without a pass phrase.
    PrivateKey(PathBuf),
    /// A file that is made, or added to, when the process starts: its directory must be there.
    NewFile(PathBuf),
    /// A file that is replaced as a whole: nothing but a file may have its name, and its directory must be
    /// there. Whether we may write to it is not known here: `-t` may be run by somebody else.
    ReplacedFile(PathBuf),
    Directory(PathBuf),
    User(String),
    Group(String),
}

/// Why it is not there. Each names what was looked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum NeedError {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is not a file", .0.display())]
    NotAFile(PathBuf),
    #[error("{} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    #[error("{} has no certificate in PEM format", .0.display())]
    NoCertificate(PathBuf),
    #[error("{} has no private key in PEM format, or one with a pass phrase", .0.display())]
    NoPrivateKey(PathBuf),
    #[error("this machine has no user {0:?}")]
    NoUser(String),
    #[error("this machine has no group {0:?}")]
    NoGroup(String),
}

impl Need {
    /// Looks whether it is there. Changes nothing.
    pub(super) fn check(&self) -> Result<(), NeedError> {
        match self {
            Self::File(path) => read(path).map(drop),
            Self::Certificates(path) => check_certificates(path),
            Self::PrivateKey(path) => check_private_key(path),
            Self::NewFile(path) => check_new_file(path),
            Self::ReplacedFile(path) => check_replaced_file(path),
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
    let unreadable = |source| NeedError::Unreadable { path: path.to_owned(), source };
    // Not opened before this is known: a FIFO would keep us waiting for its writer.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(NeedError::NotAFile(path.to_owned()));
    }
    fs::read(path).map_err(unreadable)
}

fn check_certificates(path: &Path) -> Result<(), NeedError> {
    match X509::stack_from_pem(&read(path)?) {
        Ok(certificates) if !certificates.is_empty() => Ok(()),
        _ => Err(NeedError::NoCertificate(path.to_owned())),
    }
}

fn check_private_key(path: &Path) -> Result<(), NeedError> {
    // The callback stands for "no pass phrase": without one OpenSSL asks at the terminal.
    PKey::private_key_from_pem_callback(&read(path)?, |_| Err(ErrorStack::get()))
        .map(drop)
        .map_err(|_| NeedError::NoPrivateKey(path.to_owned()))
}

fn check_new_file(path: &Path) -> Result<(), NeedError> {
    match path.parent() {
        Some(parent) if !path.is_dir() => check_directory(parent),
        _ => Err(NeedError::NotAFile(path.to_owned())),
    }
}

/// Of a device or a socket a rename would leave nothing.
fn check_replaced_file(path: &Path) -> Result<(), NeedError> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(NeedError::NotAFile(path.to_owned())),
        _ => check_new_file(path),
    }
}

fn check_directory(path: &Path) -> Result<(), NeedError> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(NeedError::NotADirectory(path.to_owned())),
        Err(source) => Err(NeedError::Unreadable { path: path.to_owned(), source }),
    }
}
