//! A server's side of a handshake.

use std::{fmt, io, pin::Pin};

use anyhow::Result;
use openssl::{
    pkey::PKey,
    ssl::{
        AlpnError, NameType, Ssl, SslContext, SslContextBuilder, SslMethod, SslVerifyMode, SslVersion,
        select_next_proto,
    },
    x509::{X509, store::X509StoreBuilder},
};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use super::Link;
use crate::certificates::{Certificate, fingerprint};

/// As ALPN writes it.
const HTTP_2: &[u8] = b"\x02h2";

/// How a server shakes hands.
#[derive(Clone)]
pub struct TlsServer {
    context: SslContext,
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TlsServer").finish_non_exhaustive()
    }
}

/// What a client has said in its handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Greeting {
    /// The name that it asked for.
    pub name: Option<String>,
    /// The SHA-256 of the certificate that it showed.
    pub certificate: Option<String>,
}

impl TlsServer {
    /// It shows this certificate, and asks for none.
    ///
    /// # Errors
    /// When the key is another one's.
    pub fn new(certificate: &Certificate) -> Result<Self> {
        Ok(Self { context: context(certificate)?.build() })
    }

    /// The same, and where the client offers HTTP/2, that is spoken.
    ///
    /// # Errors
    /// As [`TlsServer::new`].
    pub fn speaking_http2(certificate: &Certificate) -> Result<Self> {
        let mut builder = context(certificate)?;
        builder.set_alpn_select_callback(|_, offered| {
            select_next_proto(HTTP_2, offered).ok_or(AlpnError::ALERT_FATAL)
        });
        Ok(Self { context: builder.build() })
    }

    /// Clients must show a certificate of this authority's, in PEM.
    ///
    /// # Errors
    /// As [`TlsServer::new`], and when there is no such authority.
    pub fn demanding(certificate: &Certificate, ca: &str) -> Result<Self> {
        let mut builder = context(certificate)?;
        let mut trusted = X509StoreBuilder::new()?;
        trusted.add_cert(X509::from_pem(ca.as_bytes())?)?;
        builder.set_verify_cert_store(trusted.build())?;
        builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        Ok(Self { context: builder.build() })
    }

    /// Shakes hands on a connection that has come.
    ///
    /// # Errors
    /// When the client does not go along.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<(Link, Greeting)> {
        let mut stream = SslStream::new(Ssl::new(&self.context)?, stream)?;
        Pin::new(&mut stream).accept().await.map_err(io::Error::other)?;
        let ssl = stream.ssl();
        let certificate = ssl.peer_certificate().map(|shown| fingerprint(&shown)).transpose();
        let greeting = Greeting {
            name: ssl.servername(NameType::HOST_NAME).map(str::to_owned),
            certificate: certificate.map_err(io::Error::other)?,
        };
        Ok((stream.into(), greeting))
    }
}

fn context(certificate: &Certificate) -> Result<SslContextBuilder> {
    let mut builder = SslContext::builder(SslMethod::tls_server())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    // Whoever asks clients for certificates has to say for what a session is good, or it takes none back.
    builder.set_session_id_context(b"instance")?;
    builder.set_certificate(X509::from_pem(certificate.chain[0].as_bytes())?.as_ref())?;
    for above in &certificate.chain[1..] {
        builder.add_extra_chain_cert(X509::from_pem(above.as_bytes())?)?;
    }
    builder.set_private_key(PKey::private_key_from_pem(certificate.key.as_bytes())?.as_ref())?;
    builder.check_private_key()?;
    Ok(builder)
}
