//! The protocols to which the requests of a route may upgrade their connections.

use config_reader::key;
use config_reader::kind::{Kind, list, text};

use crate::config::Value;
use crate::config::keys::Visit;
use crate::config::machine::Need;
use crate::config::token::parse_token;

/// A name, and perhaps a version: RFC 9110, section 7.8.
const PROTOCOL: &str = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+(/[A-Za-z0-9!#$%&'*+.^_`|~-]+)?$";
const WEBSOCKET: &str = "websocket";
/// Names under which HTTP goes on, over TLS or not.
const OF_HTTP: [&str; 4] = ["h2c", "h2", "http", "tls"];

/// The protocols to which the requests of a route may upgrade their connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upgrades {
    /// Nearly every route has this one alone.
    websocket: bool,
    /// In small letters.
    others: Box<[Box<str>]>,
}

impl Default for Upgrades {
    fn default() -> Self {
        Self { websocket: true, others: Box::default() }
    }
}

impl Upgrades {
    /// Whether a field `Upgrade` with this value asks for nothing but what is permitted: an instance may choose any of
    /// the protocols in it.
    pub(crate) fn permit(&self, value: &[u8]) -> bool {
        value.split(|byte| *byte == b',').all(|protocol| self.permit_one(protocol.trim_ascii()))
    }

    /// Those that only the gateway's own carrier passes on.
    pub(super) fn beyond_websocket(&self) -> impl Iterator<Item = &str> {
        self.others.iter().map(|protocol| &**protocol)
    }

    /// In any case of its letters: RFC 9110, section 7.8.
    fn permit_one(&self, protocol: &[u8]) -> bool {
        let is = |known: &str| protocol.eq_ignore_ascii_case(known.as_bytes());
        self.websocket && is(WEBSOCKET) || self.others.iter().any(|known| is(known))
    }
}

/// As it is written.
#[derive(Debug)]
pub(super) struct WrittenUpgrades(Vec<String>);

impl Default for WrittenUpgrades {
    fn default() -> Self {
        Self(vec![WEBSOCKET.to_owned()])
    }
}

impl WrittenUpgrades {
    pub(super) fn keys<V: Visit>(&mut self, v: &mut V) {
        let upgrades = key(
            "upgrades",
            "the protocols to which its requests may [upgrade](http1.md#upgrades-and-tunnels) their connections; `[]`: none",
        )
        .more("By Pingora's carrier only WebSocket passes.");
        v.key(upgrades, list(protocol()).distinct().of(0..=16, "protocols"), &mut self.0);
    }

    pub(super) fn settled(self) -> Upgrades {
        let (websocket, others): (Vec<_>, _) = self.0.into_iter().partition(|protocol| protocol == WEBSOCKET);
        let others = others.into_iter().map(String::into_boxed_str).collect();
        Upgrades { websocket: !websocket.is_empty(), others }
    }
}

fn protocol() -> impl Kind<Need, Value = String> {
    let read = |value: &Value<'_>| value.parse(parse_protocol);
    text(read, String::clone).pattern(PROTOCOL).takes("`websocket`, or another protocol")
}

/// Why a text is no protocol to upgrade to. Each reads on after the text that was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum ProtocolError {
    #[error("is no protocol: expected a name, such as websocket, or a name and a version, such as irc/2")]
    Malformed,
    #[error(
        "would carry HTTP on to the instance: no route, no limit and no line in the log would see its requests"
    )]
    Http,
}

fn parse_protocol(text: &str) -> Result<String, ProtocolError> {
    let protocol = text.to_ascii_lowercase();
    let (name, version) = protocol.split_once('/').unwrap_or((&protocol, "1"));
    if [name, version].iter().any(|part| parse_token(part, "protocol").is_err()) {
        return Err(ProtocolError::Malformed);
    }
    if OF_HTTP.contains(&name) { Err(ProtocolError::Http) } else { Ok(protocol) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(written: &[&str]) -> Upgrades {
        WrittenUpgrades(written.iter().map(|protocol| parse_protocol(protocol).unwrap()).collect()).settled()
    }

    #[test]
    fn all_that_is_asked_for_has_to_be_permitted() {
        let websocket = Upgrades::default();
        assert_eq!(of(&["WebSocket"]), websocket);
        assert!(websocket.permit(b"WebSocket") && websocket.permit(b"websocket ,\twebsocket"));
        for other in
            ["", ",", "websocket,", "h2c", "h2c, websocket", "web socket", "websocket/13", "websocketx"]
        {
            assert!(!websocket.permit(other.as_bytes()), "{other}");
        }
        let others = of(&["irc/2", "x"]);
        assert!(others.permit(b"IRC/2, X") && !others.permit(b"irc") && !others.permit(b"x, websocket"));
        assert!(!of(&[]).permit(b"websocket"));
    }

    #[test]
    fn what_carries_http_and_what_is_no_protocol_is_refused() {
        for http in ["h2c", "H2C", "h2", "HTTP/2.0", "TLS/1.0"] {
            assert_eq!(parse_protocol(http), Err(ProtocolError::Http), "{http}");
        }
        for none in ["", "/", "a/", "/1", "a/1/2", "a b", "a,b", "ü"] {
            assert_eq!(parse_protocol(none), Err(ProtocolError::Malformed), "{none}");
        }
    }
}
