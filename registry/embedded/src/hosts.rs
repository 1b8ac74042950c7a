//! How many places (for connections, or for calls) one host may have, so that no host takes all.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// How many places each host has now, and how many it may have at most.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    places: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
}

impl Hosts {
    pub(crate) fn new(most: usize) -> Self {
        Self { places: Arc::default(), most }
    }

    /// A place among those of a host; none if it has as many as it may. This machine itself may have all.
    pub(crate) fn place(&self, ip: IpAddr) -> Option<OfHost> {
        let host = host(ip);
        let mut by_host = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let places = by_host.entry(host).or_default();
        if *places >= self.most && !host.is_loopback() {
            return None;
        }
        *places += 1;
        Some(OfHost { host, by_host: Arc::clone(&self.places) })
    }
}

/// The host that an address belongs to. With IPv6 a host usually has a whole /64, so that counts as one.
fn host(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => {
            Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into()
        }
        ip => ip,
    }
}

/// One of the places that a host has.
#[derive(Debug)]
pub(crate) struct OfHost {
    host: IpAddr,
    by_host: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl OfHost {
    pub(crate) fn host(&self) -> IpAddr {
        self.host
    }
}

impl Drop for OfHost {
    fn drop(&mut self) {
        let mut by_host = self.by_host.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = by_host.get_mut(&self.host) {
            *places -= 1;
            if *places == 0 {
                by_host.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_half_of_allplaces_and_this_machine_any_number() {
        let places = Hosts::new(3);
        for (one, same, other) in [
            ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
            ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"),
        ] {
            let (one, same, other) = (one.parse().unwrap(), same.parse().unwrap(), other.parse().unwrap());
            let held = [places.place(one), places.place(same), places.place(one)];
            assert!(held.iter().all(Option::is_some));
            assert!(places.place(one).is_none() && places.place(same).is_none());
            assert!(places.place(other).is_some());
            drop(held);
            assert!(places.place(one).is_some());
        }
        let held: Vec<_> = (0..10).map(|_| places.place(Ipv6Addr::LOCALHOST.into()).unwrap()).collect();
        drop(held);
        assert!(places.places.lock().unwrap().is_empty());
    }
}
