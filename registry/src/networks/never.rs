//! Addresses where no backend can be.

use std::net::{IpAddr, Ipv6Addr};

const METADATA: &str = "is a cloud's metadata service";

/// Why no backend can be at an address: nothing can listen there, or a cloud tells its instances their secrets there. A
/// registration of the latter, of which most are link-local, would have the gateway fetch the secrets for a client.
pub(crate) fn never_a_backend(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => never_ipv4(address.octets()),
        IpAddr::V6(address) => never_ipv6(address),
    }
}

fn never_ipv4(octets: [u8; 4]) -> Option<&'static str> {
    match octets {
        [0, 0, 0, 0] => Some("is unspecified"),
        // RFC 1122, 3.2.1.3: "this host on this network".
        [0, ..] => Some("is in 0.0.0.0/8, where nothing can be reached"),
        [169, 254, ..] => Some("is link-local"),
        [224..=239, ..] => Some("is multicast"),
        [255, 255, 255, 255] => Some("is broadcast"),
        // RFC 1112, 4.
        [240..=255, ..] => Some("is in 240.0.0.0/4, which is reserved"),
        // Alibaba Cloud, "Access instance metadata".
        [100, 100, 100, 200] => Some(METADATA),
        // Azure, "What is IP address 168.63.129.16?": what the platform tells its machines, and their DNS.
        [168, 63, 129, 16] => Some("is what Azure's platform tells its machines"),
        // Oracle Cloud Infrastructure Classic.
        [192, 0, 0, 192] => Some(METADATA),
        _ => None,
    }
}

fn never_ipv6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        _ if address.is_unspecified() => Some("is unspecified"),
        _ if address.is_multicast() => Some("is multicast"),
        _ if address.is_unicast_link_local() => Some("is link-local"),
        // AWS: the metadata (::254), the credentials of EKS' pods (::23), DNS (::253), time (::123).
        [0xfd00, 0xec2, ..] => Some("is a service of AWS for its instances (fd00:ec2::/32)"),
        // Google Cloud, "About VM metadata": for instances with IPv6 alone.
        [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => Some(METADATA),
        // Oracle Cloud Infrastructure, "Getting Instance Metadata".
        [0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe] => Some(METADATA),
        // Scaleway, as cloud-init's data source of this name has it.
        [0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42] => Some(METADATA),
        // Akamai (Linode), "Metadata service API".
        [0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1] => Some(METADATA),
        // Alibaba Cloud, "Access instance metadata": for IPv6.
        [0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200] => Some(METADATA),
        _ => None,
    }
}
