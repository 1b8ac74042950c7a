//! Instances that speak TLS, for the tests of others: in earnest, on loopback.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use openssl::ssl::{Ssl, SslAcceptor, SslAcceptorBuilder, SslContext, SslFiletype, SslMethod, SslVerifyMode};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_openssl::SslStream;

use crate::config::{CertificateFiles, ServiceTls};

/// An authority, and the files of what it has signed.
pub(crate) struct Realm {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Realm {
    pub(crate) fn new(name: &str) -> Self {
        let (directory, key) = (TempDir::new().unwrap(), KeyPair::generate().unwrap());
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        parameters.distinguished_name.push(DnType::CommonName, name);
        std::fs::write(directory.path().join("ca.pem"), parameters.self_signed(&key).unwrap().pem()).unwrap();
        Self { directory, issuer: Issuer::new(parameters, key) }
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Whoever was signed here is trusted, and nobody else.
    pub(crate) fn trusted(&self) -> ServiceTls {
        ServiceTls { ca: Some(self.ca()), ..ServiceTls::default() }
    }

    /// A certificate for this name or IP address.
    pub(crate) fn sign(&self, name: &str) -> CertificateFiles {
        self.sign_with(name, |_| ())
    }

    /// The same, but it has expired.
    pub(crate) fn sign_expired(&self, name: &str) -> CertificateFiles {
        self.sign_with(name, |parameters| parameters.not_after = date_time_ymd(2001, 1, 1))
    }

    fn sign_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateFiles {
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        parameters.use_authority_key_identifier_extension = true;
        change(&mut parameters);
        let key_pair = KeyPair::generate().unwrap();
        let path = |kind: &str| self.directory.path().join(format!("{name}.{kind}"));
        let (cert, key) = (path("pem"), path("key"));
        std::fs::write(&cert, parameters.signed_by(&key_pair, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(&key, key_pair.serialize_pem()).unwrap();
        CertificateFiles { cert, key }
    }
}

/// What its handshakes go by.
pub(crate) fn context(
    certificate: &CertificateFiles,
    set: impl FnOnce(&mut SslAcceptorBuilder),
) -> SslContext {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    builder.set_certificate_chain_file(&certificate.cert).unwrap();
    builder.set_private_key_file(&certificate.key, SslFiletype::PEM).unwrap();
    builder.set_session_id_context(b"test").unwrap();
    set(&mut builder);
    builder.build().into_context()
}

/// An instance, which answers requests of HTTP/1 under TLS.
pub(crate) struct Instance {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    task: AbortHandle,
}

#[derive(Default)]
struct Seen {
    handshakes: AtomicUsize,
    /// Of clients that have gone on with a session.
    resumed: AtomicUsize,
    /// Of clients that have shown a certificate.
    shown: AtomicUsize,
}

impl Instance {
    pub(crate) async fn new(certificate: &CertificateFiles) -> Self {
        Self::with(certificate, |_| ()).await
    }

    /// One that demands a certificate that this authority has signed.
    pub(crate) async fn demanding(certificate: &CertificateFiles, realm: &Realm) -> Self {
        let ca = realm.ca();
        let demand = |builder: &mut SslAcceptorBuilder| {
            builder.set_ca_file(ca).unwrap();
            builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        };
        Self::with(certificate, demand).await
    }

    pub(crate) async fn with(
        certificate: &CertificateFiles,
        set: impl FnOnce(&mut SslAcceptorBuilder),
    ) -> Self {
        let context = context(certificate, set);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let noted = seen.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let ssl = Ssl::new(&context).unwrap();
                tokio::spawn(serve(SslStream::new(ssl, stream).unwrap(), noted.clone()));
            }
        });
        Self { address, seen, task: task.abort_handle() }
    }

    /// Handshakes that have come to their end.
    pub(crate) fn handshakes(&self) -> usize {
        self.seen.handshakes.load(Ordering::SeqCst)
    }

    /// Of these, those that went on with a session.
    pub(crate) fn resumed(&self) -> usize {
        self.seen.resumed.load(Ordering::SeqCst)
    }

    /// Of these, those of clients that have shown a certificate.
    pub(crate) fn shown(&self) -> usize {
        self.seen.shown.load(Ordering::SeqCst)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: SslStream<TcpStream>, seen: Arc<Seen>) {
    if Pin::new(&mut stream).accept().await.is_err() {
        return;
    }
    seen.handshakes.fetch_add(1, Ordering::SeqCst);
    seen.resumed.fetch_add(stream.ssl().session_reused().into(), Ordering::SeqCst);
    seen.shown.fetch_add(stream.ssl().peer_certificate().is_some().into(), Ordering::SeqCst);
    while let Some(head) = read_head(&mut stream).await {
        if !answer(&mut stream, &head).await {
            return;
        }
    }
}

async fn read_head(stream: &mut SslStream<TcpStream>) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap().to_ascii_lowercase())
}

/// Echoes a body, whose length the head says. False: the connection is over.
async fn answer(stream: &mut SslStream<TcpStream>, head: &str) -> bool {
    let path = head.split(' ').nth(1).unwrap();
    match path {
        "/cut" | "/ends" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf of it").await.unwrap();
            if path == "/cut" {
                // The end of the connection, and TLS has not said that it is one.
                stream.get_mut().shutdown().await.unwrap();
            } else {
                stream.shutdown().await.unwrap();
            }
            false
        }
        _ => {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.map_or(0, |length| length.parse().unwrap());
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.is_ok() && stream.write_all(&body).await.is_ok()
        }
    }
}

/// A file in another's place that hangs: whoever opens it waits until somebody writes.
pub(crate) struct Hanging(PathBuf);

impl Hanging {
    pub(crate) fn at(path: &Path) -> Self {
        let _ = std::fs::remove_file(path);
        mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        Self(path.to_owned())
    }

    /// Whoever waits, or comes next, finds nothing in it; then it is gone.
    pub(crate) fn end(self) {
        drop(OpenOptions::new().write(true).open(&self.0).unwrap());
        std::fs::remove_file(&self.0).unwrap();
    }
}

impl Drop for Hanging {
    /// A test that fails does not wait for whoever waits.
    fn drop(&mut self) {
        drop(OpenOptions::new().read(true).write(true).open(&self.0));
    }
}
