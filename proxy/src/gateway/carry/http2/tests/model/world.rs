//! A carrier, and a case from its begin to its end.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use h2::client::SendRequest;
use registry::contract::{Instance, Metadata, Record};
use registry::watch::Update;
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::client::{self, Seen};
use super::instance::{self, Instances};
use super::over_http1;
use super::scenario::{InstancePlan, Scenario};
use crate::directory::{Endpoint, Writer};
use crate::gateway::Gateway;
use crate::gateway::carry::http2::Carrier;
use crate::gateway::carry::{Dialer, Memory};
use crate::gateway::fixture::NOWHERE;
use crate::link::{Hesitation, Link};
use crate::logging::{Form, Output};
use crate::site::{self, Site, drafts};
use crate::tasks::now;
use crate::traffic::bell::Bell;
use crate::traffic::kept::Sweeper;

/// No case takes as long.
const LONG: Duration = Duration::from_secs(600);
/// Longer than it takes until what has ended was noticed by all.
const MOMENT: Duration = Duration::from_secs(3);
/// Longer than connections are kept that nobody uses.
const KEPT: Duration = Duration::from_secs(70);

/// What has come of a case.
pub(super) struct Outcome {
    pub(super) instances: Arc<Instances>,
    /// What the client has heard on each stream.
    pub(super) seen: Vec<Seen>,
    /// Whether it had left before all had ended.
    pub(super) has_left: bool,
    pub(super) log: String,
}

/// Runs a case.
pub(super) fn run(scenario: Scenario) -> Outcome {
    fastrand::seed(scenario.seed);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let case = Case::new(scenario);
        let outcome = timeout(LONG, case.run()).await;
        outcome.expect("something waits for ever")
    })
}

type Sides = Arc<Mutex<Vec<JoinHandle<()>>>>;

struct Case {
    carrier: Arc<Carrier>,
    output: Arc<Output>,
    endpoints: Vec<Arc<Endpoint>>,
    instances: Arc<Instances>,
    /// The instances' sides of all connections to them.
    sides: Sides,
    is_stopping: Arc<AtomicBool>,
    bell: Arc<Bell>,
}

impl Case {
    fn new(scenario: Scenario) -> Self {
        let mut config = drafts::config("[{path: /, service: goods}]", "{goods: {ejection: off}}");
        // A client that takes nothing may have been sent all: to the gateway, nobody asks for anything then.
        config.timeouts.keepalive = LONG;
        let (materials, mut writer) = drafts::bench(&config);
        let site = drafts::draft(&config, &Site::default(), &materials).site;
        let (site, output) = (Arc::new(site::Current::new(site)), Output::waiting(Form::Json));
        let endpoints = register(&mut writer, &scenario.instances);
        let gateway =
            Gateway::new(site, materials.directory, materials.metrics, Arc::default(), output.clone());
        let instances = Instances::new(scenario);
        let sides = Sides::default();
        let dialer = dialer(&instances, &sides);
        let sweeper = Sweeper::new(100);
        tokio::spawn(sweeper.clone().run());
        let carrier = Arc::new(Carrier { gateway: Arc::new(gateway), sweeper, dialer });
        let (is_stopping, bell) = Default::default();
        Self { carrier, output, endpoints, instances, sides, is_stopping, bell }
    }

    async fn run(self) -> Outcome {
        let scenario = &self.instances.scenario;
        let (ours, theirs) = link(scenario, 0, 0);
        let served =
            tokio::spawn(serve(self.carrier.clone(), ours, self.bell.clone(), self.is_stopping.clone()));
        let (client, connection) = client::open(scenario, theirs).await;
        let driver = tokio::spawn(client::drive(connection, scenario.window));
        let (streams, probe) = (0..scenario.streams.len() - 1, scenario.streams.len() - 1);
        let running: Vec<_> = streams.map(|number| self.ask(number, client.clone())).collect();
        let leaving = scenario.leaves.map(|after| {
            let driver = driver.abort_handle();
            after_millis(after, move || driver.abort())
        });
        let stopping = scenario.stops.map(|after| {
            let (gateway, bell) = (self.carrier.gateway.clone(), self.bell.clone());
            let is_stopping = self.is_stopping.clone();
            after_millis(after, move || {
                gateway.lifecycle.stop();
                is_stopping.store(true, Ordering::Release);
                bell.ring();
            })
        });
        let mut seen = Vec::new();
        for stream in running {
            seen.push(stream.await.unwrap());
        }
        let has_left = leaving.as_ref().is_some_and(JoinHandle::is_finished);
        self.settles().await;
        seen.push(self.ask(probe, client.clone()).await.unwrap());
        drop(client);
        for task in leaving.into_iter().chain(stopping) {
            task.await.unwrap();
        }
        // It is an error where it was aborted.
        let _ = driver.await;
        served.await.unwrap();
        self.settles().await;
        self.ends().await;
        Outcome { seen, has_left, log: self.output.take_lines(), instances: self.instances }
    }

    fn ask(&self, number: usize, client: SendRequest<Bytes>) -> JoinHandle<Seen> {
        let instances = self.instances.clone();
        tokio::spawn(async move {
            let Scenario { streams, seed, .. } = &instances.scenario;
            client::run(&streams[number], number, client, seed ^ (number as u64) << 8).await
        })
    }

    /// Nothing is left of any request.
    async fn settles(&self) {
        sleep(MOMENT).await;
        assert_eq!(self.carrier.gateway.lifecycle.requests_in_flight(), 0, "requests in flight");
        for Endpoint { traffic, .. } in self.endpoints.iter().map(|endpoint| &**endpoint) {
            assert_eq!(traffic.in_flight.count(), 0, "requests in flight at an endpoint");
            assert_eq!(traffic.multiplexed.count().1, 0, "streams to an endpoint");
            assert!(!traffic.waiting.break_off_overdue(now(), |_| panic!("somebody waits for an answer")));
        }
    }

    /// Nor of any connection, when nobody has used it for a while.
    async fn ends(&self) {
        sleep(KEPT).await;
        for Endpoint { traffic, .. } in self.endpoints.iter().map(|endpoint| &**endpoint) {
            assert_eq!(traffic.multiplexed.count().0, 0, "connections are open");
            assert_eq!(traffic.kept.count(), 0, "connections of HTTP/1 are kept");
        }
        let sides = std::mem::take(&mut *self.sides.lock().unwrap());
        for side in sides {
            assert!(side.is_finished(), "a connection is open");
            side.await.unwrap();
        }
        for attempt in &*self.instances.attempts.lock().unwrap() {
            assert_ne!(attempt.fate, instance::Fate::Open, "an instance was not left: {attempt:?}");
        }
        let tasks = Handle::current().metrics().num_alive_tasks();
        assert_eq!(tasks, 1, "tasks, but for the one that sweeps");
    }
}

async fn serve(carrier: Arc<Carrier>, link: Link, bell: Arc<Bell>, is_stopping: Arc<AtomicBool>) {
    carrier.serve(link, NOWHERE, &bell, &|| is_stopping.load(Ordering::Acquire)).await;
}

fn after_millis(millis: u64, act: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(async move {
        sleep(Duration::from_millis(millis)).await;
        act();
    })
}

/// A connection. `which`: a client's (0), or an instance's (1).
fn link(scenario: &Scenario, which: usize, number: u64) -> (Link, Link) {
    let seed = scenario.seed ^ (number + 1) << 16;
    Link::hesitant_pair(scenario.holds[which], Hesitation::new(seed, scenario.hesitates))
}

fn register(writer: &mut Writer, plans: &[InstancePlan]) -> Vec<Arc<Endpoint>> {
    let service: Arc<str> = "goods".into();
    let instance = |(number, plan): (usize, &InstancePlan)| {
        let protocol = if plan.speaks_http2 { "h2c" } else { "http1" };
        let metadata = Metadata::new([("protocol", protocol)]).unwrap();
        Instance {
            service: service.clone(),
            id: number.to_string().into(),
            record: Record { metadata, ..Record::new(([10, 0, 0, number as u8], 80).into()) },
            lease: 7,
            revision: 1,
        }
    };
    let instances = plans.iter().enumerate().map(instance).collect();
    writer.stage(Update::Reset { instances, refused: Vec::new(), revision: 1 }, now());
    writer.publish(now);
    let service = writer.directory().service(&service).unwrap();
    service.endpoints().entries().iter().map(|entry| entry.endpoint.clone()).collect()
}

fn dialer(instances: &Arc<Instances>, sides: &Sides) -> Arc<Dialer> {
    let (instances, sides) = (instances.clone(), sides.clone());
    let dial = move |address: SocketAddr| {
        let IpAddr::V4(ip) = address.ip() else { panic!("{address}") };
        let instance = usize::from(ip.octets()[3]);
        let mut sides = sides.lock().unwrap();
        let number = sides.len() as u64 + 1;
        let (ours, theirs) = link(&instances.scenario, 1, number);
        let seed = instances.scenario.seed ^ number << 40;
        let all = instances.clone();
        sides.push(match all.scenario.instances[instance].speaks_http2 {
            true => tokio::spawn(instance::serve(all, instance, theirs, seed)),
            false => tokio::spawn(over_http1::serve(all, instance, theirs, seed)),
        });
        let takes = Duration::from_millis(seed % 3);
        async move {
            sleep(takes).await;
            Ok(ours)
        }
        .boxed()
    };
    Arc::new(Dialer::Memory(Memory(Box::new(dial))))
}
