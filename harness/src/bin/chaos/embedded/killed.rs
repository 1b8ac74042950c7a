//! The gateway is killed, and its registry with it, and started again.

use std::time::Instant;

use anyhow::{Result, ensure};
use tokio::time::sleep;

use super::{load, registered_again, stack};
use crate::{context::Context, measured::Measured};

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let mut stack = stack(context).await?;
    let (mut back, mut served, mut refused) = (Vec::new(), 0, 0);
    for number in 1..=context.scale.upgrades {
        stack.wait_snapshot().await?;
        let former = stack.leases().await?;
        stack.gateway.kill().await?;
        // Before the new one starts: whatever that answers first is counted.
        let running = load(&stack).start();
        sleep(context.scale.calm).await;
        let begun = Instant::now();
        stack.gateway.start_again()?;
        back.push(stack.wait_registered_again(&former, begun).await?);
        context.say(format_args!("kill {number} is over"));
        sleep(context.scale.calm).await;
        let outcome = running.stop().await;
        ensure!(outcome.failed == 0, "{} requests failed: {:?}", outcome.failed, outcome.errors);
        served += outcome.status(200);
        refused += outcome.refused;
    }
    ensure!(refused > 0 && served > 100, "{served} were served and {refused} refused: nothing is shown");
    measured.note(format_args!(
        "none failed once it listened, {served} were served, {refused} were refused while it was down"
    ));
    registered_again(&stack, &back, measured)
}
