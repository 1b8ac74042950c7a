//! Whom a request goes to: pure functions over a service's endpoints; chance is passed in.

mod random;

use std::num::NonZeroU32;
use std::time::Instant;

use crate::directory::{Endpoints, Entry};

/// What a choice depends on beside the endpoints.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'c> {
    /// The ids of the endpoints that were tried for this request already.
    pub tried: &'c [u64],
    /// 64 random bits.
    pub chance: u64,
    /// The time.
    pub now: Instant,
    /// The hash of the request's key; of no meaning where the service does not hash.
    pub key: u64,
    /// How many requests may be in flight at one endpoint; none: any number.
    pub limit: Option<NonZeroU32>,
}

/// Chooses an endpoint that was not tried for this request: of the best rank that has one left. None: there
/// is no other.
pub fn pick<'e>(endpoints: &'e Endpoints, choice: &Choice<'_>) -> Option<&'e Entry> {
    random::pick(endpoints, choice.tried, choice.chance)
}
