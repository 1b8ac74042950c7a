//! A certificate authority of the test's own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::users::write_secret;

/// PEM files of a certificate authority and two certificates that it signed.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The server's certificate, for 127.0.0.1 and localhost.
    pub server_cert: PathBuf,
    /// The server's private key.
    pub server_key: PathBuf,
    /// A client's certificate.
    pub client_cert: PathBuf,
    /// The client's private key.
    pub client_key: PathBuf,
}

impl TlsFiles {
    /// Makes a new authority and writes all its files into `directory`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn generate(directory: &Path) -> Result<Self> {
        let files = Self {
            ca: directory.join("ca.pem"),
            server_cert: directory.join("server.pem"),
            server_key: directory.join("server.key"),
            client_cert: directory.join("client.pem"),
            client_key: directory.join("client.key"),
        };
        let key = KeyPair::generate()?;
        let authority = authority_parameters()?;
        write_secret(&files.ca, &authority.self_signed(&key)?.pem())?;
        let issuer = Issuer::new(authority, key);
        sign(&issuer, &["127.0.0.1", "localhost"], &files.server_cert, &files.server_key)?;
        sign(&issuer, &["client"], &files.client_cert, &files.client_key)?;
        Ok(files)
    }
}

fn authority_parameters() -> Result<CertificateParams> {
    let mut parameters = CertificateParams::new(Vec::new())?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    parameters.distinguished_name.push(DnType::CommonName, "Test authority");
    Ok(parameters)
}

fn sign(issuer: &Issuer<'_, KeyPair>, names: &[&str], cert: &Path, key: &Path) -> Result<()> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut parameters = CertificateParams::new(names.clone())?;
    let name = names.into_iter().next().context("a certificate needs a name")?;
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.use_authority_key_identifier_extension = true;
    // etcd's own gateway dials etcd with the server's certificate, so that one is a client's as well.
    parameters.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key_pair = KeyPair::generate()?;
    write_secret(cert, &parameters.signed_by(&key_pair, issuer)?.pem())?;
    write_secret(key, &key_pair.serialize_pem())
}
