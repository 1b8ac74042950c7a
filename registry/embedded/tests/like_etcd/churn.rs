//! Many keys under many leases that change all the time: nothing grows, nothing is missed.

use std::{
    env,
    ops::Range,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, GetOptions, PutOptions, Txn, TxnOp, WatchOptions};
use futures_util::{StreamExt, stream};
use harness::{
    ports::free_address,
    process::{Process, Stdout},
    wait::eventually,
};
use tokio::time::sleep;

use crate::{
    follow::{End, LAST, follow},
    subject::{PATIENCE, client},
};

const KEYS: usize = 100_000;
const LEASES: usize = 100;
/// A second; fewer where the machine is slower.
const PUTS: usize = 5_000;
const TICK: Duration = Duration::from_millis(100);
/// What becomes full first is full after this share of the time: 10 s of 60.
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

    let options = WatchOptions::new().with_prefix().with_start_revision(base + 1);
    let mut watch = crate::subject::client(address).await?.watch("/service/", Some(options)).await?;
    ensure!(watch.message().await?.context("the stream ended")?.created());
    let following = tokio::spawn(async move { follow(&mut watch, base).await });
    let (puts, memory) = change(&client, &leases, &registry).await?;
    client.put(LAST, "", None).await?;
    match following.await?? {
        End::Last(revision) => assert_eq!(revision, base + i64::try_from(puts)? + 1, "every put is heard"),
        End::Compacted(revision) => println!("the watch was told that {} is compacted", revision - base),
    }

    let all = GetOptions::new().with_prefix().with_count_only();
    assert_eq!(client.get("/service/", Some(all)).await?.count(), i64::try_from(KEYS)? + 1);
    assert_flat(&memory[memory.len() / SETTLED..])
}

fn assert_flat(memory: &[u64]) -> Result<()> {
    let least = *memory.iter().min().context("no sample")?;
    let most = *memory.iter().max().context("no sample")?;
    println!("resident memory: {} to {} MiB", least / 1024 / 1024, most / 1024 / 1024);
    ensure!(most - least < least / 4, "it grows from {least} to {most} bytes");
    Ok(())
}

/// Puts every key under one of the leases.
async fn fill(client: &mut Client) -> Result<Vec<i64>> {
    let mut leases = Vec::new();
    for _ in 0..LEASES {
        leases.push(client.lease_grant(60, None).await?.id());
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
    let (mut puts, mut memory) = (0, Vec::new());
    while start.elapsed() < duration {
        let tick = Instant::now();
        let batch = puts..puts + PUTS / 10;
        put_all(client, leases, batch.clone()).await?;
        puts = batch.end;
        memory.push(registry.resident_memory()?);
        if puts % (5 * PUTS) == 0 {
            keep_alive(client, leases).await?;
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
