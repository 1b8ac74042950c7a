//! Many keys under many leases that change all the time: nothing grows, nothing is missed.
//!
//! A short run is one of the tests. A minute of it, which is printed:
//! `LEASEWAY_CHURN_SECONDS=60 cargo test --release -p embedded-registry a_hundred_thousand -- --nocapture`

use std::{
    env,
    net::SocketAddr,
    ops::Range,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use etcd_client::{Client, GetOptions, PutOptions, Txn, TxnOp, WatchOptions, WatchStream};
use futures_util::{StreamExt, stream};
use harness::{
    ports::free_address,
    process::{Process, Stdout},
    wait::eventually,
};
use tokio::time::sleep;
use tonic::transport::Endpoint;

use crate::{
    follow::{End, LAST, follow},
    subject::{PATIENCE, client},
};

const KEYS: usize = 100_000;
const LEASES: usize = 100;
/// A second; fewer where the machine is slower.
const PUTS: usize = 5_000;
const TICK: Duration = Duration::from_millis(100);
/// Far more than the history and the connection of a watch that is not read can hold.
const LEAST_PUTS: usize = 30_000;
/// Bytes.
const WINDOW: u32 = 64 * 1024;
/// How long a client may leave an answer untaken.
const TAKES: Duration = Duration::from_secs(30);
const TTL: i64 = 60;
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// What fills up is full after this share of the time: 10 s of 60.
const SETTLED: usize = 6;

/// How long keys are changed: `LEASEWAY_CHURN_SECONDS`, or a short time.
fn duration() -> Result<Duration> {
    match env::var("LEASEWAY_CHURN_SECONDS") {
        Ok(seconds) => {
            Ok(Duration::from_secs(seconds.parse().context("LEASEWAY_CHURN_SECONDS is no number")?))
        }
        Err(_) => Ok(Duration::from_secs(12)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_keys_change_and_memory_stays_flat() -> Result<()> {
    let address = free_address()?;
    let registry = Process::start(example("serve", &address.to_string())?, Stdout::Kept)?;
    let mut client = eventually("it serves", PATIENCE, async || {
        let mut client = client(address).await?;
        client.get("any", None).await?;
        Ok(client)
    })
    .await?;
    let leases = fill(&mut client).await?;
    let base = client.get("any", None).await?.header().context("no header")?.revision();

    let mut quick = watch(&mut self::client(address).await?, base + 1).await?;
    let mut slow = watch(&mut narrow_client(address).await?, base + 1).await?;
    let following = tokio::spawn(async move { follow(&mut quick, base).await });
    let (puts, memory) = change(&client, &leases, &registry).await?;
    client.put(LAST, "", None).await?;
    match following.await?? {
        End::Last(revision) => {
            assert_eq!(revision, base + i64::try_from(puts)? + 1, "every put is heard");
            println!("a watch that is read: every event in order");
        }
        // This test itself may be too slow for it.
        End::Compacted(revision) => println!("a watch that is read: compacted at {}", revision - base),
    }
    match follow(&mut slow, base).await {
        Ok(End::Compacted(revision)) => {
            println!("a watch that is not read until the end: compacted at {}", revision - base);
        }
        Ok(End::Last(_)) => bail!("a watch that nobody reads has missed nothing"),
        // Its client took nothing for as long as it may.
        Err(_) if duration()? >= TAKES => println!("a watch that is not read until the end: closed"),
        Err(error) => return Err(error),
    }

    let all = GetOptions::new().with_prefix().with_count_only();
    assert_eq!(client.get("/service/", Some(all)).await?.count(), i64::try_from(KEYS)? + 1);
    assert_flat(&memory[memory.len() / SETTLED..])
}

/// A watch of every key from this revision on.
async fn watch(client: &mut Client, start: i64) -> Result<WatchStream> {
    let options = WatchOptions::new().with_prefix().with_start_revision(start);
    let mut watch = client.watch("/service/", Some(options)).await?;
    ensure!(watch.message().await?.context("the stream ended")?.created());
    Ok(watch)
}

/// A client on whose connection little is under way that is not read: by default it would be 2 MiB.
async fn narrow_client(address: SocketAddr) -> Result<Client> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.initial_stream_window_size(WINDOW);
    Ok(Client::from_channel(etcd_client::Channel::Tonic(endpoint.connect().await?), None).await?)
}

fn assert_flat(memory: &[u64]) -> Result<()> {
    let (first, last) = memory.first().zip(memory.last()).context("no sample")?;
    let most = memory.iter().max().context("no sample")?;
    let mebibytes = |bytes: &u64| bytes / 1024 / 1024;
    println!(
        "resident memory: {} MiB after a sixth of the time, {} at the end, {} at most",
        mebibytes(first),
        mebibytes(last),
        mebibytes(most)
    );
    ensure!(most - first < first / 10, "it grows from {first} to {most} bytes");
    Ok(())
}

/// Puts every key under one of the leases.
async fn fill(client: &mut Client) -> Result<Vec<i64>> {
    let mut leases = Vec::new();
    for _ in 0..LEASES {
        leases.push(client.lease_grant(TTL, None).await?.id());
    }
    for n in (0..KEYS).step_by(100) {
        let put = |n| TxnOp::put(key(n), "10.0.0.1:80", lease(&leases, n));
        client.txn(Txn::new().and_then((n..n + 100).map(put).collect::<Vec<_>>())).await?;
    }
    Ok(leases)
}

/// Changes keys at a steady pace; how many puts it were, and what memory the registry took meanwhile.
async fn change(client: &Client, leases: &[i64], registry: &Process) -> Result<(usize, Vec<u64>)> {
    let (duration, start) = (duration()?, Instant::now());
    let (mut puts, mut memory, mut kept) = (0, Vec::new(), start);
    while start.elapsed() < duration || puts < LEAST_PUTS {
        let tick = Instant::now();
        let batch = puts..puts + PUTS / 10;
        put_all(client, leases, batch.clone()).await?;
        puts = batch.end;
        memory.push(registry.resident_memory()?);
        if kept.elapsed() > KEEP_ALIVE {
            keep_alive(client, leases).await?;
            kept = Instant::now();
        }
        sleep(TICK.saturating_sub(tick.elapsed())).await; // the pace
    }
    println!("{puts} puts, {:.0} a second", puts as f64 / start.elapsed().as_secs_f64());
    Ok((puts, memory))
}

async fn put_all(client: &Client, leases: &[i64], puts: Range<usize>) -> Result<()> {
    let puts = stream::iter(puts).map(|put| {
        let mut client = client.clone();
        let (n, value) = (put * 7_919 % KEYS, format!("10.0.0.1:{}", put % 65_536));
        async move { client.put(key(n), value, lease(leases, n)).await }
    });
    let answers: Vec<_> = puts.buffer_unordered(64).collect().await;
    answers.into_iter().try_for_each(|answer| answer.map(drop).context("a put is refused"))
}

async fn keep_alive(client: &Client, leases: &[i64]) -> Result<()> {
    let mut client = client.clone();
    for lease in leases {
        client.lease_keep_alive(*lease).await?;
    }
    Ok(())
}

fn key(n: usize) -> String {
    format!("/service/goods/{n:06}")
}

fn lease(leases: &[i64], n: usize) -> Option<PutOptions> {
    Some(PutOptions::new().with_lease(leases[n % leases.len()]))
}

/// An example of this crate as a process of its own: it is built with the tests.
fn example(name: &str, argument: &str) -> Result<Command> {
    let tests = env::current_exe()?;
    let directory = tests.parent().and_then(|deps| deps.parent()).context("no target directory")?;
    let path = directory.join("examples").join(name);
    ensure!(path.is_file(), "no {}: `cargo build --examples` makes it", path.display());
    let mut command = Command::new(path);
    command.arg(argument);
    Ok(command)
}
