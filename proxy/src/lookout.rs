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
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::config;

/// From one look to the next.
const REST: Duration = Duration::from_secs(10);
/// How long resolving a name may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long an address of a name is remembered that its resolver does not tell any more. Of many addresses a resolver
/// may tell some at a time.
const REMEMBERED: Duration = Duration::from_secs(600);

const LISTEN: &str = "is where this gateway serves clients (gateway.listen)";
const ADMIN: &str = "is this gateway's admin port (gateway.admin)";
const EMBEDDED: &str = "is this gateway's registry (gateway.registry.embedded.listen)";
const REGISTRY: &str = "is the registry (gateway.registry.endpoints)";

/// Who has which address, as the configuration says.
#[derive(Debug)]
struct Claims {
    /// Where this gateway listens, and what for.
    listeners: Vec<(SocketAddr, &'static str)>,
    /// Host and port of each of the registry's endpoints.
    endpoints: Vec<Endpoint>,
}

type Endpoint = (String, u16);

impl Claims {
    fn of(config: &config::Gateway) -> Self {
        let listen = config.listen.iter().map(|address| (*address, LISTEN));
        let admin = config.admin.iter().map(|address| (*address, ADMIN));
        let embedded = config.registry.embedded.iter().map(|embedded| (embedded.listen, EMBEDDED));
        Self {
            listeners: listen.chain(admin).chain(embedded).collect(),
            endpoints: config.registry.connection.endpoints.iter().filter_map(|e| host_and_port(e)).collect(),
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
            // A registry on this machine likely listens on more of its addresses than the one that is named.
            let ip = address.ip().to_canonical();
            if ip.is_unspecified() || ip.is_loopback() || machine.contains(&ip) {
                reserve_machine(&mut reserved, machine, address.port(), REGISTRY);
            } else {
                reserved.add(address, REGISTRY);
            }
        }
        reserved
    }
}

fn reserve_machine(reserved: &mut Reserved, machine: &[IpAddr], port: u16, why: &'static str) {
    reserved.add_loopback(port, why);
    machine.iter().for_each(|address| reserved.add((*address, port).into(), why));
}

/// What the names of the registry's endpoints stand for.
#[derive(Debug, Default)]
struct Names(BTreeMap<Endpoint, BTreeMap<SocketAddr, Instant>>);

impl Names {
    /// A name was resolved. (One that could not be keeps what is known of it.)
    fn resolved(&mut self, endpoint: &Endpoint, addresses: Vec<SocketAddr>, now: Instant) {
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
pub trait Machine: Send + Sync + 'static {
    /// The addresses of its interfaces.
    fn addresses(&self) -> io::Result<Vec<IpAddr>>;
    /// What a name stands for.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The one that this process runs on.
#[derive(Debug, Clone, Copy)]
pub struct ThisMachine;

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
pub struct Lookout<M> {
    claims: Claims,
    machine: M,
    /// The interfaces' addresses, when they could last be read.
    addresses: Vec<IpAddr>,
    names: Names,
    reserved: watch::Sender<Arc<Reserved>>,
}

impl<M: Machine> Lookout<M> {
    /// A lookout that has looked at the machine's interfaces, and knows those of the registry's endpoints that are no
    /// names; and what is reserved, now and later.
    pub fn new(config: &config::Gateway, machine: M) -> (Self, Reservations) {
        let (reserved, reservations) = watch::channel(Arc::default());
        let (claims, names) = (Claims::of(config), Names::default());
        let mut lookout = Self { claims, machine, addresses: Vec::new(), names, reserved };
        let now = Instant::now();
        for endpoint in &lookout.claims.endpoints {
            let (host, port) = endpoint;
            if let Some(address) = literal(host) {
                lookout.names.resolved(endpoint, vec![(address, *port).into()], now);
            }
        }
        lookout.look();
        (lookout, reservations)
    }

    /// Looks again and again; calls `changed` when something else is reserved than before. (So it does where the
    /// registry is listed before its names are resolved here, which the list does not wait for.)
    pub async fn run(mut self, changed: impl Fn()) {
        loop {
            self.resolve().await;
            if self.look() {
                tracing::info!(
                    "the addresses that no instance may have are others: reading all records again"
                );
                changed();
            }
            sleep(REST).await;
        }
    }

    async fn resolve(&mut self) {
        for endpoint in self.claims.endpoints.iter().filter(|(host, _)| literal(host).is_none()) {
            let (host, port) = endpoint;
            match timeout(PATIENCE, self.machine.resolve(host, *port)).await {
                Ok(Ok(addresses)) => self.names.resolved(endpoint, addresses, Instant::now()),
                // Whoever connects there tells it.
                Ok(Err(error)) => tracing::debug!(host, %error, "cannot resolve an endpoint of the registry"),
                Err(_) => {
                    tracing::debug!(host, "an endpoint of the registry was not resolved in {PATIENCE:?}")
                }
            }
        }
    }

    /// Whether something else is reserved now.
    fn look(&mut self) -> bool {
        match self.machine.addresses() {
            Ok(mut addresses) => {
                addresses.sort_unstable();
                self.addresses = addresses;
            }
            Err(error) => tracing::warn!(%error, "cannot read the addresses of this machine's interfaces"),
        }
        let now = Arc::new(self.claims.reserved(&self.addresses, self.names.addresses()));
        self.reserved.send_if_modified(|reserved| {
            let is_other = *reserved != now;
            *reserved = now;
            is_other
        })
    }
}

/// The address that a host is, if it is no name. `localhost` is none that a resolver is needed for.
fn literal(host: &str) -> Option<IpAddr> {
    if host.eq_ignore_ascii_case("localhost") {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    host.parse().ok()
}

#[cfg(test)]
mod tests;
