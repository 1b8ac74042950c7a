//! The endpoint that is expected to answer sooner: the peak EWMA of the time to the first byte, times the number of
//! requests in flight with this one. Finagle's and linkerd's default (`PeakEwma.scala`; tower's `load::PeakEwma`).
//!
//! An endpoint that hangs has no new latencies, but its requests in flight add up. One that has not answered yet counts
//! as fast as the other of the two. (tower assumes a second for it, which is wrong for most services.)

use std::time::Instant;

use super::two_choices::Candidate;

pub(super) fn is_better(second: &Candidate<'_>, first: &Candidate<'_>, now: Instant) -> bool {
    let peak = |candidate: &Candidate<'_>| candidate.entry.endpoint.traffic.latency.peak(now);
    let (theirs, ours) = (peak(second), peak(first));
    // A request in flight counts less where the weight is larger; the smaller of the two weights is the unit.
    let unit = second.weight.min(first.weight);
    let cost = |candidate: &Candidate<'_>, latency: f64| {
        latency * f64::from(1.0 + candidate.in_flight() * unit / candidate.weight)
    };
    let second_latency = theirs.or(ours).unwrap_or(1.0);
    let first_latency = ours.or(theirs).unwrap_or(1.0);
    cost(second, second_latency) < cost(first, first_latency)
}
