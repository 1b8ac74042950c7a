//! Fewer requests in flight for its weight.

use super::two_choices::Candidate;

/// Two that are equal stay as they were drawn, so that shares are those of the weights while there is little
/// to do.
pub(super) fn is_better(second: &Candidate<'_>, first: &Candidate<'_>) -> bool {
    second.in_flight() * first.weight < first.in_flight() * second.weight
}
