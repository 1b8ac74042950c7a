//! All of etcd is dead for a while.

use std::time::{Duration, Instant};

use anyhow::Result;
use harness::{
    etcd::key,
    stack::{GatewayOptions, Stack},
};
use tokio::time::sleep;

use crate::{
    context::{Context, all_up, load, shown},
    measured::{Measured, bound},
};

const GOAL: Duration = Duration::from_secs(2);
const CHANGES: u32 = 5;

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let mut stack = Stack::start(3, &[], GatewayOptions::default()).await?;
    let running = load(&stack.gateway, "/goods/list").start();
    sleep(context.scale.calm).await;

    stack.etcd.kill().await?;
    context.say(format_args!("etcd is dead for {:?}", context.scale.outage));
    sleep(context.scale.outage).await;
    stack.etcd.restart().await?;
    context.say("etcd serves again");

    let (mut since, mut longest) = (Instant::now(), Duration::ZERO);
    for number in 1..=CHANGES {
        let instance = format!("instance-{number}");
        stack.etcd.put(&key("late", &instance), format!("127.0.0.1:{number}")).await?;
        let arrives = |services: &harness::stack::Services| {
            services.endpoints("late").iter().any(|endpoint| endpoint.instance == instance)
        };
        longest = longest.max(shown(&stack.gateway, "a change arrives", since, bound(GOAL), arrives).await?);
        since = Instant::now();
    }
    let all = ["goods-1", "goods-2", "goods-3"];
    let up = |services: &harness::stack::Services| all_up(services, "goods", &all);
    shown(&stack.gateway, "all goods are up", since, bound(GOAL), up).await?;
    sleep(context.scale.calm).await;
    measured.none_failed(&running.stop().await)?;
    measured.time(&format!("{CHANGES} of {CHANGES} changes arrived, the slowest after"), longest, GOAL)
}
