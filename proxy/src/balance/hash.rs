//! The same endpoint for the same key, as long as it is there and not overloaded: consistent hashing with
//! bounded loads (Mirrokni, Thorup, Zadimoghaddam, 2017).

use crate::directory::{Entry, Hashing, mix};

use super::draw::Draw;

/// An endpoint has room below so many times its share of the requests in flight: the usual value (brpc's
/// default). The nearer to 1, the more keys move under load; the larger, the busier one endpoint may get.
const BOUND: f32 = 1.25;

/// How many points of the ring are looked at for one key. Of ten endpoints with 160 points each, every one has come up
/// by then.
const STEPS: usize = 256;

/// Walks round the ring from the point on which the key falls, and takes the first endpoint that can take the request
/// and has room. If none has room, the first that can take it. Before the ring is built, the key alone decides.
pub(super) fn pick(draw: &Draw<'_, '_>, hashing: &Hashing) -> Option<usize> {
    let ring = hashing.ring();
    let Some(ring) = ring.as_ref() else { return by_key(draw) };
    let mut declined = Declined::default();
    let mut passed = None;
    for name in ring.names(draw.choice.key).take(STEPS) {
        let Some((place, entry)) = find(draw, hashing, name) else { continue };
        let kept = ring.kept(entry.weight) * draw.relative(entry);
        if kept < 1.0 && declined.toss(draw.choice.key ^ name) >= kept {
            declined.push(draw.choice.key ^ name);
        } else if has_room(draw, hashing, entry) {
            return Some(place);
        }
        passed = passed.or(Some(place));
    }
    passed.or_else(|| by_key(draw))
}

fn find<'e>(draw: &Draw<'e, '_>, hashing: &Hashing, name: u64) -> Option<(usize, &'e Entry)> {
    let place = hashing.place(name)?;
    let entry = draw.endpoints.entries().get(place)?;
    (draw.endpoints.is_best(entry) && draw.takes(entry)).then_some((place, entry))
}

fn has_room(draw: &Draw<'_, '_>, hashing: &Hashing, entry: &Entry) -> bool {
    let share = f32::from(entry.weight) / draw.endpoints.total() as f32;
    let bound = (BOUND * share * hashing.in_flight() as f32).ceil();
    (entry.endpoint.traffic.in_flight.count() as f32) < bound
}

fn by_key(draw: &Draw<'_, '_>) -> Option<usize> {
    let total = u64::from(draw.endpoints.total());
    let point = ((mix(draw.choice.key) >> 32) * total) >> 32;
    let place = draw.endpoints.at(u32::try_from(point).ok()?)?;
    draw.endpoints.entries().get(place).filter(|entry| draw.takes(entry)).map(|_| place)
}

/// The endpoints that were passed by in one walk although they could have taken the request.
///
/// An endpoint has whole points on the ring, and these may stand for more than its share: its weight lies between two
/// numbers of points, or it is new and starts with a small share. So at each of its points it takes only a part of the
/// keys, as if some of its points were missing. Which keys these are follows from the key, the endpoint and how often
/// the endpoint has declined the key in this walk, and from nothing else: endpoints that come or go change nothing in
/// it, and as the share grows, the endpoint keeps the keys that it has and gets others.
#[derive(Default)]
struct Declined {
    who: [u64; 32],
    count: usize,
}

impl Declined {
    /// A number for this endpoint's next point, from 0 up to, but not including, 1. The point declines the key unless
    /// it is below the part that the endpoint keeps.
    fn toss(&self, who: u64) -> f32 {
        const BITS: u32 = f32::MANTISSA_DIGITS;
        let times = self.who.iter().take(self.count).filter(|declined| **declined == who).count() as u64;
        (mix(who ^ mix(times)) >> (u64::BITS - BITS)) as f32 / (1_u32 << BITS) as f32
    }

    /// Notes that an endpoint has declined. There is room for 32; after that an endpoint decides at its next point as
    /// it did at the one before.
    fn push(&mut self, who: u64) {
        if let Some(next) = self.who.get_mut(self.count) {
            *next = who;
            self.count += 1;
        }
    }
}
