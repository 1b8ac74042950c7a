//! Whom a request goes to: pure functions over a service's endpoints; time and chance are passed in.
//!
//! | module | it chooses |
//! |---|---|
//! | [`draw`] | nobody: it draws endpoints until one can take the request, for all the others |
//! | [`two_choices`] | the better of two, for the two policies that compare |
//! | [`least_request`] | what is better: fewer requests in flight |
//! | [`ewma`] | what is better: the sooner answer |
//! | [`hash`] | the same endpoint for the same key |
//!
//! `random` and `round_robin` are a line each, below. A choice takes no lock and allocates nothing. Most often it costs
//! a binary search or two. Where no endpoint of the best rank can take this request, it walks over all endpoints.

mod draw;
mod ewma;
mod hash;
mod least_request;
mod two_choices;

use std::num::NonZeroU32;
use std::time::Instant;

use crate::directory::{Endpoints, Entry, Plan};

use draw::Draw;

/// What a choice depends on beside the endpoints.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'c> {
    /// The ids of the endpoints that were tried for this request already.
    pub tried: &'c [u64],
    /// 64 random bits.
    pub chance: u64,
    /// The time.
    pub now: Instant,
    /// The request's key, by [`directory::hash`](crate::directory::hash); of no meaning where the service does
    /// not hash.
    pub key: u64,
    /// How many requests may be in flight at one endpoint; none: any number.
    pub limit: Option<NonZeroU32>,
}

/// Chooses an endpoint that was not tried for this request and is below its limit, from the best rank that has one. One
/// that is known to fail is chosen only if all others were tried; that they are at their limits is not enough. None:
/// there is no such endpoint.
pub fn pick<'e>(endpoints: &'e Endpoints, choice: &Choice<'_>) -> Option<&'e Entry> {
    let mut draw = Draw::new(endpoints, choice);
    let picked = match endpoints.plan() {
        Plan::Random => draw.by_weight(),
        Plan::RoundRobin(schedule) => draw.first(|_| schedule.turn()),
        Plan::LeastRequest => two_choices::pick(&mut draw, least_request::is_better),
        Plan::Ewma => {
            two_choices::pick(&mut draw, |second, first| ewma::is_better(second, first, choice.now))
        }
        Plan::Hash(hashing) => hash::pick(&draw, hashing),
    };
    picked.and_then(|place| endpoints.entries().get(place)).or_else(|| draw.among_the_rest())
}

#[cfg(test)]
mod tests;
