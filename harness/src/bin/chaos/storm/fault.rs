//! What a storm is made of: changes of the registry, and faults of members and of the way to them.

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use etcd_client::{Client, CompactionOptions, DeleteOptions, PutOptions, Txn, TxnOp};
use harness::{
    etcd::key,
    relay::{Mode, Way},
};

use crate::{context::Context, relayed::Relayed};

/// Services and instances of each that changes are drawn from.
const SERVICES: u8 = 5;
const INSTANCES: u8 = 20;
/// The shortest that this etcd grants, in seconds.
const TTL: i64 = 2;
/// One step in so many begins a fault.
const STEPS_PER_FAULT: u8 = 10;
/// A compaction leaves fewer revisions than that: a gateway that was away for a second has missed some.
const KEPT_REVISIONS: i64 = 5;

/// What is done next. All chance is drawn here, so that a seed gives the same steps whatever etcd answers.
#[derive(Debug)]
pub(super) struct Step {
    /// How long to wait first.
    pub(super) pause: Duration,
    pub(super) change: Change,
    pub(super) fault: Option<Fault>,
}

/// A change of the registry.
#[derive(Debug)]
pub(super) enum Change {
    Put(String, String),
    PutUnderALeaseThatExpires(String, String),
    Delete(String),
    Burst(Vec<(String, String)>),
    /// One of the leases, by a number that is taken modulo theirs.
    Revoke(usize),
    RevokeAll,
    Wipe,
    /// Of all but so many revisions.
    Compact(i64),
}

/// A fault of a member or of the way to it, and how long it lasts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    kind: Kind,
    at: usize,
    lasts: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Killed,
    Stopped,
    Restarted,
    Relay(Mode),
    /// The same on the way to every member.
    AllRelays(Mode),
}

impl Step {
    /// Some of what is registered has the address `live`; nobody listens at the others.
    pub(super) fn draw(chance: &mut fastrand::Rng, live: SocketAddr) -> Self {
        let pause = Duration::from_millis(chance.u64(5..100));
        let change = Change::draw(chance, live);
        let fault = Fault::draw(chance);
        Self { pause, change, fault: (chance.u8(..STEPS_PER_FAULT) == 0).then_some(fault) }
    }
}

impl Change {
    fn draw(chance: &mut fastrand::Rng, live: SocketAddr) -> Self {
        let one = instance(chance, live);
        let burst = (0..100).map(|_| instance(chance, live)).collect();
        let (number, kept) = (chance.usize(..1000), chance.i64(0..KEPT_REVISIONS));
        match chance.u8(..100) {
            0..40 => Self::Put(one.0, one.1),
            40..55 => Self::PutUnderALeaseThatExpires(one.0, one.1),
            55..75 => Self::Delete(one.0),
            75..83 => Self::Burst(burst),
            83..88 => Self::Revoke(number),
            88..89 => Self::RevokeAll,
            89..90 => Self::Wipe,
            _ => Self::Compact(kept),
        }
    }

    /// Whether it is a fault rather than everyday life.
    pub(super) fn is_worth_a_line(&self) -> bool {
        matches!(self, Self::Revoke(_) | Self::RevokeAll | Self::Wipe | Self::Compact(_))
    }

    /// Makes it; a wipe takes what is below a prefix.
    pub(super) async fn make(self, client: &mut Client, below: &str) -> Result<()> {
        match self {
            Self::Put(key, value) => drop(client.put(key, value, None).await?),
            Self::PutUnderALeaseThatExpires(key, value) => {
                let lease = client.lease_grant(TTL, None).await?.id();
                client.put(key, value, Some(PutOptions::new().with_lease(lease))).await?;
            }
            Self::Delete(key) => drop(client.delete(key, None).await?),
            Self::Burst(mut all) => {
                // etcd takes no key twice in a transaction.
                all.sort();
                all.dedup_by(|one, other| one.0 == other.0);
                let puts: Vec<_> = all.into_iter().map(|(key, value)| TxnOp::put(key, value, None)).collect();
                client.txn(Txn::new().and_then(puts)).await?;
            }
            Self::Revoke(number) => {
                let leases = client.leases().await?;
                if let Some(lease) = leases.leases().iter().cycle().nth(number) {
                    client.lease_revoke(lease.id()).await?;
                }
            }
            Self::RevokeAll => {
                for lease in client.leases().await?.leases() {
                    client.lease_revoke(lease.id()).await?;
                }
            }
            Self::Wipe => drop(client.delete(below, Some(DeleteOptions::new().with_prefix())).await?),
            Self::Compact(kept) => {
                let header = client.get("any", None).await?;
                let revision = header.header().context("etcd's answer has no header")?.revision();
                client.compact(revision - kept, Some(CompactionOptions::new())).await?;
            }
        }
        Ok(())
    }
}

/// The key of an instance, and its address.
fn instance(chance: &mut fastrand::Rng, live: SocketAddr) -> (String, String) {
    let (service, instance) = (chance.u8(..SERVICES), chance.u8(..INSTANCES));
    let dead = format!("127.0.0.1:{}", chance.u16(1..1000));
    let address = if chance.u8(..4) == 0 { live.to_string() } else { dead };
    (key(&format!("random-{service}"), &instance.to_string()), address)
}

impl Fault {
    fn draw(chance: &mut fastrand::Rng) -> Self {
        let mode = match chance.u8(..9) {
            0..3 => Mode::Cut,
            3 | 4 => Mode::BlackHole,
            5 => Mode::HalfOpen(Way::ToTarget),
            6 => Mode::HalfOpen(Way::ToClient),
            7 => Mode::Delay { fixed: Duration::from_millis(50), jitter: Duration::from_millis(200) },
            _ => Mode::Throttle { rate: 20_000 },
        };
        let kind = match chance.u8(..10) {
            0 => Kind::Killed,
            1 => Kind::Stopped,
            2 => Kind::Restarted,
            3..6 => Kind::AllRelays(mode),
            _ => Kind::Relay(mode),
        };
        Self { kind, at: chance.usize(..3), lasts: Duration::from_millis(chance.u64(200..12_000)) }
    }

    fn is_of_member(self) -> bool {
        matches!(self.kind, Kind::Killed | Kind::Stopped | Kind::Restarted)
    }

    /// What it does to the way to a member.
    fn mode(self, at: usize) -> Option<Mode> {
        match self.kind {
            Kind::Relay(mode) if self.at == at => Some(mode),
            Kind::AllRelays(mode) => Some(mode),
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, at, .. } = self;
        match kind {
            Kind::Relay(mode) => write!(formatter, "{mode:?} on the way to member {at}"),
            Kind::AllRelays(mode) => write!(formatter, "{mode:?} on the way to all members"),
            Kind::Killed | Kind::Stopped | Kind::Restarted => write!(formatter, "member {at}: {kind:?}"),
        }
    }
}

/// The faults that last.
#[derive(Debug, Default)]
pub(super) struct Faults {
    lasting: Vec<(Instant, Fault)>,
    count: u32,
}

impl Faults {
    /// How many there were.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Begins one, unless it would be the second member that is down: three have a majority of two.
    pub(super) async fn begin(
        &mut self,
        fault: Fault,
        etcd: &mut Relayed,
        context: &Context,
        now: Instant,
    ) -> Result<()> {
        if fault.is_of_member() && self.lasting.iter().any(|(_, other)| other.is_of_member()) {
            return Ok(());
        }
        context.say(format_args!("{fault} for {:?}", fault.lasts));
        self.count += 1;
        let member = &mut etcd.cluster.members[fault.at];
        match fault.kind {
            Kind::Killed => member.kill().await?,
            Kind::Stopped => member.pause()?,
            Kind::Restarted => return member.restart().await,
            Kind::Relay(_) | Kind::AllRelays(_) => {}
        }
        self.lasting.push((now + fault.lasts, fault));
        self.set_relays(etcd);
        Ok(())
    }

    /// Ends those whose time is up.
    pub(super) async fn end_due(
        &mut self,
        etcd: &mut Relayed,
        context: &Context,
        now: Instant,
    ) -> Result<()> {
        let (due, lasting) = self.lasting.drain(..).partition(|(until, _)| *until <= now);
        self.lasting = lasting;
        self.end(due, etcd, context).await
    }

    pub(super) async fn end_all(&mut self, etcd: &mut Relayed, context: &Context) -> Result<()> {
        let all = std::mem::take(&mut self.lasting);
        self.end(all, etcd, context).await
    }

    async fn end(&self, due: Vec<(Instant, Fault)>, etcd: &mut Relayed, context: &Context) -> Result<()> {
        for (_, fault) in due {
            context.say(format_args!("{fault}: over"));
            let member = &mut etcd.cluster.members[fault.at];
            match fault.kind {
                Kind::Killed => member.restart().await?,
                Kind::Stopped => member.resume()?,
                Kind::Restarted | Kind::Relay(_) | Kind::AllRelays(_) => {}
            }
        }
        self.set_relays(etcd);
        Ok(())
    }

    /// Each does what the latest fault on its way does that still lasts.
    fn set_relays(&self, etcd: &Relayed) {
        for (at, relay) in etcd.relays.iter().enumerate() {
            let latest = self.lasting.iter().rev().find_map(|(_, fault)| fault.mode(at));
            relay.set(latest.unwrap_or(Mode::Pass));
        }
    }
}
