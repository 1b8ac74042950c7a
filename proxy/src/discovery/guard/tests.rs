use std::collections::HashSet;
use std::time::Duration;

use super::*;
use proptest::prelude::*;

const WINDOW: Duration = Duration::from_secs(3);
const HOLD: Duration = Duration::from_secs(300);
const MOMENT: Duration = Duration::from_millis(1);

/// A guard, and a registry of one service that it speaks of.
struct Play {
    guard: Guard,
    begin: Instant,
    /// Since the beginning.
    at: Duration,
    goods: Arc<str>,
    registered: HashSet<Arc<str>>,
}

impl Play {
    fn new(share: f64, count: usize) -> Self {
        Self {
            guard: Guard::new(config::Guard { window: WINDOW, share, hold: HOLD }),
            begin: Instant::now(),
            at: Duration::ZERO,
            goods: "goods".into(),
            registered: (0..count).map(name).collect(),
        }
    }

    fn now(&self) -> Instant {
        self.begin + self.at
    }

    fn vanish(&mut self, instances: impl IntoIterator<Item = usize>) {
        for instance in instances.into_iter().map(name) {
            self.registered.remove(&instance);
            self.guard.vanished(&self.goods, &instance, self.now());
        }
    }

    fn register(&mut self, instances: impl IntoIterator<Item = usize>) {
        for instance in instances.into_iter().map(name) {
            self.guard.registered(&self.goods, &instance);
            self.registered.insert(instance);
        }
    }

    fn fail_probe(&mut self, instance: usize) {
        self.guard.probe_failed(&self.goods, &name(instance));
    }

    fn decide(&mut self) -> Vec<Ruling> {
        let up = self.registered.len();
        self.guard.decide(self.now(), |_| up)
    }

    /// The rulings over a time that ends so many seconds after the beginning, in which the endpoint of this
    /// instance can be connected to each second.
    fn probe_until(&mut self, instance: usize, seconds: f64) -> Vec<Ruling> {
        let mut rulings = Vec::new();
        while self.at < Duration::from_secs_f64(seconds) {
            self.at += Duration::from_secs(1);
            rulings.extend(self.decide());
            self.guard.probe_passed(&self.goods, &name(instance), self.now());
            rulings.extend(self.decide());
        }
        rulings
    }

    /// The rulings at a time, in seconds since the beginning.
    fn decide_at(&mut self, seconds: f64) -> Vec<Ruling> {
        self.at = Duration::from_secs_f64(seconds);
        self.decide()
    }
}

fn name(instance: usize) -> Arc<str> {
    format!("{instance:06}").into()
}

fn dropped(instance: usize, reason: DropReason) -> Ruling {
    Ruling::Drop { service: "goods".into(), instance: name(instance), reason }
}

fn alarm(held: usize, vanished: usize, of: usize) -> Ruling {
    Ruling::Alarm { service: "goods".into(), held, vanished, of }
}

fn settled(returned: usize, dropped: usize) -> Ruling {
    Ruling::Settled { service: "goods".into(), returned, dropped }
}

#[test]
fn one_of_many_is_dropped_when_its_window_has_passed() {
    let mut play = Play::new(0.5, 4);
    play.vanish([0]);
    assert_eq!(play.decide_at(2.999), []);
    assert_eq!(play.guard.next_deadline(), Some(play.begin + WINDOW));
    assert_eq!(play.decide_at(3.0), [dropped(0, DropReason::WindowPassed)]);
    assert_eq!(play.guard.next_deadline(), None);
}

#[test]
fn the_share_itself_is_dropped_and_one_more_is_held() {
    let mut half = Play::new(0.5, 4);
    half.vanish([0, 1]);
    assert_eq!(half.decide_at(3.0), [0, 1].map(|n| dropped(n, DropReason::WindowPassed)));
    let mut more = Play::new(0.5, 4);
    more.vanish([0, 1, 2]);
    assert_eq!((more.decide_at(3.0), more.guard.held()), (vec![], 3));
}

#[test]
fn a_share_that_is_no_binary_fraction_counts_exactly() {
    let mut play = Play::new(0.29, 100);
    play.vanish(0..29);
    assert_eq!(play.decide_at(3.0).len(), 29);
}

#[test]
fn the_last_one_of_a_service_is_held() {
    let mut play = Play::new(0.5, 1);
    play.vanish([0]);
    assert_eq!((play.decide_at(3.0), play.guard.held()), (vec![], 1));
}

#[test]
fn what_stops_in_order_raises_no_alarm_although_it_serves_on_for_longer_than_the_window() {
    for served in [1.0, 2.0, 3.0, 4.0, 5.0] {
        let mut play = Play::new(0.5, 1);
        play.vanish([0]);
        assert_eq!(play.probe_until(0, served), [], "{served}");
        play.fail_probe(0);
        assert_eq!(play.decide(), [dropped(0, DropReason::ProbeFailed)], "{served}");
        assert_eq!(play.decide_at(1000.0), [], "{served}");
    }
}

#[test]
fn what_does_not_stop_raises_one_alarm_a_window_after_it_was_held() {
    let mut play = Play::new(0.5, 4);
    play.vanish(0..4);
    assert_eq!(play.probe_until(1, 5.0), []);
    play.fail_probe(0);
    assert_eq!(play.decide(), [dropped(0, DropReason::ProbeFailed)]);
    assert_eq!(play.probe_until(1, 6.0), [alarm(3, 4, 4)]);
    assert_eq!(play.probe_until(2, 100.0), [], "one for all of them");
    play.register(1..4);
    assert_eq!(play.decide(), [settled(3, 1)]);
}

#[test]
fn a_share_of_none_holds_everything_and_a_share_of_all_is_off() {
    let mut play = Play::new(0.0, 1000);
    play.vanish([0]);
    assert_eq!((play.decide_at(3.0), play.guard.held()), (vec![], 1));
    assert!(play.guard.is_on());
    assert!(!Play::new(1.0, 1).guard.is_on());
}

#[test]
fn what_is_held_is_dropped_when_its_probe_fails_or_the_hold_is_over() {
    let mut play = Play::new(0.5, 3);
    play.vanish([0, 1, 2]);
    assert_eq!(play.probe_until(0, 6.0), [alarm(3, 3, 3)]);
    play.fail_probe(1);
    assert_eq!(play.decide_at(100.0), [dropped(1, DropReason::ProbeFailed)]);
    play.register([2]);
    assert_eq!(play.decide_at(302.999), []);
    let expected = [dropped(0, DropReason::HoldOver), settled(1, 2)];
    assert_eq!(play.decide_at(303.0), expected);
    assert_eq!(play.guard.held(), 0);
}

#[test]
fn a_suspect_that_cannot_be_reached_is_dropped_within_its_window() {
    let mut play = Play::new(0.5, 4);
    play.vanish([0]);
    play.fail_probe(0);
    assert_eq!(play.decide(), [dropped(0, DropReason::ProbeFailed)]);
    assert_eq!(play.guard.next_deadline(), None);
    play.fail_probe(0);
    assert_eq!(play.decide(), [], "it is gone already");
}

#[test]
fn a_registration_that_returns_ends_the_doubt() {
    let mut play = Play::new(0.5, 1);
    play.vanish([0]);
    play.register([0]);
    assert_eq!(play.guard.next_deadline(), None);
    play.fail_probe(0);
    assert_eq!(play.decide_at(3.0), []);
}

#[test]
fn what_is_refused_is_in_doubt_no_more_and_nobody_is_told_to_drop_it() {
    let mut play = Play::new(0.5, 2);
    play.vanish(0..2);
    play.guard.refused(&play.goods, &name(0));
    assert_eq!(play.decide_at(4.0), []);
    assert_eq!(play.guard.held(), 1, "the other one");
    play.guard.refused(&play.goods, &name(1));
    assert_eq!((play.decide_at(400.0), play.guard.held(), play.guard.next_deadline()), (vec![], 0, None));
}

#[test]
fn an_alarm_is_raised_once_a_wave_and_again_in_the_next() {
    let mut play = Play::new(0.5, 4);
    play.vanish(0..4);
    assert_eq!(play.probe_until(3, 6.0), [alarm(4, 4, 4)]);
    play.register(0..3);
    play.vanish(0..3);
    assert_eq!(play.probe_until(0, 13.0), [], "3 still stands: the wave goes on");
    play.register(0..4);
    assert_eq!(play.decide(), [settled(7, 0)]);
    play.at = 100 * WINDOW;
    play.vanish(0..4);
    assert_eq!(play.probe_until(0, 306.0), [alarm(4, 4, 4)]);
}

#[test]
fn a_wave_that_takes_longer_than_a_window_is_seen_as_one() {
    let mut play = Play::new(0.5, 10);
    // Ten within 4.5 s: at the end of the first one's window, six have vanished.
    let mut rulings = Vec::new();
    for instance in 0..10 {
        rulings.extend(play.decide_at(instance as f64 * 0.5));
        play.vanish([instance]);
    }
    rulings.extend(play.decide_at(60.0));
    assert_eq!((rulings, play.guard.held()), (vec![], 10));
}

#[test]
fn those_that_are_back_count_as_vanished_once() {
    let mut play = Play::new(0.5, 4);
    play.vanish(0..4);
    play.at += MOMENT;
    play.register([0, 1]);
    assert_eq!((play.decide_at(3.0), play.guard.held()), (vec![], 2), "nobody meant the other two");

    let mut flapping = Play::new(0.5, 4);
    for _ in 0..10 {
        flapping.vanish([0]);
        flapping.at += MOMENT;
        flapping.register([0]);
    }
    flapping.vanish([0]);
    flapping.at += WINDOW;
    assert_eq!(flapping.decide(), [dropped(0, DropReason::WindowPassed)], "one of four, ten times");
}

#[test]
fn those_that_could_not_be_reached_count_as_vanished() {
    let mut play = Play::new(0.5, 4);
    play.vanish(0..4);
    (0..3).for_each(|instance| play.fail_probe(instance));
    assert_eq!(play.decide().len(), 3);
    assert_eq!(play.probe_until(3, 6.0), [alarm(1, 4, 4)]);
}

#[test]
fn a_rolling_replacement_leaves_no_trace() {
    let mut play = Play::new(0.5, 4);
    for instance in 0..4 {
        play.register([100 + instance]);
        play.vanish([instance]);
        play.at += 2 * MOMENT;
    }
    play.at += WINDOW;
    let rulings = play.decide();
    assert_eq!(rulings, [0, 1, 2, 3].map(|n| dropped(n, DropReason::WindowPassed)));
}

#[test]
fn a_late_decision_is_a_decision() {
    let mut play = Play::new(0.5, 4);
    play.vanish(0..4);
    assert_eq!(
        play.decide_at(1000.0),
        [
            alarm(4, 4, 4),
            dropped(0, DropReason::HoldOver),
            dropped(1, DropReason::HoldOver),
            dropped(2, DropReason::HoldOver),
            dropped(3, DropReason::HoldOver),
            settled(0, 4)
        ]
    );
}

#[test]
fn services_are_judged_by_themselves() {
    let mut play = Play::new(0.5, 1);
    play.vanish([0]);
    let other: Arc<str> = "other".into();
    for instance in 0..3 {
        play.guard.vanished(&other, &name(instance), play.now());
    }
    let up = |service: &str| if service == "other" { 9 } else { 0 };
    let rulings = play.guard.decide(play.begin + WINDOW, up);
    let of = |service: &str| {
        let is_of = |v: &&Ruling| matches!(v, Ruling::Drop { service: s, .. } if &**s == service);
        rulings.iter().filter(is_of).count()
    };
    assert_eq!((of("goods"), of("other"), play.guard.held()), (0, 3, 1));
}

#[test]
fn nothing_is_remembered_for_ever() {
    let mut play = Play::new(0.5, 100);
    play.vanish(0..20);
    play.register(10..15);
    play.at += WINDOW;
    play.decide();
    play.at += WINDOW + MOMENT;
    play.decide();
    let Guard { waves, due, recent, .. } = &play.guard;
    assert!(waves.is_empty() && due.is_empty() && recent.is_empty(), "{:?}", play.guard);
}

#[test]
fn a_hundred_thousand_at_once_take_no_time_to_speak_of() {
    let mut play = Play::new(0.5, 100_000);
    let begun = Instant::now();
    play.vanish(0..100_000);
    assert_eq!(play.probe_until(7, 6.0), [alarm(100_000, 100_000, 100_000)]);
    play.register(0..100_000);
    assert_eq!(play.decide(), [settled(100_000, 0)]);
    // It takes a second or two, unoptimised and alone; in quadratic time it would take many minutes.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

/// What may happen to one of a few instances, or to time.
#[derive(Debug, Clone, Copy)]
enum Step {
    Vanish(usize),
    Register(usize),
    FailProbe(usize),
    PassProbe(usize),
    Pass(Duration),
}

const INSTANCES: usize = 8;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let instance = || 0..INSTANCES;
    let step = prop_oneof![
        4 => instance().prop_map(Step::Vanish),
        2 => instance().prop_map(Step::Register),
        1 => instance().prop_map(Step::FailProbe),
        2 => instance().prop_map(Step::PassProbe),
        3 => (0..8000u64).prop_map(|millis| Step::Pass(Duration::from_millis(millis))),
    ];
    proptest::collection::vec(step, 0..80)
}

/// What the guard did, beside what was done to it.
#[derive(Debug, Default)]
struct Record {
    /// When each instance that is in doubt vanished.
    doubts: HashMap<Arc<str>, Duration>,
    /// When each vanished that was dropped because its window passed.
    by_wave: Vec<Duration>,
    /// When each instance vanished last.
    latest: HashMap<Arc<str>, Duration>,
    /// Those whose window is over.
    judged: HashSet<Arc<str>>,
    alarmed: bool,
}

impl Record {
    /// Whose window ends now, and whether few vanished with them: counted one by one.
    fn due(&mut self, play: &Play) -> (HashSet<Arc<str>>, bool) {
        let ends = |(_, since): &(&Arc<str>, &Duration)| **since + WINDOW == play.at;
        let due = self.doubts.iter().filter(ends).map(|(instance, _)| instance.clone());
        let due = due.filter(|instance| self.judged.insert(instance.clone())).collect();
        let begin = play.at.saturating_sub(2 * WINDOW);
        let wave: HashSet<_> =
            self.latest.iter().filter(|(_, since)| **since >= begin).map(|(i, _)| i.clone()).collect();
        let of = wave.union(&play.registered).count();
        (due, wave.len() * 2 <= of)
    }

    /// Takes rulings, and checks each.
    fn take(&mut self, play: &mut Play) {
        let (mut due, few) = self.due(play);
        due.retain(|_| few);
        for ruling in play.decide() {
            match ruling {
                Ruling::Drop { instance, reason, .. } => {
                    let since = self.doubts.remove(&instance).expect("only what is in doubt is dropped");
                    let age = play.at - since;
                    match reason {
                        DropReason::WindowPassed => {
                            assert_eq!(age, WINDOW);
                            assert!(due.remove(&instance), "it is held: many vanished");
                            self.by_wave.push(since);
                        }
                        DropReason::HoldOver => assert_eq!(age, WINDOW + HOLD),
                        DropReason::ProbeFailed => assert!(age < WINDOW + HOLD),
                    }
                }
                Ruling::Alarm { held, vanished, of, .. } => {
                    assert!(!self.alarmed, "one alarm a wave");
                    assert!(vanished <= of && vanished * 2 > of && held > 0);
                    let lasts = |since: &Duration| play.at >= *since + 2 * WINDOW;
                    assert!(self.doubts.values().any(lasts), "an alarm for what may yet stop");
                    self.alarmed = true;
                }
                Ruling::Settled { returned, dropped, .. } => {
                    assert!(self.alarmed && returned + dropped > 0);
                    self.alarmed = false;
                }
            }
        }
        assert!(due.is_empty(), "dropped: few vanished, {due:?}");
        assert!(!self.alarmed || play.guard.held() > 0);
    }

    /// Lets time pass as the loop does: from deadline to deadline.
    fn pass(&mut self, play: &mut Play, time: Duration) {
        let end = play.at + time;
        while let Some(next) = play.guard.next_deadline().filter(|at| *at <= play.begin + end) {
            play.at = next - play.begin;
            self.take(play);
        }
        play.at = end;
        self.take(play);
    }
}

fn perform(play: &mut Play, record: &mut Record, step: Step) {
    match step {
        Step::Vanish(instance) if play.registered.contains(&name(instance)) => {
            play.vanish([instance]);
            record.doubts.insert(name(instance), play.at);
            record.latest.insert(name(instance), play.at);
            record.judged.remove(&name(instance));
        }
        Step::Vanish(_) => {}
        Step::Register(instance) => {
            play.register([instance]);
            record.doubts.remove(&name(instance));
        }
        Step::FailProbe(instance) => {
            play.fail_probe(instance);
            record.take(play);
            assert!(!record.doubts.contains_key(&name(instance)), "it goes at once");
        }
        Step::PassProbe(instance) => {
            play.guard.probe_passed(&play.goods, &name(instance), play.now());
            record.take(play);
            let since = record.doubts.get(&name(instance));
            let stays = since.is_some_and(|since| play.at >= *since + 2 * WINDOW);
            assert!(!stays || record.alarmed, "no alarm for what does not stop");
        }
        Step::Pass(time) => record.pass(play, time),
    }
}

proptest! {
    /// No endpoint is dropped within its window unless its probe failed, none is in doubt for longer than
    /// window and hold, and each decision is the one that counting gives: see `Record::take`.
    #[test]
    fn every_doubt_ends_in_time_and_none_before(steps in steps()) {
        let mut play = Play::new(0.5, INSTANCES);
        let mut record = Record::default();
        for step in steps {
            perform(&mut play, &mut record, step);
            for since in record.doubts.values() {
                prop_assert!(play.at - *since < WINDOW + HOLD);
            }
        }
        record.pass(&mut play, WINDOW + HOLD);
        prop_assert!(record.doubts.is_empty());
        record.pass(&mut play, 2 * WINDOW);
        let Guard { waves, due, recent, held, .. } = &play.guard;
        prop_assert!(waves.is_empty() && due.is_empty() && recent.is_empty() && *held == 0);
    }

    /// Of all that vanish within one window, no more than the share of the service is dropped because
    /// windows passed.
    #[test]
    fn no_wave_drops_more_than_the_share(steps in steps()) {
        let mut play = Play::new(0.5, INSTANCES);
        let mut record = Record::default();
        let mut most = INSTANCES;
        for step in steps {
            perform(&mut play, &mut record, step);
            most = most.max(play.registered.len() + record.doubts.len());
        }
        record.pass(&mut play, WINDOW + HOLD);
        for since in &record.by_wave {
            let wave = record.by_wave.iter().filter(|s| *s >= since && **s <= *since + WINDOW);
            prop_assert!(wave.count() * 2 <= most, "{:?}", record.by_wave);
        }
    }

    /// Within an instant, it does not matter which instance vanishes or returns first.
    #[test]
    fn the_order_within_an_instant_does_not_matter(
        vanishing in proptest::collection::hash_set(0..INSTANCES, 1..INSTANCES),
        seed in any::<u64>(),
        earlier in proptest::collection::hash_set(0..INSTANCES, 0..INSTANCES),
    ) {
        let rulings = |order: &[usize]| {
            let mut play = Play::new(0.5, INSTANCES);
            play.vanish(earlier.iter().copied());
            play.at += MOMENT;
            play.register(earlier.iter().copied());
            play.vanish(order.iter().copied());
            play.at += WINDOW;
            let mut rulings = play.decide();
            play.register(order.iter().copied());
            rulings.extend(play.decide());
            rulings
        };
        let order: Vec<_> = vanishing.iter().copied().collect();
        let mut shuffled = order.clone();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
        prop_assert_eq!(rulings(&order), rulings(&shuffled));
    }
}

#[test]
fn what_is_forgotten_leaves_nothing_behind_and_ends_its_alarm() {
    let mut play = Play::new(0.5, 4);
    let list: Arc<str> = "list".into();
    play.vanish([0, 1, 2]);
    assert_eq!(play.probe_until(0, 7.0), [alarm(3, 3, 4)]);
    play.vanish([3]);
    play.register([2]);
    play.guard.vanished(&list, &name(0), play.now());
    let goods = play.goods.clone();
    play.guard.forget(&goods);
    play.guard.forget(&"unknown".into());
    assert_eq!(play.decide(), [Ruling::Settled { service: goods, returned: 1, dropped: 2 }]);
    assert_eq!((play.guard.held(), play.guard.waves.len()), (0, 1));
    assert!(play.guard.due.iter().chain(&play.guard.recent).all(|(_, service, _)| *service == list));
    assert_eq!((play.guard.due.len(), play.guard.recent.len()), (1, 1));
}
