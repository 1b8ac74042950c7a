//! The section `gateway.registry`: how to reach the registry, and where services stand in it.

use std::cell::RefCell;
use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use config_reader::key;
use config_reader::kind::{boolean, duration, fraction, list, number, or_off, path, text};
use registry::connect::{ConnectionSettings, Exposed, Tls, User, host_and_port, parse_endpoint};
use registry::contract::Prefix;
use registry::networks::Loopback;
use registry::watch::WatchSettings;

use super::embedded::Embedded;
use super::keys::{Around, Visit};
use super::machine::Need;
use super::network::network;
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
    pub connection: ConnectionSettings,
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
    pub(crate) instances: usize,
    /// Services in all, 1 to 1,000,000. Those that a route names have their place, whatever it is.
    pub(crate) services: usize,
    /// Instances in all, 1 to 10,000,000. Those of services that a route names come first: they may be as many, however
    /// many others there are.
    pub(crate) registrations: usize,
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
    pub(crate) window: Duration,
    /// If more than this share of its service vanished within the window, it is held. 0 to 1; 1: none is
    /// ever doubted or held, which an embedded registry does not allow.
    pub(crate) share: f64,
    /// How long it is held, at most, while it can be connected to: 1 s to 24 h.
    pub(crate) hold: Duration,
}

impl Default for Guard {
    fn default() -> Self {
        Self { window: Duration::from_secs(3), share: 0.5, hold: Duration::from_secs(300) }
    }
}

impl Registry {
    /// What holds where a file says nothing of it. A file must say where it is.
    pub(super) fn unsaid() -> Self {
        Self {
            embedded: None,
            connection: ConnectionSettings::to::<String>([]),
            watch: WatchSettings::default(),
            bounds: Bounds::default(),
            guard: Guard::default(),
            snapshot: None,
        }
    }

    pub(super) fn keys<V: Visit>(&mut self, v: &mut V, around: &Around) {
        self.place(v, around);
        self.prefix(v);
        self.networks(v);
        self.trust(v);
        self.bounds.keys(v);
        let is_embedded = self.embedded.is_some();
        let guard = key("guard", "what happens when an instance vanishes from the registry").more(
            "It gets no request while its service has another one that is up, and as soon as the gateway cannot \
             connect to it, it is dropped. When `window` is over it is dropped as well, unless more than `share` of \
             its service vanished within `window` before or after it. In that case the gateway keeps it for up to \
             `hold`, as long as it can connect to it, and uses it only while none is up.",
        );
        v.section(guard, |v| self.guard.keys(v, is_embedded));
        self.snapshot(v, around);
    }

    /// In this process or elsewhere: what says how to reach the one means nothing to the other.
    fn place<V: Visit>(&mut self, v: &mut V, around: &Around) {
        let embedded = key("embedded", "a [registry in the gateway's own process](embedded.md)")
            .more(
                "In the place of `endpoints`, `username`, `password_file` and `tls`. It speaks etcd's API and keeps \
                 everything in memory. `embedded: {}` takes all defaults.",
            )
            .shape("a section of its settings: {} takes all defaults");
        v.optional_section(embedded, &mut self.embedded, Embedded::default, |embedded, v| {
            embedded.keys(v, around);
        });
        if self.embedded.is_none() && !v.stands("embedded") {
            connection_keys(&mut self.connection, v);
            return;
        }
        if let Some(embedded) = &self.embedded {
            self.connection = ConnectionSettings::to([embedded.endpoint()]);
        }
        v.refuse(
            "endpoints",
            "stands beside embedded: the registry is in this process or elsewhere, remove one",
        );
        for key in ["username", "password_file", "password"] {
            v.refuse(key, "means nothing to an embedded registry: it has no users");
        }
        v.refuse("tls", "means nothing to an embedded registry: it serves no TLS");
    }

    fn prefix<V: Visit>(&mut self, v: &mut V) {
        let read = |value: &Value<'_>| {
            value.parse(pattern::refuse)?;
            value.accept(Prefix::parse(value.text()?))
        };
        let kind = text(read, |prefix: &Prefix| prefix.as_str().to_owned()).pattern("^/");
        let prefix = key("prefix", "services register as `{prefix}/{service}/{instance}`");
        v.key(prefix, kind, &mut self.watch.prefix);
    }

    fn networks<V: Visit>(&mut self, v: &mut V) {
        let allow = key("allow", "the networks that instances may be in; none: any, but for [what is refused in any case](registrars.md#what-is-taken)").more(
            "If it names any, an instance's address must be in one of them. An instance on loopback is taken if it \
             is named here, if the registry is embedded, or if all endpoints are on loopback.",
        );
        v.key(allow, list(network()), &mut self.watch.networks.allow);
        let deny = key("deny", "the networks that instances must not be in, whatever `allow` says");
        v.key(deny, list(network()), &mut self.watch.networks.deny);
        let endpoints = &self.connection.endpoints;
        let is_here = !endpoints.is_empty() && endpoints.iter().all(|endpoint| is_on_loopback(endpoint));
        let is_here = self.embedded.is_some() || is_here;
        self.watch.networks.loopback = if is_here { Loopback::Permitted } else { Loopback::IfNamed };
    }

    fn trust<V: Visit>(&mut self, v: &mut V) {
        let require_lease = key(
            "require_lease",
            "whether a registration without a lease is [refused](registrars.md#what-is-taken): it would stay when \
             its instance is gone",
        );
        v.key(require_lease, boolean(), &mut self.watch.require_lease);
        let audit = key(
            "audit",
            "how often [the directory is compared with the registry](operating.md#the-audit)",
        )
        .more(
            "Give or take a tenth of it; also after each reconnect. The audit repairs, logs and counts each \
                 difference.",
        );
        v.key(audit, or_off(duration(AUDIT)), &mut self.watch.audit);
    }

    fn snapshot<V: Visit>(&mut self, v: &mut V, around: &Around) {
        // An embedded registry starts empty: without a snapshot, so would the gateway.
        v.check(|_| {
            self.snapshot = self.embedded.as_ref().map(|embedded| around.snapshot(&embedded.snapshot()))
        });
        let snapshot = key("snapshot", "the file that keeps the directory for [a start without the registry](operating.md#the-snapshot)")
            .more(
                "Its directory must be there, and nobody but the gateway's user should be able to write to it. Each \
                 gateway needs a file of its own.",
            )
            .default("none; with `embedded` snapshot-IP:PORT, after the address on which that listens, in $STATE_DIRECTORY (systemd), else beside `upgrade_sock`")
            .example("/var/lib/leaseway/snapshot");
        v.key(snapshot, or_off(path(Need::ReplacedFile)), &mut self.snapshot);
    }
}

impl Bounds {
    fn keys<V: Visit>(&mut self, v: &mut V) {
        let instances = key(
            "max_instances",
            "instances of each service, those in doubt included; [what is beyond is left out](#bounds)",
        );
        v.key(instances, number(COUNT), &mut self.instances);
        let services = key("max_services", "services; those that a route names have their place in any case");
        v.key(services, number(COUNT), &mut self.services);
        let registrations = key(
            "max_registrations",
            "instances in all; those of services that a route names may be as many by themselves",
        );
        v.key(registrations, number(REGISTRATIONS), &mut self.registrations);
    }
}

impl Guard {
    fn keys<V: Visit>(&mut self, v: &mut V, is_embedded: bool) {
        let window = key(
            "window",
            "how long [an endpoint whose registration vanished](operating.md#the-guard) is doubted",
        );
        v.key(window, duration(WINDOW), &mut self.window);
        let share = key(
            "share",
            "more than this share must vanish; 1 turns the guard off, which `embedded` does not allow",
        );
        v.key(share, fraction(), &mut self.share);
        let hold = key("hold", "how long they are kept at most");
        v.key(hold, duration(HOLD), &mut self.hold);
        v.check(|section| {
            if is_embedded && self.share >= 1.0 {
                section.reject(
                    "share",
                    "turns the guard off, and an embedded registry starts empty: each restart would remove every \
                     instance. Expected less than 1",
                );
            }
        });
    }
}

/// How a registry elsewhere is reached.
fn connection_keys<V: Visit>(connection: &mut ConnectionSettings, v: &mut V) {
    let seen = RefCell::new(HashSet::new());
    let endpoint = text(|value: &Value<'_>| read_endpoint(value, &seen), String::clone).pattern("^https?://");
    let endpoints = key("endpoints", "the members of etcd, each with `http://` or `https://`, host and port")
        .required(r#"a list such as ["http://127.0.0.1:2379"], or embedded: {} in its place"#)
        .or_instead(&["embedded"])
        .example(r#"["http://127.0.0.1:2379"]"#);
    let kind = list(endpoint).not_empty("URL, such as http://127.0.0.1:2379");
    v.key(endpoints, kind, &mut connection.endpoints);
    user_keys(&mut connection.user, v);
    let tls = key("tls", "certificates, in PEM files, if the endpoints are `https://`");
    v.optional_section(tls, &mut connection.tls, Tls::default, tls_keys);
    v.check(|section| {
        if connection.tls.is_some() {
            reject_plain(section, &connection.endpoints);
        }
        if connection.user.is_some()
            && let Some(exposed) = Exposed::on_the_way(&connection.endpoints)
        {
            section.remark("username", exposed);
        }
    });
}

/// Whether whoever reaches this endpoint is on this machine: then instances may well be, too.
fn is_on_loopback(endpoint: &str) -> bool {
    let Some((host, _)) = host_and_port(endpoint) else { return false };
    // To connect to an unspecified address is to connect to this machine.
    let is_here = |address: IpAddr| address.to_canonical().is_loopback() || address.is_unspecified();
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_here)
}

fn read_endpoint(value: &Value<'_>, seen: &RefCell<HashSet<String>>) -> Option<String> {
    let endpoint = value.parse(parse_endpoint)?;
    if !seen.borrow_mut().insert(endpoint.clone()) {
        value.reject(format_args!("\"{endpoint}\" is in the list already"));
    }
    Some(endpoint)
}

fn user_keys<V: Visit>(user: &mut Option<User>, v: &mut V) {
    let (mut name, mut password_file) =
        user.take().map(|User { name, password_file }| (name, password_file)).unzip();
    let username = key("username", "the gateway's user, if etcd has users").example("gateway");
    let kind = text(|value: &Value<'_>| value.text().map(str::to_owned), String::clone);
    v.optional(username, kind, &mut name);
    let password = key("password_file", "the file with the user's password, read again at each connection")
        .example("/run/secrets/etcd-password");
    v.optional(password, path(Need::Password), &mut password_file);
    v.check(|section| section.require_both(["username", "password_file"]));
    v.refuse("password", "is not taken: write it into a file and name that in password_file");
    *user = name.zip(password_file).map(|(name, password_file)| User { name, password_file });
}

fn tls_keys<V: Visit>(tls: &mut Tls, v: &mut V) {
    let ca = key(
        "ca",
        "the authorities that are trusted [in the place of the system's](operating.md#etcds-certificate)",
    );
    v.optional(ca.example("/etc/leaseway/etcd-ca.pem"), path(Need::ReadCertificates), &mut tls.ca);
    let cert = key("cert", "what the gateway shows to an etcd that demands a certificate");
    v.optional(cert.example("/etc/leaseway/gateway.pem"), path(Need::ReadCertificates), &mut tls.cert);
    let key_file = key("key", "the private key of `cert`, without a pass phrase");
    v.optional(key_file.example("/etc/leaseway/gateway.key"), path(Need::PrivateKey), &mut tls.key);
    v.check(|section| {
        section.require_both(["cert", "key"]);
        if let (Some(cert), Some(key)) = (tls.cert.clone(), tls.key.clone()) {
            section.note("key", Need::Pair { cert, key });
        }
    });
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
}
