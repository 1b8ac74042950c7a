//! Which certificates clients show.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use memchr::memmem;
use nix::sys::memfd::{MFdFlags, memfd_create};
use openssl::sha::sha256;
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
pub(super) struct Demand {
    config: ClientCertificates,
    kept: Kept<Authorities>,
    reminder: Reminder,
}

/// What the files say.
#[derive(Clone)]
struct Authorities {
    certificates: Vec<X509>,
    /// What they have revoked: where that was read, and in PEM.
    revocations: Option<(PathBuf, Vec<u8>)>,
    /// When the first of these lists ends. OpenSSL takes no client's certificate then.
    not_after: Option<SystemTime>,
    /// Of all this.
    digest: [u8; 32],
}

impl Demand {
    pub(super) fn new(config: &ClientCertificates) -> Result<Self, TlsError> {
        let files: Vec<PathBuf> = std::iter::once(&config.ca).chain(&config.crl).cloned().collect();
        let kept = Kept::new(files, |contents| Authorities::of(config, contents))?;
        Ok(Self { config: config.clone(), kept, reminder: Reminder::default() })
    }

    /// The same with this configuration, if it names the same files.
    pub(super) fn again(&self, config: &ClientCertificates) -> Option<Self> {
        let is_same = (&self.config.ca, &self.config.crl) == (&config.ca, &config.crl);
        is_same.then(|| Self { config: config.clone(), ..self.clone() })
    }

    /// Looks at the files, and at the clock.
    pub(super) fn look(&mut self, now: SystemTime) -> Vec<Event> {
        let config = &self.config;
        let news = self.kept.look(|contents, _| Authorities::of(config, contents));
        if news == Some(News::Renewed) {
            self.reminder = Reminder::default();
        }
        let news = news.map(|news| Event::of_authorities(&self.config.ca, news));
        news.into_iter().chain(self.ending(now)).collect()
    }

    /// Lists of revoked certificates are renewed shortly before they end: nothing is told until they have.
    fn ending(&mut self, now: SystemTime) -> Option<Event> {
        let (file, not_after) = self.config.crl.as_ref().zip(self.kept.good().not_after)?;
        let file = file.display().to_string();
        let over = self.reminder.due(not_after, now).filter(|ending| *ending == Ending::Over);
        over.map(|_| Event::Ended { file, names: Vec::new(), not_after })
    }

    /// Has clients asked for a certificate.
    pub(super) fn put_into(&self, context: &mut SslContextBuilder) -> Result<(), TlsError> {
        let authorities = self.kept.good();
        let (mode, flags): (&[u8], _) = match self.config.mode {
            ClientMode::Optional => (b"optional", SslVerifyMode::PEER),
            ClientMode::Required => (b"required", SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT),
        };
        context.set_verify(flags);
        for authority in &authorities.certificates {
            context.add_client_ca(authority)?;
        }
        context.set_verify_cert_store(authorities.store()?)?;
        // A session that was begun under another demand is not resumed.
        context.set_session_id_context(&sha256(&[mode, &authorities.digest].concat()))?;
        Ok(())
    }
}

impl Authorities {
    /// Of what the file of authorities and, if there is one, that of revocations contain.
    fn of(config: &ClientCertificates, contents: &[Vec<u8>]) -> Result<Self, TlsError> {
        let (ca, revocations) = match contents {
            [ca] => (ca, None),
            [ca, revocations] => (ca, config.crl.clone().zip(Some(revocations.clone()))),
            _ => return Err(TlsError::NoAuthority(config.ca.clone())),
        };
        let certificates = authorities(&config.ca, ca)?;
        let not_after = revocations.as_ref().and_then(|(_, lists)| end(lists));
        let digests: Vec<u8> = contents.iter().flat_map(|content| sha256(content)).collect();
        let made = Self { certificates, revocations, not_after, digest: sha256(&digests) };
        // To find out whether OpenSSL takes them.
        made.store()?;
        Ok(made)
    }

    fn store(&self) -> Result<X509Store, TlsError> {
        let mut store = store(&self.certificates)?;
        if let Some((file, lists)) = &self.revocations {
            revoke(&mut store, file, lists)?;
        }
        Ok(store.build())
    }
}

fn revoke(store: &mut X509StoreBuilderRef, file: &Path, lists: &[u8]) -> Result<(), TlsError> {
    if memmem::find(lists, LIST).is_none() {
        return Err(TlsError::NoRevocations(file.to_owned()));
    }
    // OpenSSL's binding reads them from a file alone, and that may have changed, or be gone, since it was read.
    let memory = memfd_create(c"revocations", MFdFlags::MFD_CLOEXEC).map_err(io::Error::from)?;
    let mut memory = File::from(memory);
    memory.write_all(lists)?;
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    let damaged = |why| TlsError::DamagedRevocations { file: file.to_owned(), why };
    store.add_lookup(X509Lookup::file())?.load_crl_file(path, SslFiletype::PEM).map_err(damaged)?;
    store.set_flags(X509VerifyFlags::CRL_CHECK | X509VerifyFlags::CRL_CHECK_ALL)?;
    Ok(())
}

/// How each list of revoked certificates begins.
const LIST: &[u8] = b"-----BEGIN X509 CRL-----";

/// When the first of these lists ends.
fn end(revocations: &[u8]) -> Option<SystemTime> {
    let lists = memmem::find_iter(revocations, LIST).filter_map(|start| revocations.get(start..));
    let ends = lists.filter_map(|list| X509Crl::from_pem(list).ok()?.next_update().map(time));
    ends.min()
}
