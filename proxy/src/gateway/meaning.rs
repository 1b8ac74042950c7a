//! What the head of an answer means for the request that it came to.

use std::time::Instant;

use super::grammar::{SWITCHES, is_interim};
use super::request::Request;
use super::resend;
use super::retry::Replay;
use crate::head::Head;

/// What the head of an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It goes before the answer's.
    Interim,
    /// Another endpoint is asked in its place, which is chosen.
    Elsewhere,
    /// The connection becomes a tunnel.
    Tunnel,
    /// The client is answered with it.
    Answer,
}

/// What a head with this status means, which the request's attempt is told of. (Whether a tunnel was asked for, its carrier
/// has found out.)
pub(super) fn of(
    request: &mut Request,
    head: &impl Head,
    status: u16,
    replay: Replay,
    now: Instant,
) -> Meaning {
    if is_interim(status) {
        if let Some(attempt) = request.attempt_mut() {
            attempt.heard(now);
        }
        return Meaning::Interim;
    }
    let is_tried_elsewhere = request.attempt_mut().is_some_and(|attempt| attempt.answered(status, now));
    if is_tried_elsewhere && resend::try_elsewhere_for_status(request, head, status, replay, now) {
        Meaning::Elsewhere
    } else if status == SWITCHES {
        Meaning::Tunnel
    } else {
        Meaning::Answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::gateway::fixture::{Setup, get};
    use crate::gateway::retry::is_idempotent;
    use http::Method;

    #[test]
    fn a_status_means_this() {
        for (endpoints, status, expected) in [
            (2, 100, Meaning::Interim),
            (2, 199, Meaning::Interim),
            (2, 101, Meaning::Tunnel),
            (2, 200, Meaning::Answer),
            (2, 500, Meaning::Answer),
            (2, 503, Meaning::Elsewhere),
            (1, 503, Meaning::Answer),
        ] {
            let retry = config::Retry { statuses: vec![503], ..config::Retry::default() };
            let fixture = Setup { retry, ..Setup::of(endpoints) }.build();
            let mut request = fixture.sent_to(0);
            let replay = Replay { idempotent: is_idempotent(&Method::GET), whole: true, unanswered: true };
            let meaning = of(&mut request, &get(), status, replay, fixture.now);
            assert_eq!(meaning, expected, "{status} of one of {endpoints}");
            let is_next = request.attempt().is_some_and(|attempt| attempt.is_next());
            assert_eq!(is_next, meaning == Meaning::Elsewhere);
        }
    }
}
