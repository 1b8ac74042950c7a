//! Whom a request goes to: pure functions over a service's endpoints; chance is passed in.

mod random;

use crate::directory::{Endpoints, Entry};

/// Chooses an endpoint that was not `tried` for this request: of the best rank that has one left, at random
/// by weight. `chance` are 64 random bits. None: there is no other.
pub fn pick<'e>(endpoints: &'e Endpoints, tried: &[u64], chance: u64) -> Option<&'e Entry> {
    random::pick(endpoints, tried, chance)
}
