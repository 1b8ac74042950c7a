//! The section `gateway.registry`: how to reach the registry, and where services stand in it.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use registry::connect::{Connection, Exposed, Tls, User, host_and_port, parse_endpoint};
use registry::contract::Prefix;
use registry::networks::Loopback;
use registry::watch::WatchSettings;

use super::address::Taken;
use super::embedded::{self, Embedded};
use super::machine::Need;
use super::pattern;
use super::{Section, Value};

const DAY: Duration = Duration::from_secs(24 * 3600);
const AUDIT: RangeInclusive<Duration> = Duration::from_secs(1)..=DAY;
const COUNT: RangeInclusive<usize> = 1..=1_000_000;
const REGISTRATIONS: RangeInclusive<usize> = 1..=10_000_000;
const WINDOW: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
const HOLD: RangeInclusive<Duration> = Duration::from_secs(1)..=DAY;

/// Where services register.
#[derive(Debug, Clone, PartialEq)]
pub struct Registry {
    /// The one in this process; none: it is elsewhere.
    pub embedded: Option<Embedded>,
    /// How to reach it.
    pub connection: Connection,
    /// What is watched there.
    pub watch: WatchSettings,
    /// How many registrations are taken.
    pub bounds: Bounds,
    /// What becomes of an endpoint whose registration vanishes.
    pub guard: Guard,
    /// Where the directory is kept for a start without the registry, or with an embedded one, which starts
    /// empty. None: nowhere.
    pub snapshot: Option<PathBuf>,
}

/// How many registrations are taken: whoever may write to the registry must not fill the gateway's memory. What
/// is beyond is left out, told and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Instances of each service, 1 to 1,000,000.
    pub instances: usize,
    /// Services in all, 1 to 1,000,000. Those that a route names have their place, whatever it is.
    pub services: usize,
    /// Instances in all, 1 to 10,000,000. Those of services that a route names come first: they may be as many, however
    /// many others there are.
    pub registrations: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { instances: 10_000, services: 100_000, registrations: 200_000 }
    }
}

/// What becomes of an endpoint whose registration vanishes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guard {
    /// How long it is doubted before it is dropped or held: 100 ms to 1 h.
    pub window: Duration,
    /// If more than this share of its service vanished within the window, it is held. 0 to 1; 1: none is
    /// ever doubted or held, which an embedded registry does not allow.
    pub share: f64,
    /// How long it is held, at most, while it can be connected to: 1 s to 24 h.
    pub hold: Duration,
}

impl Default for Guard {
    fn default() -> Self {
        Self { window: Duration::from_secs(3), share: 0.5, hold: Duration::from_secs(300) }
    }
}

/// `snapshot`: where an embedded registry's is kept if nothing else is said.
pub(super) fn read(
    mut section: Section<'_>,
    taken: &mut Taken,
    snapshot: impl FnOnce(&Embedded) -> PathBuf,
) -> Option<Registry> {
    let mut embedded = None;
    section.set("embedded", &mut embedded, |value| {
        if !value.is_section() {
            return value.mismatch("a section of its settings: {} takes all defaults");
        }
        embedded::read(value.section(), taken)
    });
    let connection = if section.has("embedded") {
        refuse_beside_embedded(&mut section);
        embedded.as_ref().map(|embedded| Connection::to([embedded.endpoint()]))
    } else {
        read_connection(&mut section)
    };
    let mut watch = WatchSettings::default();
    section.set("prefix", &mut watch.prefix, |value| {
        value.parse(pattern::refuse)?;
        value.accept(Prefix::parse(value.text()?))
    });
    section.set("allow", &mut watch.networks.allow, |value| value.list(|item| item.parse(parse_network)));
    section.set("deny", &mut watch.networks.deny, |value| value.list(|item| item.parse(parse_network)));
    let is_here = embedded.is_some()
        || connection
            .as_ref()
            .is_some_and(|connection| connection.endpoints.iter().all(|e| is_on_loopback(e)));
    watch.networks.loopback = if is_here { Loopback::Permitted } else { Loopback::IfNamed };
    section.set("require_lease", &mut watch.require_lease, |value| value.boolean());
    section.set("audit", &mut watch.audit, |value| value.or_off(|value| value.duration(&AUDIT)));
    let mut bounds = Bounds::default();
    section.set("max_instances", &mut bounds.instances, |value| value.number(COUNT));
    section.set("max_services", &mut bounds.services, |value| value.number(COUNT));
    section.set("max_registrations", &mut bounds.registrations, |value| value.number(REGISTRATIONS));
    let mut guard_section = section.section("guard");
    let guard = guard(&mut guard_section);
    if section.has("embedded") && guard.share >= 1.0 {
        guard_section.reject(
            "share",
            "turns the guard off, and an embedded registry starts empty: each restart would remove every \
             instance. Expected less than 1",
        );
    }
    // It starts empty: without a snapshot, so would the gateway.
    let mut snapshot = embedded.as_ref().map(snapshot);
    section.set("snapshot", &mut snapshot, |value| {
        value.or_off(|value| value.path(Need::ReplacedFile).map(PathBuf::from))
    });
    section.close(None);
    Some(Registry { embedded, connection: connection?, watch, bounds, guard, snapshot })
}

/// What says how to reach a registry elsewhere.
fn refuse_beside_embedded(section: &mut Section<'_>) {
    section.refuse(
        "endpoints",
        "stands beside embedded: the registry is in this process or elsewhere, remove one",
    );
    for key in ["username", "password_file", "password"] {
        section.refuse(key, "means nothing to an embedded registry: it has no users");
    }
    section.refuse("tls", "means nothing to an embedded registry: it serves no TLS");
}

fn read_connection(section: &mut Section<'_>) -> Option<Connection> {
    let expected = r#"a list such as ["http://127.0.0.1:2379"], or embedded: {} in its place"#;
    let endpoints = section.required("endpoints", expected, |value| endpoints(&value));
    let user = user(section);
    let mut tls = None;
    section.set("tls", &mut tls, |value| Some(read_tls(value.section())));
    if tls.is_some() {
        reject_plain(section, endpoints.as_deref().unwrap_or_default());
    }
    if let (Some(_), Some(exposed)) = (&user, endpoints.as_deref().and_then(Exposed::on_the_way)) {
        section.remark("username", exposed);
    }
    Some(Connection { user, tls, ..Connection::to(endpoints?) })
}

fn guard(section: &mut Section<'_>) -> Guard {
    let mut guard = Guard::default();
    section.set("window", &mut guard.window, |value| value.duration(&WINDOW));
    section.set("share", &mut guard.share, |value| value.fraction());
    section.set("hold", &mut guard.hold, |value| value.duration(&HOLD));
    section.close(None);
    guard
}

/// Why a text is no network. Reads on after the text that was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum NetworkError {
    #[error("is not a network: write an address and a length, such as 10.0.0.0/8 or fd00::/8")]
    Malformed,
    #[error("has bits set after its length: write {0}")]
    NotTruncated(IpNet),
    #[error("is an IPv4 network in IPv6's form, which no address is compared with: write {0}")]
    Mapped(IpNet),
}

/// A single address is a network of its own.
fn parse_network(text: &str) -> Result<IpNet, NetworkError> {
    let network: IpNet = match text.parse::<IpAddr>() {
        Ok(address) => address.into(),
        Err(_) => text.parse().map_err(|_| NetworkError::Malformed)?,
    };
    match (network.trunc(), unmapped(network)) {
        (_, Some(ipv4)) => Err(NetworkError::Mapped(ipv4)),
        (truncated, None) if truncated != network => Err(NetworkError::NotTruncated(truncated)),
        _ => Ok(network),
    }
}

/// The IPv4 network that stands below `::ffff:0:0/96`. An instance's address is never there: the contract
/// reads it as the IPv4 address that it is.
fn unmapped(network: IpNet) -> Option<IpNet> {
    let IpNet::V6(network) = network else { return None };
    let length = network.prefix_len().checked_sub(96)?;
    let ipv4 = network.addr().to_ipv4_mapped()?;
    IpNet::new(ipv4.into(), length).ok().map(|network| network.trunc())
}

/// Whether whoever reaches this endpoint is on this machine: then instances may well be, too.
fn is_on_loopback(endpoint: &str) -> bool {
    let Some((host, _)) = host_and_port(endpoint) else { return false };
    // To connect to an unspecified address is to connect to this machine.
    let is_here = |address: IpAddr| address.to_canonical().is_loopback() || address.is_unspecified();
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_here)
}

fn endpoints(list: &Value<'_>) -> Option<Vec<String>> {
    let mut seen: Vec<String> = Vec::new();
    let endpoints = list.list(|item| {
        let endpoint = item.parse(parse_endpoint)?;
        if seen.contains(&endpoint) {
            item.reject(format_args!("\"{endpoint}\" is in the list already"));
        }
        seen.push(endpoint.clone());
        Some(endpoint)
    })?;
    if endpoints.is_empty() {
        list.reject("is empty: expected at least one URL, such as http://127.0.0.1:2379");
    }
    Some(endpoints)
}

fn user(section: &mut Section<'_>) -> Option<User> {
    let (mut name, mut password_file) = (None, None);
    section.set("username", &mut name, |value| value.text().map(str::to_owned));
    section.set("password_file", &mut password_file, |value| value.path(Need::Password).map(PathBuf::from));
    section.require_both(["username", "password_file"]);
    section.refuse("password", "is not taken: write it into a file and name that in password_file");
    Some(User { name: name?, password_file: password_file? })
}

fn read_tls(mut section: Section<'_>) -> Tls {
    let mut tls = Tls::default();
    section.set("ca", &mut tls.ca, |value| value.path(Need::ReadCertificates).map(PathBuf::from));
    section.set("cert", &mut tls.cert, |value| value.path(Need::ReadCertificates).map(PathBuf::from));
    section.set("key", &mut tls.key, |value| value.path(Need::PrivateKey).map(PathBuf::from));
    section.require_both(["cert", "key"]);
    if let (Some(cert), Some(key)) = (tls.cert.clone(), tls.key.clone()) {
        section.note("key", Need::Pair { cert, key });
    }
    section.close(None);
    tls
}

/// Certificates that would not be used hint at a connection that was meant to be encrypted.
fn reject_plain(section: &Section<'_>, endpoints: &[String]) {
    let is_plain = |endpoint: &&String| endpoint.starts_with("http://");
    if let Some(endpoint) = endpoints.iter().find(is_plain) {
        let message = format_args!("is set, but {endpoint} is not encrypted: write https://, or remove tls");
        section.reject("tls", message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_is_an_address_and_a_length_or_an_address_alone() {
        for (text, expected) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("169.254.169.254", "169.254.169.254/32"),
            ("fd00::/8", "fd00::/8"),
            ("::/0", "::/0"),
            ("::1", "::1/128"),
            // An address that carries another is compared as it stands, too.
            ("64:ff9b::/96", "64:ff9b::/96"),
            ("64:ff9b::10.0.0.0/104", "64:ff9b::a00:0/104"),
            ("2002::/16", "2002::/16"),
            ("::/96", "::/96"),
            ("::ffff:0:0:0/96", "::ffff:0:0:0/96"),
        ] {
            assert_eq!(parse_network(text), Ok(network(expected)), "{text:?}");
        }
    }

    #[test]
    fn an_endpoint_is_on_loopback_by_its_address_or_as_localhost() {
        for (endpoint, expected) in [
            ("http://127.0.0.1:2379", true),
            ("http://127.1.2.3:2379", true),
            ("https://[::1]:2379", true),
            ("http://[::ffff:127.0.0.1]:2379", true),
            ("http://LOCALHOST:2379", true),
            ("http://0.0.0.0:2379", true),
            ("http://10.0.0.1:2379", false),
            ("http://etcd:2379", false),
            ("http://localhost.example:2379", false),
        ] {
            assert_eq!(is_on_loopback(endpoint), expected, "{endpoint}");
        }
    }

    #[test]
    fn every_other_network_says_what_is_wrong() {
        for (text, expected) in [
            ("", NetworkError::Malformed),
            ("10.0.0.0/33", NetworkError::Malformed),
            ("10.0.0.0/", NetworkError::Malformed),
            ("10.0.0.0/255.0.0.0", NetworkError::Malformed),
            ("10.0/8", NetworkError::Malformed),
            ("10.0.0.5:80", NetworkError::Malformed),
            ("fd00::/129", NetworkError::Malformed),
            ("[fd00::]/8", NetworkError::Malformed),
            ("example.com", NetworkError::Malformed),
            ("10.0.0.1/8", NetworkError::NotTruncated(network("10.0.0.0/8"))),
            ("fd00::1/64", NetworkError::NotTruncated(network("fd00::/64"))),
            ("0.0.0.1/0", NetworkError::NotTruncated(network("0.0.0.0/0"))),
            ("::ffff:10.0.0.0/104", NetworkError::Mapped(network("10.0.0.0/8"))),
            ("::ffff:10.0.0.1/104", NetworkError::Mapped(network("10.0.0.0/8"))),
            ("::ffff:10.0.0.1", NetworkError::Mapped(network("10.0.0.1/32"))),
            ("::ffff:0:0/96", NetworkError::Mapped(network("0.0.0.0/0"))),
        ] {
            assert_eq!(parse_network(text), Err(expected), "{text:?}");
        }
    }
}
