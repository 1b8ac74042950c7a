//! Which addresses instances may have.

use std::net::IpAddr;

use ipnet::IpNet;

/// The networks that instances may and must not be in. By default any address is permitted.
///
/// Whoever may write below the prefix chooses where the gateway sends requests: these lists bound it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    /// If there are any, an address must be in one of them.
    pub allow: Vec<IpNet>,
    /// An address must be in none of them, whatever is allowed.
    pub deny: Vec<IpNet>,
}

impl Networks {
    /// Why an address is not permitted; none if it is.
    pub fn refusal(&self, address: IpAddr) -> Option<&'static str> {
        let address = address.to_canonical();
        let is_in = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        if is_in(&self.deny) {
            Some("it is in a network that is denied")
        } else if !self.allow.is_empty() && !is_in(&self.allow) {
            Some("it is in none of the networks that are allowed")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(allow: &[&str], deny: &[&str], address: &str) -> Option<&'static str> {
        let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Networks { allow: networks(allow), deny: networks(deny) }.refusal(address.parse().unwrap())
    }

    #[test]
    fn any_address_is_permitted_where_nothing_is_said() {
        assert_eq!(refusal(&[], &[], "127.0.0.1"), None);
        assert_eq!(refusal(&[], &[], "2001:db8::1"), None);
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
        assert!(refusal(&[], &["127.0.0.0/8"], "127.0.0.1").is_some());
        assert_eq!(refusal(&[], &["127.0.0.0/8"], "10.0.0.1"), None);
    }

    #[test]
    fn an_ipv4_address_dressed_as_ipv6_is_what_it_is() {
        assert!(refusal(&[], &["127.0.0.0/8"], "::ffff:127.0.0.1").is_some());
    }
}
