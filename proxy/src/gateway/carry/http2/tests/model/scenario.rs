//! What clients and instances do: plain data, drawn at random.

use std::time::Duration;

use h2::Reason;
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;

/// Silence that nobody minds. What the gateway waits for the least is a client within its body, and one that takes nothing:
/// 30 s.
pub(super) const PATIENCE: Duration = Duration::from_secs(25);

/// All that happens in one case.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    /// The last one begins when the others have ended.
    pub(super) streams: Vec<StreamPlan>,
    pub(super) instances: Vec<InstancePlan>,
    pub(super) window: Window,
    /// How much a client's connection holds, and an instance's.
    pub(super) holds: [usize; 2],
    /// How often each connection hesitates.
    pub(super) hesitates: u32,
    /// After how many milliseconds the client leaves.
    pub(super) leaves: Option<u64>,
    /// After how many milliseconds the process is told to stop.
    pub(super) stops: Option<u64>,
    /// What pieces and pauses are drawn from.
    pub(super) seed: u64,
}

/// How much of each body a client is sent ahead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) size: u32,
    /// And from so many milliseconds on.
    pub(super) then: Option<(u64, u32)>,
}

/// What an instance is like.
#[derive(Debug, Clone, Copy)]
pub(super) struct InstancePlan {
    pub(super) speaks_http2: bool,
    /// How much of each body it is sent ahead.
    pub(super) window: u32,
    /// How many streams it allows on a connection.
    pub(super) streams: u32,
}

/// A moment in what somebody sends, in shares of 1/1000 of it.
pub(super) type Moment = usize;

/// A body, whosever it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Body {
    pub(super) size: usize,
    /// Whether its head says how long it is.
    pub(super) has_length: bool,
    pub(super) trailers: bool,
    /// A silence of so many milliseconds within it.
    pub(super) silence: Option<(Moment, u64)>,
}

/// What a client asks on one stream.
#[derive(Debug, Clone)]
pub(super) struct StreamPlan {
    /// After how many milliseconds.
    pub(super) begins: u64,
    pub(super) method: &'static str,
    /// None: its head says that none follows.
    pub(super) body: Option<Body>,
    /// After how many milliseconds more the client resets it.
    pub(super) resets: Option<(u64, Reason)>,
    /// The client takes nothing of its answer for so many milliseconds.
    pub(super) pauses: Option<(Moment, u64)>,
    /// What instances make of it, one after the other, the last again and again.
    pub(super) answers: Vec<AnswerPlan>,
}

#[derive(Debug, Clone)]
pub(super) struct AnswerPlan {
    /// Whether it comes before the end of the request.
    pub(super) is_early: bool,
    /// Whether, where it is, the rest of the request is read all the same.
    pub(super) reads_rest: bool,
    /// How many milliseconds it takes.
    pub(super) takes: u64,
    pub(super) body: Body,
    pub(super) fault: Option<Fault>,
}

/// What goes wrong with an answer, or goes on beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The instance does not begin with the request (REFUSED_STREAM).
    Refuses,
    /// It says by GOAWAY that it has not begun with this one, nor with any that came later.
    GoesAwayBelow,
    /// It answers, but its connection takes no more requests (GOAWAY).
    GoesAway,
    /// It breaks the stream off in this moment of the answer's body; none: before the head.
    Resets(Reason, Option<Moment>),
    /// The same of its connection, with all that is on it.
    Closes(Option<Moment>),
}

impl StreamPlan {
    pub(super) fn answer(&self, attempt: usize) -> &AnswerPlan {
        self.answers.get(attempt).or(self.answers.last()).expect("there is one at least")
    }

    /// RFC 9110, 9.2.2.
    pub(super) fn is_idempotent(&self) -> bool {
        self.method != "POST"
    }

    /// One to which nothing happens, and whose bodies are longer than any window.
    fn probe() -> Self {
        const SIZE: usize = 150_000;
        let body = Body { size: SIZE, has_length: false, trailers: false, silence: None };
        let answer = AnswerPlan { is_early: false, reads_rest: true, takes: 0, body, fault: None };
        Self {
            begins: 0,
            method: "POST",
            body: Some(body),
            resets: None,
            pauses: None,
            answers: vec![answer],
        }
    }
}

pub(super) fn scenario() -> impl Strategy<Value = Scenario> {
    let hold = || select(vec![100_usize, 1_000, 16_384, 65_536, 65_536]);
    let hesitates = prop_oneof![1 => Just(0), 2 => 0..40_u32];
    let then = weighted(0.2, (0..2_000_u64, window()));
    // h2 forgets what it has to announce where it makes a window smaller, and its peer waits for ever.
    let window = (window(), then)
        .prop_map(|(size, then)| Window { size, then: then.map(|(after, then)| (after, then.max(size))) });
    let ends = (weighted(0.08, 0..3_000_u64), weighted(0.12, 0..3_000_u64));
    let who = (vec(stream(), 1..9), vec(instance(), 1..4), window);
    (who, [hold(), hold()], hesitates, ends, any::<u64>()).prop_map(
        |((mut streams, instances, window), holds, hesitates, (leaves, stops), seed)| {
            streams.push(StreamPlan::probe());
            Scenario { streams, instances, window, holds, hesitates, leaves, stops, seed }.within_bounds()
        },
    )
}

impl Scenario {
    /// What passes through a narrow place a few bytes at a time takes long: there is less of it then.
    fn within_bounds(mut self) -> Self {
        let up = self.instances.iter().map(|instance| instance.window).min();
        let hold = self.holds[0].min(self.holds[1]);
        let [up, down] =
            [up, Some(self.window.size)].map(|window| hold.min(window.unwrap_or(u32::MAX) as usize) * 100);
        for stream in &mut self.streams {
            stream.body.iter_mut().for_each(|body| body.size = body.size.min(up));
            for AnswerPlan { body, .. } in &mut stream.answers {
                body.size = body.size.min(down);
                // What is said to be empty cannot break off.
                body.has_length &= body.size > 0;
            }
        }
        self
    }
}

fn window() -> impl Strategy<Value = u32> {
    select(vec![1_u32, 10, 1_000, 16_384, 65_535, 65_535, 300_000, 1 << 20])
}

fn instance() -> impl Strategy<Value = InstancePlan> {
    (prop::bool::weighted(0.75), window(), select(vec![1_u32, 2, 5, 100, 100]))
        .prop_map(|(speaks_http2, window, streams)| InstancePlan { speaks_http2, window, streams })
}

fn stream() -> impl Strategy<Value = StreamPlan> {
    let method = select(vec!["GET", "GET", "PUT", "PUT", "POST", "POST"]);
    let reason = select(vec![Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR]);
    let resets = weighted(0.15, (milliseconds(), reason));
    let pauses = weighted(0.12, (moment(), prop_oneof![3 => 0..20_000_u64, 1 => Just(40_000)]));
    let answers = (vec(answer(0.35), 0..3), answer(0.15));
    ((milliseconds(), method), body(), prop::bool::weighted(0.1), resets, pauses, answers).prop_map(
        |((begins, method), body, is_bare, resets, pauses, (first, last))| StreamPlan {
            begins,
            method,
            body: (method != "GET" && !is_bare).then_some(body),
            resets,
            pauses,
            answers: first.into_iter().chain([last]).collect(),
        },
    )
}

fn milliseconds() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0_u64), 3 => 0..50_u64, 1 => 0..2_000_u64]
}

fn moment() -> impl Strategy<Value = Moment> {
    prop_oneof![1 => Just(0_usize), 3 => 0..1_000_usize]
}

fn body() -> impl Strategy<Value = Body> {
    let size = prop_oneof![
        2 => Just(0_usize),
        4 => 0..500_usize,
        4 => 0..70_000_usize,
        2 => 60_000..200_000_usize,
    ];
    let silence = weighted(0.1, (moment(), 0..20_000_u64));
    (size, any::<bool>(), prop::bool::weighted(0.3), silence)
        .prop_map(|(size, has_length, trailers, silence)| Body { size, has_length, trailers, silence })
}

fn answer(faults: f64) -> impl Strategy<Value = AnswerPlan> {
    let reason =
        select(vec![Reason::CANCEL, Reason::INTERNAL_ERROR, Reason::NO_ERROR, Reason::PROTOCOL_ERROR]);
    let at = || proptest::option::of(moment());
    let fault = prop_oneof![
        3 => Just(Fault::Refuses),
        2 => Just(Fault::GoesAwayBelow),
        2 => Just(Fault::GoesAway),
        3 => (reason, at()).prop_map(|(reason, at)| Fault::Resets(reason, at)),
        1 => at().prop_map(Fault::Closes),
    ];
    let takes = prop_oneof![4 => milliseconds(), 1 => 0..20_000_u64];
    ((prop::bool::weighted(0.2), any::<bool>()), takes, body(), weighted(faults, fault)).prop_map(
        |((is_early, reads_rest), takes, body, fault)| AnswerPlan {
            is_early,
            reads_rest,
            takes,
            body,
            fault,
        },
    )
}
