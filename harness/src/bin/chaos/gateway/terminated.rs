//! SIGTERM of the gateway under load.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use harness::process::Signal;

use crate::{
    access_log,
    backends::{calm, gets_and_posts, stack},
    context::Context,
    measured::{Measured, bound},
};

const GOAL: Duration = Duration::from_secs(2);

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let mut stack = stack(context).await?;
    let loads = gets_and_posts(&stack.gateway, context).map(|load| load.start());
    for load in &loads {
        calm(load, context).await?;
    }
    stack.gateway.process().signal(Signal::SIGTERM)?;
    context.say("the gateway was told to stop");
    let status = stack.gateway.wait_exit(bound(GOAL)).await?;
    let exited = SystemTime::now();
    context.say("it has ended");
    ensure!(status.success(), "it ended with {status}");
    let requests = access_log::requests(stack.gateway.process())?;
    let last = requests.iter().map(|request| request.ended).max().context("no request was logged")?;

    for (running, what) in loads.into_iter().zip(["GETs", "POSTs"]) {
        let outcome = running.stop().await;
        ensure!(outcome.refused > 0, "the load did not see the end: nothing is shown");
        let served = outcome.status(200);
        measured.note(format_args!("{} of {served} {what} failed", outcome.failed));
        ensure!(served > 100, "only {:?}: nothing is shown", outcome.by_status);
        ensure!(outcome.failed == 0, "{what} failed: {:?}", outcome.errors);
    }
    measured.time("exit after the last request", exited.duration_since(last)?, GOAL)
}
