//! The IPv4 addresses that an IPv6 address carries. A connection to the one may end at the other: a translator or a
//! tunnel on its way, or the system itself, sees to it. So an IPv4 address that is refused is refused in each of these
//! forms.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 address that stands in an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// The IPv4 address.
    pub address: Ipv4Addr,
    /// The length of the form's prefix, in bits: a network that is at least as long holds nothing but addresses of
    /// this form.
    pub prefix: u8,
}

/// The most that one address carries: four readings of a local-use prefix, and an interface identifier.
const MOST: usize = 5;

/// Where an IPv4 address may stand in an address below `64:ff9b:1::/48`, by the length of the operator's own prefix:
/// 48, 56, 64 or 96 (RFC 6052, 2.2). Octet 8 is left out wherever it would fall into the address.
const READINGS: [[usize; 4]; 4] = [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], LAST];
const LAST: [usize; 4] = [12, 13, 14, 15];

/// Every IPv4 address that an address carries, in all forms that are known:
///
/// | form | |
/// |---|---|
/// | `::a.b.c.d` | IPv4-compatible: RFC 4291, 2.5.5.1 |
/// | `::ffff:a.b.c.d` | IPv4-mapped: RFC 4291, 2.5.5.2 |
/// | `::ffff:0:a.b.c.d` | IPv4-translated: RFC 2765, 2.1 |
/// | `64:ff9b::a.b.c.d` | NAT64, the well-known prefix: RFC 6052, 2.1 |
/// | `64:ff9b:1:...` | NAT64, a prefix of the operator's: RFC 8215, 5; where in it: RFC 6052, 2.2 |
/// | `2002:aabb:ccdd:...` | 6to4: RFC 3056, 2 |
/// | `2001:0:...` | Teredo, the server and the client with its bits inverted: RFC 4380, 4 |
/// | `...:0:5efe:a.b.c.d` | ISATAP, in any network: RFC 5214, 6.1 |
///
/// A NAT64 prefix of an operator's own network cannot be told from any other network.
pub fn carried(address: IpAddr) -> impl Iterator<Item = Carried> {
    let mut found = [None; MOST];
    if let IpAddr::V6(address) = address {
        let (rest, last) = found.split_at_mut(MOST - 1);
        by_prefix(address, rest);
        last.fill(by_identifier(address));
    }
    found.into_iter().flatten()
}

fn by_prefix(address: Ipv6Addr, found: &mut [Option<Carried>]) {
    let octets = address.octets();
    let at = |places: [usize; 4], prefix| Some(Carried { address: pick(&octets, places), prefix });
    let single = match address.segments() {
        // `::` and `::1` are addresses of their own (RFC 4291, 2.5.2 and 2.5.3).
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            at(LAST, 96)
        }
        [0x2002, ..] => at([2, 3, 4, 5], 16),
        [0x2001, 0, ..] => {
            let client = pick(&octets, LAST).to_bits();
            found[1] = Some(Carried { address: Ipv4Addr::from_bits(!client), prefix: 32 });
            at([4, 5, 6, 7], 32)
        }
        [0x64, 0xff9b, 1, ..] => return local_use(&octets, found),
        _ => None,
    };
    found[0] = single;
}

/// Nobody but the operator knows the length of his prefix. Where it is longer than in one reading, that one finds
/// zeros first; and nothing can be reached in 0.0.0.0/8, so such a reading counts only where there is no other.
fn local_use(octets: &[u8; 16], found: &mut [Option<Carried>]) {
    for (place, reading) in found.iter_mut().zip(READINGS) {
        let address = pick(octets, reading);
        *place = Some(Carried { address, prefix: 48 }).filter(|_| address.octets()[0] != 0);
    }
    if found.iter().all(Option::is_none) {
        found[0] = Some(Carried { address: pick(octets, LAST), prefix: 48 });
    }
}

/// The identifier's universal and group bits say nothing of what it is.
fn by_identifier(address: Ipv6Addr) -> Option<Carried> {
    let octets = address.octets();
    let is_isatap = octets[8] & !3 == 0 && octets[9..12] == [0, 0x5e, 0xfe];
    is_isatap.then(|| Carried { address: pick(&octets, LAST), prefix: 96 })
}

fn pick(octets: &[u8; 16], places: [usize; 4]) -> Ipv4Addr {
    Ipv4Addr::from(places.map(|place| octets[place]))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addresses(text: &str) -> Vec<String> {
        carried(text.parse().unwrap()).map(|carried| carried.address.to_string()).collect()
    }

    /// An IPv4 address in each form that carries it, whatever else stands in the address.
    pub(crate) fn forms(ipv4: Ipv4Addr, noise: u128) -> Vec<Ipv6Addr> {
        let form = |fixed: &[u8], at: usize, ipv4: Ipv4Addr, places: [usize; 4]| {
            let mut octets = noise.to_be_bytes();
            octets[at..][..fixed.len()].copy_from_slice(fixed);
            places.into_iter().zip(ipv4.octets()).for_each(|(place, octet)| octets[place] = octet);
            Ipv6Addr::from(octets)
        };
        let plain = |fixed: &[u8], places| form(fixed, 0, ipv4, places);
        let inverted = Ipv4Addr::from_bits(!ipv4.to_bits());
        let local = [0, 0x64, 0xff, 0x9b, 0, 1];
        let mut forms = vec![
            plain(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff], LAST),
            plain(&[0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0], LAST),
            plain(&[0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0], LAST),
            plain(&local, LAST),
            plain(&local, [6, 7, 9, 10]),
            plain(&local, [7, 9, 10, 11]),
            plain(&local, [9, 10, 11, 12]),
            plain(&[0x20, 0x02], [2, 3, 4, 5]),
            plain(&[0x20, 0x01, 0, 0], [4, 5, 6, 7]),
            form(&[0x20, 0x01, 0, 0], 0, inverted, LAST),
            form(&[0, 0, 0x5e, 0xfe], 8, ipv4, LAST),
            form(&[2, 0, 0x5e, 0xfe], 8, ipv4, LAST),
        ];
        if ipv4.to_bits() > 1 {
            forms.push(plain(&[0; 12], LAST));
        }
        forms
    }

    #[test]
    fn an_ipv4_address_is_found_in_each_form() {
        for (address, expected) in [
            ("::192.0.2.33", "192.0.2.33"),
            ("::ffff:192.0.2.33", "192.0.2.33"),
            ("::ffff:0:192.0.2.33", "192.0.2.33"),
            // The examples of RFC 6052, 2.4.
            ("64:ff9b::192.0.2.33", "192.0.2.33"),
            ("2002:c000:221::1", "192.0.2.33"),
            ("fe80::5efe:192.0.2.33", "192.0.2.33"),
            ("2a00::200:5efe:c000:221", "192.0.2.33"),
        ] {
            assert_eq!(addresses(address), [expected], "{address}");
        }
        // Server and client, as in RFC 4380, 4.
        assert_eq!(addresses("2001:0:4136:e378:8000:63bf:3fff:fdd2"), ["65.54.227.120", "192.0.2.45"]);
    }

    #[test]
    fn a_local_use_prefix_may_end_wherever_rfc_6052_lets_it() {
        for (address, length) in [
            ("64:ff9b:1:c000:2:2100::", 48),
            ("64:ff9b:1:12c0:0:221::", 56),
            ("64:ff9b:1:1234:c0:2:2100::", 64),
            ("64:ff9b:1:1234:0:5678:192.0.2.33", 96),
        ] {
            assert!(
                addresses(address).contains(&"192.0.2.33".to_owned()),
                "/{length}: {:?}",
                addresses(address)
            );
        }
        // With zeros wherever they may be, the address is all that is found.
        assert_eq!(addresses("64:ff9b:1::192.0.2.33"), ["0.192.0.2", "192.0.2.33"][1..]);
        assert_eq!(addresses("64:ff9b:1::"), ["0.0.0.0"]);
    }

    #[test]
    fn other_addresses_carry_none() {
        for address in ["::", "::1", "2001:db8::1", "fd00::1", "2001:1::7f00:1", "64:ff9b:2::1", "10.0.0.1"] {
            assert!(addresses(address).is_empty(), "{address}: {:?}", addresses(address));
        }
    }

    proptest! {
        #[test]
        fn whatever_else_stands_in_an_address_what_it_carries_is_found(
            ipv4 in any::<u32>().prop_filter("has its place in 0.0.0.0/8", |bits| bits >> 24 != 0),
            noise in any::<u128>(),
        ) {
            let ipv4 = Ipv4Addr::from_bits(ipv4);
            for form in forms(ipv4, noise) {
                let found: Vec<_> = carried(form.into()).map(|carried| carried.address).collect();
                prop_assert!(found.contains(&ipv4), "{} in {}: {:?}", ipv4, form, found);
            }
        }

        #[test]
        fn a_form_is_all_that_a_network_of_its_length_holds(ipv4 in any::<u32>(), noise in any::<u128>()) {
            for form in forms(Ipv4Addr::from_bits(ipv4), noise) {
                for Carried { prefix, .. } in carried(form.into()).filter(|carried| carried.prefix < 96) {
                    let other = Ipv6Addr::from_bits(form.to_bits() ^ (noise & (u128::MAX >> prefix)));
                    prop_assert!(carried(other.into()).any(|carried| carried.prefix == prefix));
                }
            }
        }
    }
}
