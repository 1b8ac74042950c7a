//! What clients and instances do: plain data, drawn at random.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;

/// All that happens in one case.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    pub(super) clients: Vec<ClientPlan>,
    pub(super) endpoints: u8,
    /// How much a client's connection holds, and an instance's.
    pub(super) holds: [usize; 2],
    /// What becomes of the first attempts to connect, in their order.
    pub(super) dials: Vec<Dial>,
    /// After how many milliseconds only so many instances are registered still.
    pub(super) departs: Option<(u64, u8)>,
    pub(super) setting: Setting,
    /// How often each connection hesitates.
    pub(super) hesitates: u32,
    /// What pieces and pauses are drawn from.
    pub(super) seed: u64,
}

/// What becomes of an attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dial {
    Opens,
    Refused,
    /// Nothing, ever.
    Hangs,
}

/// How the gateway is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Setting {
    Usual,
    /// A client that sends no more counts as one that has left.
    EndIsLeaving,
    /// A request has [`Setting::TOTAL`] in all.
    Bounded,
}

impl Setting {
    /// More than what goes well takes, and less than any wait for an instance.
    pub(super) const TOTAL: Duration = Duration::from_secs(20);

    /// What the configuration says beyond what is usual.
    pub(super) fn keys(self) -> String {
        match self {
            Self::Usual => String::new(),
            Self::EndIsLeaving => "client_abort: on_fin".into(),
            Self::Bounded => format!("timeouts: {{total: {}s}}", Self::TOTAL.as_secs()),
        }
    }
}

/// What a client does on its connection.
#[derive(Debug, Clone)]
pub(super) struct ClientPlan {
    pub(super) requests: Vec<RequestPlan>,
    /// Whether it sends them without waiting for answers.
    pub(super) is_ahead: bool,
    pub(super) leaves: Option<(Moment, Leaving)>,
    /// Whether it says that it sends no more, when it has sent all.
    pub(super) half_closes: bool,
}

/// A moment in what somebody sends, in shares of 1/1000 of it.
pub(super) type Moment = usize;

/// How somebody leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It says that it sends no more, and waits for the other side.
    Ends,
    Closes,
    Resets,
    /// It stays, and sends nothing more.
    FallsSilent,
}

#[derive(Debug, Clone)]
pub(super) struct RequestPlan {
    pub(super) method: &'static str,
    pub(super) is_1_0: bool,
    /// `Connection: close`, or with HTTP/1.0 the lack of `keep-alive`.
    pub(super) closes: bool,
    pub(super) expects: bool,
    pub(super) body: Body,
    /// A chunk that is none is sent in this place, in 1/1000 of the body.
    pub(super) is_spoilt: bool,
    pub(super) upgrade: Option<Tunnel>,
    /// What instances make of it, one after the other, the last again and again.
    pub(super) answers: Vec<AnswerPlan>,
}

/// A body, whosever it is.
#[derive(Debug, Clone)]
pub(super) struct Body {
    pub(super) size: usize,
    pub(super) framing: Framing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Length,
    Chunked {
        chunk: usize,
        extensions: bool,
        trailers: bool,
    },
    /// For answers.
    UntilClose,
}

/// What both sides say when the connection has become a tunnel.
#[derive(Debug, Clone)]
pub(super) struct Tunnel {
    pub(super) up: usize,
    pub(super) down: usize,
    /// Which side's end comes before that of the other side, which waits for it.
    pub(super) first: Option<Side>,
    /// One of them leaves at some moment of what it says.
    pub(super) broken: Option<(Side, Moment)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Instance,
}

#[derive(Debug, Clone)]
pub(super) struct AnswerPlan {
    /// Whether it comes before the end of the request.
    pub(super) is_early: bool,
    /// Where it is early, so much of it comes then, and the rest when the request is there.
    pub(super) half: Option<Moment>,
    pub(super) interim: u8,
    pub(super) status: u16,
    pub(super) is_1_0: bool,
    pub(super) body: Body,
    pub(super) closes: bool,
    pub(super) fault: Option<Fault>,
    pub(super) afterwards: Afterwards,
}

/// What goes wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Leaves(Moment, Leaving),
    /// Its head is none, in one of several ways.
    Head(usize),
    /// A chunk is none.
    Spoilt,
    /// A 101 that nobody has asked for.
    Upgrades,
    /// Something comes behind it.
    Beyond,
}

/// What an instance does when it has answered and keeps the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Afterwards {
    Waits,
    /// Closes it after so many milliseconds.
    Closes(u64),
    /// Says something that nobody has asked for.
    Babbles(u64),
}

impl Scenario {
    pub(super) fn exchanges(&self) -> u32 {
        self.clients.iter().map(|client| client.requests.len() as u32).sum()
    }

    /// Whether an instance does what it should not.
    pub(super) fn is_faulty(&self) -> bool {
        self.dials.iter().any(|dial| *dial != Dial::Opens)
            || self.babbles()
            || self.answers().any(|answer| answer.fault.is_some())
    }

    fn answers(&self) -> impl Iterator<Item = &AnswerPlan> {
        self.clients.iter().flat_map(|client| &client.requests).flat_map(|request| &request.answers)
    }

    /// Whether an instance says what nobody has asked for.
    pub(super) fn babbles(&self) -> bool {
        self.answers().any(|answer| matches!(answer.afterwards, Afterwards::Babbles(_)))
    }

    /// Whether an instance may close a connection that somebody begins to use.
    pub(super) fn closes_idle(&self) -> bool {
        self.answers().any(|answer| matches!(answer.afterwards, Afterwards::Closes(_)))
    }
}

impl RequestPlan {
    pub(super) fn answer(&self, attempt: usize) -> &AnswerPlan {
        self.answers.get(attempt).or(self.answers.last()).expect("there is one at least")
    }

    /// RFC 9110, 9.2.2.
    pub(super) fn is_idempotent(&self) -> bool {
        self.method != "POST" && self.method != "PATCH"
    }

    /// Whether its answer has no body, whatever it says.
    pub(super) fn is_bare(&self, answer: &AnswerPlan) -> bool {
        self.method == "HEAD" || matches!(answer.status, 204 | 304)
    }
}

/// With one of these settings.
pub(super) fn scenario(settings: &'static [Setting]) -> impl Strategy<Value = Scenario> {
    let hold = || select(vec![1usize, 2, 3, 7, 61, 1_000, 16_384, 65_536]);
    let dial = select(vec![Dial::Opens, Dial::Refused, Dial::Hangs]);
    let dials = prop_oneof![9 => Just(Vec::new()), 1 => vec(dial, 1..4)];
    let departs = weighted(0.15, (0..300u64, 1..3u8));
    let instances = (1..4u8, dials, departs);
    let hesitates = prop_oneof![1 => Just(0), 3 => 0..40u32];
    (vec(client(), 1..3), instances, [hold(), hold()], hesitates, select(settings), any::<u64>()).prop_map(
        |(clients, (endpoints, dials, departs), holds, hesitates, setting, seed)| {
            let departs = departs.filter(|(_, left)| *left < endpoints);
            Scenario { clients, endpoints, dials, departs, holds, hesitates, setting, seed }.within_bounds()
        },
    )
}

impl Scenario {
    /// What passes through a narrow place byte by byte takes long: there is less of it then.
    fn within_bounds(mut self) -> Self {
        let most = self.holds[0].min(self.holds[1]) * 300;
        for request in self.clients.iter_mut().flat_map(|client| &mut client.requests) {
            request.body.size = request.body.size.min(most);
            if let Some(tunnel) = &mut request.upgrade {
                (tunnel.up, tunnel.down) = (tunnel.up.min(most), tunnel.down.min(most));
            }
            for answer in &mut request.answers {
                answer.body.size = answer.body.size.min(most);
                // What comes later than the answer's last byte could come when the next request has been sent.
                let is_narrow = self.holds[1] < 1_000;
                answer.fault = answer.fault.filter(|fault| !(is_narrow && *fault == Fault::Beyond));
            }
        }
        self
    }
}

fn client() -> impl Strategy<Value = ClientPlan> {
    let leaving = select(vec![Leaving::Ends, Leaving::Closes, Leaving::Resets, Leaving::FallsSilent]);
    (vec(request(), 1..4), any::<bool>(), weighted(0.2, (moment(), leaving)), any::<bool>()).prop_map(
        |(mut requests, is_ahead, leaves, half_closes)| {
            // What becomes a tunnel is nothing else any more.
            let tunnel = requests.iter().position(|request| request.upgrade.is_some());
            requests.truncate(tunnel.map_or(requests.len(), |at| at + 1));
            let half_closes = half_closes && tunnel.is_none();
            ClientPlan { requests, is_ahead, leaves, half_closes }
        },
    )
}

fn request() -> impl Strategy<Value = RequestPlan> {
    let method = select(vec!["GET", "GET", "HEAD", "PUT", "DELETE", "POST", "POST", "PATCH"]);
    let flags = (any::<u8>(), any::<u8>());
    let upgrade = weighted(0.1, tunnel());
    let answers = (vec(answer(0.08), 0..3), answer(0.04));
    (method, flags, body(false), upgrade, answers).prop_map(
        |(method, (one, other), body, upgrade, answers)| {
            let is_1_0 = one < 40 && upgrade.is_none();
            let mut request = RequestPlan {
                method,
                is_1_0,
                closes: (40..80).contains(&one),
                expects: other < 50,
                is_spoilt: other > 245,
                body,
                upgrade,
                answers: answers.0.into_iter().chain([answers.1]).collect(),
            };
            request.fit();
            request
        },
    )
}

impl RequestPlan {
    /// What cannot go together does not.
    fn fit(&mut self) {
        if self.upgrade.is_some() {
            (self.method, self.closes) = ("GET", false);
        }
        let is_chunked = matches!(self.body.framing, Framing::Chunked { .. });
        if self.method == "GET" || self.method == "HEAD" || self.is_1_0 && is_chunked {
            self.body = Body { size: 0, framing: Framing::None };
        }
        let is_chunked = matches!(self.body.framing, Framing::Chunked { .. });
        self.is_spoilt &= is_chunked;
        self.expects &= self.body.framing != Framing::None;
        for answer in &mut self.answers {
            answer.is_early &= self.body.framing != Framing::None;
            if self.method == "HEAD" {
                answer.fault = answer.fault.filter(|fault| *fault != Fault::Spoilt);
            }
        }
    }
}

fn moment() -> impl Strategy<Value = Moment> {
    prop_oneof![1 => Just(0usize), 2 => 0..1000usize]
}

fn tunnel() -> impl Strategy<Value = Tunnel> {
    let side = || select(vec![Side::Client, Side::Instance]);
    (size(), size(), proptest::option::of(side()), weighted(0.15, (side(), 0..1000usize)))
        .prop_map(|(up, down, first, broken)| Tunnel { up, down, first, broken })
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![2 => Just(0usize), 6 => 0..200usize, 4 => 0..5_000usize, 1 => 0..100_000usize]
}

fn body(is_answer: bool) -> impl Strategy<Value = Body> {
    let chunked = (1..3_000usize, any::<bool>(), any::<bool>())
        .prop_map(|(chunk, extensions, trailers)| Framing::Chunked { chunk, extensions, trailers });
    let other = if is_answer { Framing::UntilClose } else { Framing::None };
    let framing = prop_oneof![2 => Just(other), 3 => Just(Framing::Length), 3 => chunked];
    (size(), framing)
        .prop_map(|(size, framing)| Body { size: if framing == Framing::None { 0 } else { size }, framing })
}

fn answer(faults: f64) -> impl Strategy<Value = AnswerPlan> {
    let status = select(vec![200u16, 200, 200, 200, 404, 204, 304, 413, 500, 299]);
    let leaving = select(vec![Leaving::Closes, Leaving::Resets, Leaving::FallsSilent]);
    let fault = prop_oneof![
        6 => (moment(), leaving).prop_map(|(moment, leaving)| Fault::Leaves(moment, leaving)),
        2 => (0..HEADS.len()).prop_map(Fault::Head),
        1 => Just(Fault::Spoilt),
        1 => Just(Fault::Upgrades),
        2 => Just(Fault::Beyond),
    ];
    let afterwards = prop_oneof![
        16 => Just(Afterwards::Waits),
        2 => (0..50u64).prop_map(Afterwards::Closes),
        1 => (0..50u64).prop_map(Afterwards::Babbles),
    ];
    let interim = prop_oneof![4 => Just(0u8), 1 => 1..4u8];
    let half = weighted(0.5, moment());
    ((any::<u8>(), half), interim, status, body(true), weighted(faults, fault), afterwards).prop_map(
        |((flags, half), interim, status, body, fault, afterwards)| {
            let mut answer = AnswerPlan {
                is_early: flags < 50,
                half,
                is_1_0: flags % 8 == 0,
                closes: flags % 5 == 0,
                interim,
                status,
                body,
                fault,
                afterwards,
            };
            answer.fit();
            answer
        },
    )
}

impl AnswerPlan {
    fn fit(&mut self) {
        let is_chunked = matches!(self.body.framing, Framing::Chunked { .. });
        if self.is_1_0 && is_chunked {
            self.body.framing = Framing::Length;
        }
        if self.fault == Some(Fault::Spoilt)
            && !(is_chunked && !self.is_1_0 && !matches!(self.status, 204 | 304))
        {
            self.fault = None;
        }
        if self.is_1_0 {
            self.interim = 0;
        }
        if self.body.framing == Framing::UntilClose && self.fault == Some(Fault::Beyond) {
            self.fault = None;
        }
        if self.body.framing == Framing::UntilClose {
            (self.closes, self.afterwards) = (true, Afterwards::Waits);
        }
    }
}

/// Heads of answers that are none.
pub(super) const HEADS: [&str; 7] = [
    "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "HTTP/1.1 200 OK\r\n X: y\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "no HTTP at all\r\n\r\n",
];
