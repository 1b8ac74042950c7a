//! Which certificates clients show.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;

use nix::sys::memfd::{MFdFlags, memfd_create};
use openssl::sha::Sha256;
use openssl::ssl::{SslContextBuilder, SslFiletype, SslVerifyMode};
use openssl::x509::X509;
use openssl::x509::store::{X509Lookup, X509Store, X509StoreBuilderRef};
use openssl::x509::verify::X509VerifyFlags;

use super::TlsError;
use super::authorities::{authorities, store};
use crate::config::{ClientCertificates, ClientMode};

/// Which certificates clients show: what the files say, and whether they have to.
#[derive(Clone)]
pub(super) struct Demand {
    config: ClientCertificates,
    authorities: Vec<X509>,
    /// What they have revoked, in PEM.
    revocations: Option<Vec<u8>>,
    /// Of all this: a session that was begun under another demand is not resumed.
    digest: [u8; 32],
}

impl Demand {
    /// Of what the file of authorities and, if there is one, that of revocations contain.
    pub(super) fn of(config: &ClientCertificates, contents: &[Vec<u8>]) -> Result<Self, TlsError> {
        let (ca, revocations) = match contents {
            [ca] => (ca, None),
            [ca, revocations] => (ca, Some(revocations.clone())),
            _ => return Err(TlsError::NoAuthority(config.ca.clone())),
        };
        let authorities = authorities(&config.ca, ca)?;
        let mut digest = Sha256::new();
        digest.update(match config.mode {
            ClientMode::Optional => b"optional",
            ClientMode::Required => b"required",
        });
        contents.iter().for_each(|content| digest.update(&openssl::sha::sha256(content)));
        let demand = Self { config: config.clone(), authorities, revocations, digest: digest.finish() };
        // To find out whether OpenSSL takes them.
        demand.store()?;
        Ok(demand)
    }

    /// Has clients asked for a certificate.
    pub(super) fn put_into(&self, context: &mut SslContextBuilder) -> Result<(), TlsError> {
        context.set_verify(match self.config.mode {
            ClientMode::Optional => SslVerifyMode::PEER,
            ClientMode::Required => SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT,
        });
        for authority in &self.authorities {
            context.add_client_ca(authority)?;
        }
        context.set_verify_cert_store(self.store()?)?;
        context.set_session_id_context(&self.digest)?;
        Ok(())
    }

    fn store(&self) -> Result<X509Store, TlsError> {
        let mut store = store(&self.authorities)?;
        self.revoke(&mut store)?;
        Ok(store.build())
    }

    fn revoke(&self, store: &mut X509StoreBuilderRef) -> Result<(), TlsError> {
        let Some((revocations, file)) = self.revocations.as_ref().zip(self.config.crl.as_ref()) else {
            return Ok(());
        };
        if memchr::memmem::find(revocations, b"BEGIN X509 CRL").is_none() {
            return Err(TlsError::NoRevocations(file.clone()));
        }
        // OpenSSL's binding reads them from a file alone, and that may have changed, or be gone, since it was read.
        let memory = memfd_create(c"revocations", MFdFlags::MFD_CLOEXEC).map_err(std::io::Error::from)?;
        let mut memory = File::from(memory);
        memory.write_all(revocations)?;
        let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
        let damaged = |why| TlsError::DamagedRevocations { file: file.clone(), why };
        store.add_lookup(X509Lookup::file())?.load_crl_file(path, SslFiletype::PEM).map_err(damaged)?;
        store.set_flags(X509VerifyFlags::CRL_CHECK | X509VerifyFlags::CRL_CHECK_ALL)?;
        Ok(())
    }
}
