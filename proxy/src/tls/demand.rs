//! Which certificates clients show.

use std::path::PathBuf;
use std::time::SystemTime;

use openssl::sha::sha256;
use openssl::ssl::{SslContextBuilder, SslVerifyMode};
use openssl::x509::X509;
use openssl::x509::store::X509Store;

use super::authorities::{authorities, store};
use super::ending::{Ending, Reminder};
use super::kept::{Kept, News};
use super::revocations::{End, Revocations, spare_the_trusted};
use super::{CertificateState, Event, Expired, Kind, TlsError};
use crate::config::{ClientCertificates, ClientMode};

/// Which certificates clients show, as long as they are asked for them.
#[derive(Clone)]
pub(super) struct Demand {
    config: ClientCertificates,
    kept: Kept<Authorities>,
    /// One for each list of what they have revoked that ends.
    reminders: Vec<(End, Reminder)>,
}

/// What the files say.
struct Authorities {
    certificates: Vec<X509>,
    revocations: Option<Revocations>,
    /// Of all this.
    digest: [u8; 32],
}

impl Demand {
    /// `expired`: what becomes of a list of revoked certificates that has ended.
    pub(super) fn new(
        config: &ClientCertificates,
        expired: Expired,
        now: SystemTime,
    ) -> Result<Self, TlsError> {
        let files: Vec<PathBuf> = std::iter::once(&config.ca).chain(&config.crl).cloned().collect();
        let kept = Kept::new(files, |contents| {
            let made = Authorities::of(config, contents)?;
            let is_used =
                |why: &TlsError| expired == Expired::Used && matches!(why, TlsError::EndedRevocations { .. });
            let refused = made.untimely(now).find(|why| !is_used(why));
            refused.map_or(Ok(made), Err)
        })?;
        let reminders = kept.good().reminders();
        Ok(Self { config: config.clone(), kept, reminders })
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
        let news = self.kept.look(|contents, used| {
            let made = Authorities::of(config, contents)?;
            // No more lists may be useless than of those that are used: another authority's may be new.
            let refused = made.untimely(now).nth(used.untimely(now).count());
            refused.map_or(Ok(made), Err)
        });
        if news == Some(News::Renewed) {
            self.reminders = self.kept.good().reminders();
        }
        let news = news.map(|news| Event::of_authorities(&self.config.ca, news));
        news.into_iter().chain(self.endings(now)).collect()
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
            not_after: self.reminders.iter().map(|(end, _)| end.not_after).min(),
            ..authorities.clone()
        });
        std::iter::once(authorities).chain(revocations).collect()
    }

    fn endings(&mut self, now: SystemTime) -> Vec<Event> {
        let Some(crl) = &self.config.crl else { return Vec::new() };
        let told = |(End { place, not_after, ahead }, reminder): &mut (End, Reminder)| {
            let (file, place, not_after) = (crl.display().to_string(), *place, *not_after);
            Some(match reminder.due(not_after, *ahead, now)? {
                Ending::Soon { .. } => Event::RevocationsEndSoon { file, place, not_after },
                Ending::Over => Event::RevocationsEnded { file, place, not_after },
            })
        };
        self.reminders.iter_mut().filter_map(told).collect()
    }

    /// Has clients asked for a certificate.
    pub(super) fn put_into(&self, context: &mut SslContextBuilder) -> Result<(), TlsError> {
        let authorities = self.kept.good();
        let (mode, flags): (&[u8], _) = match self.config.mode {
            ClientMode::Optional => (b"optional", SslVerifyMode::PEER),
            ClientMode::Required => (b"required", SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT),
        };
        context.set_verify_callback(flags, |is_fine, checked| is_fine || spare_the_trusted(checked));
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
        let Some((ca, crl)) = contents.split_first() else {
            return Err(TlsError::NoAuthority(config.ca.clone()));
        };
        let mut certificates = authorities(&config.ca, ca)?;
        let revocations = config.crl.as_ref().zip(crl.first());
        let revocations = revocations.map(|(file, pem)| Revocations::of(file, pem)).transpose()?;
        if let Some(revocations) = &revocations {
            certificates = revocations.trusted(&config.ca, certificates)?;
        }
        let digests: Vec<u8> = contents.iter().flat_map(|content| sha256(content)).collect();
        let made = Self { certificates, revocations, digest: sha256(&digests) };
        // To find out whether OpenSSL takes them.
        made.store()?;
        Ok(made)
    }

    /// What is wrong with each list that is not valid now.
    fn untimely(&self, now: SystemTime) -> impl Iterator<Item = TlsError> {
        self.revocations.iter().flat_map(move |revocations| revocations.untimely(now))
    }

    fn reminders(&self) -> Vec<(End, Reminder)> {
        let ends = self.revocations.iter().flat_map(Revocations::ends);
        ends.map(|end| (end, Reminder::default())).collect()
    }

    fn store(&self) -> Result<X509Store, TlsError> {
        let mut store = store(&self.certificates)?;
        if let Some(revocations) = &self.revocations {
            revocations.put_into(&mut store)?;
        }
        Ok(store.build())
    }
}
