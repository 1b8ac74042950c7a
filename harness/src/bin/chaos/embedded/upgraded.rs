//! New processes take over the gateway and its registry, one after the other.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use harness::{load::Load, process::Signal, stack::EmbeddedStack, wait::eventually};
use tokio::time::sleep;

use super::{PATIENCE, load, registered_again, stack};
use crate::{context::Context, measured::Measured};

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let mut stack = stack(context).await?;
    let running = load(&stack).start();
    // No gRPC, but connections to the registry.
    let connecting = Load::get(stack.gateway.registry_address()?, "/").rate(50).start();
    sleep(context.scale.calm).await;
    for number in 1..=context.scale.upgrades {
        upgrade(&mut stack, measured).await?;
        context.say(format_args!("upgrade {number} is done"));
    }
    sleep(context.scale.calm).await;
    let connections = connecting.stop().await;
    let refused = connections.refused;
    measured.note(format_args!("{refused} of {} connections to the registry refused", connections.sent));
    ensure!(connections.sent > 100 && refused == 0, "{refused} of {} were refused", connections.sent);
    measured.none_failed(&running.stop().await)
}

async fn upgrade(stack: &mut EmbeddedStack, measured: &mut Measured) -> Result<()> {
    let former = stack.leases().await?;
    let successor = stack.gateway.successor()?;
    eventually("the successor asks for the sockets", PATIENCE, async || {
        ensure!(stack.gateway.is_awaited(), "there is no upgrade socket");
        Ok(())
    })
    .await
    .with_context(|| successor.tail())?;
    let begun = Instant::now();
    stack.gateway.process().signal(Signal::SIGQUIT)?;
    registered_again(stack, &former, begun, measured).await?;
    let mut old = stack.gateway.replace(successor);
    let status = old.wait_exit(PATIENCE).await?;
    ensure!(status.success(), "the old process ended with {status}");
    Ok(())
}
