//! Which endpoint a request goes to: the key `balance` of a service.

use http::HeaderName;

use super::Value;

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

pub(super) fn read(value: Value<'_>) -> Option<Balance> {
    if value.is_section() {
        let mut section = value.section();
        let key = section.required("hash", KEYS, hash_key);
        section.close(None);
        return key.map(Balance::Hash);
    }
    match value.text()? {
        "random" => Some(Balance::Random),
        "round_robin" => Some(Balance::RoundRobin),
        "least_request" => Some(Balance::LeastRequest),
        "ewma" => Some(Balance::Ewma),
        _ => value.mismatch(POLICIES),
    }
}

fn hash_key(value: Value<'_>) -> Option<HashKey> {
    if value.is_section() {
        return named_key(&value);
    }
    match value.text()? {
        "path" => Some(HashKey::Path),
        "client" => Some(HashKey::Client),
        _ => value.mismatch(KEYS),
    }
}

fn named_key(value: &Value<'_>) -> Option<HashKey> {
    let mut section = value.section();
    let (mut header, mut cookie) = (None, None);
    section.set("header", &mut header, |value| value.parse(|text| parse_token(text, "header")));
    section.set("cookie", &mut cookie, |value| {
        value.parse(|text| parse_token(text, "cookie").map(|_| text.to_owned()))
    });
    section.close(None);
    match (header, cookie) {
        (Some(_), Some(_)) => {
            value.reject("has a header and a cookie: one of them is hashed");
            None
        }
        (Some(header), None) => Some(HashKey::Header(header)),
        (None, Some(cookie)) => Some(HashKey::Cookie(cookie)),
        (None, None) if section.is_empty() => value.mismatch(KEYS),
        // What stands there was reported.
        (None, None) => None,
    }
}

/// Why a text is no name of a header or a cookie. Reads on after the text that was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a {0} name: expected letters, digits, \"-\" and \"_\"")]
struct TokenError(&'static str);

/// A cookie's name has the characters of a header's: RFC 6265, section 4.1.1.
fn parse_token(text: &str, of: &'static str) -> Result<HeaderName, TokenError> {
    HeaderName::try_from(text).map_err(|_| TokenError(of))
}
