//! A gateway that is its own registry.

pub(crate) mod killed;
pub(crate) mod upgraded;

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use harness::{
    load::Load,
    stack::{EmbeddedStack, GatewayOptions},
    wait::eventually,
};

use crate::{context::Context, measured::Measured};

/// Requests a second.
const RATE: u32 = 300;
/// How soon every goods is to be registered again.
const GOAL: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);

async fn stack(context: &Context) -> Result<EmbeddedStack> {
    EmbeddedStack::start(context.scale.goods, &["--drain", "1s"], GatewayOptions::default()).await
}

fn load(stack: &EmbeddedStack) -> Load {
    Load::get(stack.gateway.address(), "/goods/list").rate(RATE)
}

/// Waits until the snapshot holds all goods: it is written some seconds after the one before.
async fn wait_snapshot(stack: &EmbeddedStack) -> Result<()> {
    let path = stack.gateway.snapshot()?;
    eventually("the snapshot holds all goods", PATIENCE, async || {
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let found = text.matches("\"id\":\"goods-").count();
        ensure!(found == stack.goods.len(), "the snapshot has {found} of {}", stack.goods.len());
        Ok(())
    })
    .await
}

/// Waits until every goods is registered anew, and notes how long that took.
async fn registered_again(
    stack: &EmbeddedStack,
    former: &[String],
    since: Instant,
    measured: &mut Measured,
) -> Result<()> {
    let took = stack.wait_registered_again(former, since).await?;
    measured.time(&format!("all {} goods registered again", stack.goods.len()), took, GOAL)
}
