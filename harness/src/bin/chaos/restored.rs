//! etcd is put back to an older backup, and emptied: its revisions fall back, its cluster id stays.

use std::time::{Duration, Instant};

use anyhow::Result;
use harness::{
    etcd::key,
    stack::{GatewayOptions, Services, Stack},
};
use tokio::time::sleep;

use crate::{
    context::{Context, all_up, load, shown},
    difference::{Vanished, converged},
    measured::{Measured, bound},
};

const GOAL: Duration = Duration::from_secs(5);
const GOODS: [&str; 3] = ["goods-1", "goods-2", "goods-3"];

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let mut stack = Stack::start(GOODS.len(), &[], GatewayOptions::default()).await?;
    let running = load(&stack.gateway, "/goods/list").start();
    put(&stack, "before", 1..=10).await?;
    let backup = stack.etcd.save_backup().await?;
    // After the backup: what it holds is changed or gone, and there is more, at higher revisions.
    put(&stack, "before", 1..=5).await?;
    for number in 6..=10 {
        stack.etcd.delete(&key("before", &number.to_string())).await?;
    }
    put(&stack, "after", 1..=10).await?;
    sleep(context.scale.calm).await;

    stack.etcd.restore_backup(&backup).await?;
    context.say("etcd has the data of an older backup");
    measured.time("an older backup: converged", settle(&stack, Instant::now()).await?, GOAL)?;
    sleep(context.scale.calm).await;

    stack.etcd.restart_empty().await?;
    context.say("etcd is empty");
    measured.time("emptied: converged", settle(&stack, Instant::now()).await?, GOAL)?;
    sleep(context.scale.calm).await;
    measured.none_failed(&running.stop().await)
}

async fn put(stack: &Stack, service: &str, numbers: impl IntoIterator<Item = u32>) -> Result<()> {
    for number in numbers {
        let port = fastrand::u16(1..);
        stack.etcd.put(&key(service, &number.to_string()), format!("127.0.0.1:{port}")).await?;
    }
    Ok(())
}

/// How long after `since` the goods were all up and the directory showed what etcd holds.
async fn settle(stack: &Stack, since: Instant) -> Result<Duration> {
    let up = |services: &Services| all_up(services, "goods", &GOODS);
    shown(&stack.gateway, "all goods are up", since, bound(GOAL), up).await?;
    let mut client = stack.etcd.client().await?;
    converged(&mut client, &stack.gateway, Vanished::MayBeSuspect, since, bound(GOAL)).await
}
