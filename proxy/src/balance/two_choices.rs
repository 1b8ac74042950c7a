//! The better of two endpoints, both drawn by weight (Mitzenmacher, "The power of two choices in randomized
//! load balancing").

use crate::directory::Entry;

use super::draw::Draw;

/// One of the two.
pub(super) struct Candidate<'e> {
    pub(super) entry: &'e Entry,
    /// What its weight counts at the moment; more than 0.
    pub(super) weight: f32,
}

impl Candidate<'_> {
    pub(super) fn in_flight(&self) -> f32 {
        self.entry.endpoint.traffic.in_flight.count() as f32
    }
}

/// The first drawn, unless the second is better.
///
/// If the first is much heavier than all others, a light one is drawn second each time, and would get far more requests
/// than its weight says. So the heavier one gives way only as often as the weights are to each other: an endpoint that
/// is better gets at most about twice its share.
pub(super) fn pick(
    draw: &mut Draw<'_, '_>,
    is_better: impl FnOnce(&Candidate<'_>, &Candidate<'_>) -> bool,
) -> Option<usize> {
    let first = draw.by_weight()?;
    Some(better_than(draw, first, is_better).unwrap_or(first))
}

fn better_than(
    draw: &mut Draw<'_, '_>,
    first: usize,
    is_better: impl FnOnce(&Candidate<'_>, &Candidate<'_>) -> bool,
) -> Option<usize> {
    let place = draw.by_weight_except(first)?;
    let (second, first) = (candidate(draw, place)?, candidate(draw, first)?);
    (is_better(&second, &first) && draw.toss() * first.weight < second.weight).then_some(place)
}

fn candidate<'e>(draw: &Draw<'e, '_>, place: usize) -> Option<Candidate<'e>> {
    let entry = draw.endpoints.entries().get(place)?;
    Some(Candidate { entry, weight: draw.weight(entry) })
}
