//! The registrar: keeps one instance registered until it is told to stop.

pub mod lease;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_client::PutOptions;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::backoff::Backoff;
use crate::connect::{CallError, Connection, Connector, Link};
use crate::contract::{
    DEFAULT_WEIGHT, KeyRange, MAX_WEIGHT, Prefix, Record, RecordError, check_segment, parse_address,
};
use crate::watch::{Change, Update, Watch, watch_range};
use lease::{Notice, Step};

/// etcd grants no shorter lease: its minimum is derived from the election timeout, 2 s as it comes.
const MIN_TTL: Duration = Duration::from_secs(2);
/// Many registrars that lost the same registry come back spread over this.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(3) };
/// How long a revoke may take before the lease is left to end by itself.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(2);
/// At most one line about a registry that cannot be reached in this time.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(5);

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

    fn check(&self) -> Result<(), RegistrationError> {
        check_segment(&self.service).map_err(RegistrationError::Service)?;
        check_segment(&self.instance).map_err(RegistrationError::Instance)?;
        parse_address(&self.record.address.to_string()).map_err(RegistrationError::Address)?;
        if self.record.weight > MAX_WEIGHT {
            return Err(RegistrationError::Weight(self.record.weight));
        }
        if self.ttl < MIN_TTL || self.ttl.subsec_nanos() != 0 {
            return Err(RegistrationError::Ttl(self.ttl));
        }
        Ok(())
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
    /// The address.
    #[error("cannot register this address: {0}")]
    Address(RecordError),
    /// The weight.
    #[error("cannot register the weight {0}: expected 0 to {MAX_WEIGHT}, usually {DEFAULT_WEIGHT}")]
    Weight(u16),
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
    pub fn start(
        connection: Connection,
        prefix: Prefix,
        registration: Registration,
    ) -> Result<Self, RegistrationError> {
        registration.check()?;
        let (stop, stopped) = oneshot::channel();
        let (report, registered) = watch::channel(false);
        let drain = registration.drain;
        let key = prefix.key(&registration.service, &registration.instance);
        let (own_key, driver) = watch_range(connection.clone(), prefix, KeyRange::one(&key));
        let work = Work {
            connector: Connector::new(connection),
            link: None,
            state: lease::Registration::new(registration.record, registration.ttl, Instant::now()),
            key,
            instance: registration.instance.into(),
            ttl: registration.ttl,
            report,
            complained: None,
        };
        let task = tokio::spawn(async move {
            tokio::select! {
                () = driver.run() => {}
                () = work.run(own_key, stopped) => {}
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

/// The task behind a [`Registrar`]: performs the steps of [`lease::Registration`].
struct Work {
    connector: Connector,
    link: Option<Link>,
    state: lease::Registration,
    key: String,
    instance: Arc<str>,
    ttl: Duration,
    report: watch::Sender<bool>,
    complained: Option<Instant>,
}

impl Work {
    async fn run(mut self, mut own_key: Watch, mut stopped: oneshot::Receiver<()>) {
        loop {
            let step = self.state.step(Instant::now());
            self.report.send_if_modified(|r| std::mem::replace(r, self.state.is_registered()) != *r);
            // A call is cut off by the stop alone, which is harmless: what it may have granted or put goes
            // with the lease.
            tokio::select! {
                biased;
                Ok(()) = &mut stopped => break,
                () = self.perform(step, &mut own_key) => {}
            }
        }
        self.withdraw().await;
    }

    async fn perform(&mut self, step: Step, own_key: &mut Watch) {
        let outcome = match step {
            Step::Grant => self.grant().await,
            Step::Put { lease, value } => self.put(lease, Some(value)).await,
            Step::Attach { lease } => self.put(lease, None).await,
            Step::KeepAlive { lease } => self.keep_alive(lease).await,
            Step::Sleep { until } => {
                tokio::select! {
                    Some(update) = own_key.updates.recv() => self.see(update),
                    () = tokio::time::sleep_until(until.into()) => {}
                }
                Ok(())
            }
        };
        if let Err(error) = outcome {
            self.fail(error);
        }
    }

    async fn grant(&mut self) -> Result<(), CallError> {
        let asked = Instant::now();
        let deadline = self.ttl;
        let seconds = i64::try_from(deadline.as_secs()).unwrap_or(i64::MAX);
        let link = self.link().await?;
        let mut client = link.client.lease_client();
        let granted = link.call("grant a lease", deadline, client.grant(seconds, None)).await?;

        // The registry may grant a longer one than was asked for.
        let ttl = Duration::from_secs(granted.ttl().unsigned_abs());
        self.ttl = ttl;
        tracing::info!(key = self.key, lease = %Hex(granted.id()), ?ttl, "granted a lease");
        self.state.leased(granted.id(), ttl, asked);
        Ok(())
    }

    /// Puts the key: with our value, or with the one that it has.
    async fn put(&mut self, lease: i64, value: Option<String>) -> Result<(), CallError> {
        let (key, deadline) = (self.key.clone(), self.ttl);
        let mut options = PutOptions::new().with_lease(lease);
        if value.is_none() {
            options = options.with_ignore_value();
        }
        let value = value.unwrap_or_default();
        let link = self.link().await?;
        let mut client = link.client.kv_client();
        let put = client.put(key, value.clone(), Some(options));
        let answer = link.call("register", deadline, put).await?;
        let revision = answer.header().map_or(0, |h| h.revision());
        tracing::info!(key = self.key, value, lease = %Hex(lease), revision, "registered");
        self.state.put(revision);
        Ok(())
    }

    async fn keep_alive(&mut self, lease: i64) -> Result<(), CallError> {
        let asked = Instant::now();
        let deadline = self.ttl / 3;
        let link = self.link().await?;
        let mut client = link.client.lease_client();
        // A stream per keepalive, so that each has its own deadline and none waits behind a dead one.
        let (_, _) = link.call("keep the lease alive", deadline, client.keep_alive(lease)).await?;
        tracing::debug!(key = self.key, lease = %Hex(lease), "kept the lease alive");
        self.state.leased(lease, self.ttl, asked);
        Ok(())
    }

    async fn link(&mut self) -> Result<&Link, CallError> {
        let link = match self.link.take() {
            Some(link) => link,
            None => self.connector.connect().await?,
        };
        Ok(self.link.insert(link))
    }

    fn fail(&mut self, error: CallError) {
        let quiet = self.complained.is_some_and(|at| at.elapsed() < COMPLAINT_INTERVAL);
        if !quiet {
            self.complained = Some(Instant::now());
            tracing::warn!(key = self.key, %error, "the registration is in trouble: trying again");
        }
        if error.cause.is_lease_gone() {
            self.state.lose_lease();
        } else if error.cause.is_key_missing() {
            self.state.key_missing();
        } else {
            self.link = None;
        }
        let wait = BACKOFF.delay(self.state.failures() + 1, fastrand::f64());
        self.state.failed(Instant::now(), wait);
    }

    fn see(&mut self, update: Update) {
        let notices = match update {
            Update::Reset { instances, revision } => {
                let ours = instances.iter().find(|i| i.id == self.instance);
                vec![self.state.seen_anew(ours, revision)]
            }
            Update::Apply { changes, .. } => changes.iter().map(|c| self.see_change(c)).collect(),
        };
        for notice in notices.into_iter().flatten() {
            self.tell(notice);
        }
    }

    fn see_change(&mut self, change: &Change) -> Option<Notice> {
        match change {
            Change::Put(instance) => self.state.seen(Some(instance), instance.revision),
            Change::Delete { revision, .. } => self.state.seen(None, *revision),
        }
    }

    fn tell(&self, notice: Notice) {
        let key = &self.key;
        match notice {
            Notice::Deleted => {
                tracing::warn!(key, "somebody deleted the registration: registering again")
            }
            Notice::Overwritten => {
                tracing::warn!(key, "somebody overwrote the registration: registering again");
            }
            Notice::WeightSet(weight) => {
                tracing::info!(key, weight, "somebody set the weight: keeping it")
            }
            Notice::Taken { lease } => tracing::warn!(
                key,
                lease = %Hex(lease),
                "another process registered the same instance id: leaving the key to it until it goes"
            ),
        }
    }

    async fn withdraw(mut self) {
        let Some(lease) = self.state.lease() else {
            return;
        };
        let (key, lease_hex) = (self.key.clone(), Hex(lease));
        match tokio::time::timeout(REVOKE_TIMEOUT, self.revoke(lease)).await {
            Ok(()) => tracing::info!(key, lease = %lease_hex, "revoked the lease"),
            Err(_) => tracing::warn!(
                key,
                lease = %lease_hex,
                "could not revoke the lease within {REVOKE_TIMEOUT:?}: it ends by itself"
            ),
        }
    }

    /// Revokes the lease, at one endpoint after the other.
    async fn revoke(&mut self, lease: i64) {
        loop {
            let Err(error) = self.try_revoke(lease).await else {
                return;
            };
            if error.cause.is_lease_gone() {
                return;
            }
            self.fail(error);
            tokio::time::sleep(BACKOFF.base).await;
        }
    }

    async fn try_revoke(&mut self, lease: i64) -> Result<(), CallError> {
        let link = self.link().await?;
        let mut client = link.client.lease_client();
        link.call("revoke the lease", REVOKE_TIMEOUT / 2, client.revoke(lease)).await?;
        Ok(())
    }
}

/// A lease id as etcdctl prints it.
struct Hex(i64);

impl std::fmt::Display for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}", self.0)
    }
}
