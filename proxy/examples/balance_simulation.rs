//! What each policy makes of one slow endpoint among ten: a simulation, event by event, with the gateway's
//! own code and no clock but its own. It prints the same every time, and fails if `ewma` lets the slow one be
//! felt.
//!
//! `cargo run --package proxy --example balance_simulation`

#![allow(clippy::print_stdout)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use harness::quantile::quantile;
use proxy::balance::{self, Choice};
use proxy::config::{Balance, HashKey};
use proxy::directory::{self, Policy, Service};
use proxy::traffic::in_flight::Permit;
use registry::contract::{Instance, Record};
use registry::watch::Update;

const ENDPOINTS: usize = 10;
/// The last one is the slow one.
const SLOW: usize = ENDPOINTS - 1;
/// An endpoint works on so many requests at a time; others wait.
const WORKERS: usize = 4;
/// Most of the time that a request takes is the same each time...
const STEADY: Duration = Duration::from_millis(4);
/// ...the rest is exponentially distributed, with this mean.
const VARYING: Duration = Duration::from_millis(1);
const SLOWNESS: u32 = 10;
/// From one standstill of the gateway to the next.
const PAUSE_EVERY: Duration = Duration::from_secs(15);
const REQUESTS: u64 = 100_000;
/// Before the figures count: endpoints get to be known.
const WARM_UP: u64 = 5_000;
/// The p99 of `ewma` with the slow endpoint, in relation to the one without.
const BOUND: f64 = 1.5;

fn main() -> Result<()> {
    show("light load: 500 requests a second", Load { rate: 500, pause: Duration::ZERO })?;
    show(
        "heavy load: 5,000 requests a second, of 8,000 that all could do if none were slow",
        Load { rate: 5_000, pause: Duration::ZERO },
    )?;
    show(
        "light load, and every 15 seconds the gateway stands still for 100 ms",
        Load { rate: 500, pause: Duration::from_millis(100) },
    )
}

/// What the gateway has to do, and what keeps it from that.
#[derive(Clone, Copy)]
struct Load {
    /// Requests a second.
    rate: u32,
    /// For so long it stands still, once in [`PAUSE_EVERY`].
    pause: Duration,
}

impl Load {
    /// When it notices what happens at this time.
    fn notices(self, at: Duration) -> Duration {
        let into = Duration::from_nanos((at.as_nanos() % PAUSE_EVERY.as_nanos()) as u64);
        at + self.pause.saturating_sub(into)
    }
}

fn show(title: &str, load: Load) -> Result<()> {
    println!("{title}\n{ENDPOINTS} endpoints, one of them {SLOWNESS} times slower");
    println!(
        "  {:14}{:>11}{:>19}{:>10}{:>14}  p99 with none slow",
        "policy", "slow gets", "others get", "p50", "p99"
    );
    for (name, balance) in policies() {
        let with = Simulation::new(balance.clone(), load, SLOWNESS)?.run()?;
        let without = Simulation::new(balance, load, 1)?.run()?;
        let ratio = with.quantile(0.99)? / without.quantile(0.99)?;
        let (least, most) = with.others();
        println!(
            "  {name:14}{:>9.2} %{:>9.2} - {:>5.2} %{:>7.1} ms{:>11.1} ms  {:.1} ms (x {ratio:.2})",
            with.share(SLOW),
            least,
            most,
            with.quantile(0.5)?,
            with.quantile(0.99)?,
            without.quantile(0.99)?,
        );
        ensure!(name != "ewma" || ratio <= BOUND, "{name}: the p99 is {ratio:.2} times the one without");
    }
    println!();
    Ok(())
}

fn policies() -> [(&'static str, Balance); 5] {
    [
        ("random", Balance::Random),
        ("round_robin", Balance::RoundRobin),
        ("least_request", Balance::LeastRequest),
        ("ewma", Balance::Ewma),
        ("hash", Balance::Hash(HashKey::Client)),
    ]
}

/// What comes next.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    /// Of the request with this number.
    Done(u64),
}

struct Request {
    endpoint: usize,
    arrived: Duration,
    sent: Duration,
    _permits: [Permit; 2],
}

#[derive(Default)]
struct Server {
    busy: usize,
    waiting: std::collections::VecDeque<u64>,
}

struct Simulation {
    service: Arc<Service>,
    chance: Rng,
    start: Instant,
    load: Load,
    slowness: u32,
    /// The next event comes first; of two at once, the one that was foreseen first.
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    foreseen: u64,
    servers: [Server; ENDPOINTS],
    requests: BTreeMap<u64, Request>,
    outcome: Outcome,
}

impl Simulation {
    fn new(balance: Balance, load: Load, slowness: u32) -> Result<Self> {
        let policy = Policy { balance, ..Policy::default() };
        let (directory, mut writer) = directory::with_routed([("goods", policy)]);
        let instances = (0..ENDPOINTS).map(instance).collect();
        writer.stage(Update::Reset { instances, refused: Vec::new(), revision: 1 }, Instant::now());
        writer.publish(Instant::now);
        Ok(Self {
            service: directory.service("goods").context("it is pinned")?,
            chance: Rng::with_seed(7),
            start: Instant::now(),
            load,
            slowness,
            events: BinaryHeap::new(),
            foreseen: 0,
            servers: Default::default(),
            requests: BTreeMap::new(),
            outcome: Outcome::default(),
        })
    }

    fn run(mut self) -> Result<Outcome> {
        self.foresee(Duration::ZERO, Event::Arrival);
        let mut arrived = 0;
        while let Some(Reverse((now, _, event))) = self.events.pop() {
            match event {
                Event::Arrival => {
                    self.arrive(arrived, now)?;
                    arrived += 1;
                    if arrived < WARM_UP + REQUESTS {
                        let pause = Duration::from_secs(1) / self.load.rate;
                        let next = now + self.exponential(pause);
                        self.foresee(next, Event::Arrival);
                    }
                }
                Event::Done(number) => self.finish(number, now)?,
            }
        }
        self.outcome.waited.sort_unstable();
        Ok(self.outcome)
    }

    fn arrive(&mut self, number: u64, now: Duration) -> Result<()> {
        let (arrived, now) = (now, self.load.notices(now));
        let total = self.service.in_flight().try_acquire(None).context("there is no limit")?;
        let choice = Choice {
            tried: &[],
            chance: self.chance.u64(..),
            now: self.start + now,
            key: self.chance.u64(..),
            limit: None,
        };
        let endpoints = self.service.endpoints();
        let picked = &balance::pick(&endpoints, &choice).context("nobody was chosen")?.endpoint;
        let own = picked.traffic.in_flight.try_acquire(None).context("there is no limit")?;
        let endpoint = picked.instance.parse()?;
        self.requests.insert(number, Request { endpoint, arrived, sent: now, _permits: [total, own] });
        if number >= WARM_UP {
            self.outcome.picked[endpoint] += 1;
        }
        if self.servers[endpoint].busy < WORKERS {
            self.serve(endpoint, number, now);
        } else {
            self.servers[endpoint].waiting.push_back(number);
        }
        Ok(())
    }

    fn serve(&mut self, endpoint: usize, number: u64, now: Duration) {
        self.servers[endpoint].busy += 1;
        let slowness = if endpoint == SLOW { self.slowness } else { 1 };
        let takes = (STEADY + self.exponential(VARYING)) * slowness;
        self.foresee(now + takes, Event::Done(number));
    }

    fn finish(&mut self, number: u64, now: Duration) -> Result<()> {
        let request = self.requests.remove(&number).context("it was sent")?;
        let noticed = self.load.notices(now);
        let endpoints = self.service.endpoints();
        let entry = endpoints.entries().get(request.endpoint).context("nobody leaves")?;
        entry.endpoint.traffic.latency.record(noticed - request.sent, self.start + noticed);
        if number >= WARM_UP {
            self.outcome.waited.push(noticed - request.arrived);
        }
        self.servers[request.endpoint].busy -= 1;
        if let Some(next) = self.servers[request.endpoint].waiting.pop_front() {
            self.serve(request.endpoint, next, now);
        }
        Ok(())
    }

    fn foresee(&mut self, at: Duration, event: Event) {
        self.foreseen += 1;
        self.events.push(Reverse((at, self.foreseen, event)));
    }

    fn exponential(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.chance.f64()).ln())
    }
}

/// By name, in the order of the numbers.
fn instance(number: usize) -> Instance {
    let address = ([10, 0, 0, number as u8], 80).into();
    let (service, id) = ("goods".into(), number.to_string().into());
    Instance { service, id, record: Record::new(address), lease: 0, revision: 1 }
}

#[derive(Default)]
struct Outcome {
    picked: [u64; ENDPOINTS],
    /// Ascending, in the end.
    waited: Vec<Duration>,
}

impl Outcome {
    /// In percent.
    fn share(&self, endpoint: usize) -> f64 {
        self.picked[endpoint] as f64 * 100.0 / REQUESTS as f64
    }

    /// The least and the greatest share of the endpoints that are not slow.
    fn others(&self) -> (f64, f64) {
        let shares = || (0..SLOW).map(|endpoint| self.share(endpoint));
        (shares().fold(f64::INFINITY, f64::min), shares().fold(0.0, f64::max))
    }

    /// In milliseconds.
    fn quantile(&self, share: f64) -> Result<f64> {
        let waited = quantile(&self.waited, share).context("nothing was answered")?;
        Ok(waited.as_secs_f64() * 1e3)
    }
}
