//! Whether all was right that clients and instances have seen.

use std::collections::HashMap;
use std::time::Duration;

use harness::wire::Fields;

use super::bytes::{TRAILERS, Tag, framed, interim, is_tunnel, kept_of_request, request_body};
use super::scenario::{
    AnswerPlan, ClientPlan, Dial, Fault, Framing, Leaving, RequestPlan, Scenario, Setting, Side, Tunnel,
};
use super::wire::{End, Reader, Seen};

/// Nothing that goes well takes as long as any timeout of the gateway's.
const SHORT: Duration = Duration::from_secs(25);
/// So much of a request's body is kept to be sent again.
const KEPT: usize = 64 << 10;
/// A request is sent so often at the most.
const ATTEMPTS: usize = 3;

/// What a case has come to.
pub(super) struct Outcome<'o> {
    pub(super) scenario: &'o Scenario,
    /// What each client has heard.
    pub(super) clients: Vec<Reader>,
    /// What instances have heard over each of their connections.
    pub(super) heard: Vec<Reader>,
    /// How often each request has come.
    pub(super) arrived: HashMap<Tag, usize>,
    /// Attempts, by all, that failed before an instance had heard of the request.
    pub(super) failed: usize,
    pub(super) log: String,
    pub(super) took: Duration,
}

/// Panics if something was wrong.
pub(super) fn check(outcome: &Outcome<'_>) {
    let Outcome { scenario, clients, heard, arrived, took, .. } = outcome;
    for (number, (plan, reader)) in scenario.clients.iter().zip(clients).enumerate() {
        Client { outcome, scenario, plan, number, reader }.check();
    }
    heard.iter().for_each(|reader| check_instance(outcome, reader));
    for (tag, count) in arrived {
        let plan = &scenario.clients[tag.client].requests[tag.request];
        assert!(*count <= if plan.is_idempotent() { ATTEMPTS } else { 1 }, "{tag} was sent {count} times");
    }
    if scenario.setting == Setting::Bounded {
        check_times(&outcome.log);
    }
    let is_smooth =
        |plan: &ClientPlan| plan.leaves.is_none() && !plan.requests.iter().any(|plan| plan.is_spoilt);
    if !scenario.is_faulty() && scenario.clients.iter().all(is_smooth) {
        assert!(*took < SHORT, "it took {took:?}");
    }
}

/// Whether no request has taken longer than it may, but for those that have become tunnels. What is still to be said
/// then takes a moment.
fn check_times(log: &str) {
    for line in log.lines().filter(|line| !line.contains("\"status\":101")) {
        let (_, took) = line.split_once("\"duration_ms\":").expect("it says how long it took");
        let took: f64 = took.split([',', '}']).next().unwrap().parse().unwrap();
        let most = Setting::TOTAL + Duration::from_secs(2);
        assert!(took <= most.as_secs_f64() * 1e3, "it took too long: {line}");
    }
}

/// One client, and what it has heard.
struct Client<'c> {
    outcome: &'c Outcome<'c>,
    scenario: &'c Scenario,
    plan: &'c ClientPlan,
    number: usize,
    reader: &'c Reader,
}

impl Client<'_> {
    fn check(&self) {
        let (mut answered, mut before) = (0, Vec::new());
        for seen in &self.reader.messages {
            let request = &self.plan.requests[answered];
            assert_eq!(seen.head.start[0], "HTTP/1.1");
            assert!(!seen.head.fields.has("x-hop"), "{:?}", seen.head);
            if seen.head.status() < 200 && seen.head.status() != 101 {
                assert!(!request.is_1_0, "{:?}", seen.head);
                before.push(seen.head.status());
                continue;
            }
            self.check_answer(answered, seen, &std::mem::take(&mut before));
            answered += usize::from(seen.is_whole || seen.head.status() == 101);
        }
        let due = (0..self.plan.requests.len()).take_while(|request| self.is_due(*request)).count();
        assert!(answered >= due, "client {}: {answered} answers of {due}", self.number);
        if due == self.plan.requests.len()
            && self.reader.messages.iter().all(|seen| seen.head.status() != 101)
        {
            assert_ne!(self.reader.end, Some(End::Reset), "client {}", self.number);
        }
    }

    /// Whether nothing comes between a request and its answer.
    fn is_due(&self, request: usize) -> bool {
        let here = &self.plan.requests[request];
        let is_safe = |plan: &RequestPlan| {
            !self.scenario.closes_idle()
                || plan.is_idempotent() && request_body(self.tag(0), plan).len() <= KEPT
        };
        !self.scenario.is_faulty()
            && self.plan.leaves.is_none()
            && !self.counts_as_left()
            && !here.is_spoilt
            && is_safe(here)
            && self.plan.requests[..request].iter().all(|plan| is_safe(plan) && keeps(plan))
    }

    /// Whether it is taken for one that has left when it has sent all.
    fn counts_as_left(&self) -> bool {
        self.plan.half_closes && self.scenario.setting == Setting::EndIsLeaving
    }

    /// Whether a request that came to nothing, with nothing said of an answer, was sent as often as it may be: it goes to
    /// each instance that it was not sent to.
    fn was_tried_enough(&self, number: usize) -> bool {
        let (tag, request) = (self.tag(number), &self.plan.requests[number]);
        let arrived = self.outcome.arrived.get(&tag).copied().unwrap_or_default();
        let is_repeatable = request.is_idempotent()
            && self.plan.leaves.is_none()
            && self.scenario.setting != Setting::Bounded
            && request_body(tag, request).len() <= KEPT;
        let was_silent = |attempt| {
            let plan = request.answer(attempt);
            let leaves = matches!(plan.fault, Some(Fault::Leaves(0, Leaving::Closes | Leaving::Resets)));
            leaves && interim(request, plan).is_empty()
        };
        if !is_repeatable || self.scenario.babbles() || !(0..arrived).all(was_silent) {
            return true;
        }
        let registered = self.scenario.departs.map_or(self.scenario.endpoints, |(_, left)| left);
        arrived + self.outcome.failed >= ATTEMPTS.min(registered.into())
    }

    fn tag(&self, request: usize) -> Tag {
        Tag { client: self.number, request }
    }

    fn check_answer(&self, number: usize, seen: &Seen, before: &[u16]) {
        let (tag, request) = (self.tag(number), &self.plan.requests[number]);
        let Some(whose) = seen.head.get("x-answer") else { return self.check_own(number, seen) };
        let (whose, attempt) = whose.rsplit_once('.').unwrap();
        assert_eq!(Tag::parse(whose), tag, "somebody else's answer");
        let attempt: usize = attempt.parse().unwrap();
        assert!(attempt < self.outcome.arrived[&tag], "nobody has made it");
        let plan = request.answer(attempt);
        if seen.head.status() == 101 {
            assert!(is_tunnel(request, plan));
            return self.check_tunnel(request.upgrade.as_ref().unwrap(), tag);
        }
        assert_eq!(seen.head.start[1..], [plan.status.to_string(), "So  it is".into()]);
        assert_eq!(dups(&seen.head.fields), ["X-Dup: 1", "x-dup: 2", "X-dUp: 3"]);
        assert_eq!(seen.head.fields.all("date").len(), 1);
        if self.is_due(number) && !request.is_1_0 {
            assert_eq!(before, interim(request, plan), "{tag}");
        }
        self.check_body((tag, request), (plan, attempt), seen);
        if seen.is_whole {
            self.check_log(tag, plan.status);
        }
    }

    fn check_body(
        &self,
        (tag, request): (Tag, &RequestPlan),
        (plan, attempt): (&AnswerPlan, usize),
        seen: &Seen,
    ) {
        let data = if request.is_bare(plan) { Vec::new() } else { tag.answer_data(plan, attempt) };
        assert!(data.starts_with(&seen.data), "{tag}: {} bytes that are none of its answer", seen.data.len());
        let chunked = matches!(plan.body.framing, Framing::Chunked { .. });
        let seen_chunked = seen.framing == harness::wire::Framing::Chunked;
        assert!(!(request.is_1_0 && seen_chunked), "{tag}");
        if chunked && seen_chunked {
            assert!(framed(&plan.body, &data, true).starts_with(&seen.raw), "{tag}: other chunks");
        }
        let ends_anywhere = matches!(plan.fault, Some(Fault::Leaves(_, Leaving::Closes)))
            && plan.body.framing == Framing::UntilClose;
        if !seen.is_whole || ends_anywhere {
            return;
        }
        assert!(matches!(plan.fault, None | Some(Fault::Beyond)), "{tag}: it looks whole");
        assert_eq!(seen.data.len(), data.len(), "{tag}: it looks whole");
        let has_trailers =
            matches!(plan.body.framing, Framing::Chunked { trailers: true, .. }) && seen_chunked;
        let trailers: Vec<_> =
            seen.trailers.0.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        assert_eq!(trailers.concat(), if has_trailers { TRAILERS } else { "" }, "{tag}");
    }

    /// An answer of the gateway's own.
    fn check_own(&self, number: usize, seen: &Seen) {
        let (status, tag) = (seen.head.status(), self.tag(number));
        let may_fail = self.scenario.is_faulty() || self.scenario.closes_idle();
        let is_due = match status {
            400 => self.plan.requests[number].is_spoilt,
            408 => matches!(self.plan.leaves, Some((_, Leaving::FallsSilent))),
            502 | 504 => may_fail,
            _ => false,
        };
        if status == 502 {
            assert!(self.was_tried_enough(number), "{tag}: it was not sent again: {:?}", seen.head);
        }
        if status == 504 && self.counts_as_left() && number + 1 == self.plan.requests.len() {
            let is_silent = !self.scenario.dials.contains(&Dial::Hangs);
            assert!(!is_silent, "{tag}: an instance was waited for whose client had left");
        }
        assert!(is_due && !self.is_due(number), "{tag}: an answer that nobody made: {:?}", seen.head);
        if seen.is_whole && status != 408 {
            self.check_log(tag, status);
        }
    }

    fn check_log(&self, tag: Tag, status: u16) {
        let path = format!("\"path\":\"/goods/{tag}\"");
        let lines: Vec<_> = self.outcome.log.lines().filter(|line| line.contains(&path)).collect();
        let told = format!("\"status\":{status}");
        assert!(matches!(lines[..], [line] if line.contains(&told)), "{tag}: {status} in the log: {lines:?}");
    }

    fn check_tunnel(&self, plan: &Tunnel, tag: Tag) {
        let down = tag.down(plan);
        assert!(down.starts_with(&self.reader.tunnel), "{tag}: what nobody has said");
        match plan.broken {
            _ if self.scenario.departs.is_some() => {}
            None if !self.scenario.is_faulty() => {
                assert_eq!(self.reader.tunnel.len(), down.len(), "{tag}");
                assert_eq!(self.reader.end, Some(End::Closed), "{tag}");
            }
            Some((Side::Instance, _)) => assert_eq!(self.reader.end, Some(End::Reset), "{tag}"),
            _ => {}
        }
    }
}

/// Whether the client's connection serves another request after this one.
fn keeps(request: &RequestPlan) -> bool {
    let has_end = |plan: &AnswerPlan| {
        !request.is_1_0
            || request.is_bare(plan)
            || !matches!(plan.body.framing, Framing::UntilClose | Framing::Chunked { .. })
    };
    let keeps = |plan: &AnswerPlan| has_end(plan) && !plan.is_early;
    !request.closes && !request.is_spoilt && request.answers.iter().all(keeps)
}

fn dups(fields: &Fields) -> Vec<String> {
    fields.beginning("x-dup")
}

/// What came over one connection to an instance.
fn check_instance(outcome: &Outcome<'_>, reader: &Reader) {
    let scenario = outcome.scenario;
    let count = reader.messages.len();
    for (at, seen) in reader.messages.iter().enumerate() {
        let tag = Tag::parse(seen.head.get("x-tag").unwrap());
        let client = &scenario.clients[tag.client];
        let plan = &client.requests[tag.request];
        check_request(tag, plan, seen);
        assert!(seen.is_whole || at + 1 == count, "{tag}: something came behind a part of it");
        let may_break = scenario.is_faulty()
            || scenario.closes_idle()
            || client.leaves.is_some()
            || client.half_closes && scenario.setting == Setting::EndIsLeaving
            || plan.is_spoilt
            || plan.answers.iter().any(|answer| answer.is_early);
        assert!(seen.is_whole || may_break, "{tag}: only a part of it came");
        if let Some(tunnel) = plan.upgrade.as_ref().filter(|_| at + 1 == count) {
            check_instance_tunnel(outcome, tunnel, tag, reader);
        }
    }
}

fn check_request(tag: Tag, plan: &RequestPlan, seen: &Seen) {
    assert_eq!(seen.head.start, [plan.method.to_owned(), format!("/goods/{tag}?a=b"), "HTTP/1.1".into()]);
    let kept = kept_of_request(tag, plan);
    let is_told =
        |(name, _): &&(String, String)| kept.iter().any(|(kept, _)| kept.eq_ignore_ascii_case(name));
    let told: Vec<_> = seen.head.fields.0.iter().filter(is_told).cloned().collect();
    assert_eq!(told, kept, "{tag}");
    for name in ["x-hop", "te", "keep-alive"] {
        assert!(!seen.head.fields.has(name), "{tag}: {name}");
    }
    let mut raw = framed(&plan.body, &tag.request_data(plan), true);
    if plan.is_spoilt {
        assert!(!seen.is_whole, "{tag}: what is no body looks whole");
        raw = request_body(tag, plan);
        raw.truncate(raw.len() - super::bytes::SPOILT.len());
    }
    assert!(raw.starts_with(&seen.raw), "{tag}: bytes that are none of its body");
    assert!(!seen.is_whole || raw.len() == seen.raw.len(), "{tag}: it looks whole");
}

fn check_instance_tunnel(outcome: &Outcome<'_>, plan: &Tunnel, tag: Tag, reader: &Reader) {
    let up = tag.up(plan);
    assert!(up.starts_with(&reader.tunnel), "{tag}: what nobody has said");
    let is_smooth = plan.broken.is_none()
        && outcome.scenario.departs.is_none()
        && !outcome.scenario.is_faulty()
        && outcome.clients[tag.client].messages.last().is_some_and(|seen| seen.head.status() == 101);
    if is_smooth {
        assert_eq!((reader.tunnel.len(), reader.end), (up.len(), Some(End::Closed)), "{tag}");
    }
}
