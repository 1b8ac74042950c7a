//! Until when an exchange waits, and who is late then: pure.

use std::time::{Duration, Instant};

use crate::gateway::cause::Ending;

/// Which side has to do something before a pump goes on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway::carry) enum Side {
    #[default]
    Source,
    Sink,
}

/// Who has been waited for for too long, and what the log says of that.
pub(in crate::gateway::carry) type Late = (Ending, &'static str);

const SILENT_CLIENT: Late = (Ending::ClientSilent, "the client: its body did not come in time");
const SLOW_CLIENT: Late = (Ending::ClientLeft, "the client: it takes nothing of its answer");
const SILENT_INSTANCE: Late = (Ending::Silent, "the endpoint: read timed out");
const SLOW_INSTANCE: Late = (Ending::Silent, "the endpoint: write timed out");
const OVER: Late = (Ending::Silent, "the request's time is over");

/// What an exchange waits for.
#[derive(Debug, Clone, Copy)]
pub(in crate::gateway::carry) struct Waits {
    /// Which side of the request's way, while the request is waited for. (Its source is the client.)
    pub(in crate::gateway::carry) upload: Option<Side>,
    /// Which side of the answer's way. (Its source is the instance.)
    pub(in crate::gateway::carry) download: Side,
    /// When the request last went on.
    pub(in crate::gateway::carry) sent_at: Instant,
    /// When something last came from the instance.
    pub(in crate::gateway::carry) heard_at: Instant,
    /// When the client last took something of its answer.
    pub(in crate::gateway::carry) taken_at: Instant,
}

/// How long it may wait.
#[derive(Debug, Clone, Copy)]
pub(in crate::gateway::carry) struct Limits {
    /// For a piece of the request's body.
    pub(in crate::gateway::carry) body: Duration,
    /// For somebody to take what is written.
    pub(in crate::gateway::carry) write: Duration,
    /// For something to come from the instance.
    pub(in crate::gateway::carry) idle: Duration,
    /// What is left of the whole request's time; none: as much as it takes.
    pub(in crate::gateway::carry) left: Option<Duration>,
}

/// Until when it waits at the most, and who is late then. None: for ever. (No instance is late that still waits for the
/// client, whichever time is over.)
pub(in crate::gateway::carry) fn due(waits: Waits, limits: Limits, now: Instant) -> Option<(Instant, Late)> {
    let upload = waits.upload.map(|side| match side {
        Side::Source => (waits.sent_at, limits.body, SILENT_CLIENT),
        Side::Sink => (waits.sent_at, limits.write, SLOW_INSTANCE),
    });
    let download = match waits.download {
        Side::Source => (waits.sent_at.max(waits.heard_at), limits.idle, SILENT_INSTANCE),
        Side::Sink => (waits.taken_at, limits.write, SLOW_CLIENT),
    };
    let over = if waits.upload == Some(Side::Source) { SILENT_CLIENT } else { OVER };
    let total = limits.left.map(|left| (now, left, over));
    let waits = upload.into_iter().chain([download]).chain(total);
    let due = waits.filter_map(|(since, wait, late)| Some((since.checked_add(wait)?, late)));
    due.min_by_key(|(due, _)| *due)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Side::{Sink, Source};

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// Of one that began at 0, sent something at 1, heard something at 2, wrote something to its client at 3, and looks
    /// at 4.
    fn late(
        upload: Option<Side>,
        download: Side,
        (body, write, idle): (u64, u64, u64),
        left: Option<u64>,
    ) -> (u64, Late) {
        let begun = Instant::now();
        let at = |count| begun + seconds(count);
        let waits = Waits { upload, download, sent_at: at(1), heard_at: at(2), taken_at: at(3) };
        let (body, write, idle) = (seconds(body), seconds(write), seconds(idle));
        let limits = Limits { body, write, idle, left: left.map(seconds) };
        let (due, late) = due(waits, limits, at(4)).expect("it does not wait for ever");
        ((due - begun).as_secs(), late)
    }

    #[test]
    fn who_is_waited_for_is_late_when_its_time_has_passed_since_it_last_did_something() {
        for (upload, download, limits, left, expected) in [
            (None, Source, (10, 10, 50), None, (52, SILENT_INSTANCE)),
            (None, Sink, (10, 50, 10), None, (53, SLOW_CLIENT)),
            (Some(Source), Source, (50, 10, 60), None, (51, SILENT_CLIENT)),
            (Some(Sink), Source, (10, 50, 60), None, (51, SLOW_INSTANCE)),
            (Some(Source), Source, (60, 10, 50), None, (52, SILENT_INSTANCE)),
            (Some(Sink), Sink, (10, 50, 10), None, (51, SLOW_INSTANCE)),
            (None, Source, (10, 10, 50), Some(48), (52, SILENT_INSTANCE)),
            (None, Source, (10, 10, 50), Some(47), (51, OVER)),
            (Some(Sink), Source, (10, 50, 60), Some(46), (50, OVER)),
            (Some(Source), Source, (50, 10, 60), Some(46), (50, SILENT_CLIENT)),
            (None, Sink, (10, 50, 10), Some(0), (4, OVER)),
        ] {
            let found = late(upload, download, limits, left);
            assert_eq!(found, expected, "{upload:?} {download:?} {limits:?} {left:?}");
        }
    }

    #[test]
    fn an_instance_has_its_time_from_when_the_request_went_on_if_it_was_heard_before() {
        let begun = Instant::now();
        let waits = Waits {
            upload: None,
            download: Source,
            sent_at: begun + seconds(9),
            heard_at: begun,
            taken_at: begun,
        };
        let limits = Limits { body: seconds(1), write: seconds(1), idle: seconds(5), left: None };
        assert_eq!(due(waits, limits, begun), Some((begun + seconds(14), SILENT_INSTANCE)));
    }

    #[test]
    fn a_time_without_an_end_never_comes() {
        let now = Instant::now();
        let waits =
            Waits { upload: Some(Source), download: Sink, sent_at: now, heard_at: now, taken_at: now };
        let limits = Limits { body: Duration::MAX, write: Duration::MAX, idle: Duration::MAX, left: None };
        assert_eq!(due(waits, limits, now), None);
    }
}
