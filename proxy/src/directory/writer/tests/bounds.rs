//! How many registrations are taken, and who is left out.

use super::*;
use crate::directory::LeftOutSummary;
use proptest::prelude::*;

/// A writer within bounds, and what readers see.
struct Bench {
    directory: Arc<Directory>,
    writer: Writer,
    now: Instant,
}

impl Bench {
    fn new(instances: usize, services: usize) -> Self {
        let (directory, writer) = crate::directory::new(["goods"]);
        let writer = writer.within(config::Bounds { instances, services, ..config::Bounds::default() });
        Self { directory, writer, now: Instant::now() }
    }

    /// One that takes so many instances in all.
    fn of_registrations(registrations: usize) -> Self {
        let mut bench = Self::new(9, 9);
        bench.writer.bounds.registrations = registrations;
        bench
    }

    /// Takes an update, drops at once what vanishes by it, as a guard that is off does, and shows it.
    fn take(&mut self, update: Update) {
        for changed in self.writer.hear(update) {
            if changed.kind == TransitionKind::Vanished {
                self.writer.remove(&changed.service, &changed.instance);
            }
        }
        self.publish();
    }

    fn publish(&mut self) {
        self.now += PACE.interval;
        while let Some(at) = self.writer.publish(|| self.now) {
            self.now = at;
        }
    }

    /// Every endpoint that readers see, as service/instance.
    fn endpoints(&self) -> Vec<String> {
        let services = self.directory.services();
        let of = |service: &Service| {
            let endpoints = service.endpoints();
            let name = |e: &Entry| format!("{}/{}", e.endpoint.service, e.endpoint.instance);
            endpoints.entries().iter().map(name).collect::<Vec<_>>()
        };
        services.values().flat_map(|service| of(service)).collect()
    }

    /// How many are left out, by the bound of instances and by that of services.
    fn left_out(&self) -> (usize, usize) {
        let summary = self.directory.left_out();
        (summary.by_instances, summary.by_services)
    }
}

fn registered(service: &str, id: &str) -> Instance {
    instance(service, id, "10.0.0.1:80", 3)
}

fn apply(changes: Vec<Change>) -> Update {
    Update::Apply { changes, revision: 9 }
}

fn deleted(service: &str, id: &str) -> Change {
    Change::Delete { service: service.into(), id: id.into(), revision: 9 }
}

#[test]
fn whoever_is_in_stays_in_and_changes_and_whoever_comes_later_is_left_out_and_told_once() {
    let mut bench = Bench::new(2, 9);
    for id in ["m", "z", "a", "a"] {
        bench.take(put(id, "10.0.0.1:80", 3));
    }
    assert_eq!(bench.endpoints(), ["goods/m", "goods/z"]);
    assert_eq!(bench.left_out(), (1, 0));
    let news = bench.writer.news_of_left_out();
    assert_eq!(news.iter().map(|left| &*left.instance).collect::<Vec<_>>(), ["a"]);
    assert_eq!(news[0].bound, Bound::Instances(2));
    assert_eq!(bench.directory.left_out().last.as_ref(), news.first());

    let listed = ["a", "m", "z"].map(|id| registered("goods", id)).to_vec();
    bench.take(reset(listed));
    bench.take(put("z", "10.0.0.9:80", 10));
    assert_eq!(bench.endpoints(), ["goods/m", "goods/z"], "although a is listed first");
    assert_eq!(shown(&bench.directory)[1].0, "10.0.0.9:80");
    assert_eq!((bench.writer.news_of_left_out(), bench.writer.has_room_again()), (vec![], false));
}

#[test]
fn room_in_a_full_service_is_told_and_the_next_list_fills_it() {
    let mut bench = Bench::new(2, 9);
    let all = ["a", "b", "c", "d"].map(|id| registered("goods", id));
    bench.take(reset(all.to_vec()));
    assert_eq!(bench.left_out(), (2, 0));
    bench.take(delete("c", 4));
    assert_eq!(
        (bench.left_out(), bench.writer.has_room_again()),
        ((1, 0), false),
        "there is no room by that"
    );
    bench.take(delete("a", 5));
    assert!(bench.writer.has_room_again() && !bench.writer.has_room_again(), "said once");
    bench.take(reset(vec![all[1].clone(), all[3].clone()]));
    assert_eq!(bench.endpoints(), ["goods/b", "goods/d"]);
    assert_eq!(*bench.directory.left_out(), LeftOutSummary::default());
}

#[test]
fn whoever_drained_makes_room_too() {
    let mut bench = Bench::new(1, 9);
    bench.take(drain("a", "10.0.0.1:80", 3));
    bench.take(put("b", "10.0.0.1:80", 4));
    bench.writer.hear(delete("a", 5));
    assert!(bench.writer.has_room_again());
}

#[test]
fn a_service_that_a_route_names_has_its_place_however_many_others_there_are() {
    let mut bench = Bench::new(9, 2);
    let changes = ["a", "b", "c", "goods"].map(|service| Change::Put(registered(service, "1")));
    bench.take(apply(changes.to_vec()));
    assert_eq!(bench.endpoints(), ["a/1", "goods/1"]);
    assert_eq!(bench.left_out(), (0, 2));
    assert_eq!(bench.writer.news_of_left_out()[0].bound, Bound::Services(2));
    bench.take(apply(vec![deleted("a", "1")]));
    assert!(bench.writer.has_room_again());
    let listed = ["b", "c", "goods"].map(|service| registered(service, "1"));
    bench.take(reset(listed.to_vec()));
    assert_eq!(bench.endpoints(), ["b/1", "goods/1"]);
    assert_eq!(bench.left_out(), (0, 1));
}

#[test]
fn instances_in_all_are_bounded_and_those_that_requests_go_to_ask_nothing_of_the_others() {
    let mut bench = Bench::of_registrations(2);
    let names = [("a", "1"), ("b", "1"), ("c", "1"), ("goods", "1"), ("goods", "2"), ("goods", "3")];
    bench.take(apply(names.map(|(service, id)| Change::Put(registered(service, id))).to_vec()));
    assert_eq!(bench.endpoints(), ["a/1", "b/1", "goods/1", "goods/2"]);
    assert_eq!(bench.directory.left_out().by_registrations, 2);
    assert_eq!(bench.writer.news_of_left_out()[0].bound, Bound::Registrations(2));
    bench.take(apply(vec![Change::Put(instance("a", "1", "10.0.0.9:80", 9))]));
    assert_eq!(bench.endpoints().len(), 4, "whoever is in may change");
    bench.take(apply(vec![deleted("a", "1"), deleted("b", "1"), deleted("goods", "1")]));
    assert!(bench.writer.has_room_again());
    bench.take(reset(["2", "3"].map(|id| registered("goods", id)).to_vec()));
    assert_eq!(bench.endpoints(), ["goods/2", "goods/3"]);
    assert_eq!(*bench.directory.left_out(), LeftOutSummary::default());
}

#[test]
fn of_a_list_that_has_no_room_those_come_first_that_requests_go_to_and_then_the_oldest() {
    let listed = || {
        let names = [("a", "1", 2), ("b", "1", 1), ("goods", "!", 9), ("goods", "x", 4), ("goods", "y", 5)];
        names.map(|(service, id, revision)| instance(service, id, "10.0.0.1:80", revision)).to_vec()
    };
    for (registrations, expected) in
        [(2, &["goods/x", "goods/y"][..]), (4, &["b/1", "goods/!", "goods/x", "goods/y"])]
    {
        let mut bench = Bench::of_registrations(registrations);
        bench.take(reset(listed()));
        assert_eq!(bench.endpoints(), expected);
        let mut bench = Bench::of_registrations(registrations);
        bench.writer.stage_stale(listed(), 9);
        bench.publish();
        assert_eq!(bench.endpoints(), expected, "of the snapshot");
    }
    let mut bench = Bench::new(2, 9);
    bench.take(reset(listed()));
    assert_eq!(bench.endpoints(), ["a/1", "b/1", "goods/x", "goods/y"]);
}

#[test]
fn what_comes_from_the_snapshot_is_within_the_bounds_too() {
    let mut bench = Bench::new(1, 2);
    let names = [("a", "1"), ("a", "2"), ("b", "1"), ("goods", "1"), ("goods", "2")];
    let stale = bench.writer.stage_stale(names.map(|(service, id)| registered(service, id)).to_vec(), 3);
    bench.publish();
    assert_eq!(stale.len(), 2);
    assert_eq!(bench.endpoints(), ["a/1", "goods/1"]);
    assert_eq!(bench.left_out(), (2, 1));
}

/// A change of the registry: whether it is a put, of which of a few names.
fn some_changes() -> impl Strategy<Value = Vec<(bool, usize, usize)>> {
    proptest::collection::vec((any::<bool>(), 0..4_usize, 0..5_usize), 0..60)
}

proptest! {
    /// Whoever is left out is so because his service is full, or because there are as many services as there may be.
    #[test]
    fn nobody_is_left_out_while_there_is_room_and_nobody_is_forgotten(steps in some_changes()) {
        const SERVICES: [&str; 4] = ["a", "b", "c", "goods"];
        let mut bench = Bench::new(2, 3);
        let mut registry = BTreeSet::new();
        for (is_put, service, id) in steps {
            let (service, id) = (SERVICES[service], id.to_string());
            let change = if is_put {
                registry.insert((service, id.clone()));
                Change::Put(registered(service, &id))
            } else {
                registry.remove(&(service, id.clone()));
                deleted(service, &id)
            };
            bench.take(apply(vec![change]));
            if bench.writer.has_room_again() {
                bench.take(reset(registry.iter().map(|(service, id)| registered(service, id)).collect()));
            }
            let shown = bench.endpoints();
            let of = |service: &str| shown.iter().filter(|name| name.starts_with(&format!("{service}/"))).count();
            let services = bench.directory.services().len();
            prop_assert!(SERVICES.iter().all(|service| of(service) <= 2) && services <= 3);
            let is_full = |service: &str| of(service) == 2 || (of(service) == 0 && services == 3);
            let mut left_out = registry.iter().filter(|(s, id)| !shown.contains(&format!("{s}/{id}")));
            prop_assert!(left_out.all(|(service, _)| is_full(service)), "{:?} of {:?}", shown, registry);
            let (by_instances, by_services) = bench.left_out();
            prop_assert_eq!(shown.len() + by_instances + by_services, registry.len());
            prop_assert_eq!(bench.directory.left_out().last.is_some(), shown.len() < registry.len());
        }
    }
}
