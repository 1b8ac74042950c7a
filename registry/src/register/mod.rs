//! The registrar: keeps one instance registered until it is told to stop.

mod driver;
mod upkeep;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::connect::{ConnectionSettings, Connector, EndpointError, parse_endpoint};
use crate::contract::{Prefix, Record, RecordError, TooMuch, check_segment};
use crate::watch::watch_key;
use driver::RegistrarDriver;

/// etcd grants no shorter lease: its minimum is derived from the election timeout, 2 s as it comes.
const MIN_TTL: Duration = Duration::from_secs(2);
/// What to register.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The service.
    pub service: String,
    /// The instance id, unique in the service: the host name, say.
    pub instance: String,
    /// Address, weight and metadata.
    pub record: Record,
    /// How long the registration outlives the process; at least 2 s, in whole seconds. 3 s by default.
    pub ttl: Duration,
    /// How long to serve on after the registration was withdrawn, while gateways learn of it. 3 s by default.
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

    /// Checks it, and writes its record as every gateway will read it.
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
pub enum RegistrationError {
    /// The service's name.
    #[error("cannot register under this service: {0}")]
    Service(RecordError),
    /// The instance id.
    #[error("cannot register this instance: {0}")]
    Instance(RecordError),
    /// More metadata than a gateway keeps.
    #[error("cannot register this record: {0}")]
    Metadata(TooMuch),
    /// The address or the weight.
    #[error("cannot register this record: {0}")]
    Record(RecordError),
    /// No endpoint of a registry.
    #[error("cannot register without an endpoint of a registry")]
    NoEndpoint,
    /// An endpoint of the registry is none.
    #[error("cannot register at {url:?}: it {error}")]
    Endpoint {
        /// What was given.
        url: String,
        /// Why it is none.
        error: EndpointError,
    },
    /// The TTL.
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
    /// Starts to register, and keeps at it whatever happens to the registry. Must be called in a tokio
    /// runtime.
    ///
    /// # Errors
    /// When no registry could take it: a name, an address, the TTL or an endpoint's URL is none.
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
            // Each put says what it found, so the key need not be watched before it stands. A thousand
            // registrars that start together ask the registry for half as much.
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

    /// Waits until the instance is registered.
    pub async fn registered(&mut self) {
        // An error means that the task has ended: there is nothing left to wait for.
        let _ = self.registered.wait_for(|registered| *registered).await;
    }

    /// Withdraws the registration, then waits for the drain time, in which the caller serves on: gateways
    /// learn of the withdrawal at once, but requests may be on their way. Then it is safe to stop.
    pub async fn deregister(mut self) {
        if let Some(stop) = self.stop.take() {
            // Errors mean that the task has ended, by a panic: the registration then ends with its lease,
            // as after a crash, and the drain time is due all the same.
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
