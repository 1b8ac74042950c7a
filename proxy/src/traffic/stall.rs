//! Which requests wait at an endpoint that has fallen silent.
//!
//! A process that was stopped, or hangs, keeps its sockets open: nothing fails, answers just do not come.
//! An endpoint has stalled when enough requests have waited for their first byte for long, and not a byte
//! came from it meanwhile, for whichever request.
//!
//! Only what waits for a *first* byte counts. Streams of events and upgraded connections may be silent for
//! hours; three of them beside one slow request would otherwise make a stall.
//!
//! The rule sees one endpoint. It is to be asked only while requests would be better off at another one: who sees
//! all endpoints of the service knows that.

use std::time::{Duration, Instant};

use crate::config::Stall;

/// What is taken for the usual latency as long as nothing has answered. Without it, a service that takes two seconds
/// would be in a panic after each start.
const ASSUMED: Duration = Duration::from_millis(500);

/// An endpoint as the watch sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'w> {
    /// Whether it is ejected or on trial: a single request is enough then. So a trial does not hang for as long as the
    /// route would let it.
    pub(crate) doubted: bool,
    /// Since when its requests wait for their first byte, oldest first. A request waits from the moment it
    /// was sent whole: a slow upload is not a slow answer. Leave out what was told to be stalled before.
    pub(crate) waiting: &'w [Instant],
    /// When the last byte came from it, for whichever request.
    pub(crate) last_byte: Option<Instant>,
    /// Its usual latency, or while it has none, its service's.
    pub(crate) usual: Option<Duration>,
}

/// How long silence is normal at an endpoint of this usual latency.
pub(crate) fn patience(rules: &Stall, usual: Option<Duration>) -> Duration {
    usual.unwrap_or(ASSUMED).saturating_mul(rules.factor.get()).max(rules.floor)
}

/// How many of the waiting requests have stalled, the oldest ones; with any, the endpoint has. All that wait at an
/// endpoint that was up; at a doubted one those that have waited long themselves.
pub(crate) fn stalled(rules: &Stall, seen: Seen<'_>, now: Instant) -> usize {
    let patience = patience(rules, seen.usual);
    let has_stalled = |since: Instant| seen.last_byte.map_or(since, |byte| byte.max(since)) + patience <= now;
    if seen.doubted {
        return seen.waiting.partition_point(|since| has_stalled(*since));
    }
    let needed = usize::try_from(rules.requests.get()).unwrap_or(usize::MAX);
    let deciding = seen.waiting.get(needed - 1);
    if deciding.is_some_and(|since| has_stalled(*since)) { seen.waiting.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::num::NonZeroU32;

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    /// An endpoint that usually takes 20 ms, whose requests have waited for so many milliseconds.
    fn stalled_of(doubted: bool, waited: &[u32], quiet: Option<u32>) -> usize {
        let now = Instant::now() + 100 * SECOND;
        let waiting: Vec<_> = waited.iter().map(|millis| now - *millis * MS).collect();
        let last_byte = quiet.map(|millis| now - millis * MS);
        let seen = Seen { doubted, waiting: &waiting, last_byte, usual: Some(20 * MS) };
        stalled(&Stall::default(), seen, now)
    }

    #[test]
    fn three_that_waited_a_second_make_a_stall_and_all_that_wait_have_stalled() {
        assert_eq!(stalled_of(false, &[1_200, 1_100, 1_000, 5, 0], Some(1_300)), 5);
    }

    #[test]
    fn the_third_must_have_waited_for_as_long() {
        assert_eq!(stalled_of(false, &[9_000, 8_000, 999], Some(9_500)), 0);
    }

    #[test]
    fn two_never_stall() {
        assert_eq!(stalled_of(false, &[90_000, 80_000], Some(90_000)), 0);
        assert_eq!(stalled_of(false, &[], None), 0);
    }

    #[test]
    fn a_byte_of_any_request_shows_that_it_lives() {
        assert_eq!(stalled_of(false, &[5_000, 5_000, 5_000], Some(200)), 0);
    }

    #[test]
    fn one_that_never_sent_a_byte_is_silent_too() {
        assert_eq!(stalled_of(false, &[1_001, 1_001, 1_001], None), 3);
    }

    #[test]
    fn a_long_silence_before_the_requests_came_says_nothing() {
        assert_eq!(stalled_of(false, &[10, 10, 10], Some(50_000)), 0);
    }

    #[test]
    fn one_is_enough_at_a_doubted_endpoint_and_only_what_waited_long_has_stalled() {
        assert_eq!(stalled_of(true, &[1_500, 1_000, 400, 10], None), 2);
        assert_eq!(stalled_of(true, &[999], None), 0);
        assert_eq!(stalled_of(true, &[2_000], Some(300)), 0);
    }

    #[test]
    fn patience_is_ten_times_the_usual_latency_and_at_least_a_second() {
        let patience = |usual| patience(&Stall::default(), usual);
        assert_eq!(patience(Some(20 * MS)), SECOND);
        assert_eq!(patience(Some(100 * MS)), SECOND);
        assert_eq!(patience(Some(700 * MS)), 7 * SECOND);
        assert_eq!(patience(None), 5 * SECOND, "nothing has answered yet");
    }

    /// The rule in words, without a thought of speed.
    fn model(rules: &Stall, seen: Seen<'_>, now: Instant) -> usize {
        let patience = patience(rules, seen.usual);
        let silent = seen.last_byte.is_none_or(|byte| now.duration_since(byte) >= patience);
        let long = seen.waiting.iter().filter(|since| now.duration_since(**since) >= patience).count();
        match seen.doubted {
            _ if !silent => 0,
            false if long >= rules.requests.get() as usize => seen.waiting.len(),
            false => 0,
            true => long,
        }
    }

    proptest! {
        #[test]
        fn it_finds_what_the_rule_says(
            doubted in any::<bool>(),
            mut waited in prop::collection::vec(0_u64..4_000, 0..8),
            quiet in prop::option::of(0_u64..4_000),
            usual in prop::option::of(0_u64..300),
            needed in 1_u32..5,
        ) {
            waited.sort_unstable_by(|a, b| b.cmp(a));
            let now = Instant::now() + 100 * SECOND;
            let waiting: Vec<_> = waited.iter().map(|ms| now - Duration::from_millis(*ms)).collect();
            let rules = Stall { requests: NonZeroU32::new(needed).expect("not 0"), ..Stall::default() };
            let seen = Seen {
                doubted,
                waiting: &waiting,
                last_byte: quiet.map(|millis| now - Duration::from_millis(millis)),
                usual: usual.map(Duration::from_millis),
            };
            prop_assert_eq!(stalled(&rules, seen, now), model(&rules, seen, now));
        }
    }
}
