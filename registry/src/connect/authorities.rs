//! Whose certificates are trusted: the system's authorities, or those of a file and nobody else's.

use std::io;
use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
use openssl::ssl::SslContextBuilder;
use openssl::x509::X509;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::X509VerifyFlags;

/// Why a file with the certificates of authorities cannot be used. The text names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthoritiesError {
    /// It cannot be read.
    #[error("cannot use {} for TLS: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no certificate in it.
    #[error(
        "cannot use {} for TLS: it has no certificate in PEM format; write those of the authorities into it",
        .0.display()
    )]
    NoCertificate(PathBuf),
    /// One of its certificates is damaged.
    #[error("cannot use {} for TLS: {}", path.display(), reason(why))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What OpenSSL says.
        why: ErrorStack,
    },
    /// OpenSSL could not make a store.
    #[error("cannot use TLS: {0}")]
    Tls(#[from] ErrorStack),
}

/// A store of the certificates in a PEM file, to verify a server by. It trusts nobody else: neither the system's
/// authorities nor those that the environment names (`SSL_CERT_FILE`).
///
/// Each certificate in the file is trusted by itself, as with etcd's own tools: a root authority, an intermediate one,
/// or the certificate of a server.
///
/// # Errors
/// When the file cannot be read, or has no certificate in it, or one that is damaged.
pub fn authorities(file: &Path) -> Result<X509Store, AuthoritiesError> {
    let pem = std::fs::read(file)
        .map_err(|source| AuthoritiesError::Unreadable { path: file.to_owned(), source })?;
    let certificates =
        X509::stack_from_pem(&pem).map_err(|why| AuthoritiesError::Damaged { path: file.to_owned(), why })?;
    if certificates.is_empty() {
        return Err(AuthoritiesError::NoCertificate(file.to_owned()));
    }
    let mut store = X509StoreBuilder::new()?;
    // Otherwise a chain would have to go on to a certificate that has signed itself.
    store.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
    for certificate in certificates {
        store.add_cert(certificate)?;
    }
    Ok(store.build())
}

/// Adds the system's authorities, or in their place those of `SSL_CERT_FILE` and `SSL_CERT_DIR`. OpenSSL itself would
/// find them only if it were the system's: one that is linked into this program looks in directories that no system
/// has.
///
/// # Errors
/// When one of them is damaged.
pub fn add_the_systems(context: &mut SslContextBuilder) -> Result<(), AuthoritiesError> {
    let found = openssl_probe::probe();
    // OpenSSL's binding panics at any other path.
    let [file, directory] =
        [found.cert_file, found.cert_dir].map(|path| path.filter(|path| path.to_str().is_some()));
    if file.is_none() && directory.is_none() {
        return Ok(());
    }
    let damaged = |why| match file.clone() {
        Some(path) => AuthoritiesError::Damaged { path, why },
        None => AuthoritiesError::Tls(why),
    };
    context.load_verify_locations(file.as_deref(), directory.as_deref()).map_err(damaged)
}

/// What OpenSSL says of a file, without its own source's lines.
pub(super) fn reason(stack: &ErrorStack) -> String {
    let reasons = stack.errors().iter().filter_map(|error| error.data().or(error.reason()));
    reasons.map(str::to_owned).collect::<Vec<_>>().join(", ")
}
