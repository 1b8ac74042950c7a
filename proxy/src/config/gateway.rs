//! Our own keys, under `gateway:`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use http::HeaderName;

use super::address::Taken;
use super::connection::{self, Registry};
use super::embedded::Embedded;
use super::host;
use super::route::{self, Route};
use super::service::{self, Services};
use super::timeouts::{self, Timeouts};
use super::{Section, Value};

/// Where the admin interface listens if nothing else is said: it is for this machine alone.
const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// An upgrade hands over at most 32 sockets; one is the admin interface's, one the embedded registry's.
const LISTEN: RangeInclusive<usize> = 1..=30;

/// At some 40 KiB each, 400 MiB.
const MAX_REQUESTS: NonZeroU32 = NonZeroU32::new(10_000).unwrap();
const REQUESTS: RangeInclusive<NonZeroU32> = NonZeroU32::MIN..=NonZeroU32::new(1_000_000).unwrap();

const TRACE_HEADER: HeaderName = HeaderName::from_static("trace_id");

/// What the gateway does.
#[derive(Debug, Clone, PartialEq)]
pub struct Gateway {
    /// Where clients are served: 1 to 30 addresses that do not overlap, no port 0.
    pub listen: Vec<SocketAddr>,
    /// Where operators are served; `None` if turned off.
    pub admin: Option<SocketAddr>,
    /// Names by which they may reach it, in small letters; addresses and `localhost` always do.
    pub admin_hosts: Vec<String>,
    /// Where services register.
    pub registry: Registry,
    /// Which service answers what: at least one, no path twice.
    pub routes: Vec<Route>,
    /// What is particular to the services.
    pub services: Services,
    /// How many requests may be in flight in all, 1 to 1,000,000: what comes beyond them is answered with
    /// 503 at once.
    pub max_requests: NonZeroU32,
    /// The header that carries the trace id to instances and back to clients.
    pub trace_header: HeaderName,
    /// Whether the file is watched, and a change of it applied by itself. A SIGHUP applies it in any case.
    pub reload: bool,
    /// How log lines are written.
    pub log: LogFormat,
    /// How long things may take.
    pub timeouts: Timeouts,
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

/// Reads the section; the caller closes it. `snapshot`: where an embedded registry's is kept if nothing else
/// is said.
pub(super) fn read(
    section: &mut Section<'_>,
    snapshot: impl FnOnce(&Embedded) -> PathBuf,
) -> Option<Gateway> {
    let mut taken = Taken::default();
    let listen = section.required("listen", r#"a list of addresses, such as ["0.0.0.0:8080"]"#, |value| {
        listen(&value, &mut taken)
    });
    let admin = admin(section, &mut taken);
    let admin_hosts = admin_hosts(section, admin);
    let registry =
        section.required_section("registry", r#"a section, such as {endpoints: ["http://127.0.0.1:2379"]}"#);
    let registry = connection::read(registry, &mut taken, snapshot);
    let timeouts = timeouts::read(section.section("timeouts"));
    let routes = section.required("routes", "a list such as [{path: /goods, service: goods}]", |value| {
        route::read_all(&value, &timeouts)
    });
    let services = service::read_all(section, routes.as_deref());
    let max_requests = max_requests(section);
    let (trace_header, reload, log) = (trace_header(section), reload(section), log(section));
    let (listen, registry, routes) = (listen?, registry?, routes?);
    Some(Gateway {
        listen,
        admin,
        admin_hosts,
        registry,
        routes,
        services,
        max_requests,
        trace_header,
        reload,
        log,
        timeouts,
    })
}

fn listen(list: &Value<'_>, taken: &mut Taken) -> Option<Vec<SocketAddr>> {
    let addresses = list.list(|item| item.parse(|text| taken.claim(text, &item.place().key)))?;
    if !LISTEN.contains(&addresses.len()) {
        let (found, least, most) = (addresses.len(), LISTEN.start(), LISTEN.end());
        list.reject(format_args!("has {found} addresses: expected {least} to {most}"));
    }
    Some(addresses)
}

fn admin(section: &mut Section<'_>, taken: &mut Taken) -> Option<SocketAddr> {
    if !section.has("admin")
        && let Some(by) = taken.by(ADMIN)
    {
        let message =
            format_args!("is {ADMIN} by default, which is taken by {by}: set another address, or off");
        section.reject("admin", message);
    }
    if !section.has("admin") {
        taken.take(ADMIN, "gateway.admin");
    }
    let mut admin = Some(ADMIN);
    section.set("admin", &mut admin, |value| match value.text()? {
        "off" => Some(None),
        _ => value.parse(|text| taken.claim(text, &value.place().key)).map(Some),
    });
    admin
}

fn admin_hosts(section: &mut Section<'_>, admin: Option<SocketAddr>) -> Vec<String> {
    let mut hosts: Vec<String> = Vec::new();
    section.set("admin_hosts", &mut hosts, |value| value.list(|item| item.parse(host::parse)));
    if admin.is_none() && !hosts.is_empty() {
        section.reject("admin_hosts", "means nothing while admin is off");
    }
    hosts.iter().map(|host| host.to_ascii_lowercase()).collect()
}

fn max_requests(section: &mut Section<'_>) -> NonZeroU32 {
    let mut max_requests = MAX_REQUESTS;
    section.set("max_requests", &mut max_requests, |value| value.number(REQUESTS));
    max_requests
}

fn reload(section: &mut Section<'_>) -> bool {
    let mut reload = true;
    section.set("reload", &mut reload, |value| match value.text()? {
        "on" => Some(true),
        "off" => Some(false),
        _ => value.mismatch("on or off"),
    });
    reload
}

fn log(section: &mut Section<'_>) -> LogFormat {
    let mut log = LogFormat::Auto;
    section.set("log", &mut log, |value| match value.text()? {
        "json" => Some(LogFormat::Json),
        "text" => Some(LogFormat::Text),
        _ => value.mismatch("json or text (or no such key: text on a terminal, else json)"),
    });
    log
}

fn trace_header(section: &mut Section<'_>) -> HeaderName {
    let mut trace_header = TRACE_HEADER;
    section.set("trace_header", &mut trace_header, |value| value.parse(parse_trace_header));
    trace_header
}

/// Headers that mean something to HTTP or to a proxy: the trace id would destroy it.
const RESERVED: [&str; 38] = [
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
    "cdn-loop",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
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
