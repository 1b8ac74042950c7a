//! New processes take over the gateway and its registry, one after the other.

use anyhow::{Result, ensure};
use harness::load::Load;
use tokio::time::sleep;

use super::{load, registered_again, stack};
use crate::{context::Context, measured::Measured};

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let mut stack = stack(context).await?;
    let running = load(&stack).start();
    // No gRPC, but connections to the registry.
    let connecting = Load::get(stack.gateway.registry_address()?, "/").rate(50).start();
    sleep(context.scale.calm).await;
    let mut back = Vec::new();
    for number in 1..=context.scale.upgrades {
        let (_, took) = stack.upgrade().await?;
        back.push(took);
        context.say(format_args!("upgrade {number} is done"));
    }
    sleep(context.scale.calm).await;
    let connections = connecting.stop().await;
    let refused = connections.refused;
    measured.note(format_args!("{refused} of {} connections to the registry refused", connections.sent));
    ensure!(connections.sent > 100 && refused == 0, "{refused} of {} were refused", connections.sent);
    measured.none_failed(&running.stop().await)?;
    registered_again(&stack, &back, measured)
}
