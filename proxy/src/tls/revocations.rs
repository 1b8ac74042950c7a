//! Lists of revoked certificates, in a file.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use memchr::memmem;
use nix::sys::memfd::{MFdFlags, memfd_create};
use openssl::ssl::SslFiletype;
use openssl::x509::store::{X509Lookup, X509StoreBuilderRef};
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{CrlStatus, X509, X509Crl, X509StoreContextRef, X509VerifyResult};

use super::TlsError;
use super::ending::AHEAD;
use super::pair::time;

/// At least one list.
pub(super) struct Revocations {
    file: PathBuf,
    pem: Vec<u8>,
    lists: Vec<X509Crl>,
}

/// When a list ends. OpenSSL takes no certificate then that its authority has signed.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// The list's in its file, counted from 1.
    pub(super) place: usize,
    pub(super) not_after: SystemTime,
    /// So long before that it is told: such lists are renewed shortly before they end, and many live for days alone.
    pub(super) ahead: Duration,
}

impl Revocations {
    /// Of what the file contains. Whether the lists are valid now is another question: [`Self::untimely`].
    pub(super) fn of(file: &Path, pem: &[u8]) -> Result<Self, TlsError> {
        let damaged = |why| TlsError::DamagedRevocations { file: file.to_owned(), why };
        let each = memmem::find_iter(pem, BEGIN).filter_map(|start| pem.get(start..));
        let lists = each.map(X509Crl::from_pem).collect::<Result<Vec<_>, _>>().map_err(damaged)?;
        if lists.is_empty() {
            return Err(TlsError::NoRevocations(file.to_owned()));
        }
        Ok(Self { file: file.to_owned(), pem: pem.to_owned(), lists })
    }

    /// What is wrong with each list that is not valid now.
    pub(super) fn untimely(&self, now: SystemTime) -> impl Iterator<Item = TlsError> {
        (1..).zip(&self.lists).filter_map(move |(place, list)| {
            let (start, end) = (time(list.last_update()), list.next_update().map(time));
            let file = self.file.clone();
            if now < start {
                return Some(TlsError::EarlyRevocations { file, place, start });
            }
            let end = end.filter(|end| now >= *end)?;
            Some(TlsError::EndedRevocations { file, place, end })
        })
    }

    /// Of those that have an end.
    pub(super) fn ends(&self) -> impl Iterator<Item = End> {
        (1..).zip(&self.lists).filter_map(|(place, list)| {
            let not_after = time(list.next_update()?);
            let life = not_after.duration_since(time(list.last_update())).unwrap_or_default();
            Some(End { place, not_after, ahead: AHEAD.min(life / 4) })
        })
    }

    /// Those of the authorities in the file `ca` that are not revoked, nor below one that is.
    ///
    /// # Errors
    /// One of them has no list here.
    pub(super) fn trusted(&self, ca: &Path, authorities: Vec<X509>) -> Result<Vec<X509>, TlsError> {
        let (mut revoked, mut trusted): (Vec<_>, Vec<_>) =
            (1..).zip(authorities).partition(|(_, authority)| self.has(authority));
        while !revoked.is_empty() {
            let is_below = |(_, authority): &(usize, X509)| {
                revoked.iter().any(|(_, above)| above.issued(authority) == X509VerifyResult::OK)
            };
            (revoked, trusted) = trusted.into_iter().partition(is_below);
        }
        for (place, authority) in &trusted {
            // Otherwise OpenSSL would refuse each client whom that one has signed.
            if signs_others(authority)? && !self.lists.iter().any(|list| has_signed(authority, list)) {
                let (ca, place, crl) = (ca.to_owned(), *place, self.file.clone());
                return Err(TlsError::NoRevocationsOf { ca, place, crl });
            }
        }
        Ok(trusted.into_iter().map(|(_, authority)| authority).collect())
    }

    /// Whether a certificate is revoked. Roots are not: their numbers are not those of what they have signed.
    fn has(&self, certificate: &X509) -> bool {
        let is_root = certificate.issued(certificate) == X509VerifyResult::OK;
        let is_in = |list: &X509Crl| matches!(list.get_by_cert(certificate), CrlStatus::Revoked(_));
        !is_root && self.lists.iter().any(is_in)
    }

    /// Has what these lists say count for whatever stands below those whom the store trusts.
    pub(super) fn put_into(&self, store: &mut X509StoreBuilderRef) -> Result<(), TlsError> {
        // OpenSSL's binding reads them from a file alone, and that may have changed, or be gone, since it was read.
        let memory = memfd_create(c"revocations", MFdFlags::MFD_CLOEXEC).map_err(io::Error::from)?;
        let mut memory = File::from(memory);
        memory.write_all(&self.pem)?;
        let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
        let damaged = |why| TlsError::DamagedRevocations { file: self.file.clone(), why };
        store.add_lookup(X509Lookup::file())?.load_crl_file(path, SslFiletype::PEM).map_err(damaged)?;
        store.set_flags(X509VerifyFlags::CRL_CHECK | X509VerifyFlags::CRL_CHECK_ALL)?;
        Ok(())
    }
}

/// How each list begins.
const BEGIN: &[u8] = b"-----BEGIN X509 CRL-----";

/// Whether a certificate is an authority's. OpenSSL's binding tells that in its text alone.
fn signs_others(certificate: &X509) -> Result<bool, TlsError> {
    Ok(memmem::find(&certificate.to_text()?, b"CA:TRUE").is_some())
}

fn has_signed(authority: &X509, list: &X509Crl) -> bool {
    let is_namesake = authority.subject_name().try_cmp(list.issuer_name()).is_ok_and(|order| order.is_eq());
    is_namesake && authority.public_key().and_then(|key| list.verify(&key)).unwrap_or(false)
}

/// Has OpenSSL go on if it minds that no list says anything of whom the store trusts, that is the last of a chain: it asks for
/// one unless the certificate has signed itself. [`Revocations::trusted`] has seen to it that none has him.
pub(super) fn spare_the_trusted(checked: &mut X509StoreContextRef) -> bool {
    let place = usize::try_from(checked.error_depth()).ok();
    let is_last = place.is_some() && checked.chain().and_then(|chain| chain.len().checked_sub(1)) == place;
    let is_spared = is_last && OF_LISTS.contains(&checked.error().as_raw());
    if is_spared {
        checked.set_error(X509VerifyResult::OK);
    }
    is_spared
}

/// What OpenSSL minds in lists (`X509_V_ERR_...`), and not in certificates: that there is none, or one of another authority of the
/// same name; its times; who has signed it; what it is for.
const OF_LISTS: [i32; 8] = [3, 8, 11, 12, 33, 35, 36, 44];
