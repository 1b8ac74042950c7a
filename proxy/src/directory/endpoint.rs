//! A live target and how it stands.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use registry::contract::{Instance, Metadata, Record};

use super::Protocol;
use crate::traffic::Traffic;
use crate::traffic::ejection::Grounds;

/// The gateway's live target for an instance. It keeps its identity (service, instance, address) and with
/// it its connections through a new lease, another weight and a resync.
#[derive(Debug)]
pub struct Endpoint {
    /// Never used again, not even for the same instance at the same address: it keys the connection
    /// pool, so that a re-used `ip:port` never inherits another instance's connections.
    pub(crate) id: u64,
    pub(crate) service: Arc<str>,
    pub instance: Arc<str>,
    pub(crate) address: SocketAddr,
    /// The name that the configuration gives for the address; none: it gives none.
    pub(crate) host: Option<Arc<str>>,
    /// What requests have left behind there. Endpoints of services that no route names share one, as no request goes to
    /// them.
    pub traffic: Arc<Traffic>,
}

impl Endpoint {
    #[cfg(test)]
    pub(crate) fn new(id: u64, service: Arc<str>, instance: Arc<str>, address: SocketAddr) -> Self {
        Self { id, service, instance, address, host: None, traffic: Arc::default() }
    }
}

/// An endpoint and what is known of its registration at the moment.
#[derive(Debug, Clone)]
pub struct Entry {
    pub endpoint: Arc<Endpoint>,
    /// Its share of requests; 0: it is draining.
    pub(crate) weight: u16,
    pub(crate) tenure: TenureCell,
    pub(crate) standing: Standing,
    /// When that registration vanished; none while it is there.
    pub(crate) vanished: Option<Instant>,
    pub(crate) health: Health,
    /// Since when the endpoint can be used: since it appeared, or if it had to pass a check first, since it did. None:
    /// it was there before the gateway.
    pub(crate) usable_since: Option<Instant>,
    /// What the registration says for people and policies.
    pub(crate) metadata: Metadata,
    /// What it speaks, as the metadata says; none: it says nothing that is understood.
    pub(crate) protocol: Option<Protocol>,
}

/// What holds a registration. All copies of an entry share it: a put that changes nothing but lease and revision is
/// noted here, and the service need not be published for that, however often a registrar writes its key.
#[derive(Debug, Clone)]
pub(crate) struct TenureCell(Arc<Mutex<Tenure>>);

/// Lease and revision of a registration at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tenure {
    /// The lease that holds it, 0 for none.
    pub(crate) lease: i64,
    pub(crate) revision: i64,
}

impl TenureCell {
    pub(crate) fn new(tenure: Tenure) -> Self {
        Self(Arc::new(Mutex::new(tenure)))
    }

    pub(crate) fn get(&self) -> Tenure {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes another put that says the same.
    pub(super) fn renew(&self, tenure: Tenure) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = tenure;
    }
}

/// What the registry says of a registration, and a probe of its endpoint where the registry says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Registered,
    /// The configuration gives its address: the registry is not asked.
    Given,
    /// It vanished unannounced.
    Suspect(ProbeResult),
    /// It is in the snapshot, and the registry has not been heard yet.
    Stale(ProbeResult),
}

/// What traffic and probes say of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Health {
    /// Traffic says that it fails, and how.
    pub(crate) ejected: Option<Grounds>,
    /// Its active probes fail, or it is to pass one before it is used.
    pub(crate) unhealthy: bool,
    /// It is unhealthy because no check of it has passed yet. That is no sign that its service fails: it does not count
    /// towards a panic, and it is not used in one.
    pub(crate) unproven: bool,
    /// So many endpoints of its service are out that all are used, whatever is known against them.
    pub(crate) panic: bool,
}

impl Health {
    /// Whether something is known against the endpoint.
    pub(crate) fn is_out(self) -> bool {
        self.ejected.is_some() || self.unhealthy
    }
}

/// What traffic or probes have found of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Traffic says that it fails.
    Ejected(Grounds),
    /// Traffic says that it works again.
    Returned,
    Unhealthy,
    Healthy,
}

/// Whether an endpoint can be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProbeResult {
    /// The first one has not ended yet.
    Pending,
    Passed,
    /// The last one was not answered; or the registry does not confirm a stale endpoint whose first one has not ended.
    Failed,
}

/// How willingly an endpoint is chosen: requests go to the best rank of a service that has one left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// Registered.
    First,
    /// Not known to be registered, but not known to be unreachable either.
    Second,
    /// Ejected or unhealthy.
    Third,
}

impl Entry {
    pub(crate) fn state(&self) -> State {
        match self.standing {
            Standing::Registered | Standing::Given if self.weight == 0 => State::Draining,
            Standing::Registered | Standing::Given if self.health.ejected.is_some() => State::Ejected,
            Standing::Registered | Standing::Given if self.health.unhealthy => State::Unhealthy,
            Standing::Registered | Standing::Given => State::Up,
            Standing::Suspect(_) => State::Suspect,
            Standing::Stale(_) => State::Stale,
        }
    }

    /// Its rank; none: nothing goes to it.
    pub(crate) fn rank(&self) -> Option<Rank> {
        let rank = self.rank_by_registration()?;
        Some(if self.health.is_out() && !self.health.panic { Rank::Third } else { rank })
    }

    fn rank_by_registration(&self) -> Option<Rank> {
        if self.weight == 0 {
            return None;
        }
        match self.standing {
            Standing::Registered | Standing::Given => Some(Rank::First),
            // It served a moment ago: until its first probe has ended, a request's own connect is the probe.
            Standing::Suspect(ProbeResult::Pending | ProbeResult::Passed) => Some(Rank::Second),
            Standing::Stale(ProbeResult::Passed) => Some(Rank::Second),
            Standing::Stale(ProbeResult::Pending) => None,
            Standing::Suspect(ProbeResult::Failed) | Standing::Stale(ProbeResult::Failed) => None,
        }
    }

    /// How many places it takes of those that the configuration has for registrations.
    pub(super) fn places(&self) -> usize {
        usize::from(self.standing != Standing::Given)
    }

    /// Whether its registration stays when its instance is gone.
    pub(crate) fn is_without_lease(&self) -> bool {
        self.standing != Standing::Given && self.tenure.get().lease == 0
    }

    /// Its registration as it last was.
    pub(crate) fn to_instance(&self) -> Instance {
        let Tenure { lease, revision } = self.tenure.get();
        Instance {
            service: self.endpoint.service.clone(),
            id: self.endpoint.instance.clone(),
            record: Record {
                address: self.endpoint.address,
                weight: self.weight,
                metadata: self.metadata.clone(),
            },
            lease,
            revision,
        }
    }
}

impl Standing {
    /// What its probes say; none while it is registered or given, as it is not probed then.
    pub(crate) fn probe(self) -> Option<ProbeResult> {
        match self {
            Standing::Registered | Standing::Given => None,
            Standing::Suspect(probe) | Standing::Stale(probe) => Some(probe),
        }
    }

    /// Whether nobody vouches for it: the registry does not, or not any more.
    pub(super) fn is_doubted(self) -> bool {
        matches!(self, Standing::Suspect(_) | Standing::Stale(_))
    }

    /// Whether it vanished unannounced.
    pub(crate) fn is_suspect(self) -> bool {
        matches!(self, Standing::Suspect(_))
    }

    /// As it is after a probe. One that is not in doubt is not probed.
    pub(super) fn probed(self, probe: ProbeResult) -> Self {
        match self {
            Standing::Registered | Standing::Given => self,
            Standing::Suspect(_) => Standing::Suspect(probe),
            Standing::Stale(_) => Standing::Stale(probe),
        }
    }
}

/// How an endpoint stands. The names are those of `/services`, logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Registered, nothing known against it.
    Up,
    /// Registered with weight 0: somebody takes it out. What is in flight finishes, nothing new.
    Draining,
    /// Registered, but traffic says that it fails.
    Ejected,
    /// Registered, but its probe fails.
    Unhealthy,
    /// Its registration vanished unannounced a moment ago, or was held by the guard.
    Suspect,
    /// Read from the snapshot, not yet confirmed by the registry.
    Stale,
}

impl State {
    pub(crate) const ALL: [State; 6] =
        [State::Up, State::Draining, State::Ejected, State::Unhealthy, State::Suspect, State::Stale];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            State::Up => "up",
            State::Draining => "draining",
            State::Ejected => "ejected",
            State::Unhealthy => "unhealthy",
            State::Suspect => "suspect",
            State::Stale => "stale",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(weight: u16, standing: Standing) -> Entry {
        let endpoint = Endpoint::new(1, "goods".into(), "a".into(), ([10, 0, 0, 1], 80).into());
        let (endpoint, health) = (Arc::new(endpoint), Health::default());
        let usable_since = None;
        let tenure = TenureCell::new(Tenure { lease: 7, revision: 3 });
        Entry {
            endpoint,
            weight,
            tenure,
            standing,
            vanished: None,
            health,
            usable_since,
            metadata: Metadata::default(),
            protocol: None,
        }
    }

    #[test]
    fn the_rank_follows_from_standing_probe_and_weight() {
        use ProbeResult::{Failed, Passed, Pending};
        use Standing::{Given, Registered, Stale, Suspect};
        for (standing, rank) in [
            (Registered, Some(Rank::First)),
            (Given, Some(Rank::First)),
            (Suspect(Pending), Some(Rank::Second)),
            (Suspect(Passed), Some(Rank::Second)),
            (Suspect(Failed), None),
            (Stale(Pending), None),
            (Stale(Passed), Some(Rank::Second)),
            (Stale(Failed), None),
        ] {
            assert_eq!(entry(1, standing).rank(), rank, "{standing:?}");
            assert_eq!(entry(0, standing).rank(), None, "{standing:?}, draining");
        }
        assert!(Rank::First < Rank::Second && Rank::Second < Rank::Third);
    }

    #[test]
    fn what_is_out_ranks_last_but_in_a_panic() {
        let ejected = Health { ejected: Some(Grounds::Refused), ..Health::default() };
        let unhealthy = Health { unhealthy: true, ..Health::default() };
        for (health, state) in [(ejected, State::Ejected), (unhealthy, State::Unhealthy)] {
            let mut entry = Entry { health, ..entry(1, Standing::Registered) };
            assert_eq!((entry.rank(), entry.state()), (Some(Rank::Third), state));
            entry.health.panic = true;
            assert_eq!((entry.rank(), entry.state()), (Some(Rank::First), state));
            entry.standing = Standing::Stale(ProbeResult::Failed);
            assert_eq!(entry.rank(), None);
        }
    }
}
