//! The section `gateway.registry.embedded`: a registry in the gateway's own process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use embedded_registry::Settings;

use super::Section;
use super::address::Taken;
use super::host;

/// etcd's port, for this machine alone: the registry has no users.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2379);

/// From 1 MiB to 64 GiB.
const BYTES: RangeInclusive<usize> = 1 << 20..=1 << 36;
const COUNT: RangeInclusive<usize> = 1..=10_000_000;
/// A registry in the gateway's own process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedded {
    /// Where registrars and watchers reach it; no port 0.
    pub listen: SocketAddr,
    /// What it may take.
    pub settings: Settings,
}

impl Embedded {
    /// The URL by which the gateway itself reaches it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        let ip = match self.listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        format!("http://{}", SocketAddr::new(ip, self.listen.port()))
    }

    /// Whether nobody else than this machine's users can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.listen.ip().to_canonical().is_loopback()
    }

    /// The name of the snapshot's file if nothing else is said: no other registry on this machine has it.
    pub(super) fn snapshot(&self) -> String {
        format!("snapshot-{}", self.listen)
    }
}

pub(super) fn read(mut section: Section<'_>, taken: &mut Taken) -> Option<Embedded> {
    let listen = listen(&mut section, taken);
    let mut settings = Settings::default();
    section.set("max_bytes", &mut settings.max_bytes, |value| value.number(BYTES));
    for (key, slot) in [
        ("history", &mut settings.history),
        ("max_leases", &mut settings.max_leases),
        ("max_watches", &mut settings.max_watches),
        ("max_watches_per_stream", &mut settings.max_watches_per_stream),
        ("max_watch_streams", &mut settings.max_watch_streams),
        ("max_connections", &mut settings.max_connections),
    ] {
        section.set(key, slot, |value| value.number(COUNT));
    }
    section.set("hosts", &mut settings.hosts, |value| value.list(|item| item.parse(host::parse)));
    section.close(None);
    let embedded = Embedded { listen: listen?, settings };
    if !embedded.is_local() {
        section.remark(
            "listen",
            format_args!(
                "{} lets others reach the embedded registry, and it has no users: whoever reaches it may register \
                 and remove instances, and so choose where the gateway sends requests",
                embedded.listen
            ),
        );
    }
    Some(embedded)
}

fn listen(section: &mut Section<'_>, taken: &mut Taken) -> Option<SocketAddr> {
    let mut listen = None;
    section.set("listen", &mut listen, |value| value.parse(|text| taken.claim(text, &value.place().key)));
    if let Some(SocketAddr::V6(address)) = listen
        && address.scope_id() != 0
    {
        section.reject("listen", "has a scope (%), which no URL of it could have: name another address");
    }
    if section.has("listen") {
        return listen;
    }
    if let Some(by) = taken.by(LISTEN) {
        let message = format_args!("is {LISTEN} by default, which is taken by {by}: set another address");
        section.reject("listen", message);
        return None;
    }
    Some(LISTEN)
}
