//! Whose departure is told: who is in no picture any more, and nobody else.

use super::*;
use crate::config::GivenAddress;
use proptest::prelude::*;

fn current(writer: &Writer) -> Vec<Arc<Endpoint>> {
    writer.staged.values().flat_map(|s| s.entries.values()).map(|entry| entry.endpoint.clone()).collect()
}

fn has_left(endpoint: &Arc<Endpoint>) -> bool {
    endpoint.traffic.departure.has_left()
}

#[test]
fn an_endpoint_leaves_with_its_instance_or_its_address_and_not_with_its_lease() {
    let (_directory, mut writer) = super::super::super::new(["goods"]);
    let listed = || reset(vec![instance("goods", "a", "10.0.0.1:80", 3)]);
    writer.hear(listed());
    let first = current(&writer).remove(0);
    writer.hear(listed());
    writer.hear(put("a", "10.0.0.1:80", 10));
    writer.hear(drain("a", "10.0.0.1:80", 11));
    writer.hear(put("a", "10.0.0.1:80", 12));
    writer.hear(delete("a", 13));
    writer.probed(&first, ProbeResult::Failed);
    writer.hear(listed());
    assert!(current(&writer)[0].id == first.id && !has_left(&first));

    writer.hear(put("a", "10.0.0.2:80", 20));
    let second = current(&writer).remove(0);
    assert!(has_left(&first) && !has_left(&second));
    writer.hear(put("a", "10.0.0.1:80", 21));
    let third = current(&writer).remove(0);
    assert!(has_left(&second) && !has_left(&third), "at the address of one that has left");

    writer.hear(delete("a", 22));
    assert!(!has_left(&third), "it has only vanished");
    writer.remove(&"goods".into(), "a");
    assert!(has_left(&third));
}

#[test]
fn those_of_a_service_that_no_route_names_share_what_stays_and_have_not_left() {
    let (_directory, mut writer) = super::super::super::new([]);
    writer.hear(reset(vec![instance("goods", "a", "10.0.0.1:80", 3)]));
    let unrouted = current(&writer).remove(0);
    writer.route([("goods".into(), Policy::default())]);
    let routed = current(&writer).remove(0);
    assert!(!has_left(&unrouted) && !has_left(&routed));
    writer.unroute([&"goods".into()]);
    assert!(!has_left(&unrouted) && !has_left(&routed), "it is there still");
    writer.hear(reset(Vec::new()));
    writer.remove(&"goods".into(), "a");
    assert!(current(&writer).is_empty() && !has_left(&unrouted));
}

#[derive(Debug, Clone)]
enum Step {
    Put { id: u8, address: u8, weight: u16 },
    Delete { id: u8 },
    Refuse { id: u8 },
    Remove { id: u8 },
    List { ids: Vec<u8> },
    Route,
    Unroute,
    Policy { is_given: bool },
    Give { ids: Vec<u8>, is_whole: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 0_u8..4;
    let ids = || prop::collection::vec(id(), 0..4);
    prop_oneof![
        4 => (id(), 0_u8..3, 0_u16..2).prop_map(|(id, address, weight)| Step::Put { id, address, weight }),
        2 => id().prop_map(|id| Step::Delete { id }),
        1 => id().prop_map(|id| Step::Refuse { id }),
        2 => id().prop_map(|id| Step::Remove { id }),
        1 => ids().prop_map(|ids| Step::List { ids }),
        1 => Just(Step::Route),
        1 => Just(Step::Unroute),
        1 => any::<bool>().prop_map(|is_given| Step::Policy { is_given }),
        1 => (ids(), any::<bool>()).prop_map(|(ids, is_whole)| Step::Give { ids, is_whole }),
    ]
}

fn take(writer: &mut Writer, step: Step, revision: i64) {
    let service: Arc<str> = "goods".into();
    let at =
        |id: u8, address: u8| instance("goods", &id.to_string(), &format!("10.0.0.{address}:80"), revision);
    match step {
        Step::Put { id, address, weight } => {
            let mut instance = at(id, address);
            instance.record.weight = weight;
            writer.hear(Update::Apply { changes: vec![Change::Put(instance)], revision });
        }
        Step::Delete { id } => drop(writer.hear(delete(&id.to_string(), revision))),
        Step::Refuse { id } => {
            let changes = vec![refused(&id.to_string(), revision)];
            writer.hear(Update::Apply { changes, revision });
        }
        Step::Remove { id } => drop(writer.remove(&service, &id.to_string())),
        Step::List { ids } => drop(writer.hear(reset(ids.into_iter().map(|id| at(id, 0)).collect()))),
        Step::Route => drop(writer.route([(service, Policy::default())])),
        Step::Unroute => drop(writer.unroute([&service])),
        Step::Policy { is_given } => {
            let addresses = is_given.then(|| Arc::<[GivenAddress]>::from([]));
            writer.change_policies([(service, Policy { addresses, ..Policy::default() })]);
        }
        Step::Give { ids, is_whole } => {
            let endpoint = |id: u8| GivenEndpoint {
                id: id.to_string().into(),
                address: ([10, 0, 0, id], 80).into(),
                host: None,
            };
            let endpoints = ids.into_iter().map(endpoint).collect();
            writer.give(Given { service, endpoints, is_whole }, Instant::now());
        }
    }
}

proptest! {
    #[test]
    fn whoever_is_in_the_picture_has_not_left_and_whoever_was_has(
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let (_directory, mut writer) = super::super::super::new(["goods"]);
        let mut seen: Vec<Arc<Endpoint>> = Vec::new();
        for (revision, step) in (10..).zip(steps) {
            if matches!(step, Step::Unroute) {
                // It is only that nobody is sent there.
                seen.clear();
            }
            take(&mut writer, step, revision);
            let current = current(&writer);
            prop_assert!(!current.iter().any(has_left));
            let is_in = |endpoint: &Arc<Endpoint>| current.iter().any(|other| other.id == endpoint.id);
            prop_assert!(seen.iter().filter(|endpoint| !is_in(endpoint)).all(has_left));
            if writer.is_routed("goods") {
                seen.extend(current);
            }
        }
    }
}
