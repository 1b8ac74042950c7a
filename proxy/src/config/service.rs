//! What is particular to a service: `gateway.services`, and `gateway.defaults` for all that are not named there.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderName;
use registry::contract::check_segment;

use super::reader::{Section, Value};

const HOUR: Duration = Duration::from_secs(3600);
const SLOW_START: RangeInclusive<Duration> = Duration::ZERO..=HOUR;
const BASE: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(60);
const LONGEST: RangeInclusive<Duration> = Duration::from_millis(50)..=HOUR;
const FORGIVE: RangeInclusive<Duration> = Duration::from_secs(1)..=HOUR;
const FLOOR: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);
const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=HOUR;
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
const FEW: RangeInclusive<u32> = 1..=1_000;
const MANY: RangeInclusive<u32> = 1..=1_000_000;

/// Services by their names, and what the others are like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Services {
    named: BTreeMap<String, Service>,
    others: Service,
}

impl Services {
    /// What is particular to a service.
    pub fn get(&self, name: &str) -> &Service {
        self.named.get(name).unwrap_or(&self.others)
    }
}

/// What is particular to a service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// Which endpoint a request goes to.
    pub balance: Balance,
    /// How long a new endpoint's share grows to what its weight says; 0: not at all. At most 1 h.
    pub slow_start: Duration,
    /// When traffic takes an endpoint out; none: never.
    pub ejection: Option<Ejection>,
    /// When silence takes an endpoint out; none: never.
    pub stall: Option<Stall>,
    /// How endpoints are asked whether they are well; none: not at all.
    pub check: Option<Check>,
    /// How many requests may be in flight.
    pub limits: Limits,
    /// How many retries there may be.
    pub budget: Budget,
}

/// Which endpoint a request goes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Balance {
    /// Any, by weight.
    #[default]
    Random,
    /// One after the other, by weight.
    RoundRobin,
    /// Of two drawn by weight, the one with fewer requests in flight for its weight.
    LeastRequest,
    /// Of two drawn by weight, the one that is expected to answer sooner.
    Ewma,
    /// The same for equal keys, as long as it is there and not overloaded.
    Hash(HashKey),
}

/// What of a request is hashed. A request that lacks it is hashed by its client's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// A header's value.
    Header(HeaderName),
    /// A cookie's value.
    Cookie(String),
    /// The path.
    Path,
    /// The client's address.
    Client,
}

/// When traffic takes an endpoint out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// After so many failures in a row; a refused or timed-out connect does it at once. 1 to 1,000.
    pub failures: NonZeroU32,
    /// The first ejection's length; it doubles each time. 50 ms to 1 min.
    pub base: Duration,
    /// The longest ejection: `base` to 1 h.
    pub longest: Duration,
    /// The healthy time that forgives one doubling: 1 s to 1 h.
    pub forgive: Duration,
}

/// When silence takes an endpoint out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    /// How many requests must wait for their first byte: 1 to 1,000.
    pub requests: NonZeroU32,
    /// For how long at least: 100 ms to 10 min.
    pub floor: Duration,
    /// For how many times as long as usual: 1 to 1,000.
    pub factor: NonZeroU32,
}

/// How endpoints are asked whether they are well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is asked.
    pub probe: Probe,
    /// From one question to the next: 100 ms to 1 h.
    pub interval: Duration,
    /// How long an answer may take: 10 ms to 1 min.
    pub timeout: Duration,
    /// So many good answers in a row make an endpoint well: 1 to 1,000.
    pub healthy: NonZeroU32,
    /// So many bad ones make it unhealthy: 1 to 1,000.
    pub unhealthy: NonZeroU32,
    /// What an endpoint is before its first answer.
    pub initially: Initially,
}

/// What is asked of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A connection.
    Tcp,
    /// A GET of this path, answered with one of these statuses.
    Http {
        /// It starts with `/`.
        path: String,
        /// 100 to 599.
        statuses: Vec<u16>,
    },
}

/// What an endpoint is before its first answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initially {
    /// Up.
    Up,
    /// Unhealthy.
    Unhealthy,
}

/// How many requests may be in flight; none: any number. 1 to 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// At one endpoint.
    pub endpoint: Option<NonZeroU32>,
    /// In the service.
    pub service: Option<NonZeroU32>,
}

/// How many retries there may be in ten seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// For every hundred requests: 0 to 1,000.
    pub percent: u32,
    /// A second, on top of that: 0 to 100,000.
    pub per_second: u32,
}

const fn count(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            failures: count(5),
            base: Duration::from_millis(500),
            longest: Duration::from_secs(4),
            forgive: Duration::from_secs(10),
        }
    }
}

impl Default for Stall {
    fn default() -> Self {
        Self { requests: count(3), floor: Duration::from_secs(1), factor: count(10) }
    }
}

impl Default for Check {
    fn default() -> Self {
        Self {
            probe: Probe::Tcp,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            healthy: count(2),
            unhealthy: count(3),
            initially: Initially::Up,
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self { percent: 20, per_second: 10 }
    }
}

/// Reads `defaults` and `services`.
pub(super) fn read_all(gateway: &mut Section<'_>) -> Services {
    let plain =
        Service { ejection: Some(Ejection::default()), stall: Some(Stall::default()), ..Service::default() };
    let others = read(gateway.section("defaults"), &plain);
    let mut named = BTreeMap::new();
    gateway.set("services", &mut named, |value| {
        let services = value.entries(|name, value| {
            value.accept(check_segment(name))?;
            Some((name.to_owned(), read(value.section(), &others)))
        })?;
        Some(services.into_iter().collect::<BTreeMap<_, _>>())
    });
    Services { named, others }
}

fn read(mut section: Section<'_>, others: &Service) -> Service {
    let mut service = others.clone();
    section.set("balance", &mut service.balance, balance);
    section.set("slow_start", &mut service.slow_start, |value| value.duration(&SLOW_START));
    section.set("ejection", &mut service.ejection, |value| or_off(value, ejection));
    section.set("stall", &mut service.stall, |value| or_off(value, stall));
    section.set("check", &mut service.check, |value| or_off(value, check));
    let mut limits = section.section("limits");
    limits.set("endpoint", &mut service.limits.endpoint, |value| or_off(value, |v| number(&v, MANY)));
    limits.set("service", &mut service.limits.service, |value| or_off(value, |v| number(&v, MANY)));
    limits.close(None);
    let mut budget = section.section("budget");
    budget.set("percent", &mut service.budget.percent, |value| value.number(0..=1_000_u32));
    budget.set("per_second", &mut service.budget.per_second, |value| value.number(0..=100_000_u32));
    budget.close(None);
    section.close(None);
    service
}

/// `off`, or what is read.
fn or_off<'a, T>(value: Value<'a>, read: impl FnOnce(Value<'a>) -> Option<T>) -> Option<Option<T>> {
    if value.is_word("off") { Some(None) } else { read(value).map(Some) }
}

fn number(value: &Value<'_>, range: RangeInclusive<u32>) -> Option<NonZeroU32> {
    value.number(range).and_then(NonZeroU32::new)
}

fn balance(value: Value<'_>) -> Option<Balance> {
    let expected = "random, round_robin, least_request, ewma, or a hash such as {hash: client}";
    if value.is_section() {
        let mut section = value.section();
        let key = section.required(
            "hash",
            "what is hashed: path, client, {header: NAME} or {cookie: NAME}",
            hash_key,
        );
        section.close(None);
        return key.map(Balance::Hash);
    }
    match value.text()? {
        "random" => Some(Balance::Random),
        "round_robin" => Some(Balance::RoundRobin),
        "least_request" => Some(Balance::LeastRequest),
        "ewma" => Some(Balance::Ewma),
        _ => value.mismatch(expected),
    }
}

fn hash_key(value: Value<'_>) -> Option<HashKey> {
    let expected = "path, client, {header: NAME} or {cookie: NAME}";
    if value.is_section() {
        let mut section = value.section();
        let (mut header, mut cookie) = (None, None);
        section.set("header", &mut header, |v| {
            v.parse(|text| HeaderName::try_from(text).map_err(|_| "is not a header name"))
        });
        section.set("cookie", &mut cookie, |v| v.text().map(str::to_owned));
        section.close(None);
        return match (header, cookie) {
            (Some(header), None) => Some(HashKey::Header(header)),
            (None, Some(cookie)) => Some(HashKey::Cookie(cookie)),
            _ => value.mismatch(expected),
        };
    }
    match value.text()? {
        "path" => Some(HashKey::Path),
        "client" => Some(HashKey::Client),
        _ => value.mismatch(expected),
    }
}

fn ejection(value: Value<'_>) -> Option<Ejection> {
    let mut section = value.section();
    let mut ejection = Ejection::default();
    section.set("failures", &mut ejection.failures, |value| number(&value, FEW));
    section.set("base", &mut ejection.base, |value| value.duration(&BASE));
    section.set("longest", &mut ejection.longest, |value| value.duration(&LONGEST));
    section.set("forgive", &mut ejection.forgive, |value| value.duration(&FORGIVE));
    section.close(None);
    if ejection.longest < ejection.base {
        value.reject("has a longest ejection that is shorter than its base");
        return None;
    }
    Some(ejection)
}

fn stall(value: Value<'_>) -> Option<Stall> {
    let mut section = value.section();
    let mut stall = Stall::default();
    section.set("requests", &mut stall.requests, |value| number(&value, FEW));
    section.set("floor", &mut stall.floor, |value| value.duration(&FLOOR));
    section.set("factor", &mut stall.factor, |value| number(&value, FEW));
    section.close(None);
    Some(stall)
}

fn check(value: Value<'_>) -> Option<Check> {
    let mut section = value.section();
    let mut check = Check::default();
    let probe = section.required("probe", "tcp, or the path of a GET, such as /healthz", |value| match value
        .text(
    )? {
        "tcp" => Some(Probe::Tcp),
        path if path.starts_with('/') => Some(Probe::Http { path: path.to_owned(), statuses: vec![200] }),
        _ => value.mismatch("tcp, or a path that starts with \"/\""),
    });
    let mut expected = Vec::new();
    section.set("statuses", &mut expected, |value| value.list(|item| item.number(100..=599)));
    section.set("interval", &mut check.interval, |value| value.duration(&INTERVAL));
    section.set("timeout", &mut check.timeout, |value| value.duration(&TIMEOUT));
    section.set("healthy", &mut check.healthy, |value| number(&value, FEW));
    section.set("unhealthy", &mut check.unhealthy, |value| number(&value, FEW));
    section.set("initially", &mut check.initially, |value| match value.text()? {
        "up" => Some(Initially::Up),
        "unhealthy" => Some(Initially::Unhealthy),
        _ => value.mismatch("up or unhealthy"),
    });
    if section.has("statuses") && matches!(probe, Some(Probe::Tcp)) {
        section.reject("statuses", "means nothing to a probe by tcp");
    }
    section.close(None);
    check.probe = match probe? {
        Probe::Http { path, .. } if !expected.is_empty() => Probe::Http { path, statuses: expected },
        probe => probe,
    };
    Some(check)
}
