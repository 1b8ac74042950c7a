mod bounds;
mod departure;
mod given;
mod route;

use std::cell::Cell;
use std::time::Duration;

use super::publish::PACE;
use super::*;
use crate::directory::{Bound, Endpoints, Policy, Rank, Service, State};
use registry::contract::Metadata;

/// For the tests of all rooms, to which the time is nothing.
impl Writer {
    pub(crate) fn hear(&mut self, update: Update) -> Vec<Transition> {
        self.stage(update, Instant::now())
    }

    pub(crate) fn find(&mut self, endpoint: &Endpoint, finding: Finding) -> Option<Novelty> {
        self.judged(endpoint, finding, Instant::now())
    }
}

fn instance(service: &str, id: &str, address: &str, revision: i64) -> Instance {
    Instance {
        service: service.into(),
        id: id.into(),
        record: Record::new(address.parse().unwrap()),
        lease: 7,
        revision,
    }
}

fn put(id: &str, address: &str, revision: i64) -> Update {
    let changes = vec![Change::Put(instance("goods", id, address, revision))];
    Update::Apply { changes, revision }
}

fn drain(id: &str, address: &str, revision: i64) -> Update {
    let mut instance = instance("goods", id, address, revision);
    instance.record.weight = 0;
    Update::Apply { changes: vec![Change::Put(instance)], revision }
}

fn delete(id: &str, revision: i64) -> Update {
    let (service, id) = ("goods".into(), id.into());
    let changes = vec![Change::Delete { service, id, revision }];
    Update::Apply { changes, revision }
}

fn reset(instances: Vec<Instance>) -> Update {
    Update::Reset { instances, refused: Vec::new(), revision: 9 }
}

fn shown(directory: &Directory) -> Vec<(String, u64)> {
    let service = directory.service("goods").unwrap();
    let endpoints = service.endpoints();
    let shown = |e: &Entry| (e.endpoint.address.to_string(), e.endpoint.id);
    endpoints.entries().iter().map(shown).collect()
}

fn standings(directory: &Directory) -> Vec<(String, Standing)> {
    let service = directory.service("goods").unwrap();
    let endpoints = service.endpoints();
    endpoints.entries().iter().map(|e| (e.endpoint.instance.to_string(), e.standing)).collect()
}

fn kinds(changed: &[Transition]) -> Vec<(TransitionKind, &str)> {
    changed.iter().map(|c| (c.kind, &*c.instance)).collect()
}

/// Publishes all that is staged, however recently it was published before.
fn publish(writer: &mut Writer) {
    let later = Instant::now() + 2 * PACE.interval;
    if let Some(at) = writer.publish(|| later) {
        assert_eq!(writer.publish(|| at), None);
    }
}

#[test]
fn readers_see_a_change_when_it_is_published() {
    let (directory, mut writer) = super::super::new(["goods"]);
    writer.hear(put("a", "10.0.0.1:80", 5));
    assert!(shown(&directory).is_empty());
    assert_eq!(writer.publish(Instant::now), None);
    assert_eq!(shown(&directory), [("10.0.0.1:80".to_owned(), 1)]);
    assert_eq!(directory.revision(), 5);
}

#[test]
fn a_storm_is_published_once_an_interval_and_its_last_change_is_not_lost() {
    let (directory, mut writer) = super::super::new(["goods"]);
    let now = Instant::now();
    writer.hear(put("a", "10.0.0.1:80", 5));
    assert_eq!(writer.publish(|| now), None);
    writer.hear(put("b", "10.0.0.2:80", 6));
    let next = writer.publish(|| now + Duration::from_millis(3));
    assert_eq!(next, Some(now + PACE.interval));
    assert_eq!(shown(&directory).len(), 1);
    assert_eq!(writer.publish(|| now + PACE.interval), None);
    assert_eq!(shown(&directory).len(), 2);
}

#[test]
fn a_service_that_takes_long_to_publish_is_published_less_often() {
    let (directory, mut writer) = super::super::new(["goods"]);
    let begin = Instant::now();
    writer.hear(put("a", "10.0.0.1:80", 5));
    // Each look at the clock is 7 ms after the former one.
    let looks = Cell::new(0);
    let slow = || {
        looks.set(looks.get() + 1);
        begin + Duration::from_millis(7) * (looks.get() - 1)
    };
    writer.publish(slow);
    assert_eq!(shown(&directory).len(), 1);
    let begun = begin + Duration::from_millis(7);
    let interval = Duration::from_millis(70);
    writer.hear(put("b", "10.0.0.2:80", 6));
    let early = begun + interval - Duration::from_millis(1);
    assert_eq!(writer.publish(|| early), Some(begun + interval));
    assert_eq!(shown(&directory).len(), 1);
    assert_eq!(writer.publish(|| begun + interval), None);
    assert_eq!(shown(&directory).len(), 2);
}

#[test]
fn a_storm_of_one_service_does_not_delay_another() {
    let (directory, mut writer) = super::super::new(["goods"]);
    let now = Instant::now();
    writer.hear(put("a", "10.0.0.1:80", 5));
    writer.publish(|| now);
    writer.hear(put("b", "10.0.0.2:80", 6));
    let changes = vec![Change::Put(instance("other", "x", "10.0.0.3:80", 7))];
    writer.hear(Update::Apply { changes, revision: 7 });
    assert!(writer.publish(|| now).is_some());
    assert_eq!(directory.service("other").unwrap().endpoints().entries().len(), 1);
}

#[test]
fn an_endpoint_keeps_its_identity_until_its_address_changes_or_it_goes() {
    let (directory, mut writer) = super::super::new(["goods"]);
    let id = |writer: &mut Writer| {
        publish(writer);
        shown(&directory).first().map(|(_, id)| *id)
    };
    writer.hear(put("a", "10.0.0.1:80", 1));
    assert_eq!(id(&mut writer), Some(1));
    writer.hear(put("a", "10.0.0.1:80", 2));
    assert_eq!(id(&mut writer), Some(1), "a new lease");
    writer.hear(reset(vec![instance("goods", "a", "10.0.0.1:80", 9)]));
    assert_eq!(id(&mut writer), Some(1), "a resync");
    writer.hear(put("a", "10.0.0.9:80", 10));
    assert_eq!(id(&mut writer), Some(2));
    writer.hear(delete("a", 11));
    assert_eq!(id(&mut writer), Some(2), "in doubt");
    writer.hear(put("a", "10.0.0.9:80", 12));
    assert_eq!(id(&mut writer), Some(2), "back");
    writer.hear(delete("a", 13));
    writer.remove(&"goods".into(), "a").unwrap();
    assert_eq!(id(&mut writer), None);
    writer.hear(put("a", "10.0.0.9:80", 14));
    assert_eq!(id(&mut writer), Some(3), "no id twice");
}

/// Whoever registers an instance again may say more of it, or drain it by a record that says less.
#[test]
fn what_an_endpoint_speaks_is_as_it_was_said_last_and_no_part_of_its_identity() {
    let (directory, mut writer) = super::super::new(["goods"]);
    let speaks = |protocol: &str| {
        let mut instance = instance("goods", "a", "10.0.0.1:80", 1);
        instance.record.metadata = Metadata::new([("protocol", protocol)]).unwrap();
        instance
    };
    let shown = |writer: &mut Writer| {
        publish(writer);
        let endpoints = directory.service("goods").unwrap().endpoints();
        let entry = &endpoints.entries()[0];
        (entry.endpoint.id, entry.protocol)
    };
    writer.stage_stale(vec![speaks("h2c")], 1);
    assert_eq!(shown(&mut writer), (1, Some(Protocol::H2c)), "from the snapshot");
    writer.hear(reset(vec![speaks("h2c")]));
    assert_eq!(shown(&mut writer), (1, Some(Protocol::H2c)), "confirmed");
    writer.hear(Update::Apply { changes: vec![Change::Put(speaks("http1"))], revision: 10 });
    assert_eq!(shown(&mut writer), (1, Some(Protocol::Http1)));
    assert_eq!(writer.unknown_protocol("goods", "a"), None);
    writer.hear(Update::Apply { changes: vec![Change::Put(speaks("thrift"))], revision: 11 });
    assert_eq!(shown(&mut writer), (1, None));
    assert!(writer.unknown_protocol("goods", "a").is_some());
    writer.hear(put("a", "10.0.0.1:80", 12));
    assert_eq!((shown(&mut writer), writer.unknown_protocol("goods", "a")), ((1, None), None));
}

#[test]
fn a_registration_that_vanishes_leaves_its_endpoint_suspect() {
    let (directory, mut writer) = super::super::new(["goods"]);
    writer.hear(put("a", "10.0.0.1:80", 1));
    writer.hear(put("b", "10.0.0.2:80", 2));
    assert_eq!(writer.up("goods"), 2);
    let changed = writer.hear(delete("a", 3));
    assert_eq!(kinds(&changed), [(TransitionKind::Vanished, "a")]);
    assert_eq!(writer.up("goods"), 1);
    assert!(writer.hear(delete("a", 4)).is_empty(), "it vanished already");
    publish(&mut writer);
    let expected = [("a", Standing::Suspect(ProbeResult::Pending)), ("b", Standing::Registered)];
    assert_eq!(standings(&directory), expected.map(|(id, standing)| (id.to_owned(), standing)));
    let endpoints = directory.service("goods").unwrap().endpoints();
    assert_eq!((endpoints.best(), endpoints.cumulative()), (Some(Rank::First), &[0, 1][..]));
}

#[test]
fn a_draining_endpoint_leaves_with_its_registration() {
    let (directory, mut writer) = super::super::new(["goods"]);
    writer.hear(put("a", "10.0.0.1:80", 1));
    writer.hear(drain("a", "10.0.0.1:80", 2));
    assert_eq!(writer.up("goods"), 0);
    let changed = writer.hear(delete("a", 3));
    assert_eq!(kinds(&changed), [(TransitionKind::Deleted, "a")]);
    publish(&mut writer);
    assert!(shown(&directory).is_empty());
}

#[test]
fn only_a_suspect_can_be_removed() {
    let (_, mut writer) = super::super::new([]);
    let goods: Arc<str> = "goods".into();
    writer.hear(put("a", "10.0.0.1:80", 1));
    assert!(writer.remove(&goods, "a").is_none());
    assert!(writer.remove(&goods, "b").is_none());
    writer.hear(delete("a", 2));
    assert_eq!(writer.remove(&goods, "a").unwrap().state(), State::Suspect);
}

#[test]
fn a_probe_speaks_for_the_endpoint_that_was_probed_and_no_other() {
    let (directory, mut writer) = super::super::new(["goods"]);
    let endpoint = |writer: &mut Writer, update| writer.hear(update).remove(0).after.unwrap();
    let former = endpoint(&mut writer, put("a", "10.0.0.1:80", 1));
    assert_eq!(writer.probed(&former, ProbeResult::Failed), None, "it is registered");
    writer.hear(delete("a", 2));
    let passed = Standing::Suspect(ProbeResult::Passed);
    assert_eq!(writer.probed(&former, ProbeResult::Passed), Some(passed));
    publish(&mut writer);
    assert_eq!(standings(&directory), [("a".to_owned(), passed)]);

    let later = endpoint(&mut writer, put("a", "10.0.0.2:80", 3));
    writer.hear(delete("a", 4));
    assert_eq!(writer.probed(&former, ProbeResult::Failed), None, "it has been replaced");
    assert_eq!(writer.probed(&later, ProbeResult::Failed), Some(Standing::Suspect(ProbeResult::Failed)));
    writer.remove(&"goods".into(), "a");
    assert_eq!(writer.probed(&later, ProbeResult::Passed), None, "it is gone");
}

#[test]
fn an_outcome_that_changes_nothing_is_not_published() {
    let (_, mut writer) = super::super::new([]);
    let endpoint = writer.hear(put("a", "10.0.0.1:80", 1)).remove(0).after.unwrap();
    writer.hear(delete("a", 2));
    writer.probed(&endpoint, ProbeResult::Passed);
    publish(&mut writer);
    writer.probed(&endpoint, ProbeResult::Passed);
    assert!(writer.dirty.is_empty());
}

#[test]
fn a_reset_reports_only_what_differs() {
    let (_, mut writer) = super::super::new([]);
    let listed = |ids: &[&str]| reset(ids.iter().map(|id| instance("goods", id, "10.0.0.1:80", 3)).collect());
    assert_eq!(writer.hear(listed(&["a", "b"])).len(), 2);
    assert!(writer.hear(listed(&["a", "b"])).is_empty());
    let changed = writer.hear(listed(&["b", "c"]));
    assert_eq!(kinds(&changed), [(TransitionKind::Vanished, "a"), (TransitionKind::Put, "c")]);
    let changed = writer.hear(listed(&["a", "b", "c"]));
    assert_eq!(kinds(&changed), [(TransitionKind::Confirmed, "a")]);
}

#[test]
fn the_snapshot_is_stale_until_the_first_list_replaces_it_by_the_difference() {
    let (directory, mut writer) = super::super::new(["goods"]);
    let kept = |id: &str, address: &str| instance("goods", id, address, 3);
    let instances = vec![kept("a", "10.0.0.1:80"), kept("b", "10.0.0.2:80"), kept("c", "10.0.0.3:80")];
    let endpoints = writer.stage_stale(instances, 3);
    assert!(!directory.is_filled(), "nothing is shown yet");
    publish(&mut writer);
    assert!(directory.is_filled() && directory.is_stale() && !directory.is_synced());
    assert_eq!((directory.revision(), writer.up("goods")), (3, 0));
    assert!(standings(&directory).iter().all(|(_, s)| *s == Standing::Stale(ProbeResult::Pending)));
    assert_eq!(directory.service("goods").unwrap().endpoints().best(), None, "not yet probed");

    assert_eq!(writer.probed(&endpoints[1], ProbeResult::Failed), Some(Standing::Stale(ProbeResult::Failed)));
    let changed = writer.hear(reset(vec![
        kept("a", "10.0.0.1:80"),
        instance("goods", "c", "10.0.0.9:80", 5),
        instance("goods", "d", "10.0.0.4:80", 6),
    ]));
    let expected = [
        (TransitionKind::Vanished, "b"),
        (TransitionKind::Confirmed, "a"),
        (TransitionKind::Put, "c"),
        (TransitionKind::Put, "d"),
    ];
    assert_eq!(kinds(&changed), expected);
    publish(&mut writer);
    assert!(directory.is_synced() && !directory.is_stale());
    let ids: Vec<_> = shown(&directory).into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids, [1, 2, 4, 5], "who has not moved keeps its identity");
    let b = (String::from("b"), Standing::Suspect(ProbeResult::Failed));
    assert!(standings(&directory).contains(&b), "what its probe said holds");
}

#[test]
fn what_the_first_list_does_not_confirm_is_not_used_before_its_probe_passes() {
    let (directory, mut writer) = super::super::new(["goods"]);
    let endpoints = writer.stage_stale(vec![instance("goods", "a", "10.0.0.1:80", 3)], 3);
    assert_eq!(kinds(&writer.hear(reset(Vec::new()))), [(TransitionKind::Vanished, "a")]);
    publish(&mut writer);
    let best = || directory.service("goods").unwrap().endpoints().best();
    assert_eq!(best(), None);
    assert_eq!(
        writer.probed(&endpoints[0], ProbeResult::Passed),
        Some(Standing::Suspect(ProbeResult::Passed))
    );
    publish(&mut writer);
    assert_eq!(best(), Some(Rank::Second));
}

#[test]
fn an_entry_gives_its_registration_back_whole() {
    let (directory, mut writer) = super::super::new(["goods"]);
    let mut plain = instance("goods", "a", "10.0.0.1:80", 3);
    plain.record.weight = 5;
    let mut rich = instance("goods", "b", "10.0.0.2:80", 4);
    rich.record.metadata = Metadata::new([("zone", "x")]).expect("within the bounds");
    writer.hear(reset(vec![plain.clone(), rich.clone()]));
    publish(&mut writer);
    let endpoints = directory.service("goods").unwrap().endpoints();
    let instances: Vec<_> = endpoints.entries().iter().map(Entry::to_instance).collect();
    assert_eq!(instances, [plain, rich]);
}

/// Whoever may register makes names as he likes, and each copies the map of all of them.
#[test]
fn new_services_enter_the_map_together_and_delay_none_that_a_route_names() {
    let (directory, mut writer) = super::super::new(["goods"]);
    let now = Instant::now();
    let ms = Duration::from_millis(1);
    let put_service = |service: &str| {
        let changes = vec![Change::Put(instance(service, "x", "10.0.0.3:80", 7))];
        Update::Apply { changes, revision: 7 }
    };
    writer.hear(put_service("first"));
    assert_eq!(writer.publish(|| now), None);
    for (n, service) in ["second", "third"].into_iter().enumerate() {
        writer.hear(put_service(service));
        writer.hear(put("a", &format!("10.0.0.{n}:80"), 8));
        assert_eq!(writer.publish(|| now + 3 * ms), Some(now + PACE.interval));
        assert!(directory.service(service).is_none());
        assert_eq!(shown(&directory).len(), 1, "its first time, and then it waits for its own interval");
    }
    // The copy itself takes 7 ms.
    let looks = Cell::new(0);
    let slow = || {
        looks.set(looks.get() + 1);
        now + PACE.interval + 7 * ms * (looks.get() / 3)
    };
    writer.publish(slow);
    assert!(["second", "third"].iter().all(|service| directory.service(service).is_some()));
    writer.hear(put_service("fourth"));
    assert_eq!(writer.publish(|| now + 7 * PACE.interval), Some(now + 8 * PACE.interval));
}

#[test]
fn endpoints_share_their_traffic_only_where_none_is_sent() {
    let (directory, mut writer) = super::super::new(["goods"]);
    let instances =
        ["goods", "other"].map(|service| ["a", "b"].map(|id| instance(service, id, "10.0.0.1:80", 3)));
    writer.hear(reset(instances.concat()));
    publish(&mut writer);
    let shares = |service: &str| {
        let service = directory.service(service).unwrap();
        let endpoints = service.endpoints();
        let [a, b] = [0, 1].map(|n| &endpoints.entries()[n].endpoint.traffic);
        Arc::ptr_eq(a, b)
    };
    assert!(!shares("goods") && shares("other"));
}

#[test]
fn a_service_without_endpoints_is_forgotten_unless_a_route_holds_it() {
    let (directory, mut writer) = super::super::new(["goods"]);
    let mut now = Instant::now();
    for (service, id) in [("goods", "a"), ("other", "b")] {
        let changes = vec![Change::Put(instance(service, id, "10.0.0.1:80", 1))];
        writer.hear(Update::Apply { changes, revision: 1 });
    }
    writer.publish(|| now);
    assert_eq!(directory.services().len(), 2);
    for changed in writer.hear(reset(Vec::new())) {
        writer.remove(&changed.service, &changed.instance);
    }
    now += PACE.interval;
    assert_eq!(writer.publish(|| now), Some(now + PACE.interval));
    now += PACE.interval;
    assert_eq!(writer.publish(|| now), None);
    assert_eq!(directory.services().keys().map(|n| &**n).collect::<Vec<_>>(), ["goods"]);
    assert_eq!(writer.staged.len(), 1);
}

#[test]
fn a_delete_of_what_is_not_there_is_no_change() {
    let (_, mut writer) = super::super::new([]);
    assert!(writer.hear(delete("a", 4)).is_empty());
    assert!(!writer.synced, "an event alone does not make a picture");
}

/// `goods`, whose endpoints start unhealthy.
fn to_be_proven() -> (Arc<Directory>, Writer) {
    let policy = Policy { initially: Initially::Unhealthy, ..Policy::default() };
    super::super::with_routed([("goods", policy)])
}

fn ranks(directory: &Directory) -> Vec<(State, Option<Rank>)> {
    let service = directory.service("goods").unwrap();
    service.endpoints().entries().iter().map(|e| (e.state(), e.rank())).collect()
}

#[test]
fn one_that_is_to_be_proven_is_unhealthy_from_the_first_list_on() {
    let (directory, mut writer) = to_be_proven();
    writer.hear(reset(vec![
        instance("goods", "a", "10.0.0.1:80", 5),
        instance("goods", "b", "10.0.0.2:80", 6),
        instance("goods", "c", "10.0.0.3:80", 7),
    ]));
    publish(&mut writer);
    let unproven = (State::Unhealthy, Some(Rank::Third));
    assert_eq!(ranks(&directory), [unproven; 3]);

    // The others are more than half, and yet they make no panic.
    let a = directory.service("goods").unwrap().endpoints().entries()[0].endpoint.clone();
    assert_eq!(writer.find(&a, Finding::Healthy), Some(Novelty::New));
    publish(&mut writer);
    let up = (State::Up, Some(Rank::First));
    assert_eq!(ranks(&directory), [up, unproven, unproven]);

    // Nor do they take part in one.
    assert_eq!(writer.find(&a, Finding::Unhealthy), Some(Novelty::New));
    publish(&mut writer);
    assert_eq!(ranks(&directory), [(State::Unhealthy, Some(Rank::First)), unproven, unproven]);

    // A new lease is the same endpoint; another address is one to be proven again.
    assert_eq!(writer.find(&a, Finding::Healthy), Some(Novelty::New));
    writer.hear(put("a", "10.0.0.1:80", 8));
    publish(&mut writer);
    assert_eq!(ranks(&directory), [up, unproven, unproven]);
    writer.hear(put("a", "10.0.0.4:80", 9));
    publish(&mut writer);
    assert_eq!(ranks(&directory), [unproven; 3]);
}

/// What readers see at the moment, to be compared by identity.
fn publication(directory: &Directory) -> Arc<Endpoints> {
    directory.service("goods").unwrap().endpoints().clone()
}

#[test]
fn a_put_that_changes_nothing_is_not_published_and_its_lease_and_revision_are_shown() {
    let (directory, mut writer) = crate::directory::new(["goods"]);
    writer.hear(reset(vec![instance("goods", "a", "10.0.0.1:80", 3)]));
    publish(&mut writer);
    let published = publication(&directory);
    let again = Instance { lease: 8, ..instance("goods", "a", "10.0.0.1:80", 12) };
    let changed = writer.hear(Update::Apply { changes: vec![Change::Put(again.clone())], revision: 12 });
    assert_eq!(kinds(&changed), [(TransitionKind::Renewed, "a")]);
    publish(&mut writer);
    assert!(Arc::ptr_eq(&published, &publication(&directory)));
    assert_eq!(published.entries()[0].tenure.get(), Tenure { lease: 8, revision: 12 });
    assert_eq!(published.entries()[0].to_instance(), again);
    assert_eq!(directory.revision(), 12);

    let listed = Instance { revision: 20, ..again };
    let kinds_of = |changed: Vec<Transition>| changed.iter().map(|c| c.kind).collect::<Vec<_>>();
    assert_eq!(kinds_of(writer.hear(reset(vec![listed.clone()]))), [TransitionKind::Renewed]);
    assert_eq!(kinds_of(writer.hear(reset(vec![listed]))), []);
    publish(&mut writer);
    assert!(Arc::ptr_eq(&published, &publication(&directory)));
}

#[test]
fn a_put_that_changes_anything_is_published() {
    let former = instance("goods", "a", "10.0.0.1:80", 3);
    let zone = Metadata::new([("zone", "a")]).expect("within the bounds");
    let record = || former.record.clone();
    let records = [
        Record { weight: 2, ..record() },
        Record { metadata: zone.clone(), ..record() },
        Record { metadata: zone, weight: 0, ..record() },
        Record::new("10.0.0.2:80".parse().unwrap()),
    ];
    let (directory, mut writer) = crate::directory::new(["goods"]);
    writer.hear(reset(vec![former.clone()]));
    publish(&mut writer);
    for (revision, record) in (4..).zip(records) {
        let published = publication(&directory);
        let changed = Instance { record: record.clone(), revision, ..former.clone() };
        let update = Update::Apply { changes: vec![Change::Put(changed.clone())], revision };
        assert_eq!(kinds(&writer.hear(update)), [(TransitionKind::Put, "a")], "{record:?}");
        // Not shown before it is published.
        assert_ne!(published.entries()[0].to_instance().revision, revision);
        publish(&mut writer);
        assert_eq!(publication(&directory).entries()[0].to_instance(), changed);
    }
}

#[test]
fn a_put_of_what_is_in_doubt_is_published_although_it_says_what_it_said() {
    let (directory, mut writer) = crate::directory::new(["goods"]);
    writer.hear(put("a", "10.0.0.1:80", 3));
    writer.hear(delete("a", 4));
    publish(&mut writer);
    assert_eq!(kinds(&writer.hear(put("a", "10.0.0.1:80", 5))), [(TransitionKind::Put, "a")]);
    publish(&mut writer);
    assert_eq!(standings(&directory), [("a".to_owned(), Standing::Registered)]);
}

#[test]
fn only_another_registrar_at_another_address_takes_a_key_over() {
    let put_by = |lease: i64, address: &str, revision: i64| {
        let instance = Instance { lease, ..instance("goods", "a", address, revision) };
        Update::Apply { changes: vec![Change::Put(instance)], revision }
    };
    let (_directory, mut writer) = crate::directory::new(["goods"]);
    for (lease, address, kind) in [
        (7, "10.0.0.1:80", TransitionKind::Put),
        (7, "10.0.0.2:80", TransitionKind::Put),
        (8, "10.0.0.2:80", TransitionKind::Renewed),
        (9, "10.0.0.3:80", TransitionKind::TakenOver),
        (0, "10.0.0.4:80", TransitionKind::TakenOver),
        (0, "10.0.0.5:80", TransitionKind::TakenOver),
    ] {
        let changed = writer.hear(put_by(lease, address, 3 + lease));
        assert_eq!(kinds(&changed), [(kind, "a")], "{lease} at {address}");
    }
    writer.hear(delete("a", 20));
    assert_eq!(
        kinds(&writer.hear(put_by(10, "10.0.0.6:80", 21))),
        [(TransitionKind::Put, "a")],
        "it had left"
    );
}

fn refused(id: &str, revision: i64) -> Change {
    Change::Refused { name: InstanceName { service: "goods".into(), id: id.into() }, revision }
}

#[test]
fn what_is_refused_is_gone_at_once_however_it_stood() {
    let (directory, mut writer) = super::super::new(["goods"]);
    let instances = ["a", "b", "c"].map(|id| instance("goods", id, "10.0.0.1:80", 3));
    writer.hear(reset(instances.to_vec()));
    writer.hear(delete("b", 10));
    let update =
        Update::Apply { changes: ["a", "b", "nobody"].map(|id| refused(id, 11)).to_vec(), revision: 11 };
    let changed = writer.hear(update);
    assert_eq!(kinds(&changed), [(TransitionKind::Refused, "a"), (TransitionKind::Refused, "b")]);
    publish(&mut writer);
    assert_eq!(standings(&directory), [("c".to_owned(), Standing::Registered)]);
    assert_eq!(writer.up("goods"), 1);
}

#[test]
fn what_a_list_shows_as_refused_does_not_vanish() {
    let (directory, mut writer) = super::super::new(["goods"]);
    let instances = ["a", "b"].map(|id| instance("goods", id, "10.0.0.1:80", 3));
    writer.hear(reset(instances.to_vec()));
    let refused = vec![InstanceName { service: "goods".into(), id: "a".into() }];
    let changed = writer.hear(Update::Reset { instances: Vec::new(), refused, revision: 12 });
    assert_eq!(kinds(&changed), [(TransitionKind::Refused, "a"), (TransitionKind::Vanished, "b")]);
    publish(&mut writer);
    assert_eq!(standings(&directory), [("b".to_owned(), Standing::Suspect(ProbeResult::Pending))]);
}
