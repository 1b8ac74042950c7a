//! The lookout: which addresses no instance may have, because they are this gateway's own or the registry's. A
//! registration that names one would lead a request round in a circle, or a client to what is not for clients.
//!
//! Interfaces and names change, so it looks again every few seconds, beside everything else. What it finds is no more
//! than a value; who decodes registrations applies it.
//!
//! Who reaches the gateway by an address of another machine (a load balancer, a Service of Kubernetes) is not seen
//! here: such a circle ends at the hop that the gateway counts.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nix::ifaddrs::getifaddrs;
use registry::connect::host_and_port;
use registry::networks::Reserved;
use registry::watch::Reservations;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::config;

/// From one look to the next.
const REST: Duration = Duration::from_secs(10);
/// How long resolving a name may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the registry's first list waits for what its names stand for.
const HEAD_START: Duration = Duration::from_secs(1);
/// How long an address of a name is remembered after its resolver has last returned it: of many addresses a resolver
/// may return a few at a time.
const REMEMBERED: Duration = Duration::from_secs(600);

const LISTEN: &str = "is where this gateway serves clients (gateway.listen)";
const ADMIN: &str = "is this gateway's admin port (gateway.admin)";
const EMBEDDED: &str = "is this gateway's registry (gateway.registry.embedded.listen)";
const REGISTRY: &str = "is the registry (gateway.registry.endpoints)";
const PEERS: &str = "is where etcd's members speak with each other, on a host of gateway.registry.endpoints";

/// Where etcd's members listen for each other, unless they are told otherwise. They tell there who they are, and more,
/// whoever asks.
const PEER_PORT: u16 = 2380;

/// Who has which address, as the configuration says.
#[derive(Debug)]
struct Claims {
    /// Where this gateway listens, and what for.
    listeners: Vec<(SocketAddr, &'static str)>,
    /// Host and port of each of the registry's endpoints.
    endpoints: Vec<HostPort>,
}

type HostPort = (String, u16);

impl Claims {
    fn of(config: &config::Gateway) -> Self {
        let listen = config.addresses().map(|address| (address, LISTEN));
        let admin = config.admin.iter().map(|address| (*address, ADMIN));
        let embedded = config.registry.embedded.iter().map(|embedded| (embedded.listen, EMBEDDED));
        // An embedded registry is a listener, and has no members that speak with each other.
        let is_elsewhere = config.registry.embedded.is_none();
        let endpoints = config.registry.connection.endpoints.iter().filter(|_| is_elsewhere);
        Self {
            listeners: listen.chain(admin).chain(embedded).collect(),
            endpoints: endpoints.filter_map(|e| host_and_port(e)).collect(),
        }
    }

    /// What is reserved on a machine with these addresses, where the registry's endpoints are those.
    fn reserved(&self, machine: &[IpAddr], registry: impl IntoIterator<Item = SocketAddr>) -> Reserved {
        let mut reserved = Reserved::default();
        for (address, why) in &self.listeners {
            // `[::]` stands for IPv4 too, unless the system says otherwise; so it does here in any case.
            if address.ip().is_unspecified() {
                reserve_machine(&mut reserved, machine, address.port(), why);
            } else {
                reserved.add(*address, why);
            }
        }
        for address in registry {
            reserve_registry(&mut reserved, machine, address, REGISTRY);
            reserve_registry(&mut reserved, machine, (address.ip(), PEER_PORT).into(), PEERS);
        }
        reserved
    }
}

/// A registry on this machine likely listens on more of its addresses than the one that is named.
fn reserve_registry(reserved: &mut Reserved, machine: &[IpAddr], address: SocketAddr, why: &'static str) {
    let ip = address.ip().to_canonical();
    if ip.is_unspecified() || ip.is_loopback() || machine.contains(&ip) {
        reserve_machine(reserved, machine, address.port(), why);
    } else {
        reserved.add(address, why);
    }
}

fn reserve_machine(reserved: &mut Reserved, machine: &[IpAddr], port: u16, why: &'static str) {
    reserved.add_loopback(port, why);
    machine.iter().for_each(|address| reserved.add((*address, port).into(), why));
}

/// What the names of the registry's endpoints stand for.
#[derive(Debug, Default)]
struct Resolved(BTreeMap<HostPort, BTreeMap<SocketAddr, Instant>>);

impl Resolved {
    /// A name was resolved. (One that could not be keeps what is known of it.)
    fn resolved(&mut self, endpoint: &HostPort, addresses: Vec<SocketAddr>, now: Instant) {
        let known = self.0.entry(endpoint.clone()).or_default();
        known.retain(|_, seen| now.saturating_duration_since(*seen) < REMEMBERED);
        known.extend(addresses.into_iter().map(|address| (address, now)));
    }

    fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.values().flat_map(|known| known.keys().copied())
    }
}

/// What is asked of the machine.
#[async_trait]
pub(crate) trait Machine: Clone + Send + Sync + 'static {
    /// The addresses of its interfaces.
    fn addresses(&self) -> io::Result<Vec<IpAddr>>;
    /// What a name stands for.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The one that this process runs on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ThisMachine;

#[async_trait]
impl Machine for ThisMachine {
    fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        let addresses = getifaddrs()?.filter_map(|interface| {
            let address = interface.address?;
            let ipv4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
            ipv4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
        });
        Ok(addresses.collect())
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}

/// Keeps what is reserved as it is.
#[derive(Debug)]
pub(crate) struct Lookout<M> {
    claims: Claims,
    machine: M,
    /// The interfaces' addresses, when they could last be read.
    addresses: Vec<IpAddr>,
    /// Why they cannot be read at present, as it was told.
    unread: Option<String>,
    names: Resolved,
    reserved: watch::Sender<Arc<Reserved>>,
    /// Dropped after the first look.
    first_look: Option<oneshot::Sender<()>>,
}

/// The end of the lookout's first look: by then the addresses of the registry's names are reserved, if they could be
/// resolved at once.
#[derive(Debug)]
pub(crate) struct FirstLook(oneshot::Receiver<()>);

impl FirstLook {
    /// Waits until then, some time at most.
    pub(crate) async fn over(self) {
        // Nothing is ever sent: the sender is dropped.
        let _ = self.0.await;
    }
}

impl<M: Machine> Lookout<M> {
    /// A lookout that has looked at the machine's interfaces, and knows those endpoints of the registry that are given
    /// as IP addresses. Beside it what is reserved, which follows its later looks.
    pub(crate) fn new(config: &config::Gateway, machine: M) -> (Self, Reservations, FirstLook) {
        Self::over(Claims::of(config), machine)
    }

    fn over(claims: Claims, machine: M) -> (Self, Reservations, FirstLook) {
        let (reserved, reservations) = watch::channel(Arc::default());
        let (first_look, over) = oneshot::channel();
        let (addresses, names, first_look) = (Vec::new(), Resolved::default(), Some(first_look));
        let mut lookout = Self { claims, machine, addresses, unread: None, names, reserved, first_look };
        let now = Instant::now();
        for endpoint in &lookout.claims.endpoints {
            let (host, port) = endpoint;
            if let Some(address) = literal(host) {
                lookout.names.resolved(endpoint, vec![(address, *port).into()], now);
            }
        }
        lookout.look();
        (lookout, reservations, FirstLook(over))
    }

    /// Looks again and again; calls `changed` when something else is reserved than before. Not after the first look,
    /// which the registry's first list waits for.
    pub(crate) async fn run(mut self, changed: impl Fn()) {
        let changed = || {
            tracing::info!("the addresses that no instance may have are others: reading all records again");
            changed();
        };
        let was_resolved = timeout(HEAD_START, self.resolve(|| ())).await.is_ok();
        self.first_look = None;
        if was_resolved {
            sleep(REST).await;
        }
        loop {
            self.resolve(changed).await;
            if self.look() {
                changed();
            }
            sleep(REST).await;
        }
    }

    /// Resolves all names at once, and reserves each one's addresses as they come.
    async fn resolve(&mut self, changed: impl Fn()) {
        let names = self.claims.endpoints.iter().filter(|(host, _)| literal(host).is_none());
        let mut answers: JoinSet<_> =
            names.cloned().map(|endpoint| resolve(self.machine.clone(), endpoint)).collect();
        while let Some(answer) = answers.join_next().await {
            let Ok(Some((endpoint, addresses))) = answer else { continue };
            self.names.resolved(&endpoint, addresses, Instant::now());
            if self.reserve() {
                changed();
            }
        }
    }

    /// Tells whether the interfaces can be read when that is no longer as before. It matters only to what the addresses
    /// of the whole machine are reserved for.
    fn tell(&mut self, unread: Option<String>) {
        if unread == self.unread {
            return;
        }
        match &unread {
            None => tracing::info!("the addresses of this machine's interfaces can be read again"),
            Some(error) if self.addresses.is_empty() => tracing::warn!(
                %error,
                "cannot read the addresses of this machine's interfaces: an instance may have one of them at a port where \
                 this gateway or its registry listens on all (0.0.0.0 or [::]), so that a client reaches what is not for \
                 clients. Let the gateway read them (under systemd: AF_NETLINK in RestrictAddressFamilies), or name the \
                 addresses in gateway.listen, gateway.admin and registry.embedded.listen"
            ),
            Some(error) => tracing::warn!(
                %error,
                "cannot read the addresses of this machine's interfaces: those that it had before stay refused as instances"
            ),
        }
        self.unread = unread;
    }

    /// Whether something else is reserved now.
    fn look(&mut self) -> bool {
        let read = self.machine.addresses();
        self.tell(read.as_ref().err().map(ToString::to_string));
        if let Ok(mut addresses) = read {
            addresses.sort_unstable();
            self.addresses = addresses;
        }
        self.reserve()
    }

    fn reserve(&self) -> bool {
        let now = Arc::new(self.claims.reserved(&self.addresses, self.names.addresses()));
        self.reserved.send_if_modified(|reserved| {
            let is_other = *reserved != now;
            *reserved = now;
            is_other
        })
    }
}

/// None: it cannot be resolved now. Whoever connects there tells it.
async fn resolve(machine: impl Machine, endpoint: HostPort) -> Option<(HostPort, Vec<SocketAddr>)> {
    let (host, port) = &endpoint;
    match timeout(PATIENCE, machine.resolve(host, *port)).await {
        Ok(Ok(addresses)) => Some((endpoint, addresses)),
        Ok(Err(error)) => {
            tracing::debug!(host, %error, "cannot resolve an endpoint of the registry");
            None
        }
        Err(_) => {
            tracing::debug!(host, "an endpoint of the registry was not resolved in {PATIENCE:?}");
            None
        }
    }
}

/// The address of a host that is written as one. `localhost` counts as one: it needs no resolver.
fn literal(host: &str) -> Option<IpAddr> {
    if host.eq_ignore_ascii_case("localhost") {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    host.parse().ok()
}

#[cfg(test)]
mod tests;
