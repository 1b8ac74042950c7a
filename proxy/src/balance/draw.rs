//! Draws endpoints until one can take the request.

use fastrand::Rng;

use crate::directory::{Endpoints, Entry, Ramp, Rank};

use super::Choice;

/// How often is drawn before the choice walks over all endpoints instead. If all but one of twenty are at their limits,
/// about half of the choices find that one by drawing.
const TRIES: u32 = 16;

/// The draws of one choice.
pub(super) struct Draw<'e, 'c> {
    pub(super) endpoints: &'e Endpoints,
    pub(super) choice: &'c Choice<'c>,
    chance: Rng,
    ramp: Option<&'e Ramp>,
}

impl<'e, 'c> Draw<'e, 'c> {
    pub(super) fn new(endpoints: &'e Endpoints, choice: &'c Choice<'c>) -> Self {
        let ramp = endpoints.ramp().filter(|ramp| !ramp.is_over(choice.now));
        Self { endpoints, choice, chance: Rng::with_seed(choice.chance), ramp }
    }

    /// Any that can take the request, by weight.
    pub(super) fn by_weight(&mut self) -> Option<usize> {
        let total = self.endpoints.total();
        (total > 0).then_some(())?;
        self.first(|chance| Some(chance.u32(..total)))
    }

    /// The same, but not the endpoint at this place.
    pub(super) fn by_weight_except(&mut self, place: usize) -> Option<usize> {
        let sums = self.endpoints.cumulative();
        let end = *sums.get(place)?;
        let start = place.checked_sub(1).and_then(|before| sums.get(before)).map_or(0, |sum| *sum);
        let left = self.endpoints.total() - (end - start);
        (left > 0).then_some(())?;
        // A point of the line from which that endpoint's part was cut out.
        self.first(|chance| {
            let point = chance.u32(..left);
            Some(if point < start { point } else { point + (end - start) })
        })
    }

    /// Draws points of the line until one belongs to an endpoint that can take the request.
    ///
    /// During its slow start an endpoint has the whole part of the line that its weight says, and declines as often as
    /// its share is still smaller than that. So all get the right shares. If [`TRIES`] draws found none but those that
    /// declined, the last of them is taken: in a service of which nine tenths have come this moment, that happens to
    /// one choice in 30.
    pub(super) fn first(&mut self, mut point: impl FnMut(&mut Rng) -> Option<u32>) -> Option<usize> {
        let mut declined = None;
        for _ in 0..TRIES {
            let Some(place) = point(&mut self.chance).and_then(|point| self.endpoints.at(point)) else {
                break;
            };
            let Some(entry) = self.endpoints.entries().get(place).filter(|entry| self.takes(entry)) else {
                continue;
            };
            if self.ramp.is_none() || self.chance.f32() < self.relative(entry) {
                return Some(place);
            }
            declined = Some(place);
        }
        declined
    }

    /// Walks over all endpoints, and draws by weight one of those that can take the request and whose rank is the best
    /// among these. One of the third rank, which is known to fail, is taken only if every better one was tried already:
    /// that those are merely at their limits is no reason to send a request there.
    pub(super) fn among_the_rest(&mut self) -> Option<&'e Entry> {
        let mut best_untried: Option<Rank> = None;
        let mut best: Option<Rank> = None;
        let mut chosen = None;
        let mut total = 0.0;
        for entry in self.endpoints.entries() {
            let Some(rank) = self.endpoints.rank(entry).filter(|_| !self.was_tried(entry)) else { continue };
            best_untried = Some(best_untried.map_or(rank, |best| best.min(rank)));
            if self.is_full(entry) {
                continue;
            }
            match best {
                Some(best) if rank > best => continue,
                Some(best) if rank == best => {}
                _ => (best, total) = (Some(rank), 0.0),
            }
            // Reservoir sampling: each replaces the one kept so far with its weight's part of the sum up to now.
            let weight = f64::from(self.weight(entry));
            total += weight;
            if self.chance.f64() * total < weight {
                chosen = Some(entry);
            }
        }
        chosen.filter(|_| best < Some(Rank::Third) || best == best_untried)
    }

    /// Whether the request may go there: it was not tried, and is below its limit.
    pub(super) fn takes(&self, entry: &Entry) -> bool {
        !self.was_tried(entry) && !self.is_full(entry)
    }

    fn was_tried(&self, entry: &Entry) -> bool {
        self.choice.tried.contains(&entry.endpoint.id)
    }

    fn is_full(&self, entry: &Entry) -> bool {
        self.choice.limit.is_some_and(|limit| entry.endpoint.traffic.in_flight.count() >= limit.get())
    }

    /// What the endpoint's weight counts at the moment.
    pub(super) fn weight(&self, entry: &Entry) -> f32 {
        let factor = |ramp: &Ramp| ramp.factor(entry.usable_since, self.choice.now);
        f32::from(entry.weight) * self.ramp.map_or(1.0, factor)
    }

    /// The part of its share that a new endpoint takes, in relation to the oldest: up to 1.
    pub(super) fn relative(&self, entry: &Entry) -> f32 {
        self.ramp.map_or(1.0, |ramp| ramp.relative(entry.usable_since, self.choice.now))
    }

    /// From 0 up to, but not including, 1.
    pub(super) fn toss(&mut self) -> f32 {
        self.chance.f32()
    }
}
