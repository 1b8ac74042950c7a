//! A door, and a case from its begin to its end.

use std::future::{pending, ready};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::super::{Door, bench, connection};
use super::client;
use super::instance::{self, Instances};
use super::scenario::{Dial, Scenario, Setting};
use super::verdict::{self, Outcome};
use super::wire::Reader;
use crate::directory::{Endpoint, Writer};
use crate::gateway::fixture::NOWHERE;
use crate::link::{Hesitation, Link};
use crate::logging::Output;
use crate::tasks::now;

/// No case takes as long: a tunnel may be silent for an hour.
const LONG: Duration = Duration::from_secs(2 * 3_600);
/// So long it takes until all that is over has been noticed, and no kept connection is too old yet.
const SETTLES: Duration = Duration::from_secs(3);

/// A door, which serves case after case.
pub(super) struct World {
    runtime: Runtime,
    door: Arc<Door>,
    writer: Writer,
    output: Arc<Output>,
    network: Arc<Mutex<Network>>,
    cases: u8,
}

/// Whom the gateway reaches.
#[derive(Default)]
struct Network {
    instances: Option<Arc<Instances>>,
    /// Their sides of all connections to them.
    sides: Vec<JoinHandle<()>>,
    dialled: u64,
    /// How many of these came to nothing.
    failed: usize,
}

impl World {
    pub(super) fn new(setting: Setting) -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let network = Arc::<Mutex<Network>>::default();
        let dialled = network.clone();
        let (door, writer, output) =
            bench::door(Box::new(move |_| dialled.lock().unwrap().dial()), &setting.keys());
        runtime.spawn(door.carrier.sweeper.clone().run());
        Self { runtime, door: Arc::new(door), writer, output, network, cases: 0 }
    }

    /// Panics if something is not as it must be.
    pub(super) fn run(&mut self, scenario: Scenario) {
        fastrand::seed(scenario.seed);
        let endpoints = self.register(scenario.endpoints);
        let instances = Instances::new(scenario);
        *self.network.lock().unwrap() = Network { instances: Some(instances.clone()), ..Network::default() };
        let case =
            Case { door: &self.door, network: &self.network, instances: &instances, endpoints: &endpoints };
        let departs = departs(&mut self.writer, instances.scenario.departs, self.cases);
        let (clients, took) = self.runtime.block_on(case.run(departs));
        let failed = self.network.lock().unwrap().failed + instances.closed_idle.load(Ordering::Relaxed);
        let heard = std::mem::take(&mut *instances.heard.lock().unwrap());
        let arrived = std::mem::take(&mut *instances.arrived.lock().unwrap());
        let log = self.output.take_lines();
        verdict::check(&Outcome {
            scenario: &instances.scenario,
            clients,
            heard,
            arrived,
            failed,
            log,
            took,
        });
    }

    /// As many instances as there are to be, all new.
    fn register(&mut self, count: u8) -> Vec<Arc<Endpoint>> {
        self.cases = self.cases.wrapping_add(1);
        let Self { runtime, writer, cases, .. } = self;
        let endpoints = runtime.block_on(async { bench::register(writer, count, *cases) });
        assert_eq!(endpoints.len(), usize::from(count));
        endpoints
    }
}

/// Some instances leave, if some do.
async fn departs(writer: &mut Writer, departs: Option<(u64, u8)>, network: u8) {
    let Some((millis, left)) = departs else { return };
    sleep(Duration::from_millis(millis)).await;
    bench::register(writer, left, network);
}

impl Network {
    fn dial(&mut self) -> BoxFuture<'static, io::Result<Link>> {
        let instances = self.instances.clone().expect("a case has begun");
        let Scenario { dials, holds, hesitates, seed, .. } = &instances.scenario;
        let (number, seed) = (self.dialled, seed ^ (self.dialled + 100) << 8);
        self.dialled += 1;
        let becomes = dials.get(number as usize).copied().unwrap_or(Dial::Opens);
        self.failed += usize::from(becomes != Dial::Opens);
        match becomes {
            Dial::Opens => {}
            Dial::Refused => return ready(Err(io::ErrorKind::ConnectionRefused.into())).boxed(),
            Dial::Hangs => return pending().boxed(),
        }
        let (ours, theirs) = Link::hesitant_pair(holds[1], Hesitation::new(seed, *hesitates));
        self.sides.push(tokio::spawn(instance::serve(instances.clone(), theirs, seed)));
        let takes = Duration::from_millis(seed % 3);
        async move {
            sleep(takes).await;
            Ok(ours)
        }
        .boxed()
    }
}

/// A case on its way.
struct Case<'c> {
    door: &'c Arc<Door>,
    network: &'c Mutex<Network>,
    instances: &'c Arc<Instances>,
    endpoints: &'c [Arc<Endpoint>],
}

impl Case<'_> {
    /// What each client has heard, and how long that took.
    async fn run(&self, departs: impl Future<Output = ()>) -> (Vec<Reader>, Duration) {
        let begun = now();
        let scenario = &self.instances.scenario;
        let (mut clients, mut served) = (Vec::new(), JoinSet::new());
        for number in 0..scenario.clients.len() {
            let seed = scenario.seed ^ (number as u64 + 1);
            let (ours, theirs) =
                Link::hesitant_pair(scenario.holds[0], Hesitation::new(seed, scenario.hesitates));
            served.spawn(connection::serve(self.door.clone(), ours, NOWHERE, self.door.unlimited()));
            let instances = self.instances.clone();
            let run =
                async move { client::run(&instances.scenario.clients[number], number, theirs, seed).await };
            clients.push(tokio::spawn(run));
        }
        let clients = async {
            let readers = timeout(LONG, joined(clients)).await.expect("a client waits for ever");
            (readers, now() - begun)
        };
        let ((readers, took), ()) = tokio::join!(clients, departs);
        timeout(LONG, served.join_all()).await.expect("a connection is served for ever");
        self.settles().await;
        (readers, took)
    }

    /// All is as it was before.
    async fn settles(&self) {
        let door = self.door;
        assert_eq!(door.gateway.lifecycle.drained(Duration::ZERO).await, 0, "requests or heads in flight");
        assert_eq!(door.bells.count(), 0);
        for Endpoint { traffic, .. } in self.endpoints.iter().map(|endpoint| &**endpoint) {
            assert_eq!(traffic.in_flight.count(), 0);
            assert!(!traffic.waiting.break_off_overdue(now(), |_| panic!("somebody waits for an answer")));
            assert_eq!(Arc::strong_count(&traffic.departure), 1, "a tunnel waits for its endpoint to leave");
        }
        sleep(SETTLES).await;
        let sides = std::mem::take(&mut self.network.lock().unwrap().sides);
        let open = sides.iter().filter(|side| !side.is_finished()).count();
        let left = self.instances.scenario.departs.map_or(self.endpoints.len(), |(_, left)| left.into());
        for endpoint in &self.endpoints[left..] {
            assert_eq!(endpoint.traffic.kept.count(), 0, "connections are kept to who has left");
        }
        let kept: usize = self.endpoints.iter().map(|endpoint| endpoint.traffic.kept.count()).sum();
        assert_eq!(open, kept, "connections that are open, and those that are kept");
        self.instances.closing.send_replace(true);
        timeout(LONG, joined(sides)).await.expect("an instance waits for ever");
        sleep(SETTLES).await;
        assert_eq!(door.carrier.sweeper.count(), 0);
    }
}

async fn joined<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(crate::tasks::joined(task.await).expect("nobody cancels it"));
    }
    outcomes
}
