//! Our own keys, under `gateway:`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use config_reader::key;
use config_reader::kind::{list, number, or_off, text, words};
use http::HeaderName;
use ipnet::IpNet;

use super::address::Taken;
use super::connection::Registry;
use super::connections::Connections;
use super::host;
use super::http1::Http1;
use super::http2::Http2Carrier;
use super::keys::{Around, Visit, address, parsed};
use super::listener::{self, Listener};
use super::network::{network, remark_on_all};
use super::route::{self, Beside, ErrorAnswers, Route};
use super::service::{Routed, Services};
use super::timeouts::Timeouts;
use super::{Section, Value};

/// Where the admin interface listens if nothing else is said: it is for this machine alone.
const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// At some 40 KiB each, 400 MiB.
const MAX_REQUESTS: NonZeroU32 = NonZeroU32::new(10_000).unwrap();
const REQUESTS: RangeInclusive<NonZeroU32> = NonZeroU32::MIN..=NonZeroU32::new(1_000_000).unwrap();

const TRACE_HEADER: HeaderName = HeaderName::from_static("trace_id");

/// What the gateway does.
#[derive(Debug, Clone, PartialEq)]
pub struct Gateway {
    /// Where clients are served, and how: 1 to 30 addresses that do not overlap, no port 0.
    pub(crate) listen: Vec<Listener>,
    /// How many connections clients may have.
    pub(crate) connections: Connections,
    /// Where operators are served; `None` if turned off.
    pub(crate) admin: Option<SocketAddr>,
    /// Names by which they may reach it, in small letters; addresses and `localhost` always do.
    pub(crate) admin_hosts: Vec<String>,
    /// Where services register.
    pub(crate) registry: Registry,
    /// Which service answers what: at least one, none of which hides another.
    pub(crate) routes: Vec<Route>,
    /// What is particular to the services.
    pub(crate) services: Services,
    /// How many requests may be in flight in all, 1 to 1,000,000: what comes beyond them is answered with
    /// 503 at once.
    pub(crate) max_requests: NonZeroU32,
    /// The header that carries the trace id to instances and back to clients.
    pub(crate) trace_header: HeaderName,
    /// Whose word of who asks is believed: proxies in front of this one, by their addresses.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Whether `Forwarded` (RFC 7239) is added to requests.
    pub(crate) forwarded: bool,
    /// Whether `Via` is added to requests and answers.
    pub(crate) via: bool,
    /// Whether the gateway's own error answers say in `Proxy-Status` (RFC 9209) what went wrong.
    pub(crate) proxy_status: bool,
    /// What the gateway's own error answers look like.
    pub(crate) errors: ErrorAnswers,
    /// Whether the file is watched, and a change of it applied by itself. A SIGHUP applies it in any case.
    pub(crate) reload: bool,
    /// How log lines are written.
    pub log: LogFormat,
    /// How long things may take.
    pub(crate) timeouts: Timeouts,
    /// How HTTP/1 is carried.
    pub(crate) http1: Http1,
    /// By which code clients' HTTP/2 is carried.
    pub(crate) http2: Http2Carrier,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A JSON object per line, for programs.
    Json,
    /// For people.
    Text,
    /// As text on a terminal, else as JSON.
    Auto,
}

impl Gateway {
    /// What holds where a file says nothing. A file must say the addresses, the registry and the routes.
    pub(super) fn unsaid() -> Self {
        Self {
            listen: Vec::new(),
            connections: Connections::default(),
            admin: Some(ADMIN),
            admin_hosts: Vec::new(),
            registry: Registry::unsaid(),
            routes: Vec::new(),
            services: Services::default(),
            max_requests: MAX_REQUESTS,
            trace_header: TRACE_HEADER,
            trusted_proxies: Vec::new(),
            forwarded: false,
            via: false,
            proxy_status: true,
            errors: ErrorAnswers::default(),
            reload: true,
            log: LogFormat::Auto,
            timeouts: Timeouts::default(),
            http1: Http1::default(),
            http2: Http2Carrier::default(),
        }
    }

    /// Where clients are served.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listen.iter().map(|listener| listener.address)
    }

    pub(super) fn keys<V: Visit>(&mut self, v: &mut V, around: &Around) {
        self.address_keys(v, around);
        let registry = key("registry", "where services register")
            .required(r#"a section, such as {endpoints: ["http://127.0.0.1:2379"]}"#)
            .fixed();
        v.section(registry, |v| self.registry.keys(v, around));
        let timeouts = key("timeouts", "how long things may take")
            .more("Of `first_byte` and `idle`, one that you do not set gives way to the other.");
        let mut tunnel_drain = None;
        v.section(timeouts, |v| {
            self.timeouts.keys(v);
            v.check(|section| {
                tunnel_drain = section.has("tunnel_drain").then(|| section.place_of("tunnel_drain"));
            });
        });
        self.http1.keys(v);
        let tunnel_drain = tunnel_drain.filter(|_| self.timeouts.tunnel_drain.is_some());
        v.check(|section| self.http1.remark_on_others(section, tunnel_drain.as_ref()));
        self.http2.keys(v);
        self.hop_keys(v, around);
        self.route_keys(v, around);
        self.other_keys(v);
    }

    fn address_keys<V: Visit>(&mut self, v: &mut V, around: &Around) {
        listener::keys(&mut self.listen, v, &around.taken);
        let connections =
            key("connections", "how many [connections clients may have](hardening.md#connections)");
        v.section(connections, |v| self.connections.keys(v));
        v.check(|section| take_default(section, &around.taken));
        let admin = key(
            "admin",
            "where operators are served: [`/livez`, `/readyz`, `/metrics`, `/services`, `/routes`](observability.md)",
        );
        v.key(admin.fixed(), or_off(address(&around.taken)), &mut self.admin);
        let hosts = key(
            "admin_hosts",
            "names by which [the admin port](observability.md#probes) may be reached, such as gateway.internal, beside \
             IP addresses and `localhost`",
        );
        let host = parsed(|text| host::parse(text).map(|host| host.to_ascii_lowercase()), host::PATTERN);
        v.key(hosts.fixed(), list(host), &mut self.admin_hosts);
        v.check(|section| {
            if self.admin.is_none() && !self.admin_hosts.is_empty() {
                section.reject("admin_hosts", "means nothing while admin is off");
            }
        });
    }

    /// What the gateway says of itself, and whom it believes.
    fn hop_keys<V: Visit>(&mut self, v: &mut V, around: &Around) {
        let trace_header = key(
            "trace_header",
            "the header that carries [the trace id](requests.md#trace) to instances and back to clients",
        );
        let kind = text(
            |value: &Value<'_>| value.parse(parse_trace_header),
            |name: &HeaderName| name.as_str().to_owned(),
        );
        v.key(trace_header, kind, &mut self.trace_header);
        let trusted = key(
            "trusted_proxies",
            "the networks of proxies in front of this gateway [whose word of the client it \
             takes](requests.md#clients-address); what all others say of it is overwritten",
        );
        v.key(trusted, list(network()), &mut self.trusted_proxies);
        v.check(|section| remark_on_all(section, "trusted_proxies", &self.trusted_proxies));
        let switch = || words([("on", true), ("off", false)]);
        let forwarded = key(
            "forwarded",
            "whether instances get `Forwarded` (RFC 7239), [too](requests.md#clients-address)",
        );
        v.key(forwarded, switch(), &mut self.forwarded);
        let via = key(
            "via",
            "whether instances and clients get `Via`; some servers compress less where they see it",
        );
        v.key(via, switch(), &mut self.via);
        let proxy_status = key(
            "proxy_status",
            "whether the gateway's own error answers say in [`Proxy-Status`](requests.md#proxy-status) what went wrong",
        );
        v.key(proxy_status, switch(), &mut self.proxy_status);
        let errors = "what the gateway's own error answers look like";
        route::errors::keys(&mut self.errors, v, &around.files, errors);
    }

    fn route_keys<V: Visit>(&mut self, v: &mut V, around: &Around) {
        let beside = Beside {
            timeouts: &self.timeouts,
            http1: self.http1.carrier,
            trace: &self.trace_header,
            files: &around.files,
            asks_for_certificates: self.listen.iter().any(Listener::asks_for_certificates),
        };
        let are_known = route::keys(&mut self.routes, v, beside);
        let routed = Routed::by(&self.routes);
        self.services.keys(v, are_known.then_some(&routed));
    }

    fn other_keys<V: Visit>(&mut self, v: &mut V) {
        let max_requests = key(
            "max_requests",
            "requests in flight in all; a request above that gets 503 at once. [Reckon with 200 KB for each](#memory)",
        );
        v.key(max_requests, number(REQUESTS), &mut self.max_requests);
        let reload = key(
            "reload",
            "whether a change of this file is applied by itself; SIGHUP applies it in any case",
        );
        v.key(reload, words([("on", true), ("off", false)]), &mut self.reload);
        let log = key("log", "how log lines are written to standard output")
            .default("`text` on a terminal, else `json`")
            .example("json")
            .fixed();
        let formats = words([("json", LogFormat::Json), ("text", LogFormat::Text)])
            .hint(" (or no such key: text on a terminal, else json)");
        v.key(log, formats, &mut self.log);
    }
}

/// The admin port's default is taken if the file names no other.
fn take_default(section: &Section<'_>, taken: &Taken) {
    if section.has("admin") {
        return;
    }
    if let Some(by) = taken.by(ADMIN) {
        let message =
            format_args!("is {ADMIN} by default, which is taken by {by}: set another address, or off");
        section.reject("admin", message);
    }
    taken.take(ADMIN, "gateway.admin");
}

/// Headers that mean something to HTTP or to a proxy: the trace id would destroy it.
const RESERVED: [&str; 40] = [
    // Of one connection only: RFC 9110, section 7.6.1.
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    // Framing and routing.
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "content-range",
    "range",
    "expect",
    "date",
    "location",
    "retry-after",
    "allow",
    "vary",
    // Identity and state.
    "authorization",
    "www-authenticate",
    "proxy-authorization",
    "proxy-authenticate",
    "cookie",
    "set-cookie",
    "accept",
    "accept-encoding",
    "origin",
    "referer",
    "user-agent",
    // What the gateway sets itself.
    "traceparent",
    "tracestate",
    "forwarded",
    "via",
    "proxy-status",
    "cdn-loop",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-client-cert",
];

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum HeaderError {
    #[error("is not a header name: expected letters, digits, \"-\" and \"_\"")]
    Malformed,
    #[error("is a header with a meaning of its own: the trace id would replace it")]
    Reserved,
}

fn parse_trace_header(text: &str) -> Result<HeaderName, HeaderError> {
    let name = HeaderName::try_from(text).map_err(|_| HeaderError::Malformed)?;
    // Some servers take `content_length` for `content-length`.
    let folded = name.as_str().replace('_', "-");
    if RESERVED.contains(&&*folded) { Err(HeaderError::Reserved) } else { Ok(name) }
}
