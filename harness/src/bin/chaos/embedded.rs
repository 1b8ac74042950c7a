//! A gateway that is its own registry.

pub(crate) mod killed;
pub(crate) mod upgraded;

use std::time::Duration;

use anyhow::Result;
use harness::{
    load::Load,
    stack::{EmbeddedStack, GatewayOptions},
};

use crate::{context::Context, measured::Measured};

/// Requests a second.
const RATE: u32 = 300;
/// How soon every goods is to be registered again.
const GOAL: Duration = Duration::from_secs(3);

async fn stack(context: &Context) -> Result<EmbeddedStack> {
    EmbeddedStack::start(context.scale.goods, &["--drain", "1s"], GatewayOptions::default()).await
}

fn load(stack: &EmbeddedStack) -> Load {
    Load::get(stack.gateway.address(), "/goods/list").rate(RATE)
}

/// Notes how long it took each time until every goods was registered anew.
fn registered_again(stack: &EmbeddedStack, took: &[Duration], measured: &mut Measured) -> Result<()> {
    measured.times(&format!("all {} goods registered again after", stack.goods.len()), took, GOAL)
}
