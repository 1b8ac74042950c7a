use super::*;
use proptest::prelude::*;

const TTL: Duration = Duration::from_secs(3);
const OURS: i64 = 7;

fn record(weight: u16) -> Record {
    Record { weight, ..Record::new("10.0.0.5:80".parse().unwrap()) }
}

fn stored(lease: i64, weight: u16) -> Instance {
    Instance { service: "goods".into(), id: "goods-1".into(), record: record(weight), lease, revision: 0 }
}

/// Registered at `now` under lease 7, with the key put at revision 10.
fn registered(now: Instant) -> Upkeep {
    let mut registration = Upkeep::new(record(1), TTL, now);
    assert_eq!(registration.step(now), Step::Grant);
    registration.leased(OURS, TTL, now);
    let value = Some("10.0.0.5:80".to_owned());
    assert_eq!(registration.step(now), Step::Put(PutKey { lease: OURS, value, seen: None }));
    registration.put(10);
    registration
}

#[test]
fn a_registration_is_kept_alive_every_third_of_its_ttl() {
    let now = Instant::now();
    let mut registration = registered(now);
    assert_eq!(registration.step(now), Step::Sleep { until: now + TTL / 3 });
    assert_eq!(registration.step(now + TTL / 3), Step::KeepAlive { lease: OURS });
}

#[test]
fn a_lease_that_was_not_answered_in_time_is_granted_anew_before_any_put() {
    let now = Instant::now();
    let mut registration = registered(now);
    assert_eq!(registration.step(now + TTL), Step::Grant);
    assert!(!registration.is_registered());
    registration.leased(8, TTL, now + TTL);
    assert!(matches!(registration.step(now + TTL), Step::Put(PutKey { lease: 8, .. })));
}

#[test]
fn a_deleted_key_is_put_again_at_once() {
    let now = Instant::now();
    let mut registration = registered(now);
    assert_eq!(registration.seen(None, 11), Some(Notice::Gone));
    assert!(matches!(registration.step(now), Step::Put(PutKey { lease: OURS, .. })));
}

#[test]
fn a_picture_from_before_our_put_changes_nothing() {
    let mut registration = registered(Instant::now());
    assert_eq!(registration.seen(None, 9), None);
    assert!(registration.is_registered());
}

#[test]
fn a_weight_that_an_operator_put_is_kept_and_brought_back_under_the_lease() {
    let now = Instant::now();
    let mut registration = registered(now);
    assert_eq!(registration.seen(Some(&stored(0, 0)), 11), Some(Notice::WeightSet(0)));
    let attach = PutKey { lease: OURS, value: None, seen: Some(11) };
    assert_eq!(registration.step(now), Step::Put(attach));
    registration.put(12);
    assert_eq!(registration.seen(Some(&stored(OURS, 0)), 12), None);

    registration.lose_lease();
    registration.leased(8, TTL, now);
    let value = Some(r#"{"address":"10.0.0.5:80","weight":0}"#.to_owned());
    let again = PutKey { lease: 8, value, seen: Some(12) };
    assert_eq!(registration.step(now), Step::Put(again), "after a lost lease too");
}

#[test]
fn a_weight_put_with_ignore_lease_is_kept_without_a_put_of_ours() {
    let now = Instant::now();
    let mut registration = registered(now);
    assert_eq!(registration.seen(Some(&stored(OURS, 5)), 11), Some(Notice::WeightSet(5)));
    assert!(matches!(registration.step(now), Step::Sleep { .. }));
}

#[test]
fn an_address_that_somebody_wrote_there_is_overwritten() {
    let now = Instant::now();
    let mut registration = registered(now);
    let mut other = stored(0, 1);
    other.record.address = "10.0.0.9:80".parse().unwrap();
    assert_eq!(registration.seen(Some(&other), 11), Some(Notice::Overwritten));
    assert!(matches!(registration.step(now), Step::Put(_)));
}

#[test]
fn a_key_that_another_process_took_is_left_to_it_until_it_goes() {
    let now = Instant::now();
    let mut registration = registered(now);
    let (theirs, ours) = ("10.0.0.9:80".parse().unwrap(), "10.0.0.5:80".parse().unwrap());
    let other = Instance { record: Record::new(theirs), ..stored(99, 1) };
    assert_eq!(registration.seen(Some(&other), 11), Some(Notice::Taken { lease: 99, theirs, ours }));
    assert_eq!(registration.seen(Some(&stored(99, 1)), 12), None, "one notice");
    assert!(matches!(registration.step(now), Step::Sleep { .. }));

    registration.lose_lease();
    assert_eq!(registration.step(now), Step::Grant);
    registration.leased(8, TTL, now);
    assert!(matches!(registration.step(now), Step::Sleep { .. }), "a new lease is no claim to the key");

    assert_eq!(registration.seen(None, 13), None);
    assert!(matches!(registration.step(now), Step::Put(PutKey { lease: 8, .. })));
}

#[test]
fn after_a_failure_nothing_is_tried_before_the_wait_is_over() {
    let now = Instant::now();
    let wait = Duration::from_millis(200);
    let mut registration = Upkeep::new(record(1), TTL, now);
    registration.failed(now, wait);
    assert_eq!(registration.step(now), Step::Sleep { until: now + wait });
    assert_eq!(registration.step(now + wait), Step::Grant);
}

#[test]
fn a_long_wait_is_cut_short_for_a_lease_that_is_to_be_kept() {
    let now = Instant::now();
    let long = 10 * TTL;
    let mut registration = registered(now);
    let renew = now + TTL / 3;
    registration.failed(renew, long);
    assert_eq!(registration.step(renew + TTL / 6), Step::KeepAlive { lease: OURS });

    let mut without = Upkeep::new(record(1), TTL, now);
    without.failed(now, long);
    assert_eq!(without.step(now + TTL), Step::Sleep { until: now + long });
}

#[test]
fn what_an_earlier_process_left_is_overwritten_at_the_start() {
    let now = Instant::now();
    let mut registration = Upkeep::new(record(1), TTL, now);
    registration.leased(OURS, TTL, now);
    assert_eq!(registration.seen(Some(&stored(99, 1)), 5), None);
    assert!(matches!(registration.step(now), Step::Put(PutKey { lease: OURS, .. })));
}

#[test]
fn a_key_that_is_missing_from_a_restored_registry_is_put_again() {
    let now = Instant::now();
    let mut registration = registered(now);
    assert_eq!(registration.seen(Some(&stored(OURS, 1)), 10), None);
    assert_eq!(registration.seen_anew(None, 4), Some(Notice::Gone));
    assert!(matches!(registration.step(now), Step::Put(_)));
}

#[test]
fn who_replaced_us_while_we_were_cut_off_keeps_the_key() {
    let now = Instant::now();
    let mut registration = registered(now);
    let later = now + TTL;
    assert_eq!(registration.step(later), Step::Grant);
    registration.leased(8, TTL, later);
    let Step::Put(put) = registration.step(later) else { panic!("nothing is put") };
    assert_eq!(put.seen, Some(10), "only over what we have seen");
    // The registry refuses, and shows what stands there.
    assert!(matches!(registration.seen(Some(&stored(99, 1)), 20), Some(Notice::Taken { lease: 99, .. })));
    assert!(matches!(registration.step(later), Step::Sleep { .. }));
}

#[test]
fn what_we_put_under_a_lease_that_we_gave_up_is_still_ours() {
    let now = Instant::now();
    let mut registration = registered(now);
    assert_eq!(registration.step(now + TTL), Step::Grant);
    assert!(registration.is_ours(&stored(OURS, 1)));
    registration.leased(8, TTL, now + TTL);
    assert_eq!(registration.seen(Some(&stored(OURS, 1)), 12), None);
    let attach = PutKey { lease: 8, value: None, seen: Some(12) };
    assert_eq!(registration.step(now + TTL), Step::Put(attach));
}

#[test]
fn another_address_under_our_own_lease_is_overwritten() {
    let now = Instant::now();
    let mut registration = registered(now);
    let mut other = stored(OURS, 1);
    other.record.address = "10.0.0.9:80".parse().unwrap();
    assert_eq!(registration.seen(Some(&other), 11), Some(Notice::Overwritten));
    assert!(matches!(registration.step(now), Step::Put(_)));
}

#[test]
fn a_put_that_fails_again_and_again_does_not_cost_the_lease() {
    let now = Instant::now();
    let mut registration = Upkeep::new(record(1), TTL, now);
    registration.leased(OURS, TTL, now);
    registration.failed(now, Duration::ZERO);
    assert!(matches!(registration.step(now), Step::Put(_)));
    assert_eq!(registration.step(now + TTL / 3), Step::KeepAlive { lease: OURS });
    registration.leased(OURS, TTL, now + TTL / 3);
    assert_eq!(registration.failures(), 1, "a lease kept alive is no put");
}

#[derive(Debug, Clone)]
enum Event {
    Leased(i64),
    PutKey(i64),
    LeaseGone,
    Failed(u64),
    Seen(Option<(i64, u16)>, i64),
    Pass(u64),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1..4i64).prop_map(Event::Leased),
        (0..50i64).prop_map(Event::PutKey),
        Just(Event::LeaseGone),
        (0..5_000u64).prop_map(Event::Failed),
        (proptest::option::of((0..4i64, 0..3u16)), 0..50i64).prop_map(|(i, r)| Event::Seen(i, r)),
        (0..4_000u64).prop_map(Event::Pass),
    ]
}

proptest! {
    #[test]
    fn nothing_is_ever_put_under_a_lease_whose_time_has_passed(events in proptest::collection::vec(any_event(), 0..100)) {
        let mut now = Instant::now();
        let mut registration = Upkeep::new(record(1), TTL, now);
        let mut ends = now;
        for event in events {
            match event {
                Event::Leased(id) => { registration.leased(id, TTL, now); ends = now + TTL; }
                Event::PutKey(revision) => registration.put(revision),
                Event::LeaseGone => registration.lose_lease(),
                Event::Failed(wait) => registration.failed(now, Duration::from_millis(wait)),
                Event::Seen(seen, revision) => {
                    let instance = seen.map(|(lease, weight)| stored(lease, weight));
                    registration.seen(instance.as_ref(), revision);
                }
                Event::Pass(millis) => now += Duration::from_millis(millis),
            }
            match registration.step(now) {
                Step::Put(_) | Step::KeepAlive { .. } => prop_assert!(now < ends),
                Step::Sleep { until } => prop_assert!(until > now, "a step that spins"),
                Step::Grant => {}
            }
        }
    }
}
