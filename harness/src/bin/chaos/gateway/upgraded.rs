//! New processes take over from the old ones under load, one after the other.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{
    load::Running,
    process::{Process, Signal},
    stack::Stack,
    wait::eventually,
};
use tokio::time::sleep;

use crate::{
    backends::{gets_and_posts, stack},
    context::Context,
    measured::Measured,
};

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let mut stack = stack(context).await?;
    let [gets, posts]: [Running; 2] = gets_and_posts(&stack.gateway, context).map(|load| load.start());
    sleep(context.scale.calm).await;
    let mut serving: Option<Process> = None;
    for number in 1..=context.scale.upgrades {
        serving = Some(upgrade(&mut stack, serving).await?);
        context.say(format_args!("upgrade {number} is done"));
    }
    sleep(context.scale.calm).await;
    measured.note(format_args!("{} upgrades", context.scale.upgrades));
    measured.none_failed_of("GETs", &gets.stop().await)?;
    measured.none_failed_of("POSTs", &posts.stop().await)
}

/// Replaces the process that serves: the stack's own as long as there is none after it.
async fn upgrade(stack: &mut Stack, serving: Option<Process>) -> Result<Process> {
    let successor = stack.gateway.successor()?;
    eventually("the successor asks for the sockets", PATIENCE, async || {
        ensure!(stack.gateway.is_awaited(), "there is no upgrade socket");
        Ok(())
    })
    .await?;
    let status = match serving {
        None => {
            stack.gateway.process().signal(Signal::SIGQUIT)?;
            stack.gateway.wait_exit(PATIENCE).await?
        }
        Some(mut process) => {
            process.signal(Signal::SIGQUIT)?;
            process.wait_exit(PATIENCE).await?
        }
    };
    ensure!(status.success(), "the old process ended with {status}");
    let served = |line: &str| line.contains(r#""message":"request""#);
    successor.wait_for_line(served, PATIENCE).await?;
    Ok(successor)
}
