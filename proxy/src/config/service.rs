//! What is particular to a service: `gateway.services`, and `gateway.defaults` for all that is not said there.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use config_reader::key;
use config_reader::kind::{duration, list, number, or_off, text};
use registry::contract::check_segment;

use super::balance::{Balance, BalanceKind};
use super::check::{self, Check};
use super::given::GivenAddress;
use super::grpc_statuses::{self, GrpcStatuses};
use super::keys::Visit;
use super::protocol::{Protocol, protocol};
use super::route::{Route, ServicesAllowed};
use super::service_tls::ServiceTls;
use super::{Section, Value};
use crate::grpc::Status;

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
const ADDRESSES: RangeInclusive<usize> = 1..=100;

/// Those by which a server says that it failed, and not what was asked of it.
const FAILURES_OF_GRPC: [Status; 4] =
    [Status::Unknown, Status::DeadlineExceeded, Status::Internal, Status::Unavailable];

/// Services by their names, and what the others are like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Services {
    named: BTreeMap<String, Service>,
    others: Service,
}

impl Services {
    /// What is particular to a service.
    pub(crate) fn get(&self, name: &str) -> &Service {
        self.named.get(name).unwrap_or(&self.others)
    }

    /// Those that are not in the registry.
    pub(crate) fn given(&self) -> impl Iterator<Item = &str> {
        self.named.iter().filter(|(_, service)| service.addresses.is_some()).map(|(name, _)| name.as_str())
    }

    /// All of which something is said, by their names, and what the others are like.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Option<&str>, &Service)> {
        let named = self.named.iter().map(|(name, service)| (Some(name.as_str()), service));
        named.chain([(None, &self.others)])
    }
}

/// What is particular to a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    /// Where it is, if it is not in the registry: 1 to 100, none twice; none: where those are that register.
    pub(crate) addresses: Option<Vec<GivenAddress>>,
    /// TLS to its endpoints; none: in clear.
    pub(crate) tls: Option<ServiceTls>,
    /// How its endpoints are spoken to: not `h2` without `tls`, and not `h2c` with it.
    pub(crate) protocol: Protocol,
    /// Which endpoint a request goes to.
    pub(crate) balance: Balance,
    /// How long a new endpoint's share grows to what its weight says: 100 ms to 1 h; 0: it has it at once.
    pub(crate) slow_start: Duration,
    /// When traffic takes an endpoint out; none: never.
    pub(crate) ejection: Option<Ejection>,
    /// When silence takes an endpoint out; none: never. A stall is an ejection: none without `ejection`.
    pub(crate) stall: Option<Stall>,
    /// How endpoints are asked whether they are well; none: not at all.
    pub(crate) check: Option<Check>,
    /// How many requests may be in flight.
    pub(crate) limits: Limits,
    /// How many retries there may be.
    pub(crate) budget: Budget,
}

/// What a service is like of which the configuration says nothing.
impl Default for Service {
    fn default() -> Self {
        Self {
            addresses: None,
            tls: None,
            protocol: Protocol::default(),
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
pub(crate) struct Ejection {
    /// After so many failures in a row; a refused or timed-out connect does it at once. 1 to 1,000.
    pub(crate) failures: NonZeroU32,
    /// The first ejection's length; it doubles each time. 50 ms to 1 min.
    pub(crate) base: Duration,
    /// The longest ejection: `base` to 1 h.
    pub(crate) longest: Duration,
    /// The healthy time that forgives one doubling: 1 s to 1 h.
    pub(crate) forgive: Duration,
    /// The statuses of gRPC that count as failures.
    pub(crate) grpc: GrpcStatuses,
}

impl Default for Ejection {
    fn default() -> Self {
        const FAILURES: NonZeroU32 = NonZeroU32::new(5).unwrap();
        Self {
            failures: FAILURES,
            base: Duration::from_millis(500),
            longest: Duration::from_secs(4),
            forgive: Duration::from_secs(10),
            grpc: FAILURES_OF_GRPC.into_iter().collect(),
        }
    }
}

/// When silence takes an endpoint out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stall {
    /// How many requests must wait for their first byte: 1 to 1,000.
    pub(crate) requests: NonZeroU32,
    /// For how long at least: 100 ms to 10 min.
    pub(crate) floor: Duration,
    /// For how many times as long as usual: 1 to 1,000.
    pub(crate) factor: NonZeroU32,
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
pub(crate) struct Limits {
    /// At one endpoint.
    pub(crate) endpoint: Option<NonZeroU32>,
    /// In the service.
    pub(crate) service: Option<NonZeroU32>,
}

/// How many retries there may be in ten seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// For every hundred requests: 0 to 1,000.
    pub(crate) percent: u32,
    /// A second, on top of that: 0 to 100,000.
    pub(crate) per_second: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { percent: 20, per_second: 10 }
    }
}

impl Services {
    /// `routed`: the services that routes lead to; none if that is not known.
    pub(super) fn keys<V: Visit>(&mut self, v: &mut V, routed: Option<&Routed<'_>>) {
        let defaults = key("defaults", "what all services are like, unless `services` says otherwise");
        v.section(defaults, |v| self.others.keys(v, &Service::default()));
        let others = self.others.clone();
        let services = key("services", "what is different in one service: it must be the service of a route")
            .more(
                "All other settings are those of `defaults`. One that is not in the registry has `addresses`, too, such \
                 as [\"10.0.0.9:80\", \"legacy.example.net:80\"].",
            )
            .like("defaults")
            .example("goods:\n  balance: ewma\n  check:\n    probe: /healthz");
        v.named(
            services,
            &mut self.named,
            || others.clone(),
            |name, service, v| {
                service.address_keys(v);
                service.keys(v, &others);
                v.check(|section| check_name(name, section, routed));
            },
        );
    }

    /// With what follows from what was said.
    pub(super) fn settled(self) -> Self {
        let named = self.named.into_iter().map(|(name, service)| (name, service.settled()));
        Self { named: named.collect(), others: self.others.settled() }
    }
}

/// The services that routes lead to.
pub(super) struct Routed<'r> {
    named: BTreeSet<&'r str>,
    allowed: Vec<&'r ServicesAllowed>,
}

impl<'r> Routed<'r> {
    pub(super) fn by(routes: &'r [Route]) -> Self {
        Self {
            named: routes.iter().flat_map(Route::services).collect(),
            allowed: routes.iter().filter_map(Route::allowed).collect(),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.named.contains(name) || self.allowed.iter().any(|allowed| allowed.allow(name))
    }
}

/// A service that no route leads to is a name that was misspelt, here or there.
fn check_name(name: &str, section: &Section<'_>, routed: Option<&Routed<'_>>) {
    if let Err(error) = check_segment(name) {
        section.reject_itself(error);
        return;
    }
    let Some(routed) = routed.filter(|routed| !routed.has(name)) else { return };
    match section.closest(name, routed.named.iter().copied()) {
        Some(meant) => {
            section.reject_itself(format_args!("is the service of no route: did you mean {meant}?"));
        }
        None => section.reject_itself("is the service of no route"),
    }
}

impl Service {
    /// What holds for one service, and not for all.
    fn address_keys<V: Visit>(&mut self, v: &mut V) {
        let addresses = key("addresses", "where the service is, if it [does not register](requests.md#services-that-do-not-register)")
            .more(
                "The service has these instances and no others: whoever registers under its name is left out. Names are \
                 resolved every 30 s, and each address of a name is an instance.",
            )
            .example(r#"["10.0.0.9:80", "legacy.example.net:80"]"#);
        let address = text(|value: &Value<'_>| value.parse(GivenAddress::parse), GivenAddress::to_string);
        let address = address.pattern(":[0-9]+$").takes("`ip:port` or `name:port`");
        v.optional(addresses, list(address).of(ADDRESSES, "addresses"), &mut self.addresses);
        v.check(|section| check_addresses(section, self.addresses.as_deref().unwrap_or_default()));
    }

    /// `otherwise`: what holds where the section says nothing.
    fn keys<V: Visit>(&mut self, v: &mut V, otherwise: &Self) {
        self.choice_keys(v);
        self.health_keys(v, otherwise);
        let limits = key("limits", "how many requests [may be in flight](requests.md#limits)")
            .more("A request above a limit gets 503 at once.");
        v.section(limits, |v| self.limits.keys(v));
        let budget = key("budget", "how many requests [may be sent again](requests.md#retries), of all that came in the last ten seconds").more(
            "A request that is sent again because an instance refused the connection does not count, unless the \
             next instance is known to fail as well.",
        );
        v.section(budget, |v| self.budget.keys(v));
        let tls = key("tls", "[TLS to the instances](tls.md#instances); `off`: they are spoken to in clear")
            .shape("a section such as {ca: /pay.pem}; {} takes all defaults");
        let new = || otherwise.tls.clone().unwrap_or_default();
        v.section_or_off(tls, &mut self.tls, new, ServiceTls::keys);
        let protocol_key = key("protocol", "[how the instances are spoken to](http2.md#to-instances)").more(
            "\n  auto   as the registration says, by `protocol` in its metadata (http1, h2c, h2 or grpc); if it says\n         \
             nothing, gRPC by HTTP/2 and all else by HTTP/1\n  http1  by HTTP/1\n  h2c    by HTTP/2, in clear\n  \
             h2     by HTTP/2, with `tls`",
        );
        v.key(protocol_key, protocol(), &mut self.protocol);
        v.check(|section| {
            self.protocol.check(section, self.tls.is_some());
            check_stall(section, self);
        });
    }

    fn choice_keys<V: Visit>(&mut self, v: &mut V) {
        let balance = key("balance", "[which instance](requests.md#which-instance) a request goes to, by weight").more(
            "\n  random         any\n  round_robin    one after the other\n  least_request  of two at random, the one with \
             fewer requests in flight\n  ewma           of two at random, the one that is likely to answer sooner\n  \
             {hash: ...}    equal requests to the same one: by path, client (its address), {header: NAME} or\n                 \
             {cookie: NAME}. Without that header or cookie it goes by address.",
        );
        v.key(balance, BalanceKind, &mut self.balance);
        let mut slow_start = Some(self.slow_start).filter(|time| !time.is_zero());
        let text = "how long a new instance's share grows until it is what its weight says, from when it can first be used; \
                    `off`: it has the whole share at once";
        v.key(key("slow_start", text), or_off(duration(SLOW_START)), &mut slow_start);
        self.slow_start = slow_start.unwrap_or_default();
    }

    fn health_keys<V: Visit>(&mut self, v: &mut V, otherwise: &Self) {
        let ejection = key("ejection", "when failing requests [take an instance out](requests.md#ejection); `off`: never").more(
            "The gateway ejects an instance that refuses a connection or does not open it in time, and one that fails \
             several times in a row (a broken connection, a timeout, a 5xx other than 501, 505, 506, 508, 510, 511). \
             When its time is over, one request tries it; if that succeeds, it is used again. If more than half of a \
             service's instances are out, all are used.",
        );
        let new = || otherwise.ejection.unwrap_or_default();
        v.section_or_off(ejection, &mut self.ejection, new, Ejection::keys);
        let stall = key("stall", "when an instance that stops answering [is taken out](requests.md#ejection); `off`: never").more(
            "The gateway also ejects an instance when nothing comes from it while requests wait for the first byte of \
             their answers. It sends those that are idempotent to another one. Where ejection is off, this is off too, \
             and it is an error to set it.",
        );
        let new = || otherwise.stall.unwrap_or_default();
        v.section_or_off(stall, &mut self.stall, new, Stall::keys);
        let check = key(
            "check",
            "[ask the instances](requests.md#checks) whether they are well; `off`: only requests show it",
        )
        .shape("a section such as {probe: /healthz}");
        let inherited = otherwise.check.as_ref();
        let new = || inherited.unwrap_or(&check::DEFAULT).clone();
        v.section_or_off(check, &mut self.check, new, |check, v| check.keys(v, inherited.is_some()));
    }
}

/// One that is given twice would get twice its share.
fn check_addresses(section: &Section<'_>, addresses: &[GivenAddress]) {
    let mut seen = BTreeSet::new();
    for address in addresses {
        if !seen.insert(address.to_string()) {
            section.reject("addresses", format_args!("has {address} twice"));
        }
    }
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

impl Ejection {
    fn keys<V: Visit>(&mut self, v: &mut V) {
        v.key(
            key("failures", "so many failures in a row take an instance out"),
            number(COUNT),
            &mut self.failures,
        );
        let base = "how long the first ejection lasts; each further one lasts twice as long";
        v.key(key("base", base), duration(BASE), &mut self.base);
        let longest = "no ejection lasts longer than this; at least `base`";
        v.key(key("longest", longest), duration(LONGEST), &mut self.longest);
        v.check(|section| section.in_order(("base", &mut self.base), ("longest", &mut self.longest)));
        let forgive = "for each such time that it is not ejected, its next ejection becomes half as long";
        v.key(key("forgive", forgive), duration(FORGIVE), &mut self.forgive);
        let grpc = "statuses of [gRPC calls](grpc.md#health) that count as failures, as a 5xx does";
        let mut statuses: Vec<_> = self.grpc.iter().collect();
        v.key(key("grpc", grpc), grpc_statuses::failures(), &mut statuses);
        self.grpc = statuses.into_iter().collect();
    }
}

impl Stall {
    fn keys<V: Visit>(&mut self, v: &mut V) {
        v.key(key("requests", "so many requests wait"), number(COUNT), &mut self.requests);
        v.key(key("floor", "nothing has come for so long at least"), duration(FLOOR), &mut self.floor);
        let factor = "and for so many times as long as the instance's answers usually take";
        v.key(key("factor", factor), number(COUNT), &mut self.factor);
    }
}

impl Limits {
    fn keys<V: Visit>(&mut self, v: &mut V) {
        let endpoint = "at one instance; another is chosen as long as there is one";
        v.key(key("endpoint", endpoint), or_off(number(REQUESTS)), &mut self.endpoint);
        v.key(key("service", "in the service"), or_off(number(REQUESTS)), &mut self.service);
    }
}

impl Budget {
    fn keys<V: Visit>(&mut self, v: &mut V) {
        v.key(key("percent", "so many of a hundred requests"), number(PERCENT), &mut self.percent);
        v.key(
            key("per_second", "so many a second, on top of that"),
            number(PER_SECOND),
            &mut self.per_second,
        );
    }
}
