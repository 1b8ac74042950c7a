//! The certificate that all proxies show. It is made anew for each run, with its key.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use harness::{stack::private_directory, tls::TlsFiles};
use tempfile::TempDir;

/// Files in PEM. The key is one of ECDSA on P-256.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    /// The one and the other: HAProxy's form.
    pub(super) both: PathBuf,
    _directory: TempDir,
}

impl Identity {
    /// # Errors
    /// When they cannot be written.
    pub(crate) fn make() -> Result<Self> {
        let directory = private_directory()?;
        let TlsFiles { server_cert: certificate, server_key: key, .. } =
            TlsFiles::generate(directory.path())?;
        let read = |path: &Path| fs::read(path).with_context(|| format!("reading {}", path.display()));
        let both = directory.path().join("both.pem");
        fs::write(&both, [read(&certificate)?, read(&key)?].concat())
            .with_context(|| format!("writing {}", both.display()))?;
        Ok(Self { certificate, key, both, _directory: directory })
    }
}

#[cfg(test)]
mod tests {
    use openssl::{
        ec::EcKey,
        nid::Nid,
        ssl::{SslContext, SslFiletype, SslMethod},
    };

    use super::*;

    #[test]
    fn the_key_fits_and_is_of_the_kind_that_is_measured() {
        let identity = Identity::make().unwrap();
        for (certificate, key) in [(&identity.certificate, &identity.key), (&identity.both, &identity.both)] {
            let mut context = SslContext::builder(SslMethod::tls_server()).unwrap();
            context.set_certificate_chain_file(certificate).unwrap();
            context.set_private_key_file(key, SslFiletype::PEM).unwrap();
            context.check_private_key().unwrap();
        }
        let key = EcKey::private_key_from_pem(&fs::read(&identity.key).unwrap()).unwrap();
        assert_eq!(key.group().curve_name(), Some(Nid::X9_62_PRIME256V1));
    }
}
