//! Services that routes begin to name, and those that they name no more.

use super::*;
use crate::config::{Balance, HashKey};
use crate::directory::Plan;
use crate::traffic::Traffic;

/// The names and policies of a configuration.
fn named<const N: usize>(services: [(&str, Policy); N]) -> [(Arc<str>, Policy); N] {
    services.map(|(name, policy)| (name.into(), policy))
}

fn balanced(balance: Balance) -> Policy {
    Policy { balance, ..Policy::default() }
}

fn route(writer: &mut Writer, policy: Policy) -> Arc<Service> {
    let routed = writer.route(named([("goods", policy.clone())])).services["goods"].clone();
    writer.change_policies(named([("goods", policy)]));
    routed
}

fn unroute(writer: &mut Writer) -> Vec<Entry> {
    writer.unroute([&"goods".into()])
}

/// `goods` with these instances, routed by this policy or, if there is none, by no route.
fn with(ids: &[&str], policy: Option<Policy>) -> (Arc<Directory>, Writer) {
    let (directory, mut writer) = super::super::super::with_routed(policy.map(|policy| ("goods", policy)));
    writer.hear(reset(ids.iter().map(|id| instance("goods", id, "10.0.0.1:80", 3)).collect()));
    publish(&mut writer);
    (directory, writer)
}

fn endpoints(service: &Service) -> Vec<Arc<Endpoint>> {
    service.endpoints().entries().iter().map(|entry| entry.endpoint.clone()).collect()
}

fn traffics(service: &Service) -> Vec<*const Traffic> {
    endpoints(service).iter().map(|endpoint| Arc::as_ptr(&endpoint.traffic)).collect()
}

#[test]
fn a_service_that_is_routed_already_by_the_same_policy_is_left_alone() {
    let (directory, mut writer) = with(&["a"], Some(balanced(Balance::RoundRobin)));
    let service = directory.service("goods").unwrap();
    let (services, published) = (directory.services(), publication(&directory));
    let again = route(&mut writer, balanced(Balance::RoundRobin));
    assert!(Arc::ptr_eq(&again, &service) && Arc::ptr_eq(&directory.services(), &services));
    assert!(Arc::ptr_eq(&publication(&directory), &published));
}

#[test]
fn another_policy_makes_another_plan_at_once_and_leaves_the_endpoints_as_they_are() {
    let (directory, mut writer) = with(&["a", "b"], Some(Policy::default()));
    let service = directory.service("goods").unwrap();
    let before = endpoints(&service);
    assert!(matches!(service.endpoints().plan(), Plan::Random));
    // Published a moment ago, and again at once: what comes meanwhile is shown with it.
    writer.hear(put("c", "10.0.0.3:80", 12));
    let again = route(&mut writer, balanced(Balance::LeastRequest));
    assert!(Arc::ptr_eq(&again, &service));
    assert!(matches!(service.endpoints().plan(), Plan::LeastRequest));
    let after = endpoints(&service);
    assert_eq!(after.len(), 3);
    assert!(before.iter().zip(&after).all(|(before, after)| Arc::ptr_eq(before, after)));
    assert!(writer.dirty.is_empty());
}

#[test]
fn another_slow_start_holds_at_once() {
    let (directory, mut writer) = with(&["a"], Some(Policy::default()));
    writer.hear(put("b", "10.0.0.3:80", 12));
    publish(&mut writer);
    assert!(publication(&directory).ramp().is_none());
    route(&mut writer, Policy { slow_start: Duration::from_secs(10), ..Policy::default() });
    assert!(publication(&directory).ramp().is_some());
}

#[test]
fn turns_go_on_where_only_the_rest_of_the_policy_changes() {
    let (directory, mut writer) = with(&["a", "b", "c"], Some(balanced(Balance::RoundRobin)));
    let turn = || match publication(&directory).plan() {
        Plan::RoundRobin(schedule) => schedule.turn(),
        plan => panic!("{plan:?}"),
    };
    let first = [turn(), turn()];
    let slow_start = Duration::from_secs(10);
    route(&mut writer, Policy { slow_start, ..balanced(Balance::RoundRobin) });
    let third = turn();
    assert!(!first.contains(&third), "{first:?}, {third:?}");
}

#[test]
fn a_ring_goes_on_where_something_else_is_hashed_and_the_plan_knows_what() {
    let (directory, mut writer) = with(&["a", "b"], Some(balanced(Balance::Hash(HashKey::Path))));
    let ring = || match publication(&directory).plan() {
        Plan::Hash(hashing) => hashing.ring().clone().map(|ring| Arc::as_ptr(&ring)),
        plan => panic!("{plan:?}"),
    };
    let built = ring();
    assert!(built.is_some());
    assert_eq!(publication(&directory).plan().hash_key(), Some(&HashKey::Path));
    route(&mut writer, balanced(Balance::Hash(HashKey::Client)));
    assert_eq!((ring(), publication(&directory).plan().hash_key()), (built, Some(&HashKey::Client)));
    route(&mut writer, balanced(Balance::Ewma));
    assert_eq!(publication(&directory).plan().hash_key(), None);
    route(&mut writer, balanced(Balance::Hash(HashKey::Client)));
    assert!(ring().is_some(), "made anew");
}

#[test]
fn a_service_that_was_not_there_can_be_routed_before_anybody_is_registered() {
    let (directory, mut writer) = super::super::super::new([]);
    let service = route(&mut writer, Policy::default());
    assert!(service.is_routed() && service.endpoints().entries().is_empty());
    assert!(Arc::ptr_eq(&directory.service("goods").unwrap(), &service));
    writer.hear(put("a", "10.0.0.1:80", 3));
    assert_eq!(writer.publish(Instant::now), None);
    assert_eq!(endpoints(&service).len(), 1);
}

#[test]
fn who_is_registered_before_his_service_is_routed_can_be_sent_to_as_soon_as_it_is() {
    let (directory, mut writer) = with(&["a", "b"], None);
    let unrouted = directory.service("goods").unwrap();
    // Not published yet, and by its own bounds not for a while.
    writer.hear(put("c", "10.0.0.3:80", 12));
    let service = route(&mut writer, balanced(Balance::RoundRobin));
    assert!(Arc::ptr_eq(&directory.service("goods").unwrap(), &service));
    assert!(service.is_routed() && writer.is_routed("goods") && !unrouted.is_routed());
    assert_eq!(service.endpoints().best(), Some(Rank::First));
    assert!(matches!(service.endpoints().plan(), Plan::RoundRobin(_)));
    let ids: BTreeSet<_> = endpoints(&service).iter().map(|endpoint| endpoint.id).collect();
    let former: BTreeSet<_> = endpoints(&unrouted).iter().map(|endpoint| endpoint.id).collect();
    assert!(ids.len() == 3 && ids.is_disjoint(&former), "{ids:?}, {former:?}");
    let mut traffics = traffics(&service);
    traffics.dedup();
    assert_eq!(traffics.len(), 3, "each has its own");
    assert_eq!((writer.up("goods"), writer.taken.routed, writer.taken.others), (3, 3, 0));
    assert!(writer.dirty.is_empty());
}

#[test]
fn who_is_to_be_proven_is_so_from_the_moment_that_his_service_is_routed() {
    let (directory, mut writer) = with(&["a"], None);
    assert_eq!(ranks(&directory), [(State::Up, Some(Rank::First))]);
    route(&mut writer, Policy { initially: Initially::Unhealthy, ..Policy::default() });
    assert_eq!(ranks(&directory), [(State::Unhealthy, Some(Rank::Third))]);
    assert!(publication(&directory).entries()[0].health.unproven);
    // Those that are known have it behind them.
    route(&mut writer, Policy::default());
    writer.hear(put("b", "10.0.0.2:80", 12));
    publish(&mut writer);
    assert_eq!(ranks(&directory)[1], (State::Up, Some(Rank::First)));
    route(&mut writer, Policy { initially: Initially::Unhealthy, ..Policy::default() });
    assert_eq!(ranks(&directory)[1], (State::Up, Some(Rank::First)));
}

#[test]
fn a_service_that_is_routed_no_more_is_shown_and_its_endpoints_share_their_traffic_again() {
    let (directory, mut writer) = with(&["a", "b"], Some(balanced(Balance::RoundRobin)));
    let service = directory.service("goods").unwrap();
    let held = endpoints(&service);
    writer.find(&held[0], Finding::Unhealthy);
    assert!(unroute(&mut writer).is_empty());
    let shown = directory.service("goods").unwrap();
    assert!(!shown.is_routed() && !writer.is_routed("goods"));
    assert!(matches!(shown.endpoints().plan(), Plan::Random));
    assert_eq!(ranks(&directory), [(State::Up, Some(Rank::First)); 2], "nothing is known of them");
    let mut shared = traffics(&shown);
    shared.dedup();
    assert_eq!(shared.len(), 1);
    assert_eq!((writer.taken.routed, writer.taken.others), (0, 2));

    // A request that holds the service and its endpoint finishes with what it began with.
    assert!(service.is_routed() && matches!(service.endpoints().plan(), Plan::RoundRobin(_)));
    assert!(endpoints(&service).iter().zip(&held).all(|(now, then)| Arc::ptr_eq(now, then)));
    assert!(writer.find(&held[0], Finding::Healthy).is_none(), "nobody wants to know any more");
    assert!(unroute(&mut writer).is_empty(), "said twice");
}

#[test]
fn what_is_suspect_leaves_with_the_route_and_what_is_stale_stays() {
    let (directory, mut writer) = with(&["a", "b", "c"], Some(Policy::default()));
    writer.hear(delete("b", 12));
    publish(&mut writer);
    let doubted = unroute(&mut writer);
    assert_eq!(doubted.iter().map(|entry| &*entry.endpoint.instance).collect::<Vec<_>>(), ["b"]);
    assert_eq!(standings(&directory), ["a", "c"].map(|id| (id.to_owned(), Standing::Registered)));
    assert_eq!((writer.up("goods"), writer.taken.others), (2, 2));

    let (directory, mut writer) = super::super::super::new(["goods"]);
    let stale = writer.stage_stale(vec![instance("goods", "a", "10.0.0.1:80", 3)], 3);
    writer.probed(&stale[0], ProbeResult::Passed);
    let doubted = unroute(&mut writer);
    assert!(doubted.len() == 1 && doubted[0].endpoint.id == stale[0].id);
    assert_eq!(standings(&directory), [("a".to_owned(), Standing::Stale(ProbeResult::Pending))]);
    // And is to be probed if a route names it again, before the registry is heard.
    let routed = writer.route(named([("goods", Policy::default())]));
    assert_eq!(routed.stale.len(), 1);
    assert_eq!(
        writer.probed(&routed.stale[0], ProbeResult::Passed),
        Some(Standing::Stale(ProbeResult::Passed))
    );
}

#[test]
fn a_service_that_is_routed_no_more_and_has_nobody_is_forgotten() {
    let (directory, mut writer) = with(&["a"], Some(Policy::default()));
    writer.hear(delete("a", 12));
    assert_eq!(unroute(&mut writer).len(), 1);
    assert!(directory.services().is_empty() && writer.staged.is_empty());
    assert_eq!(writer.publish(Instant::now), None);
    assert!(directory.services().is_empty());
}

/// Another service, that routes name for a moment 1,000 times, with and without instances.
#[test]
fn nothing_is_left_of_services_that_came_and_went() {
    let (directory, mut writer) = with(&["a"], Some(Policy::default()));
    let (goods, published) = (directory.service("goods").unwrap(), publication(&directory));
    let put = Change::Put(instance("other", "x", "10.0.0.3:80", 12));
    writer.hear(Update::Apply { changes: vec![put], revision: 12 });
    publish(&mut writer);
    for n in 0..1_000 {
        let names: [Arc<str>; 2] = ["other".into(), format!("empty-{n}").into()];
        let routed = writer.route(names.clone().map(|name| (name, balanced(Balance::Hash(HashKey::Path)))));
        assert_eq!((routed.services.len(), directory.services().len()), (2, 3));
        publish(&mut writer);
        let others = Arc::downgrade(&routed.services["other"]);
        drop(routed);
        writer.unroute(&names);
        assert!(others.upgrade().is_none(), "nobody holds it");
        publish(&mut writer);
    }
    assert_eq!(directory.services().keys().map(|name| &**name).collect::<Vec<_>>(), ["goods", "other"]);
    assert_eq!((writer.staged.len(), writer.dirty.len(), writer.emptied.len()), (2, 0, 0));
    assert_eq!((writer.taken.routed, writer.taken.others), (1, 1));
    assert!(Arc::ptr_eq(&directory.service("goods").unwrap(), &goods));
    assert!(Arc::ptr_eq(&publication(&directory), &published), "who stays routed sees none of it");
}

#[test]
fn a_service_that_is_about_to_be_forgotten_stays_if_a_route_names_it() {
    let (directory, mut writer) = with(&["a"], None);
    for changed in writer.hear(reset(Vec::new())) {
        writer.remove(&changed.service, &changed.instance);
    }
    let now = Instant::now() + 9 * PACE.interval;
    assert!(writer.publish(|| now).is_some() && !writer.emptied.is_empty());
    let service = route(&mut writer, Policy::default());
    publish(&mut writer);
    assert!(Arc::ptr_eq(&directory.service("goods").unwrap(), &service));
}

/// What was left out because no route named it asks nothing of the others any more.
#[test]
fn a_service_that_is_routed_has_room_for_those_that_were_left_out() {
    let (directory, mut writer) = super::super::super::new([]);
    writer.bounds.registrations = 1;
    let names = [("other", "x"), ("goods", "a")];
    let listed = || names.map(|(service, id)| instance(service, id, "10.0.0.1:80", 3)).to_vec();
    writer.hear(Update::Reset { instances: listed()[..1].to_vec(), refused: Vec::new(), revision: 3 });
    writer.hear(put("a", "10.0.0.1:80", 4));
    publish(&mut writer);
    assert_eq!((directory.left_out().by_registrations, writer.has_room_again()), (1, false));
    route(&mut writer, Policy::default());
    assert!(writer.has_room_again());
    writer.hear(reset(listed()));
    publish(&mut writer);
    assert_eq!((shown(&directory).len(), directory.left_out().by_registrations), (1, 0));

    // Now as many are in as may be, and one more; who leaves the routes makes room again.
    writer.hear(put("b", "10.0.0.2:80", 12));
    assert!(!writer.has_room_again());
    unroute(&mut writer);
    assert!(writer.has_room_again());
}

#[test]
fn a_service_beyond_the_bound_of_services_has_its_place_once_it_is_routed() {
    let (_, mut writer) = super::super::super::new([]);
    writer.bounds.services = 1;
    let changes = ["other", "goods"].map(|service| Change::Put(instance(service, "a", "10.0.0.1:80", 3)));
    writer.hear(Update::Apply { changes: changes.to_vec(), revision: 3 });
    publish(&mut writer);
    assert!(!writer.has_room_again());
    route(&mut writer, Policy::default());
    assert!(writer.has_room_again());
    route(&mut writer, Policy::default());
    assert!(!writer.has_room_again(), "it has it already");
}
