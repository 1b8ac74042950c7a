use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::task::{Context, Waker};

use registry::contract::{Instance, Record};
use registry::watch::Update;
use tokio::sync::mpsc::UnboundedReceiver;

use super::super::findings::{self, Found};
use super::*;
use crate::directory;
use crate::tasks;
use crate::traffic::bell::Bell;
use crate::traffic::in_flight::Permit;
use crate::traffic::waiting::Broken;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A service of three endpoints that usually take 20 ms, at which requests wait on real sockets.
struct Bench {
    service: Arc<ServiceHealth>,
    writer: directory::Writer,
    start: Instant,
    found: UnboundedReceiver<Found>,
    waiting: Vec<(usize, Place, Permit, [UnixStream; 2])>,
}

impl Bench {
    fn new() -> Self {
        let start = Instant::now();
        let settings = config::Service::default();
        let (directory, mut writer) = directory::new(["goods"]);
        let instance = |number: u8| {
            let (service, id) = ("goods".into(), number.to_string().into());
            Instance {
                service,
                id,
                record: Record::new(([10, 0, 0, number], 80).into()),
                lease: 7,
                revision: 1,
            }
        };
        writer.hear(Update::Reset {
            instances: (0..3).map(instance).collect(),
            refused: Vec::new(),
            revision: 1,
        });
        writer.publish(|| start);
        let service = directory.service("goods").expect("it is pinned");
        let (told, found) = findings::channel();
        let service =
            Arc::new(ServiceHealth::new(service, Rules::of(&settings), told, Arc::default(), start));
        let bench = Self { service, writer, start, found, waiting: Vec::new() };
        (0..3).for_each(|number| bench.answer(number, 1, 21));
        bench
    }

    fn endpoint(&self, number: usize) -> Arc<Endpoint> {
        self.service.service.endpoints().entries()[number].endpoint.clone()
    }

    /// Three requests wait at an endpoint from `millis` on.
    fn wait(&mut self, number: usize, millis: u32) {
        let endpoint = self.endpoint(number);
        for _ in 0..3 {
            let (ours, theirs) = UnixStream::pair().expect("there are descriptors");
            let since = Some(self.start + millis * MS);
            let wait = Wait { since, patience: 30 * SECOND, repeatable: true };
            let place = self.service.wait(&endpoint, Interrupt::Descriptor(ours.as_raw_fd()), wait);
            let permit = endpoint.traffic.in_flight.try_acquire(None).expect("there is no limit");
            self.waiting.push((number, place, permit, [ours, theirs]));
        }
    }

    /// An endpoint answers a request that was sent and answered then, in milliseconds.
    fn answer(&self, number: usize, sent: u32, answered: u32) {
        let now = self.start + answered * MS;
        self.endpoint(number).traffic.latency.record((answered - sent) * MS, now);
    }

    /// Looks at all; which were found stalled, and how many requests were broken off by the end.
    fn look(mut self, millis: u32) -> (Vec<String>, usize) {
        let now = self.start + millis * MS;
        for number in 0..3 {
            self.service.look(&self.endpoint(number), now, |_| {});
        }
        let stalled = std::iter::from_fn(|| self.found.try_recv().ok());
        let stalled = stalled.map(|found| found.endpoint.instance.to_string()).collect();
        let service = self.service.service.clone();
        let traffic = |number: usize| service.endpoints().entries()[number].endpoint.clone();
        let broken = self
            .waiting
            .into_iter()
            .filter_map(|(number, place, ..)| traffic(number).traffic.waiting.leave(place));
        (stalled, broken.filter(|why| *why == Broken::Stalled).count())
    }
}

#[test]
fn what_is_silent_while_others_answer_has_stalled() {
    let mut bench = Bench::new();
    (0..3).for_each(|number| bench.wait(number, if number == 0 { 22 } else { 1_150 }));
    bench.answer(1, 1_100, 1_120);
    assert_eq!(bench.look(1_200), (vec!["0".to_owned()], 3));
}

#[test]
fn what_is_silent_while_another_has_nothing_to_do_has_stalled() {
    let mut bench = Bench::new();
    bench.wait(0, 22);
    bench.wait(1, 22);
    assert_eq!(bench.look(1_200), (vec!["0".to_owned(), "1".to_owned()], 6));
}

#[test]
fn a_service_that_stands_still_as_a_whole_is_waited_for() {
    let mut bench = Bench::new();
    (0..3).for_each(|number| bench.wait(number, 22));
    assert_eq!(bench.look(20_000), (vec![], 0));
}

#[test]
fn late_answers_to_earlier_requests_do_not_show_that_a_slow_service_goes_on_elsewhere() {
    let mut bench = Bench::new();
    (0..3).for_each(|number| bench.wait(number, 40));
    bench.answer(1, 35, 3_035);
    assert_eq!(bench.look(3_037), (vec![], 0));
}

#[test]
fn one_that_is_out_is_no_better_place_though_it_is_idle() {
    let mut bench = Bench::new();
    bench.wait(0, 22);
    bench.wait(1, 22);
    bench.writer.find(&bench.endpoint(2), Finding::Unhealthy);
    bench.writer.publish(|| bench.start + SECOND);
    assert_eq!(bench.look(1_200), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn the_watch_shuts_a_connection_down_or_rings_whichever_reaches_who_waited_too_long() {
    let bench = Bench::new();
    let watch = bench.service.watch.clone();
    let task = tokio::spawn(async move { watch.run().await });
    let endpoint = bench.endpoint(0);
    let (bell, (ours, theirs)) =
        (Arc::new(Bell::default()), UnixStream::pair().expect("there are descriptors"));
    let wait = Wait { since: Some(tasks::now()), patience: SECOND, repeatable: false };
    let interrupts = [Interrupt::Bell(bell.clone()), Interrupt::Descriptor(ours.as_raw_fd())];
    let places = interrupts.map(|interrupt| bench.service.wait(&endpoint, interrupt, wait));
    let broken = || places.each_ref().map(|place| endpoint.traffic.waiting.is_broken_off(place));
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!(broken(), [false; 2]);
    tokio::time::sleep(SECOND).await;
    assert_eq!(broken(), [true; 2]);
    assert!(bell.poll_rung(&mut Context::from_waker(Waker::noop())).is_ready());
    assert_eq!((&theirs).read(&mut [0]).expect("it is not read twice"), 0, "the end of the stream");
    task.abort();
}

/// What was found since the last call, by endpoint.
fn found(bench: &mut Bench) -> Vec<(String, Finding)> {
    let found = std::iter::from_fn(|| bench.found.try_recv().ok());
    found.map(|found| (found.endpoint.instance.to_string(), found.finding)).collect()
}

fn refused(number: u8) -> (String, Finding) {
    (number.to_string(), Finding::Ejected(ejection::Grounds::Refused))
}

fn without_ejection() -> Rules {
    Rules::of(&config::Service { ejection: None, ..config::Service::default() })
}

fn failing_after(failures: u32) -> Rules {
    let failures = std::num::NonZeroU32::new(failures).expect("not 0");
    let ejection = Some(config::Ejection { failures, ..config::Ejection::default() });
    Rules::of(&config::Service { ejection, ..config::Service::default() })
}

/// Whether some endpoint is to be tried, at any time.
fn is_anybody_tried(bench: &Bench, now: Instant) -> bool {
    bench.service.trial(Repeatable::Yes, now + 3_600 * SECOND).is_some()
}

#[test]
fn whoever_is_ejected_returns_at_once_when_ejection_is_turned_off() {
    let mut bench = Bench::new();
    let now = bench.start;
    let [ejected, on_trial] = [0, 1].map(|number| bench.endpoint(number));
    bench.service.failed(&on_trial, Failure::Refused, now);
    let (tried, trial) = bench.service.trial(Repeatable::Yes, now + 5 * SECOND).expect("it is due");
    assert_eq!(tried.id, on_trial.id);
    bench.service.failed(&ejected, Failure::Refused, now + 5 * SECOND);
    assert_eq!(found(&mut bench), [refused(1), refused(0)]);
    bench.service.apply(without_ejection(), now + 5 * SECOND);
    assert_eq!(found(&mut bench), [("0".to_owned(), Finding::Returned), ("1".to_owned(), Finding::Returned)]);
    assert!(!is_anybody_tried(&bench, now));
    bench.service.finish(&on_trial, trial, Outcome::Failed(Failure::Refused), now + 6 * SECOND);
    (0..10).for_each(|_| bench.service.failed(&ejected, Failure::Refused, now + 6 * SECOND));
    assert_eq!(found(&mut bench), [], "nothing is ejected any more");
    bench.service.apply(Rules::of(&config::Service::default()), now + 7 * SECOND);
    bench.service.failed(&ejected, Failure::Status, now + 7 * SECOND);
    assert_eq!(found(&mut bench), [], "what failed meanwhile was not counted");
    bench.service.failed(&ejected, Failure::Refused, now + 7 * SECOND);
    assert_eq!(found(&mut bench), [refused(0)]);
    assert!(is_anybody_tried(&bench, now));
}

#[test]
fn other_numbers_hold_at_once_and_what_is_ejected_keeps_its_time() {
    let mut bench = Bench::new();
    let now = bench.start;
    let [ejected, failing] = [0, 1].map(|number| bench.endpoint(number));
    bench.service.failed(&ejected, Failure::Refused, now);
    let due = lock(&ejected).trial_due();
    bench.service.failed(&failing, Failure::Status, now);
    bench.service.apply(failing_after(2), now + 100 * MS);
    assert_eq!(found(&mut bench), [refused(0)]);
    assert_eq!(lock(&ejected).trial_due(), due);
    bench.service.failed(&failing, Failure::Status, now + 100 * MS);
    let failures = Finding::Ejected(ejection::Grounds::Failures);
    assert_eq!(found(&mut bench), [("1".to_owned(), failures)], "the failure before counts");
}

#[test]
fn whoever_was_ejected_under_a_former_care_is_tried_under_the_next() {
    let bench = Bench::new();
    bench.service.failed(&bench.endpoint(0), Failure::Refused, bench.start);
    let again = |rules| {
        let (findings, found) = findings::channel();
        let service = bench.service.service.clone();
        (ServiceHealth::new(service, rules, findings, Arc::default(), bench.start), found)
    };
    let (next, _) = again(Rules::of(&config::Service::default()));
    assert!(next.trial(Repeatable::Yes, bench.start + 5 * SECOND).is_some());
    let (_next, mut found) = again(without_ejection());
    assert_eq!(found.try_recv().expect("it returned").finding, Finding::Returned);
}

#[test]
fn what_was_counted_for_the_budget_stays_when_the_rules_change() {
    let bench = Bench::new();
    let rules = config::Budget { percent: 100, per_second: 0 };
    (0..10).for_each(|_| bench.service.budget.request(bench.start));
    bench.service.apply(without_ejection(), bench.start);
    assert_eq!(bench.service.budget.left(&rules, bench.start), 10);
}

#[test]
fn a_stall_is_none_while_stalls_are_off_and_one_again_when_they_are_on() {
    let off = Rules::of(&config::Service { stall: None, ..config::Service::default() });
    for (rules, expected) in [(off, (vec![], 0)), (without_ejection(), (vec![], 0))] {
        let mut bench = Bench::new();
        bench.wait(0, 22);
        bench.service.apply(rules, bench.start);
        assert_eq!(bench.look(1_200), expected);
    }
    let mut bench = Bench::new();
    bench.wait(0, 22);
    bench.service.apply(off, bench.start);
    bench.service.look(&bench.endpoint(0), bench.start + 1_100 * MS, |_| {});
    bench.service.apply(Rules::of(&config::Service::default()), bench.start);
    assert_eq!(bench.look(1_200), (vec!["0".to_owned()], 3));
}

/// A failure that was about to be judged while ejection was turned off must not be the one that ejects for ever.
#[test]
fn no_endpoint_stays_ejected_however_ejection_is_turned_off_among_failures() {
    for _ in 0..200 {
        let bench = Bench::new();
        let endpoint = bench.endpoint(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    (0..50).for_each(|_| bench.service.failed(&endpoint, Failure::Refused, bench.start));
                });
            }
            scope.spawn(|| bench.service.apply(without_ejection(), bench.start));
        });
        assert!(lock(&endpoint).is_healthy());
        assert!(!is_anybody_tried(&bench, bench.start));
    }
}
