//! Networks, as the configuration names them.

use std::net::IpAddr;

use config_reader::kind::{Kind, text};
use ipnet::IpNet;

use super::machine::Need;
use super::{Section, Value};

/// A network, or an address, which is a network of its own.
pub(super) fn network() -> impl Kind<Need, Value = IpNet> {
    text(|value: &Value<'_>| value.parse(parse_network), IpNet::to_string)
        .takes("`10.0.0.0/8`, `fd00::/8`, or an address")
}

/// Tells of proxies' networks that whoever can connect is in one of them.
pub(super) fn remark_on_all(section: &Section<'_>, key: &str, proxies: &[IpNet]) {
    if let Some(all) = proxies.iter().find(|network| network.prefix_len() == 0) {
        let message = format_args!(
            "{all} trusts everybody: any client may say that it is another. Name the proxies' networks"
        );
        section.remark(key, message);
    }
}

/// Why a text is no network. Reads on after the text that was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum NetworkError {
    #[error("is not a network: write an address and a length, such as 10.0.0.0/8 or fd00::/8")]
    Malformed,
    #[error("has bits set after its length: write {0}")]
    NotTruncated(IpNet),
    #[error("is an IPv4 network in IPv6's form, which no address is compared with: write {0}")]
    Mapped(IpNet),
}

/// A single address is a network of its own.
fn parse_network(text: &str) -> Result<IpNet, NetworkError> {
    let network: IpNet = match text.parse::<IpAddr>() {
        Ok(address) => address.into(),
        Err(_) => text.parse().map_err(|_| NetworkError::Malformed)?,
    };
    match (network.trunc(), unmapped(network)) {
        (_, Some(ipv4)) => Err(NetworkError::Mapped(ipv4)),
        (truncated, None) if truncated != network => Err(NetworkError::NotTruncated(truncated)),
        _ => Ok(network),
    }
}

/// The IPv4 network that stands below `::ffff:0:0/96`. An instance's address is never there: the contract
/// reads it as the IPv4 address that it is.
fn unmapped(network: IpNet) -> Option<IpNet> {
    let IpNet::V6(network) = network else { return None };
    let length = network.prefix_len().checked_sub(96)?;
    let ipv4 = network.addr().to_ipv4_mapped()?;
    IpNet::new(ipv4.into(), length).ok().map(|network| network.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_is_an_address_and_a_length_or_an_address_alone() {
        for (text, expected) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("169.254.169.254", "169.254.169.254/32"),
            ("fd00::/8", "fd00::/8"),
            ("::/0", "::/0"),
            ("::1", "::1/128"),
            // An address that carries another is compared as it stands, too.
            ("64:ff9b::/96", "64:ff9b::/96"),
            ("64:ff9b::10.0.0.0/104", "64:ff9b::a00:0/104"),
            ("2002::/16", "2002::/16"),
            ("::/96", "::/96"),
            ("::ffff:0:0:0/96", "::ffff:0:0:0/96"),
        ] {
            assert_eq!(parse_network(text), Ok(network(expected)), "{text:?}");
        }
    }

    #[test]
    fn every_other_network_says_what_is_wrong() {
        for (text, expected) in [
            ("", NetworkError::Malformed),
            ("10.0.0.0/33", NetworkError::Malformed),
            ("10.0.0.0/", NetworkError::Malformed),
            ("10.0.0.0/255.0.0.0", NetworkError::Malformed),
            ("10.0/8", NetworkError::Malformed),
            ("10.0.0.5:80", NetworkError::Malformed),
            ("fd00::/129", NetworkError::Malformed),
            ("[fd00::]/8", NetworkError::Malformed),
            ("example.com", NetworkError::Malformed),
            ("10.0.0.1/8", NetworkError::NotTruncated(network("10.0.0.0/8"))),
            ("fd00::1/64", NetworkError::NotTruncated(network("fd00::/64"))),
            ("0.0.0.1/0", NetworkError::NotTruncated(network("0.0.0.0/0"))),
            ("::ffff:10.0.0.0/104", NetworkError::Mapped(network("10.0.0.0/8"))),
            ("::ffff:10.0.0.1/104", NetworkError::Mapped(network("10.0.0.0/8"))),
            ("::ffff:10.0.0.1", NetworkError::Mapped(network("10.0.0.1/32"))),
            ("::ffff:0:0/96", NetworkError::Mapped(network("0.0.0.0/0"))),
        ] {
            assert_eq!(parse_network(text), Err(expected), "{text:?}");
        }
    }
}
