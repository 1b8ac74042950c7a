//! The section `gateway.registry.embedded`: a registry in the gateway's own process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use embedded_registry::Settings;

use super::address::Taken;
use super::reader::Section;

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

    /// Where the snapshot is kept if nothing else is said: a file of this registry's own beside the upgrade
    /// socket, which is the gateway's user's alone too.
    pub(super) fn snapshot(&self, upgrade_sock: &Path) -> PathBuf {
        upgrade_sock.with_file_name(format!("snapshot-{}", self.listen))
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
    section.close(None);
    Some(Embedded { listen: listen?, settings })
}

fn listen(section: &mut Section<'_>, taken: &mut Taken) -> Option<SocketAddr> {
    let mut listen = None;
    section.set("listen", &mut listen, |value| value.parse(|text| taken.claim(text, &value.place().key)));
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
