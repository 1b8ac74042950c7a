//! The gateway is restarted while etcd is dead: it goes by its snapshot.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use harness::{
    process::Signal,
    stack::{Gateway, GatewayOptions, Services, Stack},
    wait::eventually,
};

use crate::{
    context::{Context, all_up, load, shown},
    measured::{Measured, bound},
};

const GOAL: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);
const GOODS: [&str; 3] = ["goods-1", "goods-2", "goods-3"];

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let snapshot = directory.path().join("snapshot");
    let options = GatewayOptions::default().set("gateway/registry/snapshot", snapshot.display().to_string());
    let mut stack = Stack::start(GOODS.len(), &[], options.clone()).await?;
    eventually("the snapshot holds all goods", PATIENCE, async || {
        let text =
            fs::read_to_string(&snapshot).with_context(|| format!("reading {}", snapshot.display()))?;
        ensure!(GOODS.iter().all(|name| text.contains(name)), "the snapshot is {text:?}");
        Ok(())
    })
    .await?;

    stack.etcd.kill().await?;
    context.say("etcd is dead");
    stack.gateway.process().signal(Signal::SIGKILL)?;
    stack.gateway.wait_exit(PATIENCE).await?;
    let begun = Instant::now();
    stack.gateway = Gateway::launch(&stack.etcd.endpoint(), options).await?;
    eventually("it serves", bound(GOAL), async || {
        let status = stack.gateway.get("/goods/list").await?.status;
        ensure!(status == 200, "it answers {status}");
        Ok(())
    })
    .await
    .with_context(|| stack.gateway.process().tail())?;
    let took = begun.elapsed();
    context.say("the gateway was killed, started again, and serves");

    let running = load(&stack.gateway, "/goods/list").run_for(2 * context.scale.calm).await;
    ensure!(running.by_instance.len() == GOODS.len(), "not every goods served: {:?}", running.by_instance);
    let ready = stack.gateway.admin("/readyz").await?;
    ensure!(ready.status == 200 && ready.json()?["stale"] == true, "/readyz says {}", ready.text());

    let return_load = load(&stack.gateway, "/goods/list").start();
    stack.etcd.restart().await?;
    context.say("etcd serves again");
    let up = |services: &Services| all_up(services, "goods", &GOODS);
    shown(&stack.gateway, "all goods are up", Instant::now(), PATIENCE, up).await?;
    let mut outcome = return_load.stop().await;
    outcome.add(running);
    measured.time("from the start of the process to the first request served", took, GOAL)?;
    measured.none_failed(&outcome)
}
