//! What became of a load's calls.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{grpc::Outcome, quantile::quantile};

/// What became of a call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which kind of the load's it was.
    pub kind: usize,
    /// When it was due.
    pub begun: Instant,
    /// From then to its end.
    pub took: Duration,
    /// How it has ended.
    pub end: End,
}

/// How a call has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Well, by this instance.
    By(String),
    /// With another status, or with none.
    Failed(String),
    /// Nobody took its connection: only the test knows whether a stopping server may refuse.
    Refused,
}

/// The calls of a load, in the order in which they began.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    all: Vec<Call>,
    /// How many connections there were, one after the other or at a time.
    pub connections: usize,
}

impl End {
    pub(super) fn of(outcome: &Outcome) -> Self {
        if outcome.cut.is_none() && outcome.http == 200 && outcome.status() == Some("0") {
            return Self::By(outcome.served_by().unwrap_or_default().to_owned());
        }
        let says = |name| outcome.last(name).unwrap_or("none");
        let [status, message, error] = ["grpc-status", "grpc-message", "proxy-status"].map(says);
        Self::Failed(format!("status {status}, {message}, {error}, cut off: {:?}", outcome.cut))
    }
}

impl Calls {
    pub(super) fn new(mut all: Vec<Call>, connections: usize) -> Self {
        all.sort_by_key(|call| call.begun);
        Self { all, connections }
    }

    /// Those that are as wanted.
    pub fn only(&self, wanted: impl Fn(&Call) -> bool) -> Self {
        let all = self.all.iter().filter(|call| wanted(call)).cloned().collect();
        Self { all, connections: self.connections }
    }

    /// The calls of another load as well.
    pub fn add(&mut self, other: Self) {
        self.all.extend(other.all);
        self.all.sort_by_key(|call| call.begun);
        self.connections += other.connections;
    }

    /// Each.
    pub fn iter(&self) -> impl Iterator<Item = &Call> {
        self.all.iter()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// How those have failed that have.
    pub fn failures(&self) -> Vec<&str> {
        let failure = |call| match call {
            &Call { end: End::Failed(ref text), .. } => Some(text.as_str()),
            _ => None,
        };
        self.all.iter().filter_map(failure).collect()
    }

    /// How many were refused.
    pub fn refused(&self) -> usize {
        self.all.iter().filter(|call| call.end == End::Refused).count()
    }

    /// How many each instance has answered.
    pub fn by_instance(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for call in &self.all {
            if let End::By(instance) = &call.end {
                *counts.entry(instance.as_str()).or_default() += 1;
            }
        }
        counts
    }

    /// How many this instance has answered.
    pub fn instance(&self, instance: &str) -> usize {
        self.by_instance().get(instance).copied().unwrap_or(0)
    }

    /// How many took longer than this.
    pub fn slower_than(&self, time: Duration) -> usize {
        self.all.iter().filter(|call| call.took > time).count()
    }

    /// The time that a share `share` (0 to 1) of all did not exceed; zero without calls.
    pub fn took(&self, share: f64) -> Duration {
        let mut times: Vec<_> = self.all.iter().map(|call| call.took).collect();
        times.sort_unstable();
        quantile(&times, share).unwrap_or_default()
    }
}
