//! Bodies of gigabytes, in both directions: all of them arrives, and none of it stays in the gateway.

mod pattern;
mod peer;

use anyhow::{Result, ensure};
use harness::{
    etcd::{Etcd, key},
    stack::{Carrier, Gateway, GatewayOptions},
};

use crate::{context::Context, measured::Measured};
use peer::{Client, Exchange, Instance};

/// What the gateway may have more of, at any moment, than before: buffers of 16 KiB and what its allocator makes of them.
const GOAL_MEMORY: u64 = 4_000_000;
/// What goes through before anything is measured.
const WARM: u64 = 64 << 10;

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let etcd = Etcd::start().await?;
    let instance = Instance::start().await?;
    etcd.put(&key("goods", "only"), instance.address().to_string()).await?;
    let gateway = Gateway::start(&etcd.endpoint(), GatewayOptions::default().discard_log()).await?;
    gateway.wait_instances("goods", &["only"]).await?;

    let exchanges = Exchange::all();
    for exchange in &exchanges {
        Client::connect(gateway.address()).await?.perform(*exchange, WARM).await?;
    }
    let before = gateway.process().resident_memory()?;
    let mut most = 0;
    for exchange in exchanges {
        gateway.process().forget_peak_memory()?;
        Client::connect(gateway.address()).await?.perform(exchange, context.scale.body).await?;
        let more = gateway.process().peak_memory()?.saturating_sub(before);
        context.say(format_args!("{exchange}: {:.1} MB more resident", more as f64 / 1e6));
        most = most.max(more);
    }
    let verdict = if most <= GOAL_MEMORY { "" } else { " (goal MISSED)" };
    measured.note(format_args!(
        "{} bodies of {} MiB arrived whole",
        Exchange::all().len(),
        context.scale.body >> 20
    ));
    measured.note(format_args!("{:.1} MB more resident{verdict}", most as f64 / 1e6));
    // The other carrier's buffers are not ours to bound.
    ensure!(most <= GOAL_MEMORY || Carrier::tested() == Carrier::Pingora, "{most} bytes more are resident");
    Ok(())
}
