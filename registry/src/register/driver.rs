//! Performs the steps of [`Upkeep`].

use std::fmt;
use std::time::{Duration, Instant};

use etcd_client::proto::PbKeyValue;
use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp, TxnOpResponse};
use tokio::sync::{oneshot, watch};

use super::Registration;
use super::upkeep::{Notice, PutKey, Step, Upkeep};
use crate::backoff::Backoff;
use crate::connect::{CALL_TIMEOUT, CallError, Cause, Connector, Link, Reason};
use crate::contract::{Instance, Prefix};
use crate::watch::source::RawRecord;
use crate::watch::{Change, Update, Watch, decode};

/// Many registrars that lost the same registry come back spread over 2 s. With the connect, the grant and the put
/// after it, each is to be registered within 3 s of the registry's return.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(2) };
/// After a registry has answered that our lease is gone. It is back, so the wait need not be long; but other
/// registrars have lost their leases too, and must not all come at once.
const BACK: Backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(1) };
/// A registry that is slow, because a thousand registrars log in, is asked less often than one that is not there:
/// otherwise it would never catch up.
const OVERLOAD: Backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(15) };
/// How long a withdrawal may take before the key is left to its lease.
const WITHDRAW_TIMEOUT: Duration = Duration::from_secs(2);
/// At most one line about a registry that cannot be reached in this time.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(5);
/// The longest lease that etcd grants, in seconds.
const MAX_TTL: i64 = 9_000_000_000;

pub(super) struct RegistrarDriver {
    connector: Connector,
    /// The connection that was used last, to be discarded if a call on it fails.
    link: Option<Link>,
    upkeep: Upkeep,
    prefix: Prefix,
    key: String,
    /// The TTL that was granted; before that, the one to ask for.
    ttl: Duration,
    report: watch::Sender<bool>,
    complained: Option<Instant>,
}

impl RegistrarDriver {
    pub(super) fn new(
        connector: Connector,
        prefix: Prefix,
        key: String,
        registration: Registration,
        report: watch::Sender<bool>,
    ) -> Self {
        let Registration { record, ttl, .. } = registration;
        Self {
            connector,
            link: None,
            upkeep: Upkeep::new(record, ttl, Instant::now()),
            prefix,
            key,
            ttl,
            report,
            complained: None,
        }
    }

    /// Keeps the instance registered until told to stop, then withdraws it.
    pub(super) async fn run(mut self, mut own_key: Watch, mut stopped: oneshot::Receiver<()>) {
        loop {
            let step = self.upkeep.step(Instant::now());
            self.report.send_if_modified(|r| std::mem::replace(r, self.upkeep.is_registered()) != *r);
            // A call is cut off by the stop alone. What it may have granted or put is withdrawn, or goes
            // with its lease.
            tokio::select! {
                biased;
                stop = &mut stopped => match stop {
                    Ok(()) => return self.withdraw().await,
                    // Dropped without a word: as after a crash.
                    Err(_) => return,
                },
                () = self.perform(step, &mut own_key) => {}
            }
        }
    }

    async fn perform(&mut self, step: Step, own_key: &mut Watch) {
        let outcome = match step {
            Step::Grant => self.grant().await,
            Step::Put(put) => self.put(put).await,
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
        let deadline = self.deadline();
        let seconds = i64::try_from(self.ttl.as_secs()).unwrap_or(MAX_TTL);
        let link = self.link(deadline).await?;
        let asked = Instant::now();
        let mut client = link.client.lease_client();
        let granted = link.call("grant a lease", deadline, client.grant(seconds, None)).await?;
        let lease = granted.id();
        if lease == 0 {
            // A key without a lease would stay for ever.
            let cause = Cause::Answer("it grants the lease 0, which is none");
            return Err(CallError { attempt: "grant a lease", endpoint: link.endpoint.clone(), cause });
        }

        // The registry may grant a longer one than was asked for.
        let ttl = Duration::from_secs(granted.ttl().clamp(1, MAX_TTL).unsigned_abs());
        self.ttl = ttl;
        tracing::info!(key = self.key, lease = %Hex(lease), ?ttl, "granted a lease");
        self.upkeep.leased(lease, ttl, asked);
        Ok(())
    }

    /// Puts the key, unless it was written at a revision that we have not seen yet: then what stands there is looked at
    /// instead.
    async fn put(&mut self, put: PutKey) -> Result<(), CallError> {
        let PutKey { lease, value, seen } = put;
        let (key, deadline) = (self.key.clone(), self.deadline());
        let mut options = PutOptions::new().with_lease(lease);
        if value.is_none() {
            options = options.with_ignore_value();
        }
        let text = value.clone().unwrap_or_default();
        let unseen = Compare::mod_revision(&*key, CompareOp::Greater, seen.unwrap_or(i64::MAX));
        let write = Txn::new().when([unseen]).and_then([TxnOp::get(&*key, None)]).or_else([TxnOp::put(
            &*key,
            text,
            Some(options),
        )]);
        let link = self.link(deadline).await?;
        let mut client = link.client.kv_client();
        let answer = link.call("register", deadline, client.txn(write)).await?;
        let revision = answer.header().map_or(0, |h| h.revision());
        if answer.succeeded() {
            let found = answer.op_responses().into_iter().find_map(first_found);
            self.see_found(found, revision);
        } else {
            tracing::info!(key, value, lease = %Hex(lease), revision, "registered");
            self.upkeep.put(revision);
        }
        Ok(())
    }

    async fn keep_alive(&mut self, lease: i64) -> Result<(), CallError> {
        let deadline = self.deadline();
        let link = self.link(deadline).await?;
        let asked = Instant::now();
        let mut client = link.client.lease_client();
        // A stream per keepalive, so that each has its own deadline and none waits behind a dead one.
        link.call("keep the lease alive", deadline, client.keep_alive(lease)).await?;
        tracing::debug!(key = self.key, lease = %Hex(lease), "kept the lease alive");
        self.upkeep.leased(lease, self.ttl, asked);
        Ok(())
    }

    /// The deadline of a call, and of opening a connection. While there is a lease, two may fail before it ends;
    /// without one, a slow registry gets more time.
    fn deadline(&self) -> Duration {
        match self.upkeep.lease() {
            Some(_) => self.ttl / 3,
            None => CALL_TIMEOUT.max(self.ttl / 3),
        }
    }

    async fn link(&mut self, deadline: Duration) -> Result<&Link, CallError> {
        let link = self.connector.link(deadline).await?;
        Ok(self.link.insert(link))
    }

    fn fail(&mut self, error: CallError) {
        let quiet = self.complained.is_some_and(|at| at.elapsed() < COMPLAINT_INTERVAL);
        if !quiet {
            self.complained = Some(Instant::now());
            let keys = self.key.trim_end_matches(|c| c != '/');
            let advice = error.cause.reason().advice("readwrite", keys);
            let error = advice.map_or_else(|| error.to_string(), |advice| format!("{error}: {advice}"));
            tracing::warn!(key = self.key, error, "the registration is in trouble: trying again");
        }
        match error.cause.reason() {
            Reason::LeaseGone => self.upkeep.lose_lease(),
            Reason::KeyMissing => {
                self.upkeep.seen(None, 0);
            }
            _ if error.cause.is_of_the_link() => self.link.take().iter().for_each(Link::discard),
            _ => {}
        }
        let wait = backoff(&error.cause).delay(self.upkeep.failures() + 1, fastrand::f64());
        self.upkeep.failed(Instant::now(), wait);
    }

    fn see(&mut self, update: Update) {
        let notices = match update {
            Update::Reset { instances, revision, .. } => {
                // The watch is of our key alone.
                vec![self.upkeep.seen_anew(instances.first(), revision)]
            }
            Update::Apply { changes, .. } => changes.iter().map(|c| self.see_change(c)).collect(),
        };
        notices.into_iter().flatten().for_each(|notice| self.tell(notice));
    }

    fn see_change(&mut self, change: &Change) -> Option<Notice> {
        match change {
            Change::Put(instance) => self.upkeep.seen(Some(instance), instance.revision),
            Change::Delete { revision, .. } | Change::Refused { revision, .. } => {
                self.upkeep.seen(None, *revision)
            }
        }
    }

    fn see_found(&mut self, found: Option<RawRecord>, revision: i64) {
        let instance = found.and_then(|raw| self.read(&raw));
        if let Some(notice) = self.upkeep.seen(instance.as_ref(), revision) {
            self.tell(notice);
        }
    }

    fn read(&self, raw: &RawRecord) -> Option<Instance> {
        decode(&self.prefix, raw).ok()
    }

    fn tell(&self, notice: Notice) {
        let key = &self.key;
        match notice {
            Notice::Gone => tracing::warn!(key, "the registration is gone: registering again"),
            Notice::Overwritten => {
                tracing::warn!(key, "somebody wrote another address there: registering again");
            }
            Notice::WeightSet(weight) => tracing::info!(key, weight, "somebody set the weight: keeping it"),
            Notice::Taken { lease, theirs, ours } => tracing::warn!(
                key,
                lease = %Hex(lease),
                %theirs,
                %ours,
                "another process registered the same instance id: leaving the key to it until it goes. Give each \
                 process an instance id of its own"
            ),
        }
    }

    async fn withdraw(mut self) {
        let key = self.key.clone();
        match tokio::time::timeout(WITHDRAW_TIMEOUT, self.try_to_withdraw()).await {
            Ok(()) => tracing::info!(key, "withdrew the registration"),
            Err(_) => {
                tracing::warn!(key, "could not withdraw within {WITHDRAW_TIMEOUT:?}: left to its lease");
            }
        }
    }

    /// Tries at one endpoint after the other.
    async fn try_to_withdraw(&mut self) {
        loop {
            match self.revoke_and_delete().await {
                Ok(()) => return,
                Err(error) => self.fail(error),
            }
            tokio::time::sleep(BACKOFF.base).await;
        }
    }

    /// Revokes the lease. The key goes with it, unless an operator's put took it off or it still stands
    /// under a lease that we gave up: then it is deleted.
    async fn revoke_and_delete(&mut self) -> Result<(), CallError> {
        let (key, deadline, lease) = (self.key.clone(), WITHDRAW_TIMEOUT / 2, self.upkeep.lease());
        if let Some(lease) = lease {
            let link = self.link(deadline).await?;
            let mut client = link.client.lease_client();
            let revoked = link.call("revoke the lease", deadline, client.revoke(lease)).await;
            revoked
                .map(drop)
                .or_else(|e| if e.cause.reason() == Reason::LeaseGone { Ok(()) } else { Err(e) })?;
        }
        let link = self.link(deadline).await?;
        let mut client = link.client.kv_client();
        let left = link.call("look for the key", deadline, client.get(&*key, None)).await?;
        let Some(raw) = left.0.kvs.into_iter().next().map(RawRecord::from) else { return Ok(()) };
        if self.read(&raw).is_none_or(|instance| !self.upkeep.is_ours(&instance)) {
            return Ok(());
        }
        let unchanged = Compare::mod_revision(&*key, CompareOp::Equal, raw.revision);
        let delete = Txn::new().when([unchanged]).and_then([TxnOp::delete(&*key, None)]);
        let link = self.link(deadline).await?;
        link.call("delete the key", deadline, client.txn(delete)).await?;
        Ok(())
    }
}

/// How long to wait after a failure.
fn backoff(cause: &Cause) -> Backoff {
    match cause {
        cause if cause.reason() == Reason::LeaseGone => BACK,
        cause if cause.is_overload() => OVERLOAD,
        _ => BACKOFF,
    }
}

fn first_found(response: TxnOpResponse) -> Option<RawRecord> {
    match response {
        TxnOpResponse::Get(mut got) => got.take_kvs().into_iter().next().map(|kv| {
            let kv: PbKeyValue = kv.0;
            RawRecord::from(kv)
        }),
        _ => None,
    }
}

/// A lease id as etcdctl prints it.
struct Hex(i64);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use etcd_client::Error;
    use tonic::{Code, Status};

    #[test]
    fn the_wait_is_short_after_a_lost_lease_and_long_where_the_registry_has_too_much_to_do() {
        let status = |code, message| Cause::Etcd(Error::GRpcStatus(Status::new(code, message)));
        for (cause, expected) in [
            (status(Code::NotFound, "etcdserver: requested lease not found"), BACK),
            (Cause::Etcd(Error::LeaseKeepAliveError("lease not found".into())), BACK),
            (status(Code::ResourceExhausted, "etcdserver: too many requests"), OVERLOAD),
            (Cause::Deadline(CALL_TIMEOUT), OVERLOAD),
            (status(Code::Unavailable, "tcp connect error"), BACKOFF),
            (status(Code::NotFound, "etcdserver: key not found"), BACKOFF),
            (Cause::Closed, BACKOFF),
        ] {
            assert_eq!(backoff(&cause), expected, "{cause}");
        }
        let longest = |backoff: Backoff| backoff.delay(u32::MAX, 1.0);
        assert!(longest(BACK) < longest(BACKOFF) && longest(BACKOFF) < longest(OVERLOAD));
        // A second is left of the three for the calls.
        assert!(longest(BACKOFF) <= Duration::from_secs(2));
    }
}
