//! The sooner answer: the peak EWMA of the time to the first byte, times the requests that are in flight and
//! this one. Finagle's and linkerd's default (`PeakEwma.scala`; tower's `load::PeakEwma`).
//!
//! A stuck endpoint has no new latencies, but its requests in flight add up. One that has not answered yet is
//! held to be as fast as the other of the two: tower assumes a second, which is wrong for most services.

use std::time::Instant;

use super::two_choices::Candidate;

pub(super) fn is_better(second: &Candidate<'_>, first: &Candidate<'_>, now: Instant) -> bool {
    let peak = |candidate: &Candidate<'_>| candidate.entry.endpoint.traffic.latency.peak(now);
    let (theirs, ours) = (peak(second), peak(first));
    // Requests in flight weigh less where the weight is larger; the lighter of the two is the measure.
    let unit = second.weight.min(first.weight);
    let cost = |candidate: &Candidate<'_>, latency: f64| {
        latency * f64::from(1.0 + candidate.in_flight() * unit / candidate.weight)
    };
    let second_latency = theirs.or(ours).unwrap_or(1.0);
    let first_latency = ours.or(theirs).unwrap_or(1.0);
    cost(second, second_latency) < cost(first, first_latency)
}
