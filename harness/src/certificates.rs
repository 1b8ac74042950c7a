//! Authorities, and the certificates that they sign: whatever a test wants in them.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use openssl::{
    asn1::Asn1Time,
    hash::MessageDigest,
    pkey::{PKey, Private},
    rsa::Rsa,
    x509::{X509, X509Name},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use serde_json::{Value, json};

use crate::users::write_secret;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// An authority that signs certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    /// What those show whom it signs: its own certificate and those above it, but for the topmost, which clients have.
    shown: Vec<String>,
}

/// What a certificate is to say. It is a server's and a client's.
#[derive(Clone, Debug)]
pub struct Wanted {
    subject: String,
    names: Vec<String>,
    uris: Vec<String>,
    emails: Vec<String>,
    from: SystemTime,
    until: SystemTime,
    /// None: its key is of an elliptic curve, P-256.
    rsa_bits: Option<u32>,
}

/// A certificate with its chain, and its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// In PEM: the certificate, then those that have signed it.
    pub chain: Vec<String>,
    /// In PEM.
    pub key: String,
    /// Its number, by which its authority takes it back.
    pub serial: u64,
}

/// Where a certificate with its chain is, and its key.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The certificate's, and its chain's.
    pub cert: PathBuf,
    /// The key's.
    pub key: PathBuf,
}

impl Authority {
    /// One that nobody has signed.
    ///
    /// # Errors
    /// When OpenSSL or rcgen cannot make it.
    pub fn new(name: &str) -> Result<Self> {
        let (parameters, key) = (authority(name)?, KeyPair::generate()?);
        let pem = parameters.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(parameters, key), pem, shown: Vec::new() })
    }

    /// One that this one has signed.
    ///
    /// # Errors
    /// As [`Authority::new`].
    pub fn below(&self, name: &str) -> Result<Self> {
        let (parameters, key) = (authority(name)?, KeyPair::generate()?);
        let pem = parameters.signed_by(&key, &self.issuer)?.pem();
        let shown = [std::slice::from_ref(&pem), &self.shown].concat();
        Ok(Self { issuer: Issuer::new(parameters, key), pem, shown })
    }

    /// Its certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Its certificate, in a file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        replace(path, &self.pem)
    }

    /// A server's certificate for these names, DNS names or addresses.
    ///
    /// # Errors
    /// When one of them cannot be a name.
    pub fn server(&self, names: &[&str]) -> Result<Certificate> {
        self.sign(&Wanted::named(names))
    }

    /// A certificate that says this.
    ///
    /// # Errors
    /// When it cannot be said in one.
    pub fn sign(&self, wanted: &Wanted) -> Result<Certificate> {
        let key = match wanted.rsa_bits {
            Some(bits) => KeyPair::from_pem(&pem_of(&PKey::from_rsa(Rsa::generate(bits)?)?)?)?,
            None => KeyPair::generate()?,
        };
        let serial = fastrand::u64(1..=u64::MAX / 2);
        let mut parameters = wanted.parameters()?;
        parameters.serial_number = Some(SerialNumber::from(serial));
        let own = parameters.signed_by(&key, &self.issuer)?.pem();
        let chain = [&[own], &self.shown[..]].concat();
        Ok(Certificate { chain, key: key.serialize_pem(), serial })
    }

    /// A list of what it has signed and takes back, in PEM. It holds for a day.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn revoking(&self, revoked: &[&Certificate]) -> Result<String> {
        self.revoking_until(revoked, SystemTime::now() + DAY)
    }

    /// The same, and it holds until this time, from 9 days ago.
    ///
    /// # Errors
    /// As [`Self::revoking`].
    pub fn revoking_until(&self, revoked: &[&Certificate], end: SystemTime) -> Result<String> {
        let now = SystemTime::now();
        let revoked = revoked.iter().map(|certificate| RevokedCertParams {
            serial_number: SerialNumber::from(certificate.serial),
            revocation_time: (now - DAY).into(),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: (now - 9 * DAY).into(),
            next_update: end.into(),
            crl_number: SerialNumber::from(fastrand::u64(1..=u64::MAX / 2)),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }
}

fn pem_of(key: &PKey<Private>) -> Result<String> {
    Ok(String::from_utf8(key.private_key_to_pem_pkcs8()?)?)
}

fn authority(name: &str) -> Result<CertificateParams> {
    let mut parameters = CertificateParams::new(Vec::new())?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    parameters.use_authority_key_identifier_extension = true;
    parameters.distinguished_name.push(DnType::CommonName, name);
    Ok(parameters)
}

impl Wanted {
    /// For these names, the first of which is its subject's. It holds from yesterday on, for 90 days.
    pub fn named(names: &[&str]) -> Self {
        let now = SystemTime::now();
        Self {
            subject: names.first().copied().unwrap_or_default().to_owned(),
            names: names.iter().map(|&name| name.to_owned()).collect(),
            uris: Vec::new(),
            emails: Vec::new(),
            from: now - DAY,
            until: now + 90 * DAY,
            rsa_bits: None,
        }
    }

    /// For somebody who is no host.
    pub fn subject(name: &str) -> Self {
        Self { subject: name.to_owned(), ..Self::named(&[]) }
    }

    /// With this URI, such as SPIFFE's.
    pub fn uri(mut self, uri: &str) -> Self {
        self.uris.push(uri.to_owned());
        self
    }

    /// With this address of mail.
    pub fn email(mut self, email: &str) -> Self {
        self.emails.push(email.to_owned());
        self
    }

    /// With an RSA key of so many bits: 2,048 at least.
    pub fn rsa(mut self, bits: u32) -> Self {
        self.rsa_bits = Some(bits);
        self
    }

    /// From this time on.
    pub fn from(mut self, time: SystemTime) -> Self {
        self.from = time;
        self
    }

    /// Until this time.
    pub fn until(mut self, time: SystemTime) -> Self {
        self.until = time;
        self
    }

    fn parameters(&self) -> Result<CertificateParams> {
        let mut parameters = CertificateParams::new(self.names.clone())?;
        for uri in &self.uris {
            parameters.subject_alt_names.push(SanType::URI(uri.as_str().try_into()?));
        }
        for email in &self.emails {
            parameters.subject_alt_names.push(SanType::Rfc822Name(email.as_str().try_into()?));
        }
        parameters.distinguished_name.push(DnType::CommonName, self.subject.as_str());
        parameters.use_authority_key_identifier_extension = true;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (parameters.not_before, parameters.not_after) = (self.from.into(), self.until.into());
        Ok(parameters)
    }
}

impl Certificate {
    /// One that has signed itself, with an RSA key of so many bits. rcgen makes none that is weak.
    ///
    /// # Errors
    /// When OpenSSL cannot make it.
    pub fn rsa(name: &str, bits: u32) -> Result<Self> {
        let key = PKey::from_rsa(Rsa::generate(bits)?)?;
        let mut subject = X509Name::builder()?;
        subject.append_entry_by_text("CN", name)?;
        let subject = subject.build();
        let mut certificate = X509::builder()?;
        certificate.set_version(2)?;
        certificate.set_subject_name(&subject)?;
        certificate.set_issuer_name(&subject)?;
        certificate.set_not_before(Asn1Time::days_from_now(0)?.as_ref())?;
        certificate.set_not_after(Asn1Time::days_from_now(90)?.as_ref())?;
        certificate.set_pubkey(&key)?;
        let names = openssl::x509::extension::SubjectAlternativeName::new()
            .dns(name)
            .build(&certificate.x509v3_context(None, None))?;
        certificate.append_extension(names)?;
        certificate.sign(&key, MessageDigest::sha256())?;
        let pem = String::from_utf8(certificate.build().to_pem()?)?;
        Ok(Self { chain: vec![pem], key: pem_of(&key)?, serial: 0 })
    }

    /// The certificate and its chain, in one PEM.
    pub fn pem(&self) -> String {
        self.chain.concat()
    }

    /// The SHA-256 of its DER, in hexadecimal digits.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn fingerprint(&self) -> Result<String> {
        let own = X509::from_pem(self.chain[0].as_bytes())?;
        fingerprint(&own)
    }

    /// Its files in this directory, by this name.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, directory: &Path, name: &str) -> Result<CertificateFiles> {
        let files = CertificateFiles {
            cert: directory.join(format!("{name}.pem")),
            key: directory.join(format!("{name}.key")),
        };
        files.replace(self)?;
        Ok(files)
    }
}

/// The SHA-256 of a certificate's DER, in hexadecimal digits.
///
/// # Errors
/// When OpenSSL cannot tell.
pub fn fingerprint(certificate: &openssl::x509::X509Ref) -> Result<String> {
    let digest = certificate.digest(MessageDigest::sha256())?;
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl CertificateFiles {
    /// Puts another certificate in the place of this one, first the key: each file at once, not both.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn replace(&self, by: &Certificate) -> Result<()> {
        replace(&self.key, &by.key)?;
        replace(&self.cert, &by.pem())
    }

    /// As a gateway's configuration names them.
    pub fn json(&self) -> Value {
        json!({ "cert": self.cert, "key": self.key })
    }
}

/// Puts a new file that says this in the place of the one before at once. Nobody else may read it.
///
/// # Errors
/// When it cannot be written.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let aside = path.with_extension(format!("{:016x}", fastrand::u64(..)));
    write_secret(&aside, text)?;
    fs::rename(&aside, path).with_context(|| format!("renaming {}", aside.display()))
}
