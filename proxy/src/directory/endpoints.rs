//! The endpoints of a service at one moment, and what balance needs of them, computed once.

use std::sync::Arc;

use crate::traffic::in_flight::InFlight;

use super::plan::{Plan, Planner};
use super::ring::Builder;
use super::slow_start::Ramp;
use super::{Endpoint, Entry, Rank, State};

/// The endpoints of a service at one moment, and what balance needs of them, computed once.
#[derive(Debug, Default)]
pub struct Endpoints {
    entries: Box<[Entry]>,
    best: Option<Rank>,
    cumulative: Box<[u32]>,
    ramp: Option<Ramp>,
    plan: Plan,
}

impl Endpoints {
    pub(super) fn new(
        entries: Vec<Entry>,
        planner: &Planner,
        in_flight: &Arc<InFlight>,
        builder: &mut Builder,
    ) -> Self {
        let mut endpoints = Self { entries: entries.into(), ..Self::default() };
        endpoints.best = endpoints.entries.iter().filter_map(|entry| endpoints.rank(entry)).min();
        endpoints.cumulative = endpoints.sum();
        let best = endpoints.entries.iter().filter(|entry| endpoints.is_best(entry));
        endpoints.ramp = Ramp::new(best.map(|entry| entry.usable_since), planner.policy().slow_start);
        endpoints.plan = planner.plan(&endpoints, in_flight, builder);
        endpoints
    }

    fn sum(&self) -> Box<[u32]> {
        let mut total = 0_u32;
        let weight = |entry| if self.is_best(entry) { entry.weight.into() } else { 0 };
        let sums = self.entries.iter().map(|entry| {
            total = total.saturating_add(weight(entry));
            total
        });
        sums.collect()
    }

    /// All of them, by instance id.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    #[cfg(test)]
    pub(crate) fn best(&self) -> Option<Rank> {
        self.best
    }

    /// The rank of one of them; none: nothing goes to it.
    pub(crate) fn rank(&self, entry: &Entry) -> Option<Rank> {
        entry.rank()
    }

    /// Whether one of them is up.
    pub(crate) fn any_up(&self) -> bool {
        self.entries.iter().any(|entry| entry.state() == State::Up)
    }

    /// Whether one of them has the best rank.
    pub(crate) fn is_best(&self, entry: &Entry) -> bool {
        self.best.is_some() && self.rank(entry) == self.best
    }

    /// Whether one of them takes whoever would rather go there than to the others: it has the best rank, and nothing is
    /// known against it.
    pub(crate) fn is_well(&self, entry: &Entry) -> bool {
        self.is_best(entry) && !entry.health.is_out()
    }

    /// What there is of an endpoint. None: it is gone.
    pub(crate) fn find(&self, endpoint: &Endpoint) -> Option<&Entry> {
        let at =
            self.entries.binary_search_by(|entry| entry.endpoint.instance.cmp(&endpoint.instance)).ok()?;
        self.entries.get(at).filter(|entry| entry.endpoint.id == endpoint.id)
    }

    /// For each entry, the sum of the weights of the best rank up to and including its own. An entry of
    /// another rank adds nothing.
    pub(crate) fn cumulative(&self) -> &[u32] {
        &self.cumulative
    }

    /// The sum of the weights of the best rank; 0: there is nobody to send a request to.
    pub(crate) fn total(&self) -> u32 {
        self.cumulative.last().copied().unwrap_or(0)
    }

    /// Lays the entries of the best rank side by side on a line, each as long as its weight, and returns the one on
    /// which this point falls. The line ends at [`total`](Self::total).
    pub(crate) fn at(&self, point: u32) -> Option<usize> {
        // The first whose sum exceeds the point. Never one of another rank: its sum is that of the entry before it.
        let index = self.cumulative.partition_point(|sum| *sum <= point);
        (index < self.cumulative.len()).then_some(index)
    }

    /// The slow start of the best rank; none: nobody has one.
    pub(crate) fn ramp(&self) -> Option<&Ramp> {
        self.ramp.as_ref()
    }

    /// How one of them is chosen.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}
