//! How the registry is reached ([`ConnectionSettings`]), and why a call to it failed ([`CallError`]).
//!
//! A registrar or a watch has one connection, to one endpoint. When it finds that broken, the next call opens another
//! to the next endpoint, and reads password and certificates again: a rotated file needs no restart. (etcd-client can
//! balance over several endpoints itself, but then k of n dead members fail k/n of all calls.)

mod authorities;
mod cause;
mod endpoint;
mod exposed;
mod in_process;
mod obstacle;
mod reason;
mod tls;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use etcd_client::{Channel, Client, ConnectOptions, Error as EtcdError};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::sync::Mutex;
use tonic::transport::Endpoint;

pub use authorities::{AuthoritiesError, add_the_systems, authorities};
pub use cause::{CallError, Cause};
pub use endpoint::{EndpointError, host_and_port, parse_endpoint};
pub use exposed::Exposed;
pub use in_process::InProcess;
use in_process::Nearest;
use obstacle::Attempted;
pub use obstacle::Obstacle;
pub use reason::Reason;
use tls::https;

/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// HTTP/2 pings that find a dead peer: one every 6 s of silence, 4 s for its answer. Only while a
/// stream is open: etcd answers pings on an idle connection with GOAWAY (too_many_pings).
const PING: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(4));
/// How long a call may take before it counts as failed: 5 s. (While a registrar holds a lease, its calls get a third
/// of the lease's time.)
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How to reach the registry: where, as whom, and whom to trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// `http://host:port` or `https://host:port`, one per member; at least one. [`parse_endpoint`] says what is one.
    pub endpoints: Vec<String>,
    /// The user to authenticate as, if the registry has users.
    pub user: Option<User>,
    /// Certificates for `https://`, where the system's authorities are not those of the registry, or where it wants to
    /// see one of ours.
    pub tls: Option<Tls>,
    /// The way to a registry that is in this very process, in the place of TCP to its endpoint.
    pub in_process: Option<InProcess>,
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
    /// The authorities of which one must have signed the registry's certificate; none: the system's.
    pub ca: Option<PathBuf>,
    /// The certificate, with its chain, that the registry sees of us. Without `key` it is not shown.
    pub cert: Option<PathBuf>,
    /// The private key of `cert`.
    pub key: Option<PathBuf>,
}

impl ConnectionSettings {
    /// Endpoints alone, without user and certificates.
    pub fn to<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> Self {
        let endpoints = endpoints.into_iter().map(Into::into).collect();
        Self { endpoints, user: None, tls: None, in_process: None }
    }
}

/// The way to the registry. All clones share one connection.
#[derive(Debug, Clone)]
pub(crate) struct Connector(Arc<Mutex<Current>>);

#[derive(Debug)]
struct Current {
    opener: Opener,
    link: Option<Link>,
}

impl Connector {
    /// Nothing is opened yet.
    pub(crate) fn new(settings: ConnectionSettings) -> Self {
        Self(Arc::new(Mutex::new(Current { opener: Opener::new(settings), link: None })))
    }

    /// The current connection. If there is none, or it was found broken, a new one to the next endpoint.
    /// Without a user nothing is sent yet, so an endpoint that is down shows at the first call.
    /// It fails if the password file or the certificates cannot be read, or if the registry refuses the user or does
    /// not answer by the deadline.
    pub(crate) async fn link(&self, deadline: Duration) -> Result<Link, CallError> {
        // Held while connecting, so that all who wait share one login.
        let mut state = self.0.lock().await;
        if let Some(link) = state.link.as_ref().filter(|link| !link.is_broken()) {
            return Ok(link.clone());
        }
        let link = state.opener.open(deadline).await?;
        Ok(state.link.insert(link).clone())
    }
}

/// Opens connections, each to the next endpoint.
#[derive(Debug)]
struct Opener {
    settings: ConnectionSettings,
    /// The place of the next endpoint, counted on beyond their number.
    next: usize,
    warned_authentication_off: bool,
}

impl Opener {
    /// Starts at a random endpoint, so that many processes do not all hold on to the first member.
    fn new(settings: ConnectionSettings) -> Self {
        let next = fastrand::usize(..settings.endpoints.len().max(1));
        Self { settings, next, warned_authentication_off: false }
    }

    async fn open(&mut self, deadline: Duration) -> Result<Link, CallError> {
        let endpoints = &self.settings.endpoints;
        let endpoint = endpoints.get(self.next % endpoints.len().max(1)).cloned().unwrap_or_default();
        self.next = self.next.wrapping_add(1);
        let client = self.log_in(&endpoint, deadline).await;
        let tls = self.settings.tls.clone();
        match client {
            Ok(client) => {
                Ok(Link { client, endpoint, tls, answered: Arc::default(), broken: Arc::default() })
            }
            Err(cause) => Err(CallError { attempt: "connect", endpoint, cause }),
        }
    }

    async fn log_in(&mut self, endpoint: &str, deadline: Duration) -> Result<Client, Cause> {
        let user = self.read_user()?;
        match self.client(endpoint, user, deadline).await {
            // As Go's client does: carry on without a token.
            Err(cause) if cause.reason() == Reason::AuthenticationOff => {
                if !std::mem::replace(&mut self.warned_authentication_off, true) {
                    tracing::warn!(
                        endpoint,
                        "a user is configured, but the registry has authentication off: carrying on without"
                    );
                }
                self.client(endpoint, None, deadline).await
            }
            other => other,
        }
    }

    fn read_user(&self) -> Result<Option<(String, String)>, Cause> {
        let Some(User { name, password_file }) = &self.settings.user else {
            return Ok(None);
        };
        let password =
            std::fs::read_to_string(password_file).map_err(|e| Cause::Password(password_file.clone(), e))?;
        match password.trim_end() {
            "" => Err(Cause::NoPassword(password_file.clone())),
            password => Ok(Some((name.clone(), password.to_owned()))),
        }
    }

    async fn client(
        &self,
        endpoint: &str,
        user: Option<(String, String)>,
        deadline: Duration,
    ) -> Result<Client, Cause> {
        // A member that lost its leader must say so instead of serving an old picture.
        let mut options = ConnectOptions::new().with_require_leader(true).with_auto_token_refresh(true);
        if let Some((name, password)) = user {
            options = options.with_user(name, password);
        }
        let client = Client::from_channel(self.channel(endpoint)?, Some(options));
        match tokio::time::timeout(deadline, client).await {
            Ok(client) => client
                .map_err(|error| Cause::of(error, attempted(endpoint, self.settings.tls.as_ref(), false))),
            Err(_) => Err(Cause::Deadline(deadline)),
        }
    }

    /// Ours rather than etcd-client's own, which leaves Nagle's algorithm on with openssl: a call then
    /// waits up to 40 ms for the acknowledgement of the one before.
    fn channel(&self, endpoint: &str) -> Result<Channel, Cause> {
        let tls = self.settings.tls.as_ref();
        let endpoint = Endpoint::from_shared(endpoint.to_owned()).map_err(|_| Cause::Url)?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1)
            .keep_alive_while_idle(false);
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        if let Some(in_process) = self.settings.in_process.clone() {
            let connector = Nearest { in_process, tcp };
            return Ok(Channel::Tonic(endpoint.connect_with_connector_lazy(connector)));
        }
        // TLS is prepared only for https: that reads the system's authorities, which takes milliseconds each time.
        if endpoint.uri().scheme_str() == Some("http") {
            return Ok(Channel::Tonic(endpoint.connect_with_connector_lazy(tcp)));
        }
        let connector = https(tcp, tls)?;
        Ok(Channel::Tonic(endpoint.connect_with_connector_lazy(connector)))
    }
}

fn attempted<'a>(endpoint: &str, tls: Option<&'a Tls>, answered: bool) -> Attempted<'a> {
    Attempted { encrypted: endpoint.starts_with("https:"), tls, connected: true, answered }
}

/// One connection to one endpoint. Its clones share both flags.
#[derive(Clone)]
pub(crate) struct Link {
    pub client: Client,
    /// For errors and logs.
    pub endpoint: String,
    tls: Option<Tls>,
    /// Whether the registry has answered on it.
    answered: Arc<AtomicBool>,
    /// Whether one of its users has discarded it.
    broken: Arc<AtomicBool>,
}

impl Link {
    /// Whoever asks for a connection from now on gets another one.
    pub(crate) fn discard(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Awaits a call under a deadline, and says in its error what was attempted.
    pub(crate) async fn call<T>(
        &self,
        attempt: &'static str,
        deadline: Duration,
        call: impl Future<Output = Result<T, EtcdError>>,
    ) -> Result<T, CallError> {
        let cause = match tokio::time::timeout(deadline, call).await {
            Ok(Ok(answer)) => {
                self.answered.store(true, Ordering::Relaxed);
                return Ok(answer);
            }
            Ok(Err(error)) => self.cause(error),
            Err(_) => Cause::Deadline(deadline),
        };
        Err(CallError { attempt, endpoint: self.endpoint.clone(), cause })
    }

    /// What an error means on this connection.
    pub(crate) fn cause(&self, error: EtcdError) -> Cause {
        let answered = self.answered.load(Ordering::Relaxed);
        Cause::of(error, attempted(&self.endpoint, self.tls.as_ref(), answered))
    }
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
    async fn all_share_a_connection_until_one_of_them_discards_it() {
        let connection = ConnectionSettings::to(["http://127.0.0.1:1", "http://127.0.0.1:2"]);
        let connector = Connector::new(connection);
        let other = connector.clone();
        let first = connector.link(CALL_TIMEOUT).await.unwrap();
        assert_eq!(other.link(CALL_TIMEOUT).await.unwrap().endpoint, first.endpoint);
        first.discard();
        let second = other.link(CALL_TIMEOUT).await.unwrap();
        assert_ne!(second.endpoint, first.endpoint);
        // Whoever notices late that the first one broke does not take the second one down.
        first.discard();
        assert_eq!(connector.link(CALL_TIMEOUT).await.unwrap().endpoint, second.endpoint);
        second.discard();
        assert_eq!(connector.link(CALL_TIMEOUT).await.unwrap().endpoint, first.endpoint);
    }

    #[tokio::test]
    async fn a_missing_password_file_is_named() {
        let mut connection = ConnectionSettings::to(["http://127.0.0.1:1"]);
        connection.user = Some(User { name: "gateway".into(), password_file: "/nowhere/password".into() });
        let error = Connector::new(connection).link(CALL_TIMEOUT).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("could not connect at http://127.0.0.1:1"), "{text}");
        assert!(text.contains("/nowhere/password"), "{text}");
    }

    #[tokio::test]
    async fn what_is_no_certificate_is_an_error_and_no_panic() {
        let directory = tempfile::tempdir().unwrap();
        let [key, damaged] = ["key.pem", "damaged.pem"].map(|name| directory.path().join(name));
        std::fs::write(&key, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
        std::fs::write(&damaged, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        for (ca, why) in
            [("/nowhere/ca.pem".into(), "No such file"), (key, "has no certificate"), (damaged, "")]
        {
            let tls = Some(Tls { ca: Some(ca.clone()), ..Tls::default() });
            let connection = ConnectionSettings { tls, ..ConnectionSettings::to(["https://127.0.0.1:1"]) };
            let error = Connector::new(connection).link(CALL_TIMEOUT).await.unwrap_err();
            assert!(matches!(error.cause, Cause::Authorities(_)), "{error}");
            let told = error.to_string();
            assert!(told.contains(&format!("cannot use {} for TLS: ", ca.display())), "{told}");
            assert!(told.contains(why), "{told}");
        }
    }
}
