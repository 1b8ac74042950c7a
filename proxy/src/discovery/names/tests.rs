use std::net::IpAddr;
use std::sync::Mutex;

use async_trait::async_trait;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A resolver that a test has in its hands.
#[derive(Debug, Clone, Default)]
struct Fake(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    names: HashMap<String, Vec<SocketAddr>>,
    hanging: bool,
    asked: usize,
}

#[async_trait]
impl Machine for Fake {
    fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        Ok(Vec::new())
    }

    async fn resolve(&self, host: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        let (found, hangs) = {
            let mut state = self.0.lock().unwrap();
            state.asked += 1;
            (state.names.get(host).cloned(), state.hanging)
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        found.ok_or_else(|| io::Error::other("no such name"))
    }
}

impl Fake {
    fn set(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.0.lock().unwrap().names.insert(name.to_owned(), addresses);
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().asked
    }
}

struct Bench {
    machine: Fake,
    names: Names<Fake>,
}

impl Bench {
    fn new() -> Self {
        let machine = Fake::default();
        Self { names: Names::new(machine.clone()), machine }
    }

    fn want(&mut self, addresses: &[&str]) -> bool {
        let addresses = addresses.iter().map(|text| GivenAddress::parse(text).unwrap()).collect();
        !self.names.want(vec![("old".into(), addresses)]).is_empty()
    }

    async fn outcomes(&mut self) -> Outcomes {
        timeout(120 * SECOND, self.names.outcomes()).await.expect("there are outcomes")
    }

    /// The instances, and whether they are all.
    fn given(&self) -> (Vec<String>, bool) {
        let given = self.names.given(&"old".into());
        let shown = |given: &GivenEndpoint| format!("{} {}", given.id, given.address);
        (given.endpoints.iter().map(shown).collect(), given.is_whole)
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_is_there_at_once_and_a_name_when_it_is_resolved_with_all_that_it_stands_for() {
    let mut bench = Bench::new();
    bench.machine.set("a.net", &["[fd00::9]:80", "10.0.0.9:80", "[::ffff:10.0.0.9]:80"]);
    assert!(bench.want(&["10.0.0.1:80", "a.net:80"]));
    assert_eq!(bench.given(), (vec!["10.0.0.1:80 10.0.0.1:80".to_owned()], false));
    let outcomes = bench.outcomes().await;
    assert_eq!((outcomes.services.len(), outcomes.failures, outcomes.news.len()), (1, 0, 0));
    let expected =
        ["10.0.0.1:80 10.0.0.1:80", "a.net:80/10.0.0.9 10.0.0.9:80", "a.net:80/fd00::9 [fd00::9]:80"];
    assert_eq!(bench.given(), (expected.map(str::to_owned).into(), true));
}

#[tokio::test(start_paused = true)]
async fn a_name_is_resolved_every_thirty_seconds_and_an_address_never() {
    let mut bench = Bench::new();
    bench.machine.set("a.net", &["10.0.0.9:80"]);
    bench.want(&["10.0.0.1:80", "a.net:80"]);
    let start = now();
    for round in 0..3 {
        bench.outcomes().await;
        assert_eq!(now() - start, round * INTERVAL);
        bench.machine.set("a.net", &["10.0.0.10:80"]);
    }
    assert_eq!(bench.machine.asked(), 3);
    assert_eq!(bench.given().0[1], "a.net:80/10.0.0.10 10.0.0.10:80");
}

#[tokio::test(start_paused = true)]
async fn a_failure_keeps_what_is_known_and_is_told_once_and_counted_each_time() {
    let mut bench = Bench::new();
    bench.machine.set("a.net", &["10.0.0.9:80"]);
    bench.want(&["a.net:80"]);
    bench.outcomes().await;
    bench.machine.0.lock().unwrap().names.clear();
    for told in [1, 0, 0] {
        let outcomes = bench.outcomes().await;
        assert_eq!((outcomes.failures, outcomes.news.len()), (1, told));
        assert!(outcomes.news.iter().all(|news| matches!(news.what, What::Failed(_)) && news.known == 1));
        assert_eq!(bench.given(), (vec!["a.net:80/10.0.0.9 10.0.0.9:80".to_owned()], true));
    }
    bench.machine.set("a.net", &[]);
    assert_eq!(bench.outcomes().await.failures, 1, "a name that stands for nothing is a failure, too");
    bench.machine.set("a.net", &["10.0.0.9:80"]);
    let outcomes = bench.outcomes().await;
    assert!(outcomes.failures == 0 && outcomes.news.len() == 1 && outcomes.news[0].what == What::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_was_never_resolved_holds_nothing_up_for_longer_than_an_answer_may_take() {
    let mut bench = Bench::new();
    bench.machine.0.lock().unwrap().hanging = true;
    bench.want(&["a.net:80", "10.0.0.1:80"]);
    let start = now();
    let outcomes = bench.outcomes().await;
    assert_eq!((now() - start, outcomes.failures, outcomes.news.len()), (PATIENCE, 1, 1));
    assert_eq!(bench.given(), (vec!["10.0.0.1:80 10.0.0.1:80".to_owned()], true));
}

#[tokio::test(start_paused = true)]
async fn while_no_address_is_known_the_service_keeps_what_it_had_and_is_asked_for_soon_again() {
    let mut bench = Bench::new();
    bench.want(&["a.net:80"]);
    let start = now();
    for round in 0..3 {
        assert_eq!(bench.outcomes().await.failures, 1);
        assert_eq!((now() - start, bench.given()), (round * SOON, (Vec::new(), false)));
    }
    bench.machine.set("a.net", &["10.0.0.9:80"]);
    bench.outcomes().await;
    assert_eq!(bench.given(), (vec!["a.net:80/10.0.0.9 10.0.0.9:80".to_owned()], true));
    let start = now();
    bench.machine.0.lock().unwrap().names.clear();
    for round in 1..3 {
        bench.outcomes().await;
        assert_eq!(now() - start, round * INTERVAL, "there is no hurry any more");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_a_name_stays_when_other_addresses_come_and_go_beside_it() {
    let mut bench = Bench::new();
    bench.machine.set("a.net", &["10.0.0.9:80"]);
    bench.want(&["a.net:80"]);
    bench.outcomes().await;
    assert!(!bench.want(&["a.net:80"]), "nothing is new");
    assert!(bench.want(&["10.0.0.1:80", "a.net:80"]));
    let expected = ["10.0.0.1:80 10.0.0.1:80", "a.net:80/10.0.0.9 10.0.0.9:80"];
    assert_eq!(bench.given(), (expected.map(str::to_owned).into(), true));
    assert!(bench.want(&["10.0.0.1:80"]));
    assert_eq!(bench.given().0.len(), 1);
    assert!(timeout(120 * SECOND, bench.names.outcomes()).await.is_err(), "nobody asks any more");
    assert!(bench.names.want(Vec::new()).is_empty());
    assert!(bench.given().0.is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_very_many_addresses_of_a_name_as_many_are_taken_as_there_may_be_which_is_told_once() {
    let mut bench = Bench::new();
    let many: Vec<_> = (0..1_000).map(|n| format!("10.0.{}.{}:80", n / 250, n % 250)).collect();
    bench.machine.set("a.net", &many.iter().map(String::as_str).collect::<Vec<_>>());
    bench.want(&["a.net:80"]);
    for told in [&[What::TooMany(1_000)][..], &[]] {
        let news: Vec<_> = bench.outcomes().await.news.into_iter().map(|news| news.what).collect();
        assert_eq!((&news[..], bench.given().0.len()), (told, MOST));
    }
}
