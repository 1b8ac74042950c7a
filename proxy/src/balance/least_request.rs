//! Fewer requests in flight for its weight.

use super::two_choices::Candidate;

/// Of two that are equal, the first drawn is taken, so that the shares are those of the weights while there is little
/// to do.
pub(super) fn is_better(second: &Candidate<'_>, first: &Candidate<'_>) -> bool {
    second.in_flight() * first.weight < first.in_flight() * second.weight
}
