//! The section `gateway.registry.embedded`: a registry in the gateway's own process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use config_reader::key;
use config_reader::kind::{list, number};
use embedded_registry::Settings;

use super::Section;
use super::address::Taken;
use super::host;
use super::keys::{Around, Visit, address, parsed};

/// etcd's port, for this machine alone: the registry has no users.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2379);

/// From 1 MiB to 64 GiB.
const BYTES: RangeInclusive<usize> = 1 << 20..=1 << 36;
const COUNT: RangeInclusive<usize> = 1..=10_000_000;

/// A registry in the gateway's own process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedded {
    /// Where registrars and watchers reach it; no port 0.
    pub(crate) listen: SocketAddr,
    /// What it may take.
    pub(crate) settings: Settings,
}

impl Embedded {
    /// The URL by which the gateway itself reaches it.
    #[must_use]
    pub(crate) fn endpoint(&self) -> String {
        let ip = match self.listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        format!("http://{}", SocketAddr::new(ip, self.listen.port()))
    }

    /// Whether nobody else than this machine's users can reach it.
    #[must_use]
    pub(crate) fn is_local(&self) -> bool {
        self.listen.ip().to_canonical().is_loopback()
    }

    /// The name of the snapshot's file if nothing else is said: no other registry on this machine has it.
    pub(super) fn snapshot(&self) -> String {
        format!("snapshot-{}", self.listen)
    }
}

impl Default for Embedded {
    fn default() -> Self {
        Self { listen: LISTEN, settings: Settings::default() }
    }
}

impl Embedded {
    pub(super) fn keys<V: Visit>(&mut self, v: &mut V, around: &Around) {
        let listen = key("listen", "its address. It has no users: whoever reaches it may do everything");
        v.key(listen, address(&around.taken), &mut self.listen);
        v.check(|section| self.check_listen(section, &around.taken));
        self.bounds(v);
        let hosts = key(
            "hosts",
            "names by which [JSON over HTTP/1](embedded.md#json-over-http1) may reach it, beside IPs and `localhost`",
        );
        v.key(hosts, list(parsed(host::parse, host::PATTERN)), &mut self.settings.hosts);
    }

    fn bounds<V: Visit>(&mut self, v: &mut V) {
        let settings = &mut self.settings;
        let max_bytes = key("max_bytes", "bytes of keys, values and history; more is refused");
        v.key(max_bytes, number(BYTES), &mut settings.max_bytes);
        for (key, slot) in [
            (key("history", "revisions that stay readable; older ones are compacted"), &mut settings.history),
            (key("max_leases", "leases that it takes"), &mut settings.max_leases),
            (
                key("max_watches", "watches that it takes; their keys may take an eighth of `max_bytes`"),
                &mut settings.max_watches,
            ),
            (key("max_watches_per_stream", "watches on one stream"), &mut settings.max_watches_per_stream),
            (key("max_watch_streams", "streams of watches"), &mut settings.max_watch_streams),
            (
                key("max_connections", "connections; more wait. Of another machine, half of them at most"),
                &mut settings.max_connections,
            ),
        ] {
            v.key(key, number(COUNT), slot);
        }
    }

    fn check_listen(&self, section: &Section<'_>, taken: &Taken) {
        if !section.has("listen")
            && let Some(by) = taken.by(LISTEN)
        {
            let message = format_args!("is {LISTEN} by default, which is taken by {by}: set another address");
            section.reject("listen", message);
        }
        if let SocketAddr::V6(address) = self.listen
            && address.scope_id() != 0
        {
            section.reject("listen", "has a scope (%), which no URL of it could have: name another address");
        }
        if !self.is_local() {
            section.remark(
                "listen",
                format_args!(
                    "{} lets others reach the embedded registry, and it has no users: whoever reaches it may register \
                     and remove instances, and so choose where the gateway sends requests",
                    self.listen
                ),
            );
        }
    }
}
