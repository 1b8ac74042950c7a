//! How endpoints are asked whether they are well: the key `check` of a service.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Section, Value};

const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
const COUNT: RangeInclusive<NonZeroU32> = NonZeroU32::MIN..=NonZeroU32::new(1_000).unwrap();
/// Those that can end an answer.
const STATUS: RangeInclusive<u16> = 200..=599;

/// What holds where nothing is said. `probe` always is.
const DEFAULT: Check = Check {
    probe: Probe::Tcp,
    interval: Duration::from_secs(5),
    timeout: Duration::from_secs(1),
    healthy: NonZeroU32::new(2).unwrap(),
    unhealthy: NonZeroU32::new(3).unwrap(),
    initially: Initially::Up,
};

/// How endpoints are asked whether they are well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is asked.
    pub probe: Probe,
    /// From one question to the next: 100 ms to 1 h.
    pub interval: Duration,
    /// How long an answer may take: 10 ms to 1 min, at most `interval`.
    pub timeout: Duration,
    /// So many good answers in a row make an endpoint well: 1 to 1,000.
    pub healthy: NonZeroU32,
    /// So many bad ones make it unhealthy: 1 to 1,000.
    pub unhealthy: NonZeroU32,
    /// What an endpoint is before its first answer.
    pub initially: Initially,
}

/// What is asked of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A connection.
    Tcp,
    /// A GET of this path, answered with one of these statuses.
    Http {
        /// It starts with `/`, and may have a query.
        path: String,
        /// At least one, each 200 to 599.
        statuses: Vec<u16>,
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

/// `inherited`: what holds where nothing is said.
pub(super) fn read(value: &Value<'_>, inherited: Option<&Check>) -> Option<Check> {
    if !value.is_section() {
        return value.mismatch("a section such as {probe: /healthz}");
    }
    let mut section = value.section();
    let mut check = inherited.unwrap_or(&DEFAULT).clone();
    let probe = read_probe(&mut section, inherited.map(|check| &check.probe));
    section.set("interval", &mut check.interval, |value| value.duration(&INTERVAL));
    section.set("timeout", &mut check.timeout, |value| value.duration(&TIMEOUT));
    section.in_order(("timeout", &mut check.timeout), ("interval", &mut check.interval));
    section.set("healthy", &mut check.healthy, |value| value.number(COUNT));
    section.set("unhealthy", &mut check.unhealthy, |value| value.number(COUNT));
    section.set("initially", &mut check.initially, initially);
    section.close(None);
    Some(Check { probe: probe?, ..check })
}

fn read_probe(section: &mut Section<'_>, inherited: Option<&Probe>) -> Option<Probe> {
    let mut expected = match inherited {
        Some(Probe::Http { statuses, .. }) => statuses.clone(),
        Some(Probe::Tcp) | None => vec![200],
    };
    let probe = section.required_unless(
        "probe",
        inherited.cloned(),
        "tcp, or the path of a GET, such as /healthz",
        |value| value.parse(parse_probe),
    );
    section.set("statuses", &mut expected, |value| statuses(&value));
    match probe? {
        Probe::Http { path, .. } => Some(Probe::Http { path, statuses: expected }),
        Probe::Tcp => {
            if section.is_set("statuses") {
                section.reject("statuses", "means nothing to a probe by tcp");
            }
            Some(Probe::Tcp)
        }
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

fn statuses(list: &Value<'_>) -> Option<Vec<u16>> {
    let statuses = list.list(|item| item.number(STATUS))?;
    if statuses.is_empty() {
        list.reject("is empty: expected at least one status, such as 200");
        return None;
    }
    Some(statuses)
}

fn initially(value: Value<'_>) -> Option<Initially> {
    match value.text()? {
        "up" => Some(Initially::Up),
        "unhealthy" => Some(Initially::Unhealthy),
        _ => value.mismatch("up or unhealthy"),
    }
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
