//! Certificates that tests make, and handshakes between a listener and clients.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use openssl::ssl::{self, Ssl, SslConnector, SslConnectorBuilder, SslMethod, SslRef};
use openssl::x509::X509;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_openssl::SslStream;

use super::{Expired, HandshakeFailure, ServerTls, Watched};
use crate::config::{CertificateFiles, ListenerTls};

mod bad_input;
mod failures;
mod handshakes;
mod instances;
mod reload;
mod resumption;
mod revocations;

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Who signs.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
}

/// What was signed.
pub(super) struct Signed {
    pub(super) cert: String,
    pub(super) key: String,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        Self::new_with(name, |_| ())
    }

    pub(super) fn new_with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (mut parameters, key) = (Self::parameters(name), KeyPair::generate().unwrap());
        change(&mut parameters);
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(parameters, key), pem }
    }

    /// One below it.
    pub(super) fn intermediate(&self, name: &str) -> Self {
        self.intermediate_with(name, |_| ())
    }

    pub(super) fn intermediate_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (mut parameters, key) = (Self::parameters(name), KeyPair::generate().unwrap());
        change(&mut parameters);
        let pem = parameters.signed_by(&key, &self.issuer).unwrap().pem();
        Self { issuer: Issuer::new(parameters, key), pem }
    }

    fn parameters(name: &str) -> CertificateParams {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters
    }

    pub(super) fn sign(&self, names: &[&str]) -> Signed {
        self.sign_with(names, |_| ())
    }

    pub(super) fn sign_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut parameters = CertificateParams::new(names).unwrap();
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        parameters.use_authority_key_identifier_extension = true;
        change(&mut parameters);
        let key = KeyPair::generate().unwrap();
        let cert = parameters.signed_by(&key, &self.issuer).unwrap().pem();
        Signed { cert, key: key.serialize_pem() }
    }

    /// Its list of these revoked serial numbers.
    pub(super) fn revoke(&self, serials: &[u8]) -> String {
        self.revoke_until(serials, SystemTime::now() + DAY)
    }

    pub(super) fn revoke_until(&self, serials: &[u8], end: SystemTime) -> String {
        self.revoke_with(serials, |parameters| parameters.next_update = end.into())
    }

    pub(super) fn revoke_with(
        &self,
        serials: &[u8],
        change: impl FnOnce(&mut CertificateRevocationListParams),
    ) -> String {
        let revoked = |&serial: &u8| RevokedCertParams {
            serial_number: SerialNumber::from(vec![serial]),
            revocation_time: (SystemTime::now() - DAY).into(),
            reason_code: None,
            invalidity_date: None,
        };
        let mut parameters = CertificateRevocationListParams {
            this_update: (SystemTime::now() - 9 * DAY).into(),
            next_update: (SystemTime::now() + DAY).into(),
            crl_number: SerialNumber::from(vec![1]),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        change(&mut parameters);
        parameters.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// Files of a test.
pub(super) struct Files(TempDir);

impl Files {
    pub(super) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// NAME.pem and NAME.key.
    pub(super) fn pair(&self, name: &str, signed: &Signed) -> CertificateFiles {
        CertificateFiles {
            cert: self.write(&format!("{name}.pem"), &signed.cert),
            key: self.write(&format!("{name}.key"), &signed.key),
        }
    }
}

/// One that asks for no certificate.
pub(super) fn listener(certificates: Vec<CertificateFiles>) -> ListenerTls {
    ListenerTls { certificates, client: None }
}

/// As at the start of a process.
pub(super) fn server(config: &ListenerTls) -> Arc<ServerTls> {
    Arc::new(
        ServerTls::new(config, true, None, Expired::Used, SystemTime::now())
            .map_err(|error| error.to_string())
            .unwrap(),
    )
}

/// A client that trusts this authority alone.
pub(super) fn client(authority: &Authority) -> SslConnectorBuilder {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
    let authority = X509::from_pem(authority.pem.as_bytes()).unwrap();
    builder.set_cert_store(super::authorities::store(&[authority]).unwrap().build());
    builder
}

pub(super) fn ask(client: SslConnectorBuilder, name: &str) -> Ssl {
    client.build().configure().unwrap().into_ssl(name).unwrap()
}

pub(super) type Stream = SslStream<DuplexStream>;

/// What a handshake has come to on both sides. The listener has greeted the client by `greeting`, so that a client of TLS 1.3
/// has its ticket, or the alert that ends it.
pub(super) struct Outcome {
    pub(super) server: Result<Stream, HandshakeFailure>,
    pub(super) client: Result<Stream, ssl::Error>,
}

impl Outcome {
    pub(super) fn server(&self) -> &SslRef {
        self.server.as_ref().unwrap_or_else(|failure| panic!("{failure}")).ssl()
    }

    pub(super) fn client(&self) -> &SslRef {
        self.client.as_ref().unwrap_or_else(|error| panic!("{error}")).ssl()
    }

    pub(super) fn failure(&self) -> &HandshakeFailure {
        match &self.server {
            Ok(_) => panic!("the handshake has not failed"),
            Err(failure) => failure,
        }
    }

    /// The first name of the certificate that the client was shown.
    pub(super) fn shown(&self) -> String {
        let certificate = self.client().peer_certificate().unwrap();
        certificate.subject_alt_names().unwrap()[0].dnsname().unwrap().to_owned()
    }
}

pub(super) async fn handshake(server: Ssl, client: Ssl) -> Outcome {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let mut server = SslStream::new(server, near).unwrap();
    let mut client = SslStream::new(client, far).unwrap();
    let serve = async move {
        match Pin::new(&mut server).accept().await {
            Ok(()) => {
                server.write_all(b"!").await.unwrap();
                Ok(server)
            }
            Err(error) => Err(HandshakeFailure::of(&error, server.ssl())),
        }
    };
    let ask = async move {
        Pin::new(&mut client).connect().await?;
        let _ = client.read(&mut [0]).await;
        Ok(client)
    };
    let (server, client) = tokio::join!(serve, ask);
    Outcome { server, client }
}
