//! A client's side of a handshake.

use std::{fmt, io, net::SocketAddr, pin::Pin};

use anyhow::Result;
use openssl::{
    error::ErrorStack,
    pkey::PKey,
    ssl::{SslContext, SslContextBuilder, SslMethod, SslVerifyMode, SslVersion},
    x509::{X509, store::X509StoreBuilder},
};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use super::Link;
use crate::certificates::Certificate;

/// As ALPN writes it.
const HTTP_2: &[u8] = b"\x02h2";

/// How a client shakes hands.
#[derive(Clone)]
pub struct TlsClient {
    context: SslContext,
    /// What it asks for (SNI); none: for nothing.
    name: Option<String>,
    /// Whether the certificate must have that name.
    is_strict: bool,
    /// Whether it offers HTTP/2, and nothing else.
    speaks_http2: bool,
    /// None: whichever the context has.
    version: Option<SslVersion>,
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TlsClient").field("name", &self.name).finish_non_exhaustive()
    }
}

impl TlsClient {
    /// One that trusts this authority alone, in PEM, and asks for no name.
    ///
    /// # Errors
    /// When there is no such authority.
    pub fn new(ca: &str) -> Result<Self> {
        Self::with(ca, |_| Ok(()))
    }

    /// The same, with settings of OpenSSL's: versions, groups, ciphers.
    ///
    /// # Errors
    /// When there is no such authority, or OpenSSL does not know of such a setting.
    pub fn with(
        ca: &str,
        set: impl FnOnce(&mut SslContextBuilder) -> Result<(), ErrorStack>,
    ) -> Result<Self> {
        let mut builder = SslContext::builder(SslMethod::tls_client())?;
        let mut trusted = X509StoreBuilder::new()?;
        for certificate in X509::stack_from_pem(ca.as_bytes())? {
            trusted.add_cert(certificate)?;
        }
        builder.set_cert_store(trusted.build());
        builder.set_verify(SslVerifyMode::PEER);
        set(&mut builder)?;
        Ok(Self {
            context: builder.build(),
            name: None,
            is_strict: false,
            speaks_http2: false,
            version: None,
        })
    }

    /// One that also shows this certificate.
    ///
    /// # Errors
    /// When there is no such authority, or the key is another one's.
    pub fn showing(ca: &str, certificate: &Certificate) -> Result<Self> {
        let own = X509::from_pem(certificate.chain[0].as_bytes())?;
        let key = PKey::private_key_from_pem(certificate.key.as_bytes())?;
        Self::with(ca, |builder| {
            builder.set_certificate(&own)?;
            for above in &certificate.chain[1..] {
                builder.add_extra_chain_cert(X509::from_pem(above.as_bytes())?)?;
            }
            builder.set_private_key(&key)?;
            builder.check_private_key()
        })
    }

    /// It asks for this name, and the certificate must have it.
    pub fn asking_for(&self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), is_strict: true, ..self.clone() }
    }

    /// It asks for this name, and takes a certificate that has another one.
    pub fn naming(&self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), is_strict: false, ..self.clone() }
    }

    /// It speaks this version, and no other.
    pub fn speaking(&self, version: SslVersion) -> Self {
        Self { version: Some(version), ..self.clone() }
    }

    /// It offers HTTP/2 (ALPN), and nothing else.
    pub fn speaking_http2(&self) -> Self {
        Self { speaks_http2: true, ..self.clone() }
    }

    /// Connects, and shakes hands.
    ///
    /// # Errors
    /// When the connect fails, or the handshake; the error says why, in OpenSSL's words.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<Link> {
        self.over(TcpStream::connect(address).await?).await
    }

    /// Shakes hands on a connection that is open.
    ///
    /// # Errors
    /// When it fails.
    pub async fn over(&self, stream: TcpStream) -> io::Result<Link> {
        stream.set_nodelay(true)?;
        let mut ssl = openssl::ssl::Ssl::new(&self.context)?;
        if let Some(name) = &self.name {
            ssl.set_hostname(name)?;
            if self.is_strict {
                ssl.param_mut().set_host(name)?;
            }
        }
        if self.speaks_http2 {
            ssl.set_alpn_protos(HTTP_2)?;
        }
        if self.version.is_some() {
            ssl.set_min_proto_version(self.version)?;
            ssl.set_max_proto_version(self.version)?;
        }
        let mut stream = SslStream::new(ssl, stream)?;
        Pin::new(&mut stream).connect().await.map_err(io::Error::other)?;
        Ok(stream.into())
    }

    /// What a client sends first, in TLS's records.
    ///
    /// # Errors
    /// When OpenSSL writes nothing.
    pub fn hello(&self) -> Result<Vec<u8>> {
        let mut ssl = openssl::ssl::Ssl::new(&self.context)?;
        if let Some(name) = &self.name {
            ssl.set_hostname(name)?;
        }
        match ssl.connect(Written::default()) {
            Err(openssl::ssl::HandshakeError::WouldBlock(stream)) => Ok(stream.get_ref().0.clone()),
            other => anyhow::bail!("a client that gets no answer says {other:?}"),
        }
    }
}

/// A connection to nobody: it keeps what is written.
#[derive(Debug, Default)]
struct Written(Vec<u8>);

impl io::Read for Written {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
