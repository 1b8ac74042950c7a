//! The embedded registry beside a real etcd of one member, in rounds side by side:
//!
//! `cargo run --release -p embedded-registry --example beside_etcd [ROUNDS]`
//!
//! Puts a second, deliveries a second to a hundred watches, and how long it takes from a put to a watch.
//! Each is a process of its own, reached over loopback by the same client.
#![allow(clippy::print_stdout, reason = "printing is what this program is for")]

use std::{
    env,
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use embedded_registry::{Server, Settings, first_revision};
use etcd_client::{Client, WatchOptions, WatchStream};
use futures_util::future::try_join_all;
use harness::{
    etcd::Etcd,
    ports::free_address,
    process::{Process, Stdout},
    quantile::quantile,
    wait::eventually,
};
use tonic::transport::Endpoint;

const PUTS: usize = 51_200;
/// Calls that are under way at the same time, and the connections that they share.
const CALLS: usize = 64;
const CONNECTIONS: usize = 8;
const WATCHES: usize = 100;
/// Changes that each watch hears of.
const CHANGES: usize = 1_000;
/// Single puts whose way to a watch is timed.
const TIMED: usize = 500;
/// Between two of them: an idle registry is what most are.
const PAUSE: Duration = Duration::from_millis(2);

/// One round on one registry.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// A second.
    puts: f64,
    /// A second, to all watches together.
    deliveries: f64,
    /// Milliseconds.
    p50: f64,
    p99: f64,
}

#[tokio::main]
async fn main() -> Result<()> {
    match env::args().nth(1) {
        Some(address) if address.contains(':') => serve(address.parse()?).await,
        Some(rounds) => compare(rounds.parse().context("the number of rounds")?).await,
        None => compare(5).await,
    }
}

/// This program is the embedded registry's process, too.
async fn serve(address: SocketAddr) -> Result<()> {
    let server = Server::new(Settings::default(), first_revision(SystemTime::now()));
    Ok(server.serve(Server::bind(address)?, std::future::pending()).await?)
}

async fn compare(rounds: usize) -> Result<()> {
    let etcd = Etcd::start().await?;
    let address = free_address()?;
    let mut command = Command::new(env::current_exe()?);
    command.arg(address.to_string());
    let _embedded = Process::start(command, Stdout::Kept)?;
    let serves = async || Ok(connect(address).await?.get("any", None).await?);
    eventually("the embedded registry serves", Duration::from_secs(30), serves).await?;

    let (mut embedded, mut real) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // Whoever goes first may find the machine in another state.
        if round % 2 == 0 {
            embedded.push(measure(address).await?);
            real.push(measure(etcd.address()).await?);
        } else {
            real.push(measure(etcd.address()).await?);
            embedded.push(measure(address).await?);
        }
        println!("round {round}: embedded {:?}", embedded[round]);
        println!("         etcd     {:?}", real[round]);
    }
    println!(
        "\nmedian [min - max] of {rounds} rounds | embedded | etcd | how far ahead embedded is, round by round"
    );
    let rounds: Vec<_> = std::iter::zip(embedded, real).collect();
    let times = |ours: f64, theirs: f64| ours / theirs;
    let shorter = |ours: f64, theirs: f64| theirs / ours;
    row("puts a second", &rounds, |round| round.puts, times);
    row("deliveries a second to 100 watches", &rounds, |round| round.deliveries, times);
    row("put to watch, p50 in ms", &rounds, |round| round.p50, shorter);
    row("put to watch, p99 in ms", &rounds, |round| round.p99, shorter);
    Ok(())
}

/// Of pairs of rounds, the embedded registry's first.
fn row(name: &str, rounds: &[(Round, Round)], of: fn(&Round) -> f64, ahead: fn(f64, f64) -> f64) {
    let embedded = spread(rounds.iter().map(|(ours, _)| of(ours)));
    let etcd = spread(rounds.iter().map(|(_, theirs)| of(theirs)));
    let ahead = spread(rounds.iter().map(|(ours, theirs)| ahead(of(ours), of(theirs))));
    println!("{name} | {embedded} | {etcd} | {ahead}");
}

fn spread(values: impl Iterator<Item = f64>) -> String {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |share| quantile(&values, share).unwrap_or(f64::NAN);
    format!("{:.2} [{:.2} - {:.2}]", at(0.5), at(0.0), at(1.0))
}

async fn measure(address: SocketAddr) -> Result<Round> {
    let puts = puts(address).await?;
    let deliveries = deliveries(address).await?;
    let ways = ways(address).await?;
    let milliseconds = |share| quantile(&ways, share).map_or(f64::NAN, |way| way.as_secs_f64() * 1e3);
    Ok(Round { puts, deliveries, p50: milliseconds(0.5), p99: milliseconds(0.99) })
}

async fn puts(address: SocketAddr) -> Result<f64> {
    let clients = try_join_all((0..CONNECTIONS).map(|_| connect(address))).await?;
    let start = Instant::now();
    let callers = (0..CALLS).map(|caller| {
        let mut client = clients[caller % CONNECTIONS].clone();
        tokio::spawn(async move {
            for n in 0..PUTS / CALLS {
                let key = format!("/service/puts/{}", caller * 1_000 + n % 1_000);
                client.put(key, "10.0.0.1:80", None).await?;
            }
            anyhow::Ok(())
        })
    });
    for caller in try_join_all(callers).await? {
        caller?;
    }
    Ok(PUTS as f64 / start.elapsed().as_secs_f64())
}

/// Every watch is a stream, ten to a connection.
async fn deliveries(address: SocketAddr) -> Result<f64> {
    let clients = try_join_all((0..WATCHES / 10).map(|_| connect(address))).await?;
    let mut watches = Vec::new();
    for n in 0..WATCHES {
        watches.push(open(&mut clients[n % clients.len()].clone(), "/service/fan/").await?);
    }
    let start = Instant::now();
    let listeners = watches.into_iter().map(|mut watch| {
        tokio::spawn(async move {
            let mut heard = 0;
            while heard < CHANGES {
                let answer = watch.message().await?.context("the stream ended")?;
                heard += answer.events().len();
            }
            anyhow::Ok(())
        })
    });
    let listeners: Vec<_> = listeners.collect();
    let mut client = connect(address).await?;
    for n in 0..CHANGES {
        client.put(format!("/service/fan/{n}"), "10.0.0.1:80", None).await?;
    }
    for listener in try_join_all(listeners).await? {
        listener?;
    }
    Ok((WATCHES * CHANGES) as f64 / start.elapsed().as_secs_f64())
}

/// From the call of a put to the arrival of its event on another connection, ascending.
async fn ways(address: SocketAddr) -> Result<Vec<Duration>> {
    let mut watch = open(&mut connect(address).await?, "/service/way/").await?;
    let mut client = connect(address).await?;
    let mut ways = Vec::with_capacity(TIMED);
    for n in 0..TIMED {
        tokio::time::sleep(PAUSE).await;
        let start = Instant::now();
        let heard = async {
            let answer = watch.message().await?.context("the stream ended")?;
            ensure!(answer.events().len() == 1, "one put, {} events", answer.events().len());
            Ok(start.elapsed())
        };
        let put = async { Ok(client.put("/service/way/one", n.to_string(), None).await?) };
        let (_, way) = tokio::try_join!(put, heard)?;
        ways.push(way);
    }
    ways.sort_unstable();
    Ok(ways)
}

async fn open(client: &mut Client, prefix: &str) -> Result<WatchStream> {
    let mut watch = client.watch(prefix, Some(WatchOptions::new().with_prefix())).await?;
    ensure!(watch.message().await?.context("the stream ended")?.created(), "no watch");
    Ok(watch)
}

/// etcd-client's own connector would leave Nagle's algorithm on: 40 ms for each call.
async fn connect(address: SocketAddr) -> Result<Client> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    Ok(Client::from_channel(etcd_client::Channel::Tonic(channel), None).await?)
}
