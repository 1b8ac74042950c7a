//! The page `/services`: every endpoint, and what is known of it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{Instant, SystemTime};

use registry::contract::Metadata;
use registry::watch::WatchStatus;
use serde::Serialize;

use crate::config::Guard;
use crate::directory::{
    Directory, Endpoints, Entry, LeftOutInstance, LeftOutSummary, ProbeResult, Protocol, Service, Standing,
    State, Tenure,
};
use crate::traffic::LastFailure;
use crate::traffic::ejection::NextTrial;

/// One moment, by both clocks: times are known by one and shown by the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// By the clock that measures.
    pub(crate) instant: Instant,
    /// By the clock on the wall.
    pub(crate) utc: SystemTime,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { instant: Instant::now(), utc: SystemTime::now() }
    }

    /// Another moment in RFC 3339, UTC.
    fn show(self, at: Instant) -> String {
        let (before, after) =
            (self.instant.saturating_duration_since(at), at.saturating_duration_since(self.instant));
        let utc = self.utc.checked_sub(before).and_then(|utc| utc.checked_add(after));
        humantime::format_rfc3339_millis(utc.unwrap_or(self.utc)).to_string()
    }
}

/// The page as JSON. `guard` says until when what vanished is doubted and held.
///
/// # Errors
/// None that is known: all of it is text and numbers.
pub(crate) fn page(
    directory: &Directory,
    status: &WatchStatus,
    guard: &Guard,
    now: Moment,
) -> serde_json::Result<Vec<u8>> {
    // Before all else: what is shown may be newer than that revision says, but never older.
    let revision = directory.revision();
    let services = directory.services();
    let endpoints: Vec<(&Service, Arc<Endpoints>)> =
        services.values().map(|service| (&**service, Arc::clone(&service.endpoints()))).collect();
    let names = |is_routed: bool, is_empty: bool| -> Vec<&str> {
        let wanted = |service: &Service, of: &Endpoints| {
            service.is_routed() == is_routed && of.entries().is_empty() == is_empty
        };
        endpoints.iter().filter(|(service, of)| wanted(service, of)).map(|(s, _)| &**s.name()).collect()
    };
    let left_out = directory.left_out();
    let page = Page {
        revision,
        synced: directory.is_synced(),
        last_skipped: status.last_skipped.as_ref().map(|last| SkippedRecord {
            key: &last.key,
            revision: last.revision,
            reason: &last.reason,
        }),
        left_out: LeftOut::describe(&left_out),
        services: endpoints.iter().map(|(s, of)| (&**s.name(), describe_all(of, guard, now))).collect(),
        without_route: names(false, false),
        without_endpoint: names(true, true),
    };
    serde_json::to_vec(&page)
}

#[derive(Serialize)]
struct Page<'a> {
    revision: i64,
    synced: bool,
    /// Registered, but no route takes them.
    without_route: Vec<&'a str>,
    /// A route leads there, but nobody is registered.
    without_endpoint: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_skipped: Option<SkippedRecord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<LeftOut<'a>>,
    services: BTreeMap<&'a str, Vec<EndpointFields<'a>>>,
}

/// A record that is no registration.
#[derive(Serialize)]
struct SkippedRecord<'a> {
    key: &'a str,
    revision: i64,
    reason: &'a str,
}

/// Registrations that are beyond the bounds.
#[derive(Serialize)]
struct LeftOut<'a> {
    count: usize,
    last: LastLeftOut<'a>,
}

/// The last of them.
#[derive(Serialize)]
struct LastLeftOut<'a> {
    service: &'a str,
    instance: &'a str,
    revision: i64,
    reason: String,
}

impl<'a> LeftOut<'a> {
    /// None: nobody is left out.
    fn describe(summary: &'a LeftOutSummary) -> Option<Self> {
        let LeftOutInstance { service, instance, bound, revision } = summary.last.as_ref()?;
        let last = LastLeftOut { service, instance, revision: *revision, reason: bound.to_string() };
        Some(Self { count: summary.count(), last })
    }
}

/// An endpoint. What does not apply is not shown.
#[derive(Serialize)]
struct EndpointFields<'a> {
    instance: &'a str,
    address: String,
    weight: u16,
    lease: String,
    /// It stays when its instance is gone, until somebody deletes it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    without_lease: bool,
    /// The configuration gives its address: it is not in the registry.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    given: bool,
    state: State,
    /// Why it is ejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probe: Option<ProbeResult>,
    revision: i64,
    in_flight: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    usual_latency_ms: Option<f64>,
    /// What it speaks, as its metadata says.
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<Protocol>,
    #[serde(skip_serializing_if = "Metadata::is_empty")]
    metadata: &'a Metadata,
    /// Why its metadata is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_left_out: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<FailureFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_check_failure: Option<FailureFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_trial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_trial_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_window_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_until: Option<String>,
}

#[derive(Serialize)]
struct FailureFields {
    at: String,
    reason: String,
}

fn describe_all<'a>(endpoints: &'a Endpoints, guard: &Guard, now: Moment) -> Vec<EndpointFields<'a>> {
    endpoints.entries().iter().map(|entry| describe(entry, guard, now)).collect()
}

fn describe<'a>(entry: &'a Entry, guard: &Guard, now: Moment) -> EndpointFields<'a> {
    let traffic = &entry.endpoint.traffic;
    let trial = traffic.passive.lock().unwrap_or_else(PoisonError::into_inner).next_trial();
    let (next_trial, on_trial_since) = match trial {
        Some(NextTrial::At(due)) => (Some(now.show(due)), None),
        Some(NextTrial::Running { since }) => (None, Some(now.show(since))),
        None => (None, None),
    };
    let doubt = doubt(entry, guard, now.instant);
    let (in_window_until, held_until) = match doubt {
        Some(Doubt::InWindow { until }) => (Some(now.show(until)), None),
        Some(Doubt::Held { until }) => (None, Some(now.show(until))),
        None => (None, None),
    };
    let Tenure { lease, revision } = entry.tenure.get();
    EndpointFields {
        instance: &entry.endpoint.instance,
        address: entry.endpoint.address.to_string(),
        weight: entry.weight,
        lease: format!("{lease:x}"),
        without_lease: entry.is_without_lease(),
        given: entry.standing == Standing::Given,
        state: entry.state(),
        reason: entry.health.ejected.map(|why| why.as_str()),
        probe: entry.standing.probe(),
        revision,
        in_flight: traffic.in_flight.count(),
        usual_latency_ms: traffic.latency.usual().map(|usual| usual.as_micros() as f64 / 1000.0),
        protocol: entry.protocol,
        metadata: &entry.metadata,
        metadata_left_out: entry.metadata.left_out().map(|why| why.to_string()),
        last_failure: failed(&traffic.last_failure, now),
        last_check_failure: failed(&traffic.last_check_failure, now),
        next_trial,
        on_trial_since,
        in_window_until,
        held_until,
    }
}

fn failed(last: &LastFailure, now: Moment) -> Option<FailureFields> {
    last.get().map(|(at, reason)| FailureFields { at: now.show(at), reason: reason.into_owned() })
}

/// Why an endpoint is still there whose registration has vanished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// It has vanished a moment ago. At this time it is dropped or held.
    InWindow { until: Instant },
    /// The guard holds it, until then at most.
    Held { until: Instant },
}

/// What the guard has not dropped when its window is over, it holds.
fn doubt(entry: &Entry, guard: &Guard, now: Instant) -> Option<Doubt> {
    let vanished = entry.vanished.filter(|_| matches!(entry.standing, Standing::Suspect(_)))?;
    let window = vanished + guard.window;
    Some(if now < window {
        Doubt::InWindow { until: window }
    } else {
        Doubt::Held { until: window + guard.hold }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory;
    use registry::contract::{Instance, Record};
    use registry::watch::{Change, Update};
    use serde_json::{Value, json};
    use std::time::Duration;

    fn instance(service: &str, id: &str) -> Instance {
        let mut record = Record::new(([10, 0, 0, 1], 80).into());
        record.metadata = Metadata::new([("zone", "b")]).expect("within the bounds");
        Instance { service: service.into(), id: id.into(), record, lease: 7, revision: 3 }
    }

    fn shown(directory: &Directory, now: Moment) -> Value {
        serde_json::from_slice(
            &page(directory, &WatchStatus::default(), &Guard::default(), now).expect("text and numbers"),
        )
        .expect("JSON")
    }

    #[test]
    fn services_without_a_route_and_routes_without_an_endpoint_are_named() {
        let (directory, mut writer) = directory::new(["goods", "empty"]);
        let instances = vec![instance("goods", "a"), instance("nobodys", "a")];
        writer.hear(Update::Reset { instances, refused: Vec::new(), revision: 3 });
        writer.publish(Instant::now);
        let page = shown(&directory, Moment::now());
        assert_eq!(
            (&page["without_route"], &page["without_endpoint"]),
            (&json!(["nobodys"]), &json!(["empty"]))
        );
        let endpoint = &page["services"]["goods"][0];
        assert_eq!((&endpoint["metadata"], &endpoint["revision"]), (&json!({"zone": "b"}), &json!(3)));
    }

    #[test]
    fn an_endpoint_that_stays_without_a_lease_is_marked() {
        let (directory, mut writer) = directory::new(["goods"]);
        let instances = vec![instance("goods", "a"), Instance { lease: 0, ..instance("goods", "b") }];
        writer.hear(Update::Reset { instances, refused: Vec::new(), revision: 3 });
        writer.publish(Instant::now);
        let endpoints = &shown(&directory, Moment::now())["services"]["goods"];
        let marks = [0, 1].map(|place| endpoints[place]["without_lease"].clone());
        assert_eq!(marks, [Value::Null, json!(true)]);
    }

    #[test]
    fn what_an_endpoint_speaks_is_shown_if_its_registration_says_it() {
        let (directory, mut writer) = directory::new(["goods"]);
        let speaks = |id: &str, protocol: &str| {
            let mut instance = instance("goods", id);
            instance.record.metadata = Metadata::new([("protocol", protocol)]).expect("within the bounds");
            instance
        };
        let instances = vec![speaks("a", "h2c"), instance("goods", "b"), speaks("c", "thrift")];
        writer.hear(Update::Reset { instances, refused: Vec::new(), revision: 3 });
        writer.publish(Instant::now);
        let endpoints = &shown(&directory, Moment::now())["services"]["goods"];
        let protocols = [0, 1, 2].map(|place| endpoints[place]["protocol"].clone());
        assert_eq!(protocols, [json!("h2c"), Value::Null, Value::Null]);
    }

    #[test]
    fn metadata_that_is_left_out_is_told_in_its_place() {
        let (directory, mut writer) = directory::new(["goods"]);
        let long = format!(r#"{{"address":"10.0.0.1:80","metadata":{{"a":"{}"}}}}"#, "x".repeat(1024));
        let record = Record::decode(long.as_bytes()).expect("a record without its metadata");
        let instances = vec![Instance { record, ..instance("goods", "a") }];
        writer.hear(Update::Reset { instances, refused: Vec::new(), revision: 3 });
        writer.publish(Instant::now);
        let endpoint = &shown(&directory, Moment::now())["services"]["goods"][0];
        let why = "the metadata has more than 1024 bytes, keys and values together";
        assert_eq!((&endpoint["metadata"], &endpoint["metadata_left_out"]), (&Value::Null, &json!(why)));
    }

    #[test]
    fn in_its_window_is_told_from_held_by_the_guard() {
        let (directory, mut writer) = directory::new(["goods", "empty"]);
        writer.hear(Update::Reset {
            instances: vec![instance("goods", "a")],
            refused: Vec::new(),
            revision: 3,
        });
        let gone = Change::Delete { service: "goods".into(), id: "a".into(), revision: 4 };
        writer.hear(Update::Apply { changes: vec![gone], revision: 4 });
        writer.publish(Instant::now);
        let Guard { window, hold, .. } = Guard::default();
        let vanished = directory.services()["goods"].endpoints().entries()[0].vanished.expect("it vanished");
        let at = |after: Duration| Moment { instant: vanished + after, utc: SystemTime::UNIX_EPOCH + after };
        let utc = |after: Duration| {
            json!(humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + after).to_string())
        };
        let before = &shown(&directory, at(window / 2))["services"]["goods"][0];
        assert_eq!((&before["in_window_until"], &before["held_until"]), (&utc(window), &Value::Null));
        let after = &shown(&directory, at(window))["services"]["goods"][0];
        assert_eq!((&after["in_window_until"], &after["held_until"]), (&Value::Null, &utc(window + hold)));
    }
}
