//! What is particular to a service: `gateway.services`, and `gateway.defaults` for all that is not said there.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use config_reader::closest;
use registry::contract::check_segment;

use super::balance::{self, Balance};
use super::check::{self, Check};
use super::route::Route;
use super::{Section, Value};

const HOUR: Duration = Duration::from_secs(3600);
const SLOW_START: RangeInclusive<Duration> = Duration::from_millis(100)..=HOUR;
const BASE: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(60);
const LONGEST: RangeInclusive<Duration> = Duration::from_millis(50)..=HOUR;
const FORGIVE: RangeInclusive<Duration> = Duration::from_secs(1)..=HOUR;
const FLOOR: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);
const COUNT: RangeInclusive<NonZeroU32> = NonZeroU32::MIN..=NonZeroU32::new(1_000).unwrap();
const REQUESTS: RangeInclusive<NonZeroU32> = NonZeroU32::MIN..=NonZeroU32::new(1_000_000).unwrap();
const PERCENT: RangeInclusive<u32> = 0..=1_000;
const PER_SECOND: RangeInclusive<u32> = 0..=100_000;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Which endpoint a request goes to.
    pub balance: Balance,
    /// How long a new endpoint's share grows to what its weight says: 100 ms to 1 h; 0: it has it at once.
    pub slow_start: Duration,
    /// When traffic takes an endpoint out; none: never.
    pub ejection: Option<Ejection>,
    /// When silence takes an endpoint out; none: never. A stall is an ejection: none without `ejection`.
    pub stall: Option<Stall>,
    /// How endpoints are asked whether they are well; none: not at all.
    pub check: Option<Check>,
    /// How many requests may be in flight.
    pub limits: Limits,
    /// How many retries there may be.
    pub budget: Budget,
}

/// What a service is like of which the configuration says nothing.
impl Default for Service {
    fn default() -> Self {
        Self {
            balance: Balance::default(),
            slow_start: Duration::ZERO,
            ejection: Some(Ejection::default()),
            stall: Some(Stall::default()),
            check: None,
            limits: Limits::default(),
            budget: Budget::default(),
        }
    }
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

impl Default for Ejection {
    fn default() -> Self {
        const FAILURES: NonZeroU32 = NonZeroU32::new(5).unwrap();
        Self {
            failures: FAILURES,
            base: Duration::from_millis(500),
            longest: Duration::from_secs(4),
            forgive: Duration::from_secs(10),
        }
    }
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

impl Default for Stall {
    fn default() -> Self {
        const REQUESTS: NonZeroU32 = NonZeroU32::new(3).unwrap();
        const FACTOR: NonZeroU32 = NonZeroU32::new(10).unwrap();
        Self { requests: REQUESTS, floor: Duration::from_secs(1), factor: FACTOR }
    }
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

impl Default for Budget {
    fn default() -> Self {
        Self { percent: 20, per_second: 10 }
    }
}

/// Reads `defaults` and `services`. `routes`: none if they could not be read.
pub(super) fn read_all(gateway: &mut Section<'_>, routes: Option<&[Route]>) -> Services {
    let defaults = read(gateway.section("defaults"), &Service::default());
    let routed = routes.map(|routes| routes.iter().map(|route| &*route.service).collect());
    let mut named = BTreeMap::new();
    gateway.set("services", &mut named, |value| {
        let services = value.entries(|name, value| {
            let service = read(value.section(), &defaults);
            check_name(name, &value, routed.as_ref())?;
            Some((name.to_owned(), service.settled()))
        })?;
        Some(BTreeMap::from_iter(services))
    });
    Services { named, others: defaults.settled() }
}

/// A service that no route leads to is a name that was misspelt, here or there.
fn check_name(name: &str, value: &Value<'_>, routed: Option<&BTreeSet<&str>>) -> Option<()> {
    value.accept(check_segment(name))?;
    let Some(routed) = routed.filter(|routed| !routed.contains(name)) else { return Some(()) };
    match closest(name, routed.iter().copied()) {
        Some(meant) => value.reject(format_args!("is the service of no route: did you mean {meant}?")),
        None => value.reject("is the service of no route"),
    }
    None
}

/// `otherwise`: what holds where the section says nothing.
fn read(mut section: Section<'_>, otherwise: &Service) -> Service {
    let mut service = otherwise.clone();
    let Service { balance, slow_start, ejection, stall, check, limits, budget } = &mut service;
    section.set("balance", balance, balance::read);
    section.set("slow_start", slow_start, |value| {
        value.or_off(|value| value.duration(&SLOW_START)).map(Option::unwrap_or_default)
    });
    section.set("ejection", ejection, |value| {
        value.or_off(|value| read_ejection(&value, otherwise.ejection.unwrap_or_default()))
    });
    section.set("stall", stall, |value| {
        value.or_off(|value| read_stall(&value, otherwise.stall.unwrap_or_default()))
    });
    section.set("check", check, |value| value.or_off(|value| check::read(&value, otherwise.check.as_ref())));
    read_limits(section.section("limits"), limits);
    read_budget(section.section("budget"), budget);
    check_stall(&section, &service);
    section.close(None);
    service
}

/// A stall that was asked for here would come to nothing.
fn check_stall(section: &Section<'_>, service: &Service) {
    let is_void = service.stall.is_some() && service.ejection.is_none();
    if is_void && section.is_set("stall") && section.is_sound("ejection") {
        section.reject("stall", "means nothing while ejection is off: a stall is an ejection");
    }
}

impl Service {
    /// With what follows from what was said. Not before others take over from it: where they turn ejection
    /// on again, the stall that was said for all holds for them.
    fn settled(self) -> Self {
        let stall = self.ejection.and(self.stall);
        Self { stall, ..self }
    }
}

fn read_ejection(value: &Value<'_>, mut ejection: Ejection) -> Option<Ejection> {
    let mut section = value.section();
    section.set("failures", &mut ejection.failures, |value| value.number(COUNT));
    section.set("base", &mut ejection.base, |value| value.duration(&BASE));
    section.set("longest", &mut ejection.longest, |value| value.duration(&LONGEST));
    section.in_order(("base", &mut ejection.base), ("longest", &mut ejection.longest));
    section.set("forgive", &mut ejection.forgive, |value| value.duration(&FORGIVE));
    section.close(None);
    Some(ejection)
}

fn read_stall(value: &Value<'_>, mut stall: Stall) -> Option<Stall> {
    let mut section = value.section();
    section.set("requests", &mut stall.requests, |value| value.number(COUNT));
    section.set("floor", &mut stall.floor, |value| value.duration(&FLOOR));
    section.set("factor", &mut stall.factor, |value| value.number(COUNT));
    section.close(None);
    Some(stall)
}

fn read_limits(mut section: Section<'_>, limits: &mut Limits) {
    for (key, slot) in [("endpoint", &mut limits.endpoint), ("service", &mut limits.service)] {
        section.set(key, slot, |value| value.or_off(|value| value.number(REQUESTS)));
    }
    section.close(None);
}

fn read_budget(mut section: Section<'_>, budget: &mut Budget) {
    section.set("percent", &mut budget.percent, |value| value.number(PERCENT));
    section.set("per_second", &mut budget.per_second, |value| value.number(PER_SECOND));
    section.close(None);
}
