//! From the moment etcd answered a put (or a delete) to the first request served (or the last routed).
//!
//! Each change is of a fresh service with one instance, so that the first request that could be served
//! is. One connection asks back to back all the while. A request counts as served when its answer was in, and
//! as routed when it reached the backend. What was seen before etcd's answer came counts as zero, for all.
//!
//! There are two controls. One is a bare etcd watch in this process, on a connection of its own as the gateway's is, over
//! the same changes: it sees them, and that is all. The other is what anybody must do who is to be served by an instance that
//! he learns of: such a watch, and a request of its own on a new connection to the instance. It has puts of its own, in turn
//! with the others, while the same connection asks the gateway back to back.

mod changer;
mod watch;

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{
    backend::{Backend, Reply},
    etcd::Etcd,
    quantile::quantile,
    stack::{Gateway, GatewayOptions},
};

use crate::{Scale, heading, row, spread::Spread};
use changer::Changer;

const ROUNDS: usize = 5;
const GOAL_MS: f64 = 3.0;
/// Of a debug build on a machine with much else to do.
const BOUND_MS: f64 = 100.0;
const GOAL_RATIO: f64 = 3.0;

pub(crate) async fn show(scale: Scale) -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(Round::run(&etcd, scale.changes).await?);
    }
    heading(&format!("propagation: {ROUNDS} rounds of {} puts and as many deletes", scale.changes));
    let of = |name: &str, times: fn(&Round) -> &Times| Measured::of(name, rounds.iter().map(times));
    let put = of("put: gateway", |round| &round.puts.gateway);
    let own = of("put: watch and own request", |round| &round.own);
    show_kind(&put, &of("put: bare etcd watch", |round| &round.puts.bare))?;
    own.show();
    row("put: gateway's p50 over that one's", put.over(&own, 0.5).against(GOAL_RATIO));
    row("put: gateway's p99 over that one's", put.over(&own, 0.99).against(GOAL_RATIO));
    for part in [
        of("put: watch to begin of served request", |round| &round.parts.until_asked),
        of("put: request refused meanwhile", |round| &round.parts.refused),
        of("put: served request", |round| &round.parts.served),
        of("put: next one, same connections", |round| &round.parts.next),
    ] {
        part.show();
    }
    let delete = of("delete: gateway", |round| &round.deletes.gateway);
    show_kind(&delete, &of("delete: bare etcd watch", |round| &round.deletes.bare))
}

fn show_kind(gateway: &Measured, bare: &Measured) -> Result<()> {
    let p99 = gateway.spread(0.99);
    row(&format!("{}, p50", gateway.name), gateway.spread(0.5));
    row(&format!("{}, p99", gateway.name), p99.against(GOAL_MS));
    bare.show();
    row(&format!("{}'s p99 over that one's", gateway.name), gateway.over(bare, 0.99));
    ensure!(p99.median() <= BOUND_MS, "{}: {p99}", gateway.name);
    Ok(())
}

/// The times of one thing in one round.
type Times = Vec<Duration>;

/// The times of one thing, round by round, each ascending.
struct Measured {
    name: String,
    rounds: Vec<Times>,
}

impl Measured {
    fn of<'t>(name: &str, rounds: impl Iterator<Item = &'t Times>) -> Self {
        let ascending = |times: &Times| {
            let mut times = times.clone();
            times.sort_unstable();
            times
        };
        Self { name: name.to_owned(), rounds: rounds.map(ascending).collect() }
    }

    fn at(&self, share: f64) -> impl Iterator<Item = Duration> {
        self.rounds.iter().filter_map(move |round| quantile(round, share))
    }

    fn spread(&self, share: f64) -> Spread {
        Spread::of_times(self.at(share))
    }

    /// How many times as long it took, in each round in which the other took any time.
    fn over(&self, other: &Self, share: f64) -> Spread {
        let seconds = |time: Duration| time.as_secs_f64();
        let pairs = self.at(share).map(seconds).zip(other.at(share).map(seconds));
        Spread::of("x", pairs.filter(|(_, other)| *other > 0.0).map(|(it, other)| it / other))
    }

    fn show(&self) {
        row(&format!("{}, p50", self.name), self.spread(0.5));
        row(&format!("{}, p99", self.name), self.spread(0.99));
    }
}

/// From etcd's answer on.
#[derive(Default)]
struct Delays {
    gateway: Times,
    bare: Times,
}

/// What the time of a put consists of.
#[derive(Default)]
struct Parts {
    /// From what the bare watch sees to the beginning of the request that is served.
    until_asked: Times,
    /// The last request that was refused. The change is there while it is under way, and the next one is served.
    refused: Times,
    /// The request that is served, on a new connection to the instance.
    served: Times,
    /// The request after it, which finds that connection.
    next: Times,
}

#[derive(Default)]
struct Round {
    puts: Delays,
    deletes: Delays,
    parts: Parts,
    /// The put of the control that asks the instance itself.
    own: Times,
}

impl Round {
    async fn run(etcd: &Etcd, changes: usize) -> Result<Self> {
        let services: Vec<_> = (0..changes).map(|number| format!("service-{number}")).collect();
        // The guard would keep the last instance of a service, as long as it can be connected to.
        let mut options = GatewayOptions::without_routes()
            .route("/first", "first")
            .route("/absent", "absent")
            .set("gateway/registry/guard/share", 1)
            .discard_log();
        for service in &services {
            options = options.route(&format!("/{service}"), service);
        }
        let gateway = Gateway::start(&etcd.endpoint(), options).await?;
        let backend = Backend::start("a", Reply::ok("")).await?;
        let mut changer = Changer::connect(etcd, &gateway, &backend).await?;
        // Not counted. The gateway's watch starts at a revision that etcd has already, the bare one does not:
        // etcd brings such a watch up to date every 100 ms, and its first event comes no sooner.
        changer.put_and_delete("first", &mut Self::default()).await?;
        let mut round = Self::default();
        for service in &services {
            changer.put_and_delete(service, &mut round).await?;
            round.own.push(changer.put_and_ask_oneself("unrouted").await?);
        }
        Ok(round)
    }
}
