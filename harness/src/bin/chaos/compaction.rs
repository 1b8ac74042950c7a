//! While the gateway cannot reach etcd, etcd goes on and compacts its history.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use etcd_client::{Client, CompactionOptions};
use harness::{
    etcd::{Etcd, key},
    relay::{Mode, Relay},
    stack::{Gateway, GatewayOptions, Goods},
    wait::eventually,
};
use tokio::time::sleep;

use crate::{
    context::{Context, counter, load},
    difference::{Vanished, converged},
    measured::{Measured, bound},
    relayed::endpoints,
};

const GOAL: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(30);
const CHANGED: u32 = 50;

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let etcd = Etcd::start().await?;
    let relays = [Relay::start(etcd.address()).await?];
    let _goods = Goods::start(&etcd.endpoint(), "goods-1", &[]).await?;
    let mut client = etcd.client().await?;
    change(&mut client, 1).await?;
    let gateway = Gateway::start(&endpoints(&relays), GatewayOptions::default()).await?;
    gateway.wait_instances("goods", &["goods-1"]).await?;
    let running = load(&gateway, "/goods/list").start();
    sleep(context.scale.calm).await;

    for (round, mode) in (2..).zip(context.variants(&[Mode::Cut, Mode::BlackHole])) {
        let lists = counter(&gateway, "leaseway_registry_lists_total").await?;
        relays[0].set(mode);
        context.say(format_args!("partition: {mode:?}"));
        let begun = Instant::now();
        change(&mut client, round).await?;
        compact(&mut client).await?;
        context.say("the registry has changed, and compacted its history");
        // Twice: a black hole is noticed after some 10 s, and what was on its way does not count.
        sleep((2 * context.scale.fault).saturating_sub(begun.elapsed())).await;
        let accepted = relays[0].accepted();
        relays[0].set(Mode::Pass);
        context.say("the partition is over");
        eventually("the gateway connects again", PATIENCE, async || {
            ensure!(relays[0].accepted() > accepted || mode == Mode::BlackHole, "it has not yet");
            Ok(())
        })
        .await?;
        let connected = Instant::now();
        let took = converged(&mut client, &gateway, Vanished::MayBeSuspect, connected, bound(GOAL)).await?;
        measured.time(&format!("converged ({mode:?})"), took, GOAL)?;
        let listed = counter(&gateway, "leaseway_registry_lists_total").await?;
        ensure!(listed > lists, "it did not list again: the compaction was not met");
    }
    measured.none_failed(&running.stop().await)
}

/// Replaces what an earlier round put: by then most of it is changed, and a third is gone.
async fn change(client: &mut Client, round: u32) -> Result<()> {
    for number in 0..CHANGED {
        let key = key("changing", &format!("instance-{number}"));
        if number % 3 == round % 3 {
            client.delete(key, None).await?;
        } else {
            client.put(key, format!("127.0.0.1:{}", 1000 * round + number), None).await?;
        }
    }
    Ok(())
}

async fn compact(client: &mut Client) -> Result<()> {
    let header = client.get("any", None).await?;
    let revision = header.header().context("etcd's answer has no header")?.revision();
    client.compact(revision, Some(CompactionOptions::new().with_physical())).await?;
    Ok(())
}
