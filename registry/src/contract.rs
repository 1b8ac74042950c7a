//! The contract between registrars and gateways: how an instance is written in etcd.
//!
//! ```text
//! key    {prefix}/{service}/{instance}     /service_registry_discovery/goods/goods-1
//! value  ip:port                           10.0.0.5:80      [2001:db8::5]:80
//!    or  JSON                              {"address":"10.0.0.5:80","weight":10,"metadata":{"zone":"a"}}
//! lease  the registrar's: the key goes when the lease does
//! ```
//!
//! Nothing here connects to anything: bytes become a [`Record`], or a [`RecordError`] that says why they are none.

mod address;
mod metadata;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::Utf8Error;
use std::sync::Arc;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::networks::AddressRefusal;
pub(crate) use address::check_backend;
pub use address::parse_address;
pub use metadata::{MAX_METADATA_BYTES, MAX_METADATA_ENTRIES, Metadata, TooMuchMetadata};

/// The weight of an instance that names none.
pub const DEFAULT_WEIGHT: u16 = 1;
/// The largest weight. Zero means draining: listed, but nothing new goes to it.
pub const MAX_WEIGHT: u16 = 1000;
/// The longest value that is read, in bytes. A registration is a few hundred; etcd would take 1.5 MiB.
pub const MAX_VALUE: usize = 16 * 1024;
/// The longest service name or instance id, in bytes: that of a DNS name.
pub const MAX_SEGMENT: usize = 253;

/// The part of the key space that holds registrations: `/service_registry_discovery` by default.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Prefix(Arc<str>);

/// A prefix that cannot hold registrations.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a key prefix: expected \"/\" and a name, without a \"/\" at the end or two in a row")]
pub struct PrefixError(String);

impl Prefix {
    /// Checks a prefix: it starts with `/`, does not end with one, and each of its segments is one
    /// ([`check_segment`]).
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse(text: &str) -> Result<Self, PrefixError> {
        let fits =
            text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(|s| check_segment(s).is_ok()));
        if fits { Ok(Self(text.into())) } else { Err(PrefixError(text.to_owned())) }
    }

    /// The prefix as text, without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of an instance: `{prefix}/{service}/{instance}`. Both names must be such that [`check_segment`] takes
    /// them.
    pub fn key(&self, service: &str, instance: &str) -> String {
        format!("{}/{service}/{instance}", self.0)
    }

    /// The length of the longest key that an instance can have, in bytes.
    pub(crate) fn longest_key(&self) -> usize {
        self.0.len() + 2 + 2 * MAX_SEGMENT
    }

    /// All keys below the prefix, which ends with a slash here: `/reg` must not take `/registry2/...`.
    pub fn range(&self) -> KeyRange {
        let start = format!("{}/", self.0).into_bytes();
        let mut end = start.clone();
        // '/' + 1: the first key after everything that starts with the slash.
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        KeyRange { start, end }
    }

    /// Service and instance id of a key below the prefix.
    ///
    /// # Errors
    /// When the key is not UTF-8, is not below the prefix, or has not exactly these two segments more.
    pub fn split<'k>(&self, key: &'k [u8]) -> Result<(&'k str, &'k str), RecordError> {
        let key = std::str::from_utf8(key).map_err(RecordError::KeyNotUtf8)?;
        let rest = key
            .strip_prefix(&*self.0)
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or(RecordError::KeyShape)?;
        let (service, instance) = rest.split_once('/').ok_or(RecordError::KeyShape)?;
        check_segment(service)?;
        check_segment(instance)?;
        Ok((service, instance))
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Self("/service_registry_discovery".into())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Keys from `start` up to, but not including, `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key.
    pub start: Vec<u8>,
    /// The first key that is no longer in the range.
    pub end: Vec<u8>,
}

impl KeyRange {
    /// The range of one key alone.
    pub fn one(key: &str) -> Self {
        let start = key.as_bytes().to_vec();
        let mut end = start.clone();
        end.push(0);
        Self { start, end }
    }
}

/// Checks a service name or an instance id: 1 to [`MAX_SEGMENT`] bytes, without `/` and control characters.
///
/// # Errors
/// [`RecordError::Segment`] when it is anything else.
pub fn check_segment(segment: &str) -> Result<(), RecordError> {
    let fits = !segment.is_empty() && segment.len() <= MAX_SEGMENT;
    if fits && !segment.contains(|c: char| c == '/' || c.is_control()) {
        Ok(())
    } else {
        Err(RecordError::Segment(shorten(segment)))
    }
}

/// What a registration says: where the instance is, and what share of the requests it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where the instance answers.
    pub address: SocketAddr,
    /// Its share of the service's requests in relation to the weights of the other instances, 0 to [`MAX_WEIGHT`]. With
    /// 0 it stays known but gets no new requests.
    pub weight: u16,
    /// Free text for people and policies, such as `zone`.
    pub metadata: Metadata,
}

#[derive(Serialize, Deserialize)]
struct RecordJson {
    address: String,
    #[serde(default = "default_weight")]
    weight: u64,
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    metadata: Metadata,
}

/// The keys of [`RecordJson`].
const KEYS: [&str; 3] = ["address", "weight", "metadata"];
/// From here on (Jaro-Winkler, 1 is equal) a key is taken for a misspelt one.
const ALIKE: f64 = 0.85;

fn default_weight() -> u64 {
    DEFAULT_WEIGHT.into()
}

impl Record {
    /// A record with the default weight and no metadata.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, weight: DEFAULT_WEIGHT, metadata: Metadata::default() }
    }

    /// Reads a value. White space around it is ignored: `echo 10.0.0.5:80 | etcdctl put ...` adds a newline.
    /// Metadata beyond its bounds is [left out](Metadata::left_out); the rest of the record counts. Unknown keys are
    /// ignored.
    ///
    /// # Errors
    /// When the value is longer than [`MAX_VALUE`], is neither an address nor such JSON, has a weight above
    /// [`MAX_WEIGHT`], or an address that [`parse_address`] refuses.
    pub fn decode(value: &[u8]) -> Result<Self, RecordError> {
        if value.len() > MAX_VALUE {
            return Err(RecordError::ValueTooLong(value.len()));
        }
        let text = std::str::from_utf8(value).map_err(RecordError::ValueNotUtf8)?.trim();
        if !text.starts_with('{') {
            return Ok(Self::new(parse_address(text)?));
        }
        let json: RecordJson = serde_json::from_str(text).map_err(RecordError::Json)?;
        let weight = u16::try_from(json.weight).unwrap_or(u16::MAX);
        if weight > MAX_WEIGHT {
            return Err(RecordError::Weight(json.weight));
        }
        Ok(Self { address: parse_address(&json.address)?, weight, metadata: json.metadata })
    }

    /// The keys of a record that mean nothing, such as a misspelt `weight`: it is read as if they were not
    /// there. Within the metadata any key may stand.
    pub(crate) fn unknown_keys(value: &[u8]) -> Vec<String> {
        let keys: Option<BTreeMap<String, IgnoredAny>> = serde_json::from_slice(value).ok();
        keys.unwrap_or_default().into_keys().filter(|key| !KEYS.contains(&key.as_str())).collect()
    }

    /// The key of a record that a misspelt one was likely meant to be.
    pub(crate) fn likely_key(unknown: &str) -> Option<&'static str> {
        let lower = unknown.to_lowercase();
        let likeness = |known: &&str| strsim::jaro_winkler(&lower, known);
        KEYS.into_iter()
            .filter(|known| likeness(known) >= ALIKE)
            .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
    }

    /// Writes the value: the plain form where it says everything, else JSON.
    pub fn encode(&self) -> String {
        if self.weight == DEFAULT_WEIGHT && self.metadata.is_empty() {
            return self.address.to_string();
        }
        serde_json::json!(RecordJson {
            address: self.address.to_string(),
            weight: self.weight.into(),
            metadata: self.metadata.clone(),
        })
        .to_string()
    }
}

/// One registration: an instance of a service, as the registry has it at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The service that it belongs to.
    pub service: Arc<str>,
    /// Its id, unique in the service.
    pub id: Arc<str>,
    /// What it says of itself.
    pub record: Record,
    /// The id of the lease that holds it, 0 for none.
    pub lease: i64,
    /// etcd's revision at which it was last written.
    pub revision: i64,
}

/// Why a key or a value is not a registration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The key is not text.
    #[error("the key is not UTF-8: {0}")]
    KeyNotUtf8(Utf8Error),
    /// The key has too few or too many segments.
    #[error("the key is not {{prefix}}/{{service}}/{{instance}}")]
    KeyShape,
    /// A service name or an instance id that cannot be one.
    #[error("{0:?} is not a name: expected 1 to {MAX_SEGMENT} bytes without \"/\" and control characters")]
    Segment(String),
    /// The value is longer than [`MAX_VALUE`].
    #[error("the value has {0} bytes, more than {MAX_VALUE}")]
    ValueTooLong(usize),
    /// The value is not text.
    #[error("the value is not UTF-8: {0}")]
    ValueNotUtf8(Utf8Error),
    /// The value starts like JSON but is not a record.
    #[error("the value is not a record: {0}")]
    Json(serde_json::Error),
    /// The weight is out of range.
    #[error("the weight is {0}, more than {MAX_WEIGHT}")]
    Weight(u64),
    /// The address is not `ip:port`.
    #[error("{0:?} is not an address: expected ip:port or [ipv6]:port")]
    Address(String),
    /// The address is well-formed but its port is 0.
    #[error("{address} can never be a backend: its port is 0")]
    PortZero {
        /// The address.
        address: SocketAddr,
    },
    /// The address is well-formed but no backend can be there: it is link-local, say, or a cloud's metadata service.
    #[error("{address} can never be a backend: {why}")]
    NeverABackend {
        /// The address as it was written.
        address: SocketAddr,
        /// What is wrong with it.
        why: Box<AddressRefusal>,
    },
    /// The address is one that instances must not have, by the watch's [rules](crate::watch::Admission).
    #[error("{address} is refused: {why}")]
    Refused {
        /// The address.
        address: SocketAddr,
        /// Which rule it breaks.
        why: Box<AddressRefusal>,
    },
    /// The key has no lease, and must have one.
    #[error(
        "it has no lease: it would stay when its instance is gone, and gateway.registry.require_lease is on"
    )]
    NoLease,
}

impl RecordError {
    /// Whether the record can be read and is refused for what it says. Otherwise it cannot be read, and nobody knows
    /// what its writer meant.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::PortZero { .. } | Self::NeverABackend { .. } | Self::Refused { .. } | Self::NoLease
        )
    }
}

/// Text from outside, bounded before it enters an error and so a log line.
pub(crate) fn shorten(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
