use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use registry::contract::{Instance, Record};
use registry::watch::Update;
use tokio::sync::mpsc::UnboundedReceiver;

use super::super::verdict::{self, Verdict};
use super::*;
use crate::traffic::in_flight::Permit;
use crate::traffic::waiting::Broken;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A service of three endpoints that usually take 20 ms, at which requests wait on real sockets.
struct Bench {
    service: Arc<Service>,
    writer: directory::Writer,
    start: Instant,
    verdicts: UnboundedReceiver<Verdict>,
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
        writer.stage(Update::Reset {
            instances: (0..3).map(instance).collect(),
            refused: Vec::new(),
            revision: 1,
        });
        writer.publish(|| start);
        let service = directory.service("goods").expect("it is pinned");
        let (told, verdicts) = verdict::channel();
        let service = Arc::new(Service::new(service, &settings, told, Arc::default(), start));
        let bench = Self { service, writer, start, verdicts, waiting: Vec::new() };
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
            let request = waiting::Request { since, patience: 30 * SECOND, repeatable: true };
            let place = self.service.wait(&endpoint, ours.as_raw_fd(), request);
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
            self.service.look(&self.endpoint(number), now);
        }
        let stalled = std::iter::from_fn(|| self.verdicts.try_recv().ok());
        let stalled = stalled.map(|verdict| verdict.endpoint.instance.to_string()).collect();
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
    bench.writer.judged(&bench.endpoint(2), Finding::Unhealthy);
    bench.writer.publish(|| bench.start + SECOND);
    assert_eq!(bench.look(1_200), (vec![], 0));
}
