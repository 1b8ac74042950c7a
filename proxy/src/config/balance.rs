//! Which endpoint a request goes to: the key `balance` of a service.

use config_reader::kind::{Kind, scalar};
use config_reader::{Visitor, key};
use http::HeaderName;
use serde_json::{Value as Json, json};

use super::Value;
use super::machine::Need;
use super::token::{TOKEN, token};

const NAMED: [(&str, Balance); 4] = [
    ("random", Balance::Random),
    ("round_robin", Balance::RoundRobin),
    ("least_request", Balance::LeastRequest),
    ("ewma", Balance::Ewma),
];
const POLICIES: &str = "random, round_robin, least_request, ewma, or a hash such as {hash: client}";
const KEYS: &str = "path, client, {header: NAME} or {cookie: NAME}";

/// Which endpoint a request goes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Balance {
    /// Any, by weight.
    #[default]
    Random,
    /// One after the other, by weight.
    RoundRobin,
    /// Of two drawn by weight, the one with fewer requests in flight for its weight.
    LeastRequest,
    /// Of two drawn by weight, the one that is expected to answer sooner.
    Ewma,
    /// The same for equal keys, as long as it is there and not overloaded.
    Hash(HashKey),
}

/// What of a request is hashed. A request that lacks it is hashed by its client's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// A header's value.
    Header(HeaderName),
    /// The value of a cookie of this name: a token, as RFC 6265 has it.
    Cookie(String),
    /// The path.
    Path,
    /// The client's address.
    Client,
}

/// How a policy is written.
pub(super) struct BalanceKind;

impl Kind<Need> for BalanceKind {
    type Value = Balance;

    fn read(&self, value: &Value<'_>) -> Option<Balance> {
        if value.is_section() {
            let (mut section, mut hashed) = (value.section(), None);
            section.optional(key("hash", "").required(KEYS), HashKind, &mut hashed);
            section.close(None);
            return hashed.map(Balance::Hash);
        }
        let text = value.text()?;
        match NAMED.iter().find(|(name, _)| *name == text) {
            Some((_, balance)) => Some(balance.clone()),
            None => value.mismatch(POLICIES),
        }
    }

    fn show(&self, balance: &Balance) -> String {
        match (balance, NAMED.iter().find(|(_, named)| named == balance)) {
            (_, Some((name, _))) => (*name).to_owned(),
            (Balance::Hash(hashed), None) => format!("{{hash: {}}}", HashKind.show(hashed)),
            (_, None) => String::new(),
        }
    }

    fn schema(&self) -> Json {
        let names: Vec<_> = NAMED.iter().map(|(name, _)| name).collect();
        let hash = json!({
            "type": "object",
            "properties": {"hash": HashKind.schema()},
            "required": ["hash"],
            "additionalProperties": false,
        });
        json!({"anyOf": [{"enum": names}, hash]})
    }

    fn takes(&self) -> String {
        let names: Vec<_> = NAMED.iter().map(|(name, _)| format!("`{name}`")).collect();
        format!(
            "{}, {}",
            names.join(", "),
            "`{hash: path}`, `{hash: client}`, `{hash: {header: NAME}}`, `{hash: {cookie: NAME}}`"
        )
    }
}

struct HashKind;

impl Kind<Need> for HashKind {
    type Value = HashKey;

    fn read(&self, value: &Value<'_>) -> Option<HashKey> {
        if value.is_section() {
            return named_key(value);
        }
        match value.text()? {
            "path" => Some(HashKey::Path),
            "client" => Some(HashKey::Client),
            _ => value.mismatch(KEYS),
        }
    }

    fn show(&self, hashed: &HashKey) -> String {
        match hashed {
            HashKey::Header(name) => format!("{{header: {}}}", scalar(name.as_str())),
            HashKey::Cookie(name) => format!("{{cookie: {}}}", scalar(name)),
            HashKey::Path => "path".to_owned(),
            HashKey::Client => "client".to_owned(),
        }
    }

    fn schema(&self) -> Json {
        let named = |key: &str| {
            json!({
                "type": "object",
                "properties": {key: {"type": "string", "pattern": TOKEN}},
                "required": [key],
                "additionalProperties": false,
            })
        };
        json!({"anyOf": [{"enum": ["path", "client"]}, named("header"), named("cookie")]})
    }
}

fn named_key(value: &Value<'_>) -> Option<HashKey> {
    let mut section = value.section();
    let (mut header, mut cookie) = (None, None);
    section.optional(key("header", ""), token("header"), &mut header);
    section.optional(key("cookie", ""), token("cookie"), &mut cookie);
    section.close(None);
    match (header, cookie) {
        (Some(_), Some(_)) => {
            value.reject("has a header and a cookie: one of them is hashed");
            None
        }
        (Some(header), None) => HeaderName::try_from(header).ok().map(HashKey::Header),
        (None, Some(cookie)) => Some(HashKey::Cookie(cookie)),
        (None, None) if section.is_empty() => value.mismatch(KEYS),
        // What stands there was reported.
        (None, None) => None,
    }
}
