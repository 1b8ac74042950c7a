use std::collections::{BTreeSet, HashMap as Map};
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use async_trait::async_trait;
use harness::backend::{Backend as Server, Behaviour, Reply};
use harness::ports::free_address;
use registry::contract::{Instance, Record};
use registry::watch::{Change, Update, WatchStatus};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::AbortHandle;

use super::*;
use crate::config::Initially;
use crate::config::Probe;
use crate::directory::{self, Writer};
use crate::health::findings::{self, Found};
use crate::tls::Expired;
use crate::tls::fixture::{self as tls, Realm};
use pingora_load_balancing::health_check::HealthCheck;

const MS: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(30);

fn check(probe: Probe) -> Check {
    let run = |length| NonZeroU32::new(length).expect("not 0");
    let (healthy, unhealthy) = (run(2), run(3));
    Check { probe, interval: 1000 * MS, timeout: 200 * MS, healthy, unhealthy, initially: Initially::Up }
}

fn get(path: &str) -> Probe {
    Probe::Http { path: path.to_owned(), statuses: vec![200, 204] }
}

fn call(service: &str) -> Probe {
    Probe::Grpc { service: service.to_owned() }
}

/// What is behind a port of 127.0.0.1, and who was asked when.
#[derive(Default)]
struct Script {
    fails: Mutex<Map<u16, bool>>,
    asked: Mutex<Vec<(u16, Instant)>>,
    takes: Duration,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Script {
    fn set(&self, port: u16, fails: bool) {
        self.fails.lock().unwrap().insert(port, fails);
    }

    fn times(&self, port: u16) -> Vec<Instant> {
        self.asked.lock().unwrap().iter().filter(|(asked, _)| *asked == port).map(|(_, at)| *at).collect()
    }
}

#[async_trait]
impl HealthCheck for Script {
    async fn check(&self, backend: &Backend) -> pingora::Result<()> {
        let port = backend.addr.as_inet().map_or(0, |address| address.port());
        self.asked.lock().unwrap().push((port, now()));
        self.most.fetch_max(self.running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(self.takes).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        let fails = self.fails.lock().unwrap().get(&port).copied().unwrap_or_default();
        if fails { Error::e_explain(ErrorType::ConnectRefused, "as told") } else { Ok(()) }
    }

    fn health_threshold(&self, _: bool) -> usize {
        1
    }
}

/// A directory with the service `goods`, and checks that run over it.
struct World {
    directory: Arc<Directory>,
    writer: Writer,
    revision: i64,
    published: Instant,
    wanted: watch::Sender<Arc<Vec<CheckedService>>>,
    found: UnboundedReceiver<Found>,
    metrics: Arc<Metrics>,
    checks: AbortHandle,
}

impl Drop for World {
    fn drop(&mut self) {
        self.checks.abort();
    }
}

impl World {
    /// Without a script, the endpoints are asked in earnest.
    fn new(check: Check, script: Option<&Arc<Script>>) -> Result<Self> {
        let policy = directory::Policy { initially: check.initially, ..Default::default() };
        let (directory, writer) = directory::with_routed([("goods", policy), ("other", Default::default())]);
        let (findings, found) = findings::channel();
        let metrics = Arc::new(Metrics::new()?);
        let goods = directory.service("goods").context("it is routed")?;
        let checked = CheckedService::new(goods, (&check, None), &directory, &Probers::new())?;
        let (wanted, followed) = watch::channel(Arc::new(vec![checked]));
        let checks = Checks::new(followed, findings, metrics.clone());
        let published = Instant::now();
        let checks = tokio::spawn(checks.run()).abort_handle();
        let world = Self { directory, writer, revision: 0, published, wanted, found, metrics, checks };
        if let Some(script) = script {
            world.want(Some((&check, script)))?;
        }
        Ok(world)
    }

    /// From now on `goods` is asked so; none: not at all.
    fn want(&self, how: Option<(&Check, &Arc<Script>)>) -> Result<()> {
        let service = self.directory.service("goods").context("it is routed")?;
        let checked = |(check, script): (&Check, &Arc<Script>)| {
            let checked = CheckedService::new(service, (check, None), &self.directory, &Probers::new())?;
            anyhow::Ok(CheckedService { prober: script.clone(), ..checked })
        };
        self.wanted.send_replace(Arc::new(how.map(checked).transpose()?.into_iter().collect()));
        Ok(())
    }

    fn apply(&mut self, change: impl FnOnce(i64) -> Change) {
        self.revision += 1;
        let changes = vec![change(self.revision)];
        self.writer.hear(Update::Apply { changes, revision: self.revision });
        self.publish();
    }

    /// Each time much later than the last, so that nothing is held back.
    fn publish(&mut self) {
        self.published += PATIENCE;
        let later = self.published;
        assert_eq!(self.writer.publish(|| later), None, "published");
    }

    fn put(&mut self, address: std::net::SocketAddr, weight: u16) {
        let record = Record { weight, ..Record::new(address) };
        let id = address.port().to_string().into();
        self.apply(|revision| {
            Change::Put(Instance { service: "goods".into(), id, record, lease: 7, revision })
        });
    }

    fn port(&mut self, port: u16, weight: u16) {
        self.put(([127, 0, 0, 1], port).into(), weight);
    }

    fn remove(&mut self, port: u16) {
        let id: Arc<str> = port.to_string().into();
        let (service, instance) = (Arc::from("goods"), id.clone());
        self.apply(|revision| Change::Delete { service: "goods".into(), id, revision });
        self.writer.remove(&service, &instance);
        self.publish();
    }

    /// What is found is published, as discovery does.
    fn judge(&mut self, (port, finding): (u16, Finding)) -> Result<()> {
        let goods = self.directory.service("goods").context("it is routed")?;
        let endpoints = Arc::clone(&goods.endpoints());
        let mut entries = endpoints.entries().iter();
        let entry = entries.find(|entry| entry.endpoint.address.port() == port).context("it is there")?;
        self.writer.find(&entry.endpoint, finding);
        self.publish();
        Ok(())
    }

    /// Whether the metrics show so many checks with this outcome.
    fn shows(&self, outcome: &str, count: u32) -> Result<bool> {
        let text = self.metrics.render(&Directory::default(), &WatchStatus::default(), 0)?;
        let line = format!("leaseway_checks_total{{outcome=\"{outcome}\",service=\"goods\"}} {count}");
        Ok(String::from_utf8(text)?.lines().any(|other| other == line))
    }

    async fn next(&mut self) -> Result<(u16, Finding)> {
        let found = timeout(PATIENCE, self.found.recv()).await?.context("checks have ended")?;
        Ok((found.endpoint.address.port(), found.finding))
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_is_asked_every_interval_and_what_turns_is_told() -> Result<()> {
    let script = Arc::new(Script::default());
    let mut world = World::new(check(Probe::Tcp), Some(&script))?;
    script.set(1, true);
    world.port(1, 1);
    world.port(2, 1);
    assert_eq!(world.next().await?, (1, Finding::Unhealthy));
    assert_eq!(script.times(1).len(), 3, "three bad answers make it unhealthy");
    script.set(1, false);
    assert_eq!(world.next().await?, (1, Finding::Healthy));
    let times = script.times(1);
    assert_eq!(times.len(), 5, "two good ones make it healthy");
    for pair in times.windows(2) {
        let gap = pair[1] - pair[0];
        assert!(gap >= 1000 * MS && gap < 1010 * MS, "{gap:?}");
    }
    assert!(world.found.try_recv().is_err(), "nothing was found of the other");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_or_draining_is_not_asked_and_what_comes_back_is_as_it_was() -> Result<()> {
    let script = Arc::new(Script::default());
    let mut world = World::new(check(Probe::Tcp), Some(&script))?;
    script.set(1, true);
    world.port(1, 1);
    world.port(2, 1);
    assert_eq!(world.next().await?, (1, Finding::Unhealthy));
    world.port(1, 0);
    world.remove(2);
    // Whatever had begun has ended, and the change has been seen.
    tokio::time::sleep(2 * LOOK).await;
    let before = (script.times(1).len(), script.times(2).len());
    tokio::time::sleep(10_000 * MS).await;
    assert_eq!((script.times(1).len(), script.times(2).len()), before);
    script.set(1, false);
    world.port(1, 1);
    assert_eq!(world.next().await?, (1, Finding::Healthy));
    assert_eq!(script.times(1).len(), before.0 + 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_is_asked_is_what_the_discovery_names() -> Result<()> {
    /// The directory's, without one port.
    struct Without(ServiceEndpoints, u16);

    #[async_trait]
    impl ServiceDiscovery for Without {
        async fn discover(&self) -> pingora::Result<(BTreeSet<Backend>, Map<u64, bool>)> {
            let (mut backends, readiness) = self.0.discover().await?;
            backends.retain(|backend| backend.addr.as_inet().is_none_or(|a| a.port() != self.1));
            Ok((backends, readiness))
        }
    }

    let script = Arc::new(Script::default());
    let (directory, mut writer) = directory::new(["goods"]);
    let service = directory.service("goods").context("it is routed")?;
    let discovery = Arc::new(Without(ServiceEndpoints::new(directory.clone(), "goods"), 2));
    let checked = CheckedService::new(service, (&check(Probe::Tcp), None), &directory, &Probers::new())?;
    let checked = CheckedService { prober: script.clone(), discovery, ..checked };
    let (_wanted, followed) = watch::channel(Arc::new(vec![checked]));
    let checks = Checks::new(followed, findings::channel().0, Arc::new(Metrics::new()?));
    let instance = |port: u16| {
        let (id, record) = (port.to_string().into(), Record::new(([127, 0, 0, 1], port).into()));
        Instance { service: "goods".into(), id, record, lease: 7, revision: 1 }
    };
    writer.hear(Update::Reset {
        instances: vec![instance(1), instance(2)],
        refused: Vec::new(),
        revision: 1,
    });
    writer.publish(Instant::now);
    let checks = tokio::spawn(checks.run());
    tokio::time::sleep(5000 * MS).await;
    checks.abort();
    assert!(script.times(1).len() >= 4, "{:?}", script.times(1));
    assert!(script.times(2).is_empty(), "nobody named it");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn two_instances_at_one_address_are_each_asked_and_told() -> Result<()> {
    let script = Arc::new(Script::default());
    let mut world = World::new(check(Probe::Tcp), Some(&script))?;
    script.set(1, true);
    world.port(1, 1);
    let record = Record::new(([127, 0, 0, 1], 1).into());
    world.apply(|revision| {
        Change::Put(Instance { service: "goods".into(), id: "twin".into(), record, lease: 7, revision })
    });
    assert_eq!(
        (world.next().await?, world.next().await?),
        ((1, Finding::Unhealthy), (1, Finding::Unhealthy))
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn no_more_than_so_many_are_asked_at_once_and_all_get_their_turn() -> Result<()> {
    let script = Arc::new(Script { takes: 150 * MS, ..Script::default() });
    let check = Check { initially: Initially::Unhealthy, ..check(Probe::Tcp) };
    let mut world = World::new(check, Some(&script))?;
    for port in 1..=200 {
        world.port(port, 1);
    }
    let mut healthy = BTreeSet::new();
    while healthy.len() < 200 {
        let (port, finding) = world.next().await?;
        assert_eq!(finding, Finding::Healthy);
        healthy.insert(port);
    }
    assert_eq!(script.most.load(Ordering::SeqCst), MAX_RUNNING);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_late_is_a_bad_one() -> Result<()> {
    let script = Arc::new(Script { takes: 201 * MS, ..Script::default() });
    let mut world = World::new(check(Probe::Tcp), Some(&script))?;
    let _counted = world.metrics.service("goods");
    world.port(1, 1);
    assert_eq!(world.next().await?, (1, Finding::Unhealthy));
    assert!(world.shows("failed", 3)?);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_will_never_name_another_service_has_the_first_ones_asked() -> Result<()> {
    let script = Arc::new(Script::default());
    let mut world = World::new(check(Probe::Tcp), Some(&script))?;
    world.port(1, 1);
    drop(std::mem::replace(&mut world.wanted, watch::channel(Arc::default()).0));
    tokio::time::sleep(5_000 * MS).await;
    assert!(script.times(1).len() >= 4, "{:?}", script.times(1));
    Ok(())
}

#[test]
fn those_that_come_together_are_spread_over_the_interval() {
    let after = |is_healthy| {
        [0.0, 0.25, 0.999].map(|chance| first_after(1000 * MS, &Active::new(is_healthy), chance))
    };
    assert_eq!(after(true), [Duration::ZERO, 250 * MS, 999 * MS]);
    assert_eq!(after(false), [Duration::ZERO; 3], "it gets no request before");
}

#[test]
fn what_we_lack_says_nothing_of_the_endpoint() {
    let judged = |etype| judge(Error::e_explain(etype, ""));
    assert_eq!(judge(Ok(())), Checked::Passed);
    assert_eq!(judged(ErrorType::ConnectRefused), Checked::Failed);
    assert_eq!(judged(ErrorType::CustomCode("unexpected status", 500)), Checked::Failed);
    for ours in [ErrorType::InternalError, ErrorType::SocketError, ErrorType::BindError] {
        assert_eq!(judged(ours), Checked::Unknown);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_check_stays_the_same_is_asked_as_if_nothing_had_happened() -> Result<()> {
    let script = Arc::new(Script::default());
    let mut world = World::new(check(Probe::Tcp), Some(&script))?;
    script.set(1, true);
    world.port(1, 1);
    while world.found.is_empty() {
        tokio::time::sleep(70 * MS).await;
        world.want(Some((&check(Probe::Tcp), &script)))?;
    }
    assert_eq!(world.next().await?, (1, Finding::Unhealthy));
    let times = script.times(1);
    assert_eq!(times.len(), 3, "no answer was forgotten");
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| (1000 * MS..1010 * MS).contains(gap)), "{gaps:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn another_check_asks_anew_and_what_is_known_of_endpoints_stays() -> Result<()> {
    let (former, new) = (Arc::new(Script::default()), Arc::new(Script::default()));
    let mut world = World::new(check(Probe::Tcp), Some(&former))?;
    former.set(1, true);
    world.port(1, 1);
    world.port(2, 1);
    assert_eq!(world.next().await?, (1, Finding::Unhealthy));
    let check = Check { interval: 10_000 * MS, ..check(get("/new")) };
    world.want(Some((&check, &new)))?;
    tokio::time::sleep(2 * LOOK).await;
    let before = (former.times(1).len(), former.times(2).len());
    assert_eq!(new.times(1).len(), 1, "one that is out is asked at once");
    assert_eq!(world.next().await?, (1, Finding::Healthy));
    assert_eq!((former.times(1).len(), former.times(2).len()), before, "by the new one alone");
    assert_eq!(new.times(1).len(), 2, "it needs two good answers, as it was known to be out");
    let gap = new.times(1)[1] - new.times(1)[0];
    assert!(gap >= check.interval, "{gap:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_question_of_the_former_check_is_not_taken_for_one_of_the_new() -> Result<()> {
    let former = Arc::new(Script { takes: 150 * MS, ..Script::default() });
    let new = Arc::new(Script::default());
    let check = Check { unhealthy: NonZeroU32::MIN, ..check(Probe::Tcp) };
    let mut world = World::new(check.clone(), Some(&former))?;
    former.set(1, true);
    world.port(1, 1);
    while former.times(1).is_empty() {
        tokio::time::sleep(MS).await;
    }
    world.want(Some((&Check { timeout: 100 * MS, ..check }, &new)))?;
    tokio::time::sleep(10_000 * MS).await;
    assert!(world.found.try_recv().is_err(), "it was being asked the former question");
    assert!(!new.times(1).is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn whoever_a_check_kept_out_is_let_in_when_there_is_none_any_more() -> Result<()> {
    let script = Arc::new(Script::default());
    let check = Check { initially: Initially::Unhealthy, ..check(Probe::Tcp) };
    let mut world = World::new(check.clone(), Some(&script))?;
    script.set(1, true);
    // The first is never proven, the second becomes unhealthy, the third is well.
    (1..=3).for_each(|port| world.port(port, 1));
    let mut healthy = vec![world.next().await?, world.next().await?];
    healthy.sort_by_key(|(port, _)| *port);
    assert_eq!(healthy, [(2, Finding::Healthy), (3, Finding::Healthy)]);
    healthy.into_iter().try_for_each(|found| world.judge(found))?;
    script.set(2, true);
    let unhealthy = world.next().await?;
    assert_eq!(unhealthy, (2, Finding::Unhealthy));
    world.judge(unhealthy)?;
    world.want(None)?;
    // Nobody had a look at this one yet.
    world.port(4, 1);
    let mut let_in = vec![world.next().await?, world.next().await?, world.next().await?];
    let_in.sort_by_key(|(port, _)| *port);
    assert_eq!(let_in, [(1, Finding::Healthy), (2, Finding::Healthy), (4, Finding::Healthy)]);
    tokio::time::sleep(2 * LOOK).await;
    let asked = script.asked.lock().unwrap().len();
    tokio::time::sleep(10_000 * MS).await;
    assert_eq!(script.asked.lock().unwrap().len(), asked, "nobody is asked any more");
    assert!(world.found.try_recv().is_err());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_were_there_before_their_first_check_are_not_out_until_it_fails() -> Result<()> {
    let script = Arc::new(Script::default());
    let mut world = World::new(check(Probe::Tcp), Some(&script))?;
    world.want(None)?;
    world.port(1, 1);
    tokio::time::sleep(2 * LOOK).await;
    script.set(1, true);
    world.want(Some((&Check { initially: Initially::Unhealthy, ..check(Probe::Tcp) }, &script)))?;
    assert_eq!(world.next().await?, (1, Finding::Unhealthy));
    assert_eq!(script.times(1).len(), 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn of_what_is_no_longer_asked_nothing_is_left() -> Result<()> {
    let script = Arc::new(Script { takes: 50 * MS, ..Script::default() });
    let mut world = World::new(check(Probe::Tcp), Some(&script))?;
    (1..=20).for_each(|port| world.port(port, 1));
    tokio::time::sleep(1_020 * MS).await;
    let goods = world.directory.service("goods").context("it is routed")?;
    let endpoint = goods.endpoints().entries()[0].endpoint.clone();
    world.want(None)?;
    (1..=20).for_each(|port| world.remove(port));
    tokio::time::sleep(2 * LOOK).await;
    assert_eq!(Arc::strong_count(&endpoint), 1, "only the test knows it");
    assert_eq!(Arc::strong_count(&script), 1);
    Ok(())
}

fn fast(probe: Probe) -> Check {
    Check { interval: 200 * MS, ..check(probe) }
}

#[tokio::test]
async fn a_get_asks_for_the_path_by_the_services_name_and_takes_the_expected_statuses() -> Result<()> {
    let mut world = World::new(fast(get("/healthz?deep=1")), None)?;
    let server = Server::start("a", Reply::status(204)).await?;
    world.put(server.address(), 1);
    server.wait_count(3, PATIENCE).await?;
    assert!(world.found.try_recv().is_err(), "204 is expected");
    let request = server.last()?;
    assert_eq!((request.method.as_str(), &*request.target), ("GET", "/healthz?deep=1"));
    assert_eq!(request.header("host"), Some("goods"));
    server.behave(Behaviour::Always(Reply::status(500))).await?;
    assert_eq!(world.next().await?, (server.address().port(), Finding::Unhealthy));
    server.behave(Behaviour::Usual).await?;
    assert_eq!(world.next().await?, (server.address().port(), Finding::Healthy));
    Ok(())
}

#[tokio::test]
async fn who_accepts_and_never_answers_fails_a_get_and_passes_tcp() -> Result<()> {
    let server = Server::start("a", Reply::Hang).await?;
    let mut by_get = World::new(fast(get("/healthz")), None)?;
    let mut by_tcp = World::new(fast(Probe::Tcp), None)?;
    by_get.put(server.address(), 1);
    by_tcp.put(server.address(), 1);
    assert_eq!(by_get.next().await?.1, Finding::Unhealthy);
    assert!(by_tcp.found.try_recv().is_err());
    Ok(())
}

#[tokio::test]
async fn who_accepts_and_never_answers_a_call_fails_for_the_time_that_it_takes() -> Result<()> {
    // The system accepts. Nobody reads.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let mut world = World::new(fast(call("")), None)?;
    world.put(listener.local_addr()?, 1);
    assert_eq!(world.next().await?.1, Finding::Unhealthy);
    let goods = world.directory.service("goods").context("it is routed")?;
    let endpoints = Arc::clone(&goods.endpoints());
    let (_, failure) =
        endpoints.entries()[0].endpoint.traffic.last_check_failure.get().context("it has failed")?;
    assert_eq!(failure, "read timed out: no whole answer in time");
    Ok(())
}

#[tokio::test]
async fn who_refuses_fails() -> Result<()> {
    for probe in [Probe::Tcp, get("/healthz"), call("")] {
        let mut world = World::new(fast(probe), None)?;
        world.put(free_address()?, 1);
        assert_eq!(world.next().await?.1, Finding::Unhealthy);
    }
    Ok(())
}

#[test]
fn a_name_that_is_not_plain_text_makes_a_check_and_a_path_that_is_none_an_error() {
    assert!(Probers::new().of("große waren", &check(get("/healthz")), None).is_ok());
    assert!(Probers::new().of("goods", &check(get("/<")), None).is_err());
    // What HTTP/2 names a server by is a part of a URL.
    assert!(Probers::new().of("große waren", &check(call("")), None).is_err());
}

#[tokio::test]
async fn where_requests_go_under_tls_so_do_checks() {
    let (realm, other) = (Realm::new("ours"), Realm::new("theirs"));
    let by_address = tls::Instance::new(&realm.sign("127.0.0.1")).await;
    let by_name = tls::Instance::new(&realm.sign("pay.example.net")).await;
    let trusting = |realm: &Realm| {
        let now = std::time::SystemTime::now();
        Arc::new(InstanceTls::new(&realm.trusted(), None, Expired::Used, now).unwrap())
    };
    let (ours, theirs) = (trusting(&realm), trusting(&other));
    let (directory, _writer) = directory::with_routed([("goods", directory::Policy::default())]);
    let checked = |tls| {
        let service = directory.service("goods").unwrap();
        CheckedService::new(service, (&check(Probe::Tcp), tls), &directory, &Probers::new()).unwrap()
    };
    assert!(checked(Some(&ours)).is_like(&checked(Some(&ours))));
    assert!(
        !checked(Some(&ours)).is_like(&checked(Some(&theirs)))
            && !checked(None).is_like(&checked(Some(&ours)))
    );
    for probe in [Probe::Tcp, get("/")] {
        for (instance, tls, host, passes) in [
            (&by_address, &ours, None, true),
            (&by_address, &ours, Some("pay.example.net"), false),
            (&by_address, &theirs, None, false),
            (&by_name, &ours, Some("pay.example.net"), true),
            (&by_name, &ours, None, false),
        ] {
            let prober = Probers::new().of("goods", &check(probe.clone()), Some(tls)).unwrap();
            let mut backend = Backend::new(&instance.address.to_string()).unwrap();
            host.into_iter().for_each(|host| drop(backend.ext.insert(Host(host.into()))));
            let answer = prober.check(&backend).await;
            assert_eq!(answer.is_ok(), passes, "{probe:?}, {host:?}: {answer:?}");
            assert_eq!(judge(answer), if passes { Checked::Passed } else { Checked::Failed });
        }
    }
}
