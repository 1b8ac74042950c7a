//! Which certificates clients show.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::SystemTime;

use memchr::memmem;
use nix::sys::memfd::{MFdFlags, memfd_create};
use openssl::sha::Sha256;
use openssl::ssl::{SslContextBuilder, SslFiletype, SslVerifyMode};
use openssl::x509::store::{X509Lookup, X509Store, X509StoreBuilderRef};
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509Crl};

use super::authorities::{authorities, store};
use super::ending::{Ending, Reminder};
use super::kept::{Kept, News};
use super::pair::time;
use super::{Event, TlsError};
use crate::config::{ClientCertificates, ClientMode};

/// Which certificates clients show, as long as they are asked for them.
#[derive(Clone)]
pub(super) struct Clients {
    config: ClientCertificates,
    kept: Kept<Demand>,
    reminder: Reminder,
}

impl Clients {
    pub(super) fn new(config: &ClientCertificates) -> Result<Self, TlsError> {
        let files: Vec<PathBuf> = std::iter::once(&config.ca).chain(&config.crl).cloned().collect();
        let kept = Kept::new(files, |contents| Demand::of(config, contents))?;
        Ok(Self { config: config.clone(), kept, reminder: Reminder::default() })
    }

    pub(super) fn config(&self) -> &ClientCertificates {
        &self.config
    }

    pub(super) fn demand(&self) -> &Demand {
        self.kept.good()
    }

    /// Looks at the files, and at the clock.
    pub(super) fn look(&mut self, now: SystemTime) -> Vec<Event> {
        let config = &self.config;
        let news = self.kept.look(|contents, _| Demand::of(config, contents));
        if news == Some(News::Renewed) {
            self.reminder = Reminder::default();
        }
        let news = news.map(|news| Event::of_authorities(&self.config.ca, news));
        news.into_iter().chain(self.ending(now)).collect()
    }

    /// Lists of revoked certificates are renewed shortly before they end: nothing is told until they have.
    fn ending(&mut self, now: SystemTime) -> Option<Event> {
        let (file, not_after) = self.config.crl.as_ref().zip(self.demand().not_after)?;
        let file = file.display().to_string();
        let over = self.reminder.due(not_after, now).filter(|ending| *ending == Ending::Over);
        over.map(|_| Event::Ended { file, names: Vec::new(), not_after })
    }
}

/// What the files say, and whether clients have to show one.
#[derive(Clone)]
pub(super) struct Demand {
    config: ClientCertificates,
    authorities: Vec<X509>,
    /// What they have revoked, in PEM.
    revocations: Option<Vec<u8>>,
    /// When the first of these lists ends. OpenSSL takes no client's certificate then.
    not_after: Option<SystemTime>,
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
        let (config, not_after) = (config.clone(), revocations.as_deref().and_then(end));
        let demand = Self { config, authorities, revocations, not_after, digest: digest.finish() };
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
        if memmem::find(revocations, LIST).is_none() {
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

/// How each list of revoked certificates begins.
const LIST: &[u8] = b"-----BEGIN X509 CRL-----";

/// When the first of these lists ends.
fn end(revocations: &[u8]) -> Option<SystemTime> {
    let lists = memmem::find_iter(revocations, LIST).filter_map(|start| revocations.get(start..));
    let ends = lists.filter_map(|list| X509Crl::from_pem(list).ok()?.next_update().map(time));
    ends.min()
}
