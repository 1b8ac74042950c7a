//! Many changes a second, in transactions of 100, on an etcd of one member.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use etcd_client::{Client, Txn, TxnOp};
use harness::{
    etcd::{Etcd, key},
    load::Outcome,
    stack::{Gateway, GatewayOptions, Stack},
};
use tokio::{
    task::JoinSet,
    time::{interval, sleep},
};

use crate::{
    context::{Context, load, seen},
    difference::{Vanished, converged},
    measured::{Measured, bound},
};

const GOAL: Duration = Duration::from_millis(250);
/// etcd takes 128 operations in a transaction.
const IN_A_TRANSACTION: u32 = 100;
/// So that etcd always has a next transaction while it writes one to the disk.
const WRITERS: u32 = 4;
/// Each writer changes this many instances of its own in turn, ten of each service.
const INSTANCES: u32 = 300;
const PER_SERVICE: u32 = 10;

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    // Without its log: the lines about changes would be much of what they cost.
    let stack = Stack::start(3, &[], GatewayOptions::default().discard_log()).await?;
    let lasts = context.scale.changes_for;
    let calm = async {
        sleep(lasts).await;
        Ok(lasts)
    };
    let control = under_load(&stack.gateway, calm).await?;

    let (per_second, transactions) = (context.scale.changes_per_second, transactions(context));
    context.say(format_args!("{per_second} changes a second for {lasts:?}"));
    let storm = under_load(&stack.gateway, storm(&stack.etcd, per_second, transactions)).await?;
    let changes = WRITERS * transactions * IN_A_TRANSACTION;
    context.say(format_args!("{changes} changes were made in {:?}", storm.took));

    let mut client = stack.etcd.client().await?;
    let revision = change(&mut client, 0, 0..IN_A_TRANSACTION).await?;
    let answered = Instant::now();
    let last_seen = seen(&stack.gateway, revision, answered, bound(GOAL)).await?;
    converged(&mut client, &stack.gateway, Vanished::Differs, answered, bound(Duration::from_secs(1)))
        .await?;

    let achieved = f64::from(changes) / storm.took.as_secs_f64();
    measured.note(format_args!("{changes} changes, {achieved:.0} a second, 0 lost"));
    measured.time("the last one seen after", last_seen, GOAL)?;
    // Without what the requests cost by themselves.
    let requests = control.cpu.as_secs_f64() / control.outcome.sent as f64 * storm.outcome.sent as f64;
    let cost = (storm.cpu.as_secs_f64() - requests) * 1e6 / f64::from(changes);
    measured.note(format_args!("{cost:.1} ms of CPU per 1,000 changes"));
    let p99 = |outcome: &Outcome| outcome.latency(0.99).as_secs_f64() * 1000.0;
    measured.note(format_args!("p99 {:.2} ms, {:.2} without", p99(&storm.outcome), p99(&control.outcome)));
    let mut outcome = storm.outcome;
    outcome.add(control.outcome);
    measured.none_failed(&outcome)
}

/// How many each writer makes.
fn transactions(context: &Context) -> u32 {
    let changes = context.scale.changes_per_second * context.scale.changes_for.as_secs() as u32;
    changes / IN_A_TRANSACTION / WRITERS
}

/// What was measured while something was done under load.
struct UnderLoad {
    took: Duration,
    /// The gateway's.
    cpu: Duration,
    outcome: Outcome,
}

async fn under_load(gateway: &Gateway, done: impl Future<Output = Result<Duration>>) -> Result<UnderLoad> {
    let running = load(gateway, "/goods/list").start();
    let before = gateway.process().cpu_time()?;
    let took = done.await?;
    let cpu = gateway.process().cpu_time()? - before;
    Ok(UnderLoad { took, cpu, outcome: running.stop().await })
}

/// Each writer makes so many transactions, all together at this rate; how long that took.
async fn storm(etcd: &Etcd, per_second: u32, transactions: u32) -> Result<Duration> {
    let begun = Instant::now();
    let pause = Duration::from_secs(1) * IN_A_TRANSACTION * WRITERS / per_second;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let mut client = etcd.client().await?;
        writers.spawn(async move {
            // Late ticks are caught up with.
            let mut tick = interval(pause);
            for number in 0..transactions {
                tick.tick().await;
                let first = writer * INSTANCES + number * IN_A_TRANSACTION % INSTANCES;
                change(&mut client, 1 + number, first..first + IN_A_TRANSACTION).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer??;
    }
    Ok(begun.elapsed())
}

/// Gives these instances the address of this round; the revision of the change.
async fn change(client: &mut Client, round: u32, instances: Range<u32>) -> Result<i64> {
    let address = format!("127.0.0.1:{}", 1 + round % 65_535);
    let put = |number: u32| {
        let service = format!("service-{}", number / PER_SERVICE);
        TxnOp::put(key(&service, &number.to_string()), address.as_str(), None)
    };
    let answer = client.txn(Txn::new().and_then(instances.map(put).collect::<Vec<_>>())).await?;
    Ok(answer.header().context("etcd's answer has no header")?.revision())
}
