//! From connection settings to a client: TLS, user, keepalive, deadlines.
//!
//! A client holds one connection to one endpoint. After a failure the next client goes to the next
//! endpoint, and reads password and certificates again: a rotated file needs no restart. (etcd-client
//! can balance over several endpoints itself, but then k of n dead members fail k/n of all calls.)

use std::fmt;
use std::future::Future;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error as EtcdError, OpenSslClientConfig};
use openssl::ssl::{SslConnectorBuilder, SslFiletype};

/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// HTTP/2 pings that find a dead peer: one every 6 s of silence, 4 s for its answer. Only while a
/// stream is open: etcd answers pings on an idle connection with GOAWAY (too_many_pings).
const PING: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(4));
/// How long a call may take before it counts as failed.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How to reach the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// `http://host:port` or `https://host:port`, one per member; at least one.
    pub endpoints: Vec<String>,
    /// The user to authenticate as, if the registry has users.
    pub user: Option<User>,
    /// Certificates, if an endpoint is `https://` and the system's are not what is wanted.
    pub tls: Option<Tls>,
}

/// A user of the registry. The password is in a file, read at each connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's name.
    pub name: String,
    /// The file that holds the password; white space at its end is ignored.
    pub password_file: PathBuf,
}

/// Certificate files in PEM, read at each connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Authorities that may have signed the registry's certificate; the system's if absent.
    pub ca: Option<PathBuf>,
    /// Our certificate, with its chain.
    pub cert: Option<PathBuf>,
    /// The key of our certificate.
    pub key: Option<PathBuf>,
}

impl Connection {
    /// A connection without user and certificates.
    pub fn to<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> Self {
        Self { endpoints: endpoints.into_iter().map(Into::into).collect(), user: None, tls: None }
    }
}

/// A call to the registry that failed: what was attempted, where, and why.
#[derive(Debug, thiserror::Error)]
#[error("could not {attempt} at {endpoint}: {cause}")]
pub struct CallError {
    /// What was attempted: "list the registrations".
    pub attempt: &'static str,
    /// The endpoint that it was attempted at.
    pub endpoint: String,
    /// What went wrong.
    pub cause: Cause,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The registry answered with an error, or could not be reached.
    #[error("{}", Described(.0))]
    Etcd(EtcdError),
    /// No answer came in time.
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    /// The password file cannot be read.
    #[error("cannot read the password file {0}: {1}")]
    Password(PathBuf, std::io::Error),
    /// The connection broke after it was opened, and we had shown a certificate. With TLS 1.3 a server
    /// refuses one after the handshake, and its reason is lost on the way through the HTTP/2 client.
    #[error("{}: perhaps the registry does not accept our certificate {}", Described(.error), .certificate.display())]
    BrokenTls {
        /// How it broke.
        error: EtcdError,
        /// The certificate that was shown.
        certificate: PathBuf,
    },
    /// The peer ended the stream.
    #[error("the stream was closed")]
    Closed,
}

impl Cause {
    /// Whether the registry said that the lease does not exist (any more).
    pub(crate) fn is_lease_gone(&self) -> bool {
        match self {
            Cause::Etcd(EtcdError::GRpcStatus(s)) => s.message() == "etcdserver: requested lease not found",
            // etcd-client's own words for an answered TTL of 0.
            Cause::Etcd(EtcdError::LeaseKeepAliveError(text)) => text == "lease not found",
            _ => false,
        }
    }

    /// Whether the registry said that the key does not exist.
    pub(crate) fn is_key_missing(&self) -> bool {
        matches!(self, Cause::Etcd(EtcdError::GRpcStatus(s)) if s.message() == "etcdserver: key not found")
    }

    fn is_authentication_off(&self) -> bool {
        matches!(self, Cause::Etcd(EtcdError::GRpcStatus(s))
            if s.message() == "etcdserver: authentication is not enabled")
    }
}

/// An etcd-client error in a person's words: the status's message and the innermost cause, without
/// the dump of codes and metadata that its own `Display` gives.
struct Described<'a>(&'a EtcdError);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EtcdError::GRpcStatus(status) = self.0 else {
            return self.0.fmt(f);
        };
        f.write_str(status.message())?;
        let mut innermost = None;
        let mut source = std::error::Error::source(status);
        while let Some(error) = source {
            innermost = Some(error);
            source = error.source();
        }
        match innermost.map(ToString::to_string) {
            Some(text) if !status.message().contains(&text) => write!(f, ": {text}"),
            _ => Ok(()),
        }
    }
}

/// Makes clients, each to the next endpoint.
#[derive(Debug)]
pub struct Connector {
    connection: Connection,
    next: usize,
    warned_authentication_off: bool,
}

impl Connector {
    /// Starts at a random endpoint, so that many processes do not all hold on to the first member.
    pub fn new(connection: Connection) -> Self {
        let next = fastrand::usize(..connection.endpoints.len().max(1));
        Self { connection, next, warned_authentication_off: false }
    }

    /// Opens a client to the next endpoint and authenticates. Without a user nothing is sent yet, so an
    /// endpoint that is down shows at the first call.
    pub async fn connect(&mut self, deadline: Duration) -> Result<Link, CallError> {
        let endpoints = &self.connection.endpoints;
        let endpoint = endpoints.get(self.next % endpoints.len().max(1)).cloned().unwrap_or_default();
        self.next = self.next.wrapping_add(1);
        let fail = |cause| CallError { attempt: "connect", endpoint: endpoint.clone(), cause };
        let user = self.read_user().map_err(fail)?;
        let client = match self.open(&endpoint, user, deadline).await {
            // As Go's client does: carry on without a token.
            Err(cause) if cause.is_authentication_off() => {
                if !std::mem::replace(&mut self.warned_authentication_off, true) {
                    tracing::warn!(
                        endpoint,
                        "a user is configured, but the registry has authentication off: carrying on without"
                    );
                }
                self.open(&endpoint, None, deadline).await
            }
            other => other,
        };
        let certificate = self.connection.tls.as_ref().and_then(|tls| tls.cert.clone());
        Ok(Link { client: client.map_err(fail)?, endpoint, certificate })
    }

    fn read_user(&self) -> Result<Option<(String, String)>, Cause> {
        let Some(User { name, password_file }) = &self.connection.user else {
            return Ok(None);
        };
        let password =
            std::fs::read_to_string(password_file).map_err(|e| Cause::Password(password_file.clone(), e))?;
        Ok(Some((name.clone(), password.trim_end().to_owned())))
    }

    async fn open(
        &self,
        endpoint: &str,
        user: Option<(String, String)>,
        deadline: Duration,
    ) -> Result<Client, Cause> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_keep_alive(PING.0, PING.1)
            .with_keep_alive_while_idle(false)
            // A member that lost its leader must say so instead of serving an old picture.
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some((name, password)) = user {
            options = options.with_user(name, password);
        }
        if let Some(tls) = self.connection.tls.clone() {
            let config = OpenSslClientConfig::default().manually(|b| load_certificates(b, &tls));
            options = options.with_openssl_tls(config);
        }
        let client = Client::connect([endpoint], Some(options));
        match tokio::time::timeout(deadline, client).await {
            Ok(client) => client.map_err(Cause::Etcd),
            Err(_) => Err(Cause::Deadline(deadline)),
        }
    }
}

fn load_certificates(builder: &mut SslConnectorBuilder, tls: &Tls) -> Result<(), openssl::error::ErrorStack> {
    if let Some(ca) = &tls.ca {
        builder.set_ca_file(ca)?;
    }
    if let (Some(cert), Some(key)) = (&tls.cert, &tls.key) {
        builder.set_certificate_chain_file(cert)?;
        builder.set_private_key_file(key as &Path, SslFiletype::PEM)?;
    }
    Ok(())
}

/// A client and the endpoint that it talks to.
pub struct Link {
    /// The client.
    pub client: Client,
    /// Its endpoint, for errors and logs.
    pub endpoint: String,
    /// The certificate that it shows.
    certificate: Option<PathBuf>,
}

impl Link {
    /// Awaits a call under a deadline, and says in its error what was attempted.
    pub async fn call<T>(
        &self,
        attempt: &'static str,
        deadline: Duration,
        call: impl Future<Output = Result<T, EtcdError>>,
    ) -> Result<T, CallError> {
        let cause = match tokio::time::timeout(deadline, call).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => self.cause(error),
            Err(_) => Cause::Deadline(deadline),
        };
        Err(CallError { attempt, endpoint: self.endpoint.clone(), cause })
    }
}

impl Link {
    fn cause(&self, error: EtcdError) -> Cause {
        match self.certificate.clone() {
            Some(certificate) if broke_after_connect(&error) => Cause::BrokenTls { error, certificate },
            _ => Cause::Etcd(error),
        }
    }
}

/// Whether a connection was there and broke: an answer of the registry's has no source, and a connection
/// that was never there says so in its own way.
fn broke_after_connect(error: &EtcdError) -> bool {
    let EtcdError::GRpcStatus(status) = error else { return false };
    let mut source = std::error::Error::source(status);
    let broke = source.is_some();
    while let Some(error) = source {
        let io = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if matches!(io, Some(ErrorKind::ConnectionRefused | ErrorKind::TimedOut | ErrorKind::HostUnreachable))
        {
            return false;
        }
        source = error.source();
    }
    broke
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_client_goes_to_the_next_endpoint() {
        let connection = Connection::to(["http://127.0.0.1:1", "http://127.0.0.1:2"]);
        let mut connector = Connector::new(connection);
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(connector.connect(CALL_TIMEOUT).await.unwrap().endpoint);
        }
        assert_ne!(seen[0], seen[1]);
        assert_eq!(seen[0], seen[2]);
    }

    #[tokio::test]
    async fn a_missing_password_file_is_named() {
        let mut connection = Connection::to(["http://127.0.0.1:1"]);
        connection.user = Some(User { name: "gateway".into(), password_file: "/nowhere/password".into() });
        let error = Connector::new(connection).connect(CALL_TIMEOUT).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("could not connect at http://127.0.0.1:1"), "{text}");
        assert!(text.contains("/nowhere/password"), "{text}");
    }
}
