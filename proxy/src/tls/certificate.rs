//! A certificate and its key, as long as they are used: made anew when their files change.

use std::time::SystemTime;

use openssl::ssl::{SslContextBuilder, SslMethod};

use super::ending::{AHEAD, Ending, Reminder};
use super::kept::{Kept, News};
use super::pair::Pair;
use super::{CertificateState, Event, Kind, TlsError, names};
use crate::config::CertificateFiles;

/// A certificate and its key.
#[derive(Clone)]
pub(super) struct Certificate {
    files: CertificateFiles,
    kept: Kept<Pair>,
    reminder: Reminder,
}

/// What becomes of a certificate that has expired before it was ever used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    /// At the start of a process: it is used, and the first look tells that it has ended. One must not keep the others from
    /// being served.
    Used,
    /// By a running process, which has something to go on with.
    Refused,
}

/// Which names a certificate may have that takes another's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Successor {
    /// At least one of those that the other had.
    Akin,
    Any,
}

impl Certificate {
    pub(super) fn new(files: &CertificateFiles, expired: Expired, now: SystemTime) -> Result<Self, TlsError> {
        let kept = Kept::new(vec![files.cert.clone(), files.key.clone()], |contents| {
            let pair = pair(files, contents)?;
            match pair.check_time(files, now) {
                Err(TlsError::Expired { .. }) if expired == Expired::Used => {}
                checked => checked?,
            }
            Ok(pair)
        })?;
        Ok(Self { files: files.clone(), kept, reminder: Reminder::default() })
    }

    pub(super) fn files(&self) -> &CertificateFiles {
        &self.files
    }

    pub(super) fn pair(&self) -> &Pair {
        self.kept.good()
    }

    /// Whether both have made the same of their files.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.kept.is_as(&other.kept)
    }

    /// Whether the next look may take what the last one has found.
    pub(super) fn is_waiting(&self) -> bool {
        self.kept.is_waiting()
    }

    /// Looks at the files, and at the clock.
    pub(super) fn look(&mut self, successor: Successor, now: SystemTime) -> Vec<Event> {
        let files = &self.files;
        let news = self.kept.look(|contents, served| {
            let pair = pair(files, contents)?;
            if successor == Successor::Akin && !names::share(pair.names(), served.names()) {
                let (names, served) = (pair.names().to_vec(), served.names().to_vec());
                return Err(TlsError::OtherNames { file: files.cert.clone(), names, served });
            }
            pair.check_time(files, now)?;
            Ok(pair)
        });
        if news == Some(News::Renewed) {
            self.reminder = Reminder::default();
        }
        let news = news.map(|news| self.told(news));
        news.into_iter().chain(self.ending(now)).collect()
    }

    pub(super) fn state(&self) -> CertificateState {
        let CertificateParts { file, names, not_after } = self.parts();
        let refused = self.kept.refused().map(str::to_owned);
        CertificateState { file, kind: Kind::Certificate, names, not_after: Some(not_after), refused }
    }

    fn told(&self, news: News) -> Event {
        let CertificateParts { file, names, not_after } = self.parts();
        match news {
            News::Renewed => Event::Renewed { file, names, not_after: Some(not_after) },
            News::Refused(why) => Event::Refused { file, why },
            News::Recovered => Event::Recovered { file },
        }
    }

    fn ending(&mut self, now: SystemTime) -> Option<Event> {
        let CertificateParts { file, names, not_after } = self.parts();
        Some(match self.reminder.due(not_after, AHEAD, now)? {
            Ending::Soon { days } => Event::EndsSoon { file, names, not_after, days },
            Ending::Over => Event::Ended { file, names, not_after },
        })
    }

    fn parts(&self) -> CertificateParts {
        let file = self.files.cert.display().to_string();
        let pair = self.pair();
        CertificateParts { file, names: pair.names().to_vec(), not_after: pair.not_after() }
    }
}

/// What is told of it in any case.
struct CertificateParts {
    file: String,
    names: Vec<String>,
    not_after: SystemTime,
}

/// One that OpenSSL takes, too.
fn pair(files: &CertificateFiles, contents: &[Vec<u8>]) -> Result<Pair, TlsError> {
    let [cert, key] = contents else { return Err(TlsError::NoCertificate(files.cert.clone())) };
    let pair = Pair::of(files, cert, key)?;
    let mut context = SslContextBuilder::new(SslMethod::tls())?;
    context.set_security_level(SECURITY_LEVEL);
    let declined = |why| TlsError::Declined { file: files.cert.clone(), why };
    pair.put_into(&mut context).map_err(declined)?;
    Ok(pair)
}

/// OpenSSL's, since 3.2 its own default: as strong as 112 bits.
pub(super) const SECURITY_LEVEL: u32 = 2;
