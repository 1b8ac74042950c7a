//! Where a route sends its clients, as the configuration has it.

use config_reader::key;
use config_reader::kind::{Kind, words};
use serde_json::{Value as Json, json};

use super::host::parse_authority;
use super::path::{PathError, parse_exact};
use super::{Redirect, Scheme, Variable};
use crate::config::Value;
use crate::config::keys::{Visit, parsed};
use crate::config::machine::Need;

/// Found, for now.
const STATUS: u16 = 302;

/// Those that send a client elsewhere.
const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];
const LISTED: &str = "301, 302, 303, 307 or 308";

/// `http` or `https`.
pub(super) fn scheme() -> impl Kind<Need, Value = Scheme> {
    words([("http", Scheme::Http), ("https", Scheme::Https)])
}

impl Redirect {
    pub(super) fn unsaid() -> Self {
        Self { scheme: None, host: None, path: None, status: STATUS, is_by_client: false }
    }

    pub(super) fn keys<V: Visit>(&mut self, v: &mut V) {
        v.optional(key("scheme", "another scheme").example("https"), scheme(), &mut self.scheme);
        let host = key("host", "another host, with or without a port").example("shop.example.com");
        v.optional(host, parsed(parse_authority, "^[^/]+$"), &mut self.host);
        let path = key("path", "another path, in the place of the client's").example("/goods");
        v.optional(path, parsed(parse_path, "^/"), &mut self.path);
        let status =
            key("status", "the answer's status: 301 or 308 for ever, 302 or 307 for now, 303 to a GET");
        v.key(status, Status, &mut self.status);
    }
}

/// Why a text is no path to which clients are sent. Each reads on after it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum RedirectPathError {
    #[error(transparent)]
    NoPath(#[from] PathError),
    #[error(
        "has no groups or variables: what keeps part of the path is the route's own key `rewrite`, in its place"
    )]
    Groups,
}

fn parse_path(text: &str) -> Result<String, RedirectPathError> {
    let is_group = |after: &str| after.starts_with(|c: char| c == '{' || c.is_ascii_digit());
    if text.split('$').skip(1).any(is_group) || Variable::first_in(text).is_some() {
        return Err(RedirectPathError::Groups);
    }
    Ok(parse_exact(text)?)
}

/// The status of a redirect.
struct Status;

impl Kind<Need> for Status {
    type Value = u16;

    fn read(&self, value: &Value<'_>) -> Option<u16> {
        let status = value.number(200..=599)?;
        if STATUSES.contains(&status) { Some(status) } else { value.mismatch(LISTED) }
    }

    fn show(&self, status: &u16) -> String {
        status.to_string()
    }

    fn schema(&self) -> Json {
        json!({"enum": STATUSES})
    }

    fn takes(&self) -> String {
        LISTED.to_owned()
    }
}
