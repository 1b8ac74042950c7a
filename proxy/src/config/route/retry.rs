//! What is tried again on a route.

use std::ops::RangeInclusive;

use config_reader::key;
use config_reader::kind::{Kind, boolean, list, number};
use serde_json::{Value as Json, json};

use crate::config::grpc_statuses;
use crate::config::keys::Visit;
use crate::config::machine::Need;
use crate::config::server::ATTEMPTS;
use crate::config::{Section, Value};
use crate::grpc::Status;

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
    /// Whether each request may be sent twice, whatever its method.
    pub(crate) idempotent: bool,
    /// Statuses at which a gRPC call is tried on another endpoint, none of which is `OK`. Empty unless `idempotent`.
    pub(crate) grpc: Vec<Status>,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: ATTEMPTS, statuses: Vec::new(), idempotent: false, grpc: Vec::new() }
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
        let idempotent = key(
            "idempotent",
            "whether each request may be sent twice, whatever its method; `false`: its method decides. Calls of gRPC are \
             POSTs",
        );
        v.key(idempotent, boolean(), &mut self.idempotent);
        let grpc = key(
            "grpc",
            "statuses after which a [gRPC call](grpc.md#retries) goes to another instance, such as UNAVAILABLE, if nothing but \
             that has come; needs `idempotent: true`",
        );
        v.key(grpc, grpc_statuses::failures(), &mut self.grpc);
        v.check(|section| self.check(section));
    }

    fn check(&self, section: &Section<'_>) {
        let without_effect = [
            ("statuses", !self.statuses.is_empty()),
            ("idempotent", self.idempotent),
            ("grpc", !self.grpc.is_empty()),
        ];
        for (key, _) in without_effect.iter().filter(|(_, is_asked_for)| self.attempts == 1 && *is_asked_for)
        {
            section.reject(key, "means nothing with one attempt: set attempts to 2 or more");
        }
        let may_be_sent_twice = self.idempotent || !section.is_sound("idempotent");
        if self.attempts > 1 && !self.grpc.is_empty() && !may_be_sent_twice {
            section.reject(
                "grpc",
                "needs idempotent: true beside it: a call that has failed so may have been carried out, and only you know \
                 whether it may be twice",
            );
        }
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
