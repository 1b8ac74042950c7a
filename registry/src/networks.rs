//! Which addresses instances may have.
//!
//! Whoever may write below the prefix chooses where the gateway sends requests: this bounds it. Each rule is asked for
//! the address and for every IPv4 address that it [carries](carried()).

mod carried;
mod never;
mod reserved;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

pub use carried::{Carried, carried};
pub(crate) use never::never_a_backend;
pub use reserved::Reserved;

/// The networks that instances may and must not be in. By default any address is permitted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    /// If there are any, an address must be in one of them. So must the IPv4 address that it [carries](carried()),
    /// unless it is in a network that lies within the prefix of this form: whoever names `64:ff9b::/96` speaks of
    /// NAT64, but whoever names `2000::/3` has hardly thought of 6to4.
    pub allow: Vec<IpNet>,
    /// An address must be in none of them, whatever is allowed; nor must the IPv4 address that it carries.
    pub deny: Vec<IpNet>,
    /// Whether an instance may be on this very machine.
    pub loopback: Loopback,
}

/// What is said of loopback addresses: what listens there was meant for this machine alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Loopback {
    /// They are addresses like any other.
    #[default]
    Permitted,
    /// They must be in a network that is allowed.
    IfNamed,
}

/// Why an address is refused. Its text (`Display`) begins "it is ..." or "it carries 10.0.0.1, which is ...".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRefusal {
    carried: Option<Ipv4Addr>,
    why: &'static str,
}

impl fmt::Display for AddressRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.carried {
            Some(address) => write!(f, "it carries {address}, which {}", self.why),
            None => write!(f, "it {}", self.why),
        }
    }
}

/// Asks a rule for an address and for all that it carries. A rule's answer reads on after the address: "is ...".
pub(crate) fn refused(
    address: IpAddr,
    rule: impl Fn(IpAddr) -> Option<&'static str>,
) -> Option<AddressRefusal> {
    let address = address.to_canonical();
    if let Some(why) = rule(address) {
        return Some(AddressRefusal { carried: None, why });
    }
    // Most instances have IPv4 addresses, which carry none; and there are many instances.
    if address.is_ipv4() {
        return None;
    }
    carried(address).find_map(|Carried { address, .. }| {
        rule(address.into()).map(|why| AddressRefusal { carried: Some(address), why })
    })
}

impl Networks {
    /// Why an address is not permitted; none if it is permitted.
    pub fn refusal(&self, address: IpAddr) -> Option<AddressRefusal> {
        let denied = |address| is_in(&self.deny, address).then_some("is in a network that is denied");
        refused(address, denied)
            .or_else(|| refused(address, |address| self.unnamed_loopback(address)))
            .or_else(|| self.not_allowed(address))
    }

    fn unnamed_loopback(&self, address: IpAddr) -> Option<&'static str> {
        if self.loopback == Loopback::Permitted || !address.is_loopback() || is_in(&self.allow, address) {
            return None;
        }
        Some(match address {
            IpAddr::V4(_) => {
                "is loopback: if instances run beside the gateway, name 127.0.0.0/8 in gateway.registry.allow, \
                 with the networks of all others"
            }
            IpAddr::V6(_) => {
                "is loopback: if instances run beside the gateway, name ::1 in gateway.registry.allow, with the \
                 networks of all others"
            }
        })
    }

    fn not_allowed(&self, address: IpAddr) -> Option<AddressRefusal> {
        const WHY: &str = "is in none of the networks that are allowed";
        if self.allow.is_empty() {
            return None;
        }
        let address = address.to_canonical();
        let holding = self.allow.iter().filter(|network| network.contains(&address));
        let Some(length) = holding.map(IpNet::prefix_len).max() else {
            return Some(AddressRefusal { carried: None, why: WHY });
        };
        let is_outside =
            |carried: &Carried| length < carried.prefix && !is_in(&self.allow, carried.address.into());
        carried(address)
            .find(is_outside)
            .map(|found| AddressRefusal { carried: Some(found.address), why: WHY })
    }
}

fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
pub(crate) use carried::tests::forms;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn networks(allow: &[&str], deny: &[&str]) -> Networks {
        let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Networks { allow: networks(allow), deny: networks(deny), loopback: Loopback::IfNamed }
    }

    fn refusal(allow: &[&str], deny: &[&str], address: &str) -> Option<String> {
        networks(allow, deny).refusal(address.parse().unwrap()).map(|refusal| refusal.to_string())
    }

    #[test]
    fn any_address_is_permitted_where_nothing_is_said() {
        for address in ["10.0.0.1", "2001:db8::1", "64:ff9b::10.0.0.1", "2002:a00:1::1"] {
            assert_eq!(refusal(&[], &[], address), None);
        }
        assert_eq!(Networks::default().refusal("127.0.0.1".parse().unwrap()), None);
    }

    #[test]
    fn what_is_not_allowed_is_refused() {
        assert_eq!(refusal(&["10.0.0.0/8", "fd00::/8"], &[], "10.255.0.1"), None);
        assert_eq!(refusal(&["10.0.0.0/8", "fd00::/8"], &[], "fd12::1"), None);
        assert!(refusal(&["10.0.0.0/8"], &[], "11.0.0.1").is_some());
        assert!(refusal(&["10.0.0.0/8"], &[], "2001:db8::1").is_some());
    }

    #[test]
    fn what_is_denied_is_refused_whatever_is_allowed() {
        assert!(refusal(&["10.0.0.0/8"], &["10.1.0.0/16"], "10.1.2.3").is_some());
        assert_eq!(refusal(&[], &["10.1.0.0/16"], "10.0.0.1"), None);
    }

    #[test]
    fn loopback_is_refused_unless_a_network_that_is_allowed_holds_it() {
        let refused = "it is loopback: if instances run beside the gateway, name 127.0.0.0/8 in \
                       gateway.registry.allow, with the networks of all others";
        assert_eq!(refusal(&[], &[], "127.0.0.1").as_deref(), Some(refused));
        assert_eq!(refusal(&["10.0.0.0/8"], &[], "127.9.9.9").as_deref(), Some(refused));
        assert!(refusal(&["127.0.0.0/8"], &[], "::1").is_some_and(|why| why.contains("name ::1 in")));
        for (allow, address) in [
            ("127.0.0.0/8", "127.0.0.1"),
            ("127.0.0.1/32", "127.0.0.1"),
            ("0.0.0.0/0", "127.0.0.1"),
            ("::1/128", "::1"),
        ] {
            assert_eq!(refusal(&[allow], &[], address), None, "{address} in {allow}");
        }
        assert!(refusal(&["127.0.0.1/32"], &[], "127.0.0.2").is_some());
        // Whoever names NAT64 has not named this machine.
        assert!(refusal(&["64:ff9b::/96"], &[], "64:ff9b::127.0.0.1").is_some());
    }

    #[test]
    fn whoever_names_a_prefix_that_carries_ipv4_allows_what_is_behind_it() {
        for allow in ["64:ff9b::/96", "64:ff9b::8.0.0.0/104"] {
            assert_eq!(refusal(&[allow], &[], "64:ff9b::8.8.8.8"), None, "{allow}");
        }
        assert_eq!(refusal(&["64:ff9b:1:fffe::/96"], &[], "64:ff9b:1:fffe::8.8.8.8"), None);
        assert_eq!(refusal(&["2002::/16"], &[], "2002:808:808::1"), None);
        assert_eq!(refusal(&["::/0", "64:ff9b::/96"], &[], "64:ff9b::8.8.8.8"), None);
        assert!(refusal(&["64:ff9b::/96"], &["8.8.8.8/32"], "64:ff9b::8.8.8.8").is_some());
    }

    #[test]
    fn what_is_carried_is_not_allowed_by_a_network_that_merely_holds_the_form() {
        let refused = "it carries 8.8.8.8, which is in none of the networks that are allowed";
        for (allow, address) in [
            ("::/0", "64:ff9b::8.8.8.8"),
            ("64:ff9b::/32", "64:ff9b::8.8.8.8"),
            ("2000::/3", "2002:808:808::1"),
            ("fd00::/8", "fd00::5efe:8.8.8.8"),
        ] {
            assert_eq!(refusal(&["10.0.0.0/8", allow], &[], address).as_deref(), Some(refused), "{allow}");
            assert_eq!(refusal(&["8.0.0.0/8", allow], &[], address), None, "{allow}");
        }
    }

    proptest! {
        #[test]
        fn what_is_denied_is_denied_in_each_form(host in 0u32..1 << 16, noise in any::<u128>()) {
            let networks = networks(&[], &["10.1.0.0/16"]);
            for form in forms(Ipv4Addr::from_bits(0x0a01_0000 | host), noise) {
                prop_assert!(networks.refusal(form.into()).is_some(), "{}", form);
            }
        }

        #[test]
        fn loopback_is_loopback_in_each_form(host in 0u32..1 << 24, noise in any::<u128>()) {
            let networks = networks(&[], &[]);
            for form in forms(Ipv4Addr::from_bits(0x7f00_0000 | host), noise) {
                prop_assert!(networks.refusal(form.into()).is_some(), "{}", form);
            }
        }

        #[test]
        fn no_form_leads_out_of_the_networks_that_are_allowed(ipv4 in any::<u32>(), noise in any::<u128>()) {
            let networks = networks(&["10.0.0.0/8", "::/0"], &[]);
            let ipv4 = Ipv4Addr::from_bits(ipv4);
            prop_assume!(ipv4.octets()[0] != 10 && ipv4.octets()[0] != 0);
            for form in forms(ipv4, noise) {
                prop_assert!(networks.refusal(form.into()).is_some(), "{}", form);
            }
        }

        #[test]
        fn an_ipv4_address_is_checked_as_it_stands(ipv4 in any::<u32>()) {
            let ipv4 = Ipv4Addr::from_bits(ipv4);
            let allowed = networks(&["10.0.0.0/8"], &["10.1.0.0/16"]).refusal(ipv4.into()).is_none();
            let [first, second, ..] = ipv4.octets();
            prop_assert_eq!(allowed, first == 10 && second != 1);
        }
    }
}
