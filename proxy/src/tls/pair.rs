//! What two files make a certificate and its key, and why they do not.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, PKeyRef, Private, Public};
use openssl::ssl::SslContextBuilder;
use openssl::x509::{X509, X509Ref, X509VerifyResult};

use super::TlsError;
use crate::config::CertificateFiles;

/// A certificate, those that have signed it, and its key. They fit, are in order, and none is weak.
#[derive(Clone)]
pub(super) struct Pair {
    certificate: X509,
    /// Each before its own signer.
    signers: Vec<X509>,
    key: PKey<Private>,
    names: Vec<String>,
}

impl Pair {
    /// Of what the two files contain. Whether they are valid now is another question: [`Self::check_time`].
    pub(super) fn of(files: &CertificateFiles, cert: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let file = || files.cert.clone();
        let damaged = |why| TlsError::DamagedCertificate { file: file(), why };
        let mut chain = X509::stack_from_pem(cert).map_err(damaged)?.into_iter();
        let certificate = chain.next().ok_or_else(|| TlsError::NoCertificate(file()))?;
        let signers: Vec<X509> = chain.collect();
        let key = private_key(&files.key, key)?;
        check_order(&files.cert, &certificate, &signers)?;
        if !certificate.public_key().is_ok_and(|public| public.public_eq(&key)) {
            return Err(TlsError::Misfit { cert: file(), key: files.key.clone() });
        }
        let pair = Self { names: names(&certificate), certificate, signers, key };
        for (place, certificate) in pair.shown() {
            check_strength(&files.cert, place, certificate)?;
        }
        Ok(pair)
    }

    /// That each of its certificates is valid now.
    pub(super) fn check_time(&self, files: &CertificateFiles, now: SystemTime) -> Result<(), TlsError> {
        let file = || files.cert.clone();
        for (place, certificate) in self.shown() {
            let (start, end) = (time(certificate.not_before()), time(certificate.not_after()));
            if now < start {
                return Err(TlsError::NotYetValid { file: file(), place, start });
            }
            if now >= end {
                return Err(TlsError::Expired { file: file(), place, end });
            }
        }
        Ok(())
    }

    /// When the first of its certificates ends.
    pub(super) fn not_after(&self) -> SystemTime {
        let ends = self.shown().map(|(_, certificate)| time(certificate.not_after()));
        ends.min().unwrap_or(UNIX_EPOCH)
    }

    /// DNS names in small letters, and IP addresses; of a certificate that has neither, its common name.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn key(&self) -> &PKey<Private> {
        &self.key
    }

    /// The certificate first.
    pub(super) fn chain(&self) -> impl Iterator<Item = &X509> {
        std::iter::once(&self.certificate).chain(&self.signers)
    }

    /// Has it shown in handshakes.
    pub(super) fn put_into(&self, context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
        context.set_certificate(&self.certificate)?;
        for signer in &self.signers {
            context.add_extra_chain_cert(signer.clone())?;
        }
        context.set_private_key(&self.key)?;
        context.check_private_key()
    }

    /// The certificates that somebody checks, counted from 1. A root that is sent along is not: who trusts it has it, and
    /// trusts it by itself.
    fn shown(&self) -> impl Iterator<Item = (usize, &X509)> {
        let is_root = |certificate: &X509| certificate.issued(certificate) == X509VerifyResult::OK;
        let signers = self.signers.iter().filter(move |signer| !is_root(signer));
        (1..).zip(std::iter::once(&self.certificate).chain(signers))
    }
}

fn private_key(file: &Path, pem: &[u8]) -> Result<PKey<Private>, TlsError> {
    let mut is_asked = false;
    // Without a callback OpenSSL asks at the terminal.
    let key = PKey::private_key_from_pem_callback(pem, |_| {
        is_asked = true;
        Err(ErrorStack::get())
    });
    let file = || file.to_owned();
    key.map_err(|why| {
        if is_asked {
            return TlsError::PassPhrase(file());
        }
        let is_there = memchr::memmem::find(pem, b"PRIVATE KEY-----").is_some();
        if is_there { TlsError::DamagedKey { file: file(), why } } else { TlsError::NoKey(file()) }
    })
}

/// Each has to be signed by the next.
fn check_order(file: &Path, certificate: &X509, signers: &[X509]) -> Result<(), TlsError> {
    let signed = std::iter::once(certificate).chain(signers);
    for ((place, certificate), signer) in (1..).zip(signed).zip(signers) {
        if !has_signed(signer, certificate) {
            return Err(TlsError::Order { file: file.to_owned(), place });
        }
    }
    Ok(())
}

fn has_signed(signer: &X509Ref, certificate: &X509Ref) -> bool {
    let by_its_key = || signer.public_key().and_then(|key| certificate.verify(&key)).unwrap_or(false);
    signer.issued(certificate) == X509VerifyResult::OK && by_its_key()
}

fn check_strength(file: &Path, place: usize, certificate: &X509Ref) -> Result<(), TlsError> {
    let file = || file.to_owned();
    let damaged = |why| TlsError::DamagedCertificate { file: file(), why };
    let key = certificate.public_key().map_err(damaged)?;
    if is_weak(&key) {
        return Err(TlsError::WeakKey { file: file(), place, bits: key.bits() });
    }
    let signature = certificate.signature_algorithm().object().nid().signature_algorithms();
    match signature.map(|signature| signature.digest) {
        Some(Nid::MD5) => Err(TlsError::WeakSignature { file: file(), place, digest: "MD5" }),
        Some(Nid::SHA1) => Err(TlsError::WeakSignature { file: file(), place, digest: "SHA-1" }),
        _ => Ok(()),
    }
}

/// OpenSSL's security level 2: as strong as 112 bits.
fn is_weak(key: &PKeyRef<Public>) -> bool {
    let least = match key.id() {
        Id::RSA | Id::RSA_PSS => 2048,
        Id::EC => 224,
        _ => 0,
    };
    key.bits() < least
}

fn names(certificate: &X509Ref) -> Vec<String> {
    let mut names: Vec<String> = certificate
        .subject_alt_names()
        .into_iter()
        .flatten()
        .filter_map(|name| {
            let address = || name.ipaddress().and_then(address).map(|address| address.to_string());
            name.dnsname().map(plain).or_else(address)
        })
        .collect();
    if names.is_empty() {
        let common = certificate.subject_name().entries_by_nid(Nid::COMMONNAME);
        names.extend(common.filter_map(|entry| entry.data().to_string().ok()).map(|name| plain(&name)));
    }
    names
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4().or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// What is before 1970 is taken for 1970.
pub(super) fn time(time: &Asn1TimeRef) -> SystemTime {
    const DAY: u64 = 24 * 60 * 60;
    let since = Asn1Time::from_unix(0).and_then(|epoch| epoch.diff(time));
    let Ok(since) = since else { return UNIX_EPOCH };
    let [days, seconds] = [since.days, since.secs].map(|part| u64::try_from(part).unwrap_or(0));
    UNIX_EPOCH + Duration::from_secs(days * DAY + seconds)
}
