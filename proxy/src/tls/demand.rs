//! Which certificates clients show.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use memchr::memmem;
use nix::sys::memfd::{MFdFlags, memfd_create};
use openssl::sha::sha256;
use openssl::ssl::{SslContextBuilder, SslFiletype, SslVerifyMode};
use openssl::x509::store::{X509Lookup, X509Store, X509StoreBuilderRef};
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509Crl};

use super::authorities::{authorities, store};
use super::ending::{AHEAD, Ending, Reminder};
use super::kept::{Kept, News};
use super::pair::time;
use super::{CertificateState, Event, Kind, TlsError};
use crate::config::{ClientCertificates, ClientMode};

/// Which certificates clients show, as long as they are asked for them.
#[derive(Clone)]
pub(super) struct Demand {
    config: ClientCertificates,
    kept: Kept<Authorities>,
    reminder: Reminder,
}

/// What the files say.
struct Authorities {
    certificates: Vec<X509>,
    /// What they have revoked: where that was read, and in PEM.
    revocations: Option<(PathBuf, Vec<u8>)>,
    /// Of the first of these lists that ends.
    end: Option<End>,
    /// Of all this.
    digest: [u8; 32],
}

/// When a list of revoked certificates ends. OpenSSL takes no client's certificate then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct End {
    not_after: SystemTime,
    /// So long before that it is told: such lists are renewed shortly before they end, and many live for days alone.
    ahead: Duration,
}

impl Demand {
    pub(super) fn new(config: &ClientCertificates) -> Result<Self, TlsError> {
        let files: Vec<PathBuf> = std::iter::once(&config.ca).chain(&config.crl).cloned().collect();
        let kept = Kept::new(files, |contents| Authorities::of(config, contents))?;
        Ok(Self { config: config.clone(), kept, reminder: Reminder::default() })
    }

    pub(super) fn config(&self) -> &ClientCertificates {
        &self.config
    }

    /// The same with this configuration, if it names the same files.
    pub(super) fn again(&self, config: &ClientCertificates) -> Option<Self> {
        let is_same = (&self.config.ca, &self.config.crl) == (&config.ca, &config.crl);
        is_same.then(|| Self { config: config.clone(), ..self.clone() })
    }

    /// Whether the next look may take what the last one has found.
    pub(super) fn is_waiting(&self) -> bool {
        self.kept.is_waiting()
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

    /// Whether both have made the same of their files.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.kept.is_as(&other.kept)
    }

    /// Of each file. They are taken together, or not at all.
    pub(super) fn states(&self) -> Vec<CertificateState> {
        let authorities = CertificateState::of_authorities(&self.config.ca, &self.kept);
        let revocations = self.config.crl.as_ref().map(|crl| CertificateState {
            file: crl.display().to_string(),
            kind: Kind::Revocations,
            not_after: self.kept.good().end.map(|end| end.not_after),
            ..authorities.clone()
        });
        std::iter::once(authorities).chain(revocations).collect()
    }

    fn ending(&mut self, now: SystemTime) -> Option<Event> {
        let (file, End { not_after, ahead }) = self.config.crl.as_ref().zip(self.kept.good().end)?;
        let file = file.display().to_string();
        Some(match self.reminder.due(not_after, ahead, now)? {
            Ending::Soon { .. } => Event::RevocationsEndSoon { file, not_after },
            Ending::Over => Event::RevocationsEnded { file, not_after },
        })
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
        let end = revocations.as_ref().and_then(|(_, lists)| first_end(lists));
        let digests: Vec<u8> = contents.iter().flat_map(|content| sha256(content)).collect();
        let made = Self { certificates, revocations, end, digest: sha256(&digests) };
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

fn first_end(revocations: &[u8]) -> Option<End> {
    let lists = memmem::find_iter(revocations, LIST).filter_map(|start| revocations.get(start..));
    lists.filter_map(|list| end(&X509Crl::from_pem(list).ok()?)).min()
}

fn end(list: &X509Crl) -> Option<End> {
    let not_after = time(list.next_update()?);
    let life = not_after.duration_since(time(list.last_update())).unwrap_or_default();
    Some(End { not_after, ahead: AHEAD.min(life / 4) })
}
