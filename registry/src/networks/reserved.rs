//! Addresses that something else has already. An instance at one of them would lead requests back to the gateway, or to
//! what must not be open to clients, such as the registry.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::{AddressRefusal, never_a_backend, refused};

/// The socket addresses that no instance may have. By default there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reserved {
    addresses: BTreeMap<(u16, IpAddr), &'static str>,
    /// Ports of every loopback address.
    loopback: BTreeMap<u16, &'static str>,
}

impl Reserved {
    /// Reserves an address. `why` reads on after it: "is the registry". Of two reasons the first one counts.
    ///
    /// An address where no backend can be is left out, as it is refused anyway: a machine that runs containers gets and
    /// loses a link-local address with each of them, which would be a change of what is reserved each time.
    pub fn add(&mut self, address: SocketAddr, why: &'static str) {
        let ip = address.ip().to_canonical();
        if never_a_backend(ip).is_none() {
            self.addresses.entry((address.port(), ip)).or_insert(why);
        }
    }

    /// Reserves a port of every loopback address. `why` is as in [`Reserved::add`].
    pub fn add_loopback(&mut self, port: u16, why: &'static str) {
        self.loopback.entry(port).or_insert(why);
    }

    /// Why no instance may have this address, or one that it carries; none if it may.
    pub fn refusal(&self, address: SocketAddr) -> Option<AddressRefusal> {
        let port = address.port();
        refused(address.ip(), |address| match address.is_loopback() {
            true => self.loopback.get(&port).or_else(|| self.addresses.get(&(port, address))).copied(),
            false => self.addresses.get(&(port, address)).copied(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::forms;
    use std::net::Ipv4Addr;

    const WHY: &str = "is the registry";

    fn reserved() -> Reserved {
        let mut reserved = Reserved::default();
        reserved.add_loopback(2379, WHY);
        reserved.add("10.0.0.5:8080".parse().unwrap(), WHY);
        reserved.add("[::ffff:10.0.0.7]:8080".parse().unwrap(), WHY);
        reserved
    }

    #[test]
    fn an_address_is_reserved_with_its_port_alone() {
        for (address, expected) in [
            ("127.9.9.9:2379", Some("it is the registry")),
            ("[::1]:2379", Some("it is the registry")),
            ("127.0.0.1:2380", None),
            ("10.0.0.5:8080", Some("it is the registry")),
            ("10.0.0.5:2379", None),
            ("10.0.0.7:8080", Some("it is the registry")),
            ("10.0.0.6:8080", None),
            ("[::ffff:10.0.0.5]:8080", Some("it is the registry")),
            ("[64:ff9b::10.0.0.5]:8080", Some("it carries 10.0.0.5, which is the registry")),
        ] {
            let refusal = reserved().refusal(address.parse().unwrap()).map(|refusal| refusal.to_string());
            assert_eq!(refusal.as_deref(), expected, "{address}");
        }
    }

    #[test]
    fn what_can_never_be_a_backend_is_no_change() {
        let mut reserved = reserved();
        for address in ["[fe80::1]:8080", "169.254.1.1:8080", "0.0.0.0:8080"] {
            reserved.add(address.parse().unwrap(), WHY);
        }
        assert_eq!(reserved, self::reserved());
    }

    #[test]
    fn what_is_reserved_is_reserved_in_each_form() {
        for form in forms(Ipv4Addr::new(10, 0, 0, 5), 0) {
            assert!(reserved().refusal((form, 8080).into()).is_some(), "{form}");
        }
    }
}
