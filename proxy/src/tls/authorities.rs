//! The certificates of authorities, in a file.

use std::path::Path;

use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509VerifyFlags;

use super::TlsError;

/// At least one.
pub(super) fn authorities(file: &Path, pem: &[u8]) -> Result<Vec<X509>, TlsError> {
    let damaged = |why| TlsError::DamagedCertificate { file: file.to_owned(), why };
    let certificates = X509::stack_from_pem(pem).map_err(damaged)?;
    if certificates.is_empty() {
        return Err(TlsError::NoAuthority(file.to_owned()));
    }
    Ok(certificates)
}

/// Each of them is trusted by itself, as the registry's are, and nobody else.
pub(super) fn store(certificates: &[X509]) -> Result<X509StoreBuilder, TlsError> {
    let mut store = X509StoreBuilder::new()?;
    // Otherwise a chain would have to go on to a certificate that has signed itself.
    store.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
    for certificate in certificates {
        store.add_cert(certificate.clone())?;
    }
    Ok(store)
}
