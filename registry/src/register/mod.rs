//! The registrar: keeps one instance registered until it is told to stop.

mod driver;
mod upkeep;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::connect::{ConnectionSettings, Connector, EndpointError, parse_endpoint};
use crate::contract::{Prefix, Record, RecordError, TooMuchMetadata, check_segment};
use crate::watch::watch_key;
use driver::RegistrarDriver;

/// etcd grants no shorter lease: its minimum follows from its election timeout, and is 2 s by default.
const MIN_TTL: Duration = Duration::from_secs(2);

/// What to register.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The service that the instance is one of: a name that [`check_segment`] takes.
    pub service: String,
    /// The instance's id, unique in the service, such as the host's name: it too must be one that [`check_segment`]
    /// takes.
    pub instance: String,
    /// Address, weight and metadata.
    pub record: Record,
    /// How long the registration outlives the process: the TTL of its lease. At least 2 s, in whole seconds; 3 s by
    /// default. The registry may grant a longer one.
    pub ttl: Duration,
    /// How long [`Registrar::deregister`] waits after the registration was withdrawn, while gateways learn of it. 3 s
    /// by default.
    pub drain: Duration,
}

impl Registration {
    /// A registration with the default weight, TTL and drain time, and no metadata.
    pub fn new(service: impl Into<String>, instance: impl Into<String>, address: SocketAddr) -> Self {
        Self {
            service: service.into(),
            instance: instance.into(),
            record: Record::new(address),
            ttl: Duration::from_secs(3),
            drain: Duration::from_secs(3),
        }
    }

    /// Checks it, and makes its record what every gateway will read.
    fn checked(mut self) -> Result<Self, RegistrationError> {
        check_segment(&self.service).map_err(RegistrationError::Service)?;
        check_segment(&self.instance).map_err(RegistrationError::Instance)?;
        if let Some(why) = self.record.metadata.left_out() {
            return Err(RegistrationError::Metadata(why));
        }
        let value = self.record.encode();
        self.record = Record::decode(value.as_bytes()).map_err(RegistrationError::Record)?;
        if self.ttl < MIN_TTL || self.ttl.subsec_nanos() != 0 {
            return Err(RegistrationError::Ttl(self.ttl));
        }
        Ok(self)
    }
}

/// A registration that no gateway would take.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// The service's name is none.
    #[error("cannot register under this service: {0}")]
    Service(RecordError),
    /// The instance's id is none.
    #[error("cannot register this instance: {0}")]
    Instance(RecordError),
    /// There is more metadata than a gateway keeps.
    #[error("cannot register this record: {0}")]
    Metadata(TooMuchMetadata),
    /// No gateway would take this address or weight.
    #[error("cannot register this record: {0}")]
    Record(RecordError),
    /// No endpoint of the registry is given.
    #[error("cannot register without an endpoint of a registry")]
    NoEndpoint,
    /// The URL of an endpoint is wrong.
    #[error("cannot register at {url:?}: it {error}")]
    Endpoint {
        /// The URL as it was given.
        url: String,
        /// What is wrong with it.
        error: EndpointError,
    },
    /// The TTL is below 2 s, or not in whole seconds.
    #[error("cannot register with a TTL of {0:?}: expected whole seconds, at least {MIN_TTL:?}")]
    Ttl(Duration),
}

/// A running registration. It withdraws itself only through [`Registrar::deregister`]; dropped, it leaves the
/// key to its lease, as a crash would.
#[derive(Debug)]
pub struct Registrar {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    registered: watch::Receiver<bool>,
    drain: Duration,
}

impl Registrar {
    /// Starts to register in a task of its own, and goes on whatever happens to the registry: what goes wrong is
    /// logged, and tried again.
    ///
    /// # Errors
    /// When trying again could not help: a name, the address, the weight, the metadata, the TTL or the URL of an
    /// endpoint is wrong.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(
        connection: ConnectionSettings,
        prefix: Prefix,
        registration: Registration,
    ) -> Result<Self, RegistrationError> {
        let registration = registration.checked()?;
        if connection.endpoints.is_empty() {
            return Err(RegistrationError::NoEndpoint);
        }
        for url in &connection.endpoints {
            parse_endpoint(url).map_err(|error| RegistrationError::Endpoint { url: url.clone(), error })?;
        }
        let drain = registration.drain;
        let (stop, stopped) = oneshot::channel();
        let (report, registered) = watch::channel(false);
        let mut claimed = registered.clone();
        let connector = Connector::new(connection);
        let key = prefix.key(&registration.service, &registration.instance);
        let (own_key, watching) = watch_key(connector.clone(), prefix.clone(), &key);
        let driver = RegistrarDriver::new(connector, prefix, key, registration, report);
        let task = tokio::spawn(async move {
            // The key is watched only once it is registered: until then each put says what it found there. So a
            // thousand registrars that start together ask the registry for half as much.
            let watching = async {
                let _ = claimed.wait_for(|registered| *registered).await;
                watching.run().await;
            };
            tokio::select! {
                () = watching => {}
                () = driver.run(own_key, stopped) => {}
            }
        });
        Ok(Self { stop: Some(stop), task, registered, drain })
    }

    /// Waits until the instance is registered, without a deadline.
    pub async fn registered(&mut self) {
        // An error means that the task has ended: there is nothing left to wait for.
        let _ = self.registered.wait_for(|registered| *registered).await;
    }

    /// Withdraws the registration, within 2 s: if that fails, the key goes when its lease ends. Then waits for
    /// [`Registration::drain`], in which the caller serves on: gateways learn of the withdrawal at once, but requests
    /// may be on their way. Then it is safe to stop.
    pub async fn deregister(mut self) {
        if let Some(stop) = self.stop.take() {
            // An error means that the task has panicked. The registration then ends with its lease, as after a crash,
            // and the drain time is waited for all the same.
            let _ = stop.send(());
            let _ = (&mut self.task).await;
        }
        tokio::time::sleep(self.drain).await;
    }
}

impl Drop for Registrar {
    fn drop(&mut self) {
        self.task.abort();
    }
}
