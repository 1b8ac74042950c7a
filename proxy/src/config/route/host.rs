//! The hosts that a route takes.

use std::net::{Ipv4Addr, Ipv6Addr};

use config_reader::kind::{Kind, text};

use super::HostPattern;
use crate::config::Value;
use crate::config::machine::Need;

/// The longest name that DNS knows, and the longest of its labels, in bytes.
const LENGTH: usize = 253;
const LABEL: usize = 63;

/// Before the names that a wildcard takes.
const WILDCARD: &str = "*.";

/// Why a text is no host. Each reads on after the text that was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HostError {
    #[error("is no host: expected a name such as shop.example.com or *.shop.example.com, or an IP address")]
    Malformed,
    #[error("is a URL: write the host alone, and what else is to be so as `scheme` or `path`")]
    Url,
    #[error("has a port: write {0}, requests are matched without theirs")]
    Port(String),
    #[error("takes every host, as does a route without one: remove it")]
    Any,
    #[error(
        "has a \"*\" that is not its first label: a wildcard is *.NAME, which takes one label or more before NAME"
    )]
    Wildcard,
    #[error("has {0:?} in it: write a name of other letters in its form for DNS, which begins with xn--")]
    Character(char),
    #[error("is longer than a name can be: {LENGTH} bytes, {LABEL} for each of its labels")]
    Length,
    #[error("is an address without brackets: write {0}")]
    Unbracketed(String),
}

/// A host or a wildcard.
pub(super) fn host() -> impl Kind<Need, Value = HostPattern> {
    text(|value: &Value<'_>| value.parse(parse_pattern), HostPattern::to_string)
        .takes("`shop.example.com`, `*.shop.example.com` or an IP address")
}

pub(super) fn parse_pattern(text: &str) -> Result<HostPattern, HostError> {
    if text == "*" {
        return Err(HostError::Any);
    }
    match text.strip_prefix(WILDCARD) {
        Some(below) if below.parse::<Ipv4Addr>().is_ok() || below.starts_with('[') => {
            Err(HostError::Malformed)
        }
        Some(below) => match parse_host(below) {
            Err(HostError::Port(host)) => Err(HostError::Port(format!("{WILDCARD}{host}"))),
            read => read.map(HostPattern::Below),
        },
        None => parse_host(text).map(HostPattern::Exact),
    }
}

/// A name in small letters, without a dot at its end; or an address, that of IPv6 in brackets and in its shortest form.
pub(super) fn parse_host(text: &str) -> Result<String, HostError> {
    if text.contains("://") || text.contains('/') {
        return Err(HostError::Url);
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Err(HostError::Unbracketed(format!("[{address}]")));
    }
    if let Some(address) = text.strip_prefix('[') {
        return parse_ipv6(address);
    }
    if let Some((host, port)) = text.rsplit_once(':') {
        let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && parse_name(host).is_ok();
        return Err(if is_port { HostError::Port(host.to_owned()) } else { HostError::Malformed });
    }
    parse_name(text)
}

fn parse_ipv6(text: &str) -> Result<String, HostError> {
    let (address, after) = text.split_once(']').ok_or(HostError::Malformed)?;
    let address: Ipv6Addr = address.parse().map_err(|_| HostError::Malformed)?;
    let host = format!("[{address}]");
    match after.strip_prefix(':') {
        Some(_) => Err(HostError::Port(host)),
        None if after.is_empty() => Ok(host),
        None => Err(HostError::Malformed),
    }
}

fn parse_name(text: &str) -> Result<String, HostError> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if let Some(other) = name.chars().find(|c| !c.is_ascii()) {
        return Err(HostError::Character(other));
    }
    if name.contains('*') {
        return Err(HostError::Wildcard);
    }
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if !name.split('.').all(is_label) {
        return Err(HostError::Malformed);
    }
    if name.len() > LENGTH || name.split('.').any(|label| label.len() > LABEL) {
        return Err(HostError::Length);
    }
    Ok(name.to_ascii_lowercase())
}

/// A host with or without a port, as a redirect or an instance gets it.
pub(super) fn parse_authority(text: &str) -> Result<String, HostError> {
    match parse_host(text) {
        Err(HostError::Port(host)) => {
            let port = text.rsplit(':').next().unwrap_or_default();
            match port.parse::<u16>() {
                Ok(port) if port > 0 => Ok(format!("{}:{port}", host.to_ascii_lowercase())),
                _ => Err(HostError::Malformed),
            }
        }
        read => read,
    }
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(name) => write!(f, "{WILDCARD}{name}"),
        }
    }
}
