//! Who may connect. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

/// Whether one with this address may connect: `deny` wins, and without any in `allow` all others may.
pub(super) fn admits(allow: &[IpNet], deny: &[IpNet], address: IpAddr) -> bool {
    !is_in(deny, address) && (allow.is_empty() || is_in(allow, address))
}

/// Whether an address is in one of these networks. An IPv4 address in IPv6's form is that IPv4 address: a socket that
/// takes both shows it so.
pub(super) fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(text: &str) -> Vec<IpNet> {
        text.split_whitespace().map(|network| network.parse().unwrap()).collect()
    }

    #[test]
    fn who_is_denied_is_not_admitted_and_without_a_list_all_others_are() {
        for (allow, deny, admitted, refused) in [
            ("", "", "192.0.2.1 2001:db8::1 ::ffff:192.0.2.1", ""),
            ("10.0.0.0/8", "", "10.1.2.3 ::ffff:10.1.2.3", "11.0.0.1 ::1 ::ffff:11.0.0.1"),
            ("", "10.0.0.0/8", "11.0.0.1 ::1", "10.1.2.3 ::ffff:10.1.2.3"),
            ("10.0.0.0/8", "10.1.0.0/16", "10.2.0.1", "10.1.0.1 11.0.0.1"),
            ("10.1.0.0/16", "10.0.0.0/8", "", "10.1.0.1 10.2.0.1 11.0.0.1"),
            (
                "2001:db8::/32 10.0.0.1/32",
                "2001:db8:1::/48",
                "2001:db8::1 10.0.0.1",
                "2001:db8:1::1 10.0.0.2",
            ),
            ("0.0.0.0/0", "", "192.0.2.1 ::ffff:192.0.2.1", "2001:db8::1"),
            ("::/0", "", "2001:db8::1", "192.0.2.1 ::ffff:192.0.2.1"),
        ] {
            let (allow, deny) = (networks(allow), networks(deny));
            let all = admitted.split_whitespace().map(|address| (address, true));
            for (address, may) in all.chain(refused.split_whitespace().map(|address| (address, false))) {
                assert_eq!(
                    admits(&allow, &deny, address.parse().unwrap()),
                    may,
                    "{allow:?} {deny:?} {address}"
                );
            }
        }
    }
}
