//! Services whose addresses the configuration gives.

use super::*;
use crate::config::GivenAddress;

/// A policy of endpoints that the configuration gives. Which is told by [`give`].
fn given() -> Policy {
    let addresses: [GivenAddress; 0] = [];
    Policy { addresses: Some(addresses.into()), ..Policy::default() }
}

fn with_given() -> (Arc<Directory>, Writer) {
    super::super::super::with_routed([("goods", given())])
}

fn give(writer: &mut Writer, addresses: &[&str], is_whole: bool) -> Replaced {
    let of = |text: &&str| GivenEndpoint { id: Arc::from(*text), address: text.parse().unwrap(), host: None };
    let endpoints = addresses.iter().map(of).collect();
    writer.give(Given { service: "goods".into(), endpoints, is_whole }, Instant::now())
}

fn change(writer: &mut Writer, policy: Policy) {
    writer.change_policies([("goods".into(), policy)]);
}

fn ids(directory: &Directory) -> Vec<String> {
    let service = directory.service("goods").unwrap();
    service.endpoints().entries().iter().map(|e| e.endpoint.instance.to_string()).collect()
}

#[test]
fn given_endpoints_are_up_at_once_and_those_that_stay_keep_their_identity() {
    let (directory, mut writer) = with_given();
    give(&mut writer, &["10.0.0.1:80", "10.0.0.2:80"], true);
    assert!(!directory.is_filled(), "whatever the registry says");
    let states = ranks(&directory);
    assert_eq!(states, [(State::Up, Some(Rank::First)); 2]);
    let before = shown(&directory);
    let replaced = give(&mut writer, &["10.0.0.2:80", "10.0.0.3:80"], true);
    assert_eq!((replaced.added.len(), replaced.removed.len()), (1, 1));
    assert_eq!(shown(&directory), [before[1].clone(), ("10.0.0.3:80".to_owned(), 3)]);
    let published = publication(&directory);
    assert!(give(&mut writer, &["10.0.0.2:80", "10.0.0.3:80"], true).added.is_empty());
    assert!(Arc::ptr_eq(&publication(&directory), &published), "the same again is not published");
}

#[test]
fn neither_a_list_nor_an_event_nor_a_refusal_of_the_registry_touches_them() {
    let (directory, mut writer) = with_given();
    give(&mut writer, &["10.0.0.1:80"], true);
    let before = shown(&directory);
    for update in [
        reset(Vec::new()),
        reset(vec![instance("goods", "a", "10.0.0.7:80", 3)]),
        put("b", "10.0.0.8:80", 4),
        put("10.0.0.1:80", "10.0.0.8:80", 5),
        delete("10.0.0.1:80", 6),
        Update::Apply {
            changes: vec![Change::Refused {
                name: InstanceName { service: "goods".into(), id: "10.0.0.1:80".into() },
                revision: 7,
            }],
            revision: 7,
        },
        reset(Vec::new()),
    ] {
        assert!(writer.hear(update).is_empty());
        publish(&mut writer);
        assert_eq!(shown(&directory), before);
    }
}

#[test]
fn whoever_registers_under_such_a_name_is_left_out_and_shown_and_comes_in_when_it_is_no_longer_given() {
    let (directory, mut writer) = with_given();
    give(&mut writer, &["10.0.0.1:80"], true);
    writer.hear(reset(vec![instance("goods", "a", "10.0.0.7:80", 3)]));
    writer.hear(put("b", "10.0.0.8:80", 4));
    publish(&mut writer);
    let left_out = directory.left_out();
    assert_eq!((left_out.by_given, left_out.count()), (2, 2));
    assert_eq!(left_out.last.as_ref().unwrap().bound, Bound::Given);
    assert_eq!(writer.news_of_left_out().len(), 2);
    writer.hear(delete("b", 5));
    assert!(!writer.has_room_again());

    change(&mut writer, Policy::default());
    assert!(writer.has_room_again(), "the registry is to be read again");
    assert_eq!(ids(&directory), ["10.0.0.1:80"], "until then what was given stays");
    let changed = writer.hear(reset(vec![instance("goods", "a", "10.0.0.7:80", 3)]));
    assert_eq!(kinds(&changed), [(TransitionKind::Deleted, "10.0.0.1:80"), (TransitionKind::Put, "a")]);
    publish(&mut writer);
    assert_eq!((ids(&directory), directory.left_out().count()), (vec!["a".to_owned()], 0));
}

#[test]
fn who_was_registered_stays_until_all_that_is_given_is_known() {
    let (directory, mut writer) = super::super::super::new(["goods"]);
    writer.hear(reset(["a", "b"].map(|id| instance("goods", id, "10.0.0.7:80", 3)).into()));
    publish(&mut writer);
    change(&mut writer, given());
    give(&mut writer, &["10.0.0.1:80"], false);
    assert_eq!(ids(&directory), ["10.0.0.1:80", "a", "b"]);
    writer.hear(put("a", "10.0.0.9:80", 4));
    assert_eq!(kinds(&writer.hear(delete("b", 5))), [(TransitionKind::Vanished, "b")], "they still count");
    let replaced = give(&mut writer, &["10.0.0.1:80"], true);
    assert_eq!(replaced.removed.len(), 2);
    publish(&mut writer);
    assert_eq!(ids(&directory), ["10.0.0.1:80"]);
    assert_eq!(directory.left_out().by_given, 1, "the one that is registered");
    assert_eq!(writer.taken.routed, 0, "and takes no place");
}

#[test]
fn given_endpoints_leave_with_the_last_route_of_their_service() {
    let (directory, mut writer) = with_given();
    give(&mut writer, &["10.0.0.1:80"], true);
    writer.hear(reset(vec![instance("goods", "a", "10.0.0.7:80", 3)]));
    publish(&mut writer);
    let held = directory.service("goods").unwrap();
    assert!(writer.unroute([&"goods".into()]).is_empty(), "nothing is doubted");
    assert!(directory.service("goods").is_none() && writer.has_room_again());
    assert_eq!(held.endpoints().entries().len(), 1, "who holds it goes on with what it had");
    assert!(give(&mut writer, &["10.0.0.1:80"], true).added.is_empty(), "a name that was resolved too late");
}

#[test]
fn given_endpoints_take_none_of_the_places_that_there_are_for_registrations() {
    let bounds = config::Bounds { registrations: 1, ..config::Bounds::default() };
    let (directory, writer) =
        super::super::super::with_routed([("goods", given()), ("carts", Policy::default())]);
    let mut writer = writer.within(bounds);
    give(&mut writer, &["10.0.0.1:80", "10.0.0.2:80"], true);
    writer.hear(reset(vec![instance("carts", "a", "10.0.0.7:80", 3)]));
    publish(&mut writer);
    assert_eq!(directory.left_out().count(), 0);
    give(&mut writer, &[], true);
    assert_eq!(writer.taken.routed, 1);
}

#[test]
fn what_is_given_is_without_a_lease_and_does_not_count_as_such() {
    let (directory, mut writer) = with_given();
    give(&mut writer, &["10.0.0.1:80"], true);
    let entry = directory.service("goods").unwrap().endpoints().entries()[0].clone();
    assert!(entry.tenure.get().lease == 0 && !entry.is_without_lease());
}
