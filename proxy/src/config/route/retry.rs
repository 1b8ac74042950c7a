//! What is tried again on a route.

use std::ops::RangeInclusive;

use config_reader::key;
use config_reader::kind::{Kind, list, number};
use serde_json::{Value as Json, json};

use crate::config::Value;
use crate::config::keys::Visit;
use crate::config::machine::Need;
use crate::config::server::ATTEMPTS;

/// Those by which a server says that it failed.
const STATUS: RangeInclusive<u16> = 500..=599;

/// By which a gateway says that a request goes round in circles. Sent again, it would go through each of these
/// gateways as many times as there are attempts, to the power of the gateways that it passes.
const LOOP: u16 = 508;

/// What is tried again on a route, beside what is always safe: a connection that never opened, and an
/// idempotent request of whose answer no byte came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Retry {
    /// Attempts in all: 1 to [`ATTEMPTS`]; 1: nothing is tried again.
    pub(crate) attempts: usize,
    /// Statuses at which an idempotent request is tried on another endpoint: 500 to 599, but for 508.
    pub(crate) statuses: Vec<u16>,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: ATTEMPTS, statuses: Vec::new() }
    }
}

impl Retry {
    pub(super) fn keys<V: Visit>(&mut self, v: &mut V) {
        let attempts = key("attempts", "attempts in all; 1: nothing is sent again");
        v.key(attempts, number(1..=ATTEMPTS), &mut self.attempts);
        let statuses = key(
            "statuses",
            "answers after which an idempotent request goes to another instance, such as 503; not 508, which says that \
             it [goes round in circles](requests.md#loops)",
        );
        v.key(statuses, list(Retried), &mut self.statuses);
        v.check(|section| {
            if self.attempts == 1 && !self.statuses.is_empty() {
                section.reject("statuses", "means nothing with one attempt: set attempts to 2 or more");
            }
        });
    }
}

/// A status after which a request is sent again.
struct Retried;

impl Kind<Need> for Retried {
    type Value = u16;

    fn read(&self, value: &Value<'_>) -> Option<u16> {
        let status = value.number(STATUS)?;
        if status == LOOP {
            value.reject(
                "is 508, which says that a request goes round in circles: it must not be sent round again",
            );
            return None;
        }
        Some(status)
    }

    fn show(&self, status: &u16) -> String {
        status.to_string()
    }

    fn schema(&self) -> Json {
        let (least, most) = (STATUS.start(), STATUS.end());
        json!({"type": "integer", "minimum": least, "maximum": most, "not": {"const": LOOP}})
    }

    fn takes(&self) -> String {
        Kind::<Need>::takes(&number(STATUS))
    }
}
