//! How endpoints are asked whether they are well: the key `check` of a service.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use config_reader::key;
use config_reader::kind::{duration, list, number, text, words};

use super::keys::Visit;
use super::{Section, Value};

const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
const COUNT: RangeInclusive<NonZeroU32> = NonZeroU32::MIN..=NonZeroU32::new(1_000).unwrap();
/// Those that can end an answer.
const STATUS: RangeInclusive<u16> = 200..=599;
const EXPECTED: &str =
    "tcp, or the path of a GET, such as /healthz; or grpc, a service of gRPC, in its place";

/// What holds where nothing is said. `probe` always is.
pub(super) const DEFAULT: Check = Check {
    probe: Probe::Tcp,
    interval: Duration::from_secs(5),
    timeout: Duration::from_secs(1),
    healthy: NonZeroU32::new(2).unwrap(),
    unhealthy: NonZeroU32::new(3).unwrap(),
    initially: Initially::Up,
};

/// How endpoints are asked whether they are well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// What is asked.
    pub(crate) probe: Probe,
    /// From one question to the next: 100 ms to 1 h.
    pub(crate) interval: Duration,
    /// How long an answer may take: 10 ms to 1 min, at most `interval`.
    pub(crate) timeout: Duration,
    /// So many good answers in a row make an endpoint well: 1 to 1,000.
    pub(crate) healthy: NonZeroU32,
    /// So many bad ones make it unhealthy: 1 to 1,000.
    pub(crate) unhealthy: NonZeroU32,
    /// What an endpoint is before its first answer.
    pub(crate) initially: Initially,
}

/// What is asked of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Probe {
    /// A connection.
    Tcp,
    /// A GET of this path, answered with one of these statuses.
    Http {
        /// It starts with `/`, and may have a query.
        path: String,
        /// At least one, each 200 to 599.
        statuses: Vec<u16>,
    },
    /// A call of `grpc.health.v1.Health/Check`, answered with `SERVING`.
    Grpc {
        /// Whose state is asked for; empty: that of the server as a whole.
        service: String,
    },
}

/// What an endpoint is before its first answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initially {
    /// Up.
    Up,
    /// Unhealthy.
    Unhealthy,
}

impl Check {
    /// `inherited`: whether it takes over from another, which has a probe.
    pub(super) fn keys<V: Visit>(&mut self, v: &mut V, inherited: bool) {
        self.probe_keys(v, inherited);
        v.key(key("interval", "from one question to the next"), duration(INTERVAL), &mut self.interval);
        let timeout = key("timeout", "how long an answer may take; not longer than `interval`");
        v.key(timeout, duration(TIMEOUT), &mut self.timeout);
        v.check(|section| {
            section.in_order(("timeout", &mut self.timeout), ("interval", &mut self.interval));
        });
        let healthy = key("healthy", "good answers in a row after which an unhealthy instance is used again");
        v.key(healthy, number(COUNT), &mut self.healthy);
        let unhealthy = key("unhealthy", "bad answers in a row after which an instance is not used");
        v.key(unhealthy, number(COUNT), &mut self.unhealthy);
        let initially = key("initially", "[what an instance is before its first check](requests.md#checks)");
        let states = words([("up", Initially::Up), ("unhealthy", Initially::Unhealthy)]);
        v.key(initially, states, &mut self.initially);
    }

    fn probe_keys<V: Visit>(&mut self, v: &mut V, inherited: bool) {
        let mut statuses = match &self.probe {
            Probe::Http { statuses, .. } => statuses.clone(),
            Probe::Tcp | Probe::Grpc { .. } => vec![200],
        };
        let (mut probe, mut service) = match &self.probe {
            Probe::Grpc { service } => (None, Some(service.clone())),
            probe => (Some(probe.clone()), None),
        };
        // It takes the place of an inherited call. (Below, a call takes that of an inherited probe.)
        if v.stands("probe") {
            service = None;
        }
        let asked =
            key("probe", "what is asked: `tcp`, a connection; or the path of a GET").example("/healthz");
        let asked = if inherited { asked } else { asked.required(EXPECTED).or_instead(&["grpc"]) };
        let kind = text(|value: &Value<'_>| value.parse(parse_probe), Probe::to_string).pattern("^(tcp$|/)");
        v.optional(asked, kind, &mut probe);
        let grpc = key(
            "grpc",
            "in place of `probe`: the service that `grpc.health.v1` is asked for; `\"\"`: the server",
        );
        let kind = text(|value: &Value<'_>| value.text().map(str::to_owned), String::clone).may_be_empty();
        v.optional(grpc.example("shop.v1.Goods"), kind, &mut service);
        let key = key("statuses", "the statuses of a GET's answer that are good");
        v.key(key, list(number(STATUS)).not_empty("status, such as 200"), &mut statuses);
        self.probe = match (probe, service) {
            (Some(Probe::Http { path, .. }), None) => Probe::Http { path, statuses },
            (Some(probe), None) => probe,
            (_, Some(service)) => Probe::Grpc { service },
            // It could not be read, which is told.
            (None, None) => DEFAULT.probe,
        };
        v.check(|section| check_probe(section, &self.probe, inherited));
    }
}

fn check_probe(section: &Section<'_>, probe: &Probe, inherited: bool) {
    if section.has("probe") && section.has("grpc") {
        section.reject("grpc", "stands beside probe: an instance is asked by one of them");
        return;
    }
    let is_said = inherited || section.has("probe") || section.has("grpc");
    if !is_said || !section.is_set("statuses") || !section.is_sound("probe") || !section.is_sound("grpc") {
        return;
    }
    match probe {
        Probe::Http { .. } => (),
        Probe::Tcp => section.reject("statuses", "means nothing to a probe by tcp"),
        Probe::Grpc { .. } => section.reject("statuses", "means nothing to a check by gRPC"),
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Http { path, .. } => path,
            Self::Grpc { service } => service,
        })
    }
}

/// Why a text is no probe. Each reads on after the text that was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum ProbeError {
    #[error("is not a probe: expected tcp, or a path that starts with \"/\"")]
    Unknown,
    #[error("has {0:?} in it: what URLs do not allow is written as %XX")]
    Character(char),
}

fn parse_probe(text: &str) -> Result<Probe, ProbeError> {
    match text {
        "tcp" => Ok(Probe::Tcp),
        path if path.starts_with('/') => match path.chars().find(|c| !is_of_url(*c)) {
            Some(character) => Err(ProbeError::Character(character)),
            None => Ok(Probe::Http { path: path.to_owned(), statuses: Vec::new() }),
        },
        _ => Err(ProbeError::Unknown),
    }
}

/// Whether path or query may have it (RFC 3986, 3.3 and 3.4), its part in a `%XX` included.
fn is_of_url(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/?%".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_for_a_path_can_be_asked_for() {
        let paths = (0..128_u8).map(char::from).map(|character| format!("/a{character}?a={character}"));
        let taken: Vec<_> = paths.filter(|path| parse_probe(path).is_ok()).collect();
        assert_eq!(taken.len(), 26 + 26 + 10 + 20);
        for path in taken {
            assert!(path.parse::<http::uri::PathAndQuery>().is_ok(), "{path}");
        }
    }
}
