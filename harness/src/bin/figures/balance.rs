//! 20,000 requests over three goods.

use anyhow::{Result, ensure};
use harness::{
    load::Load,
    stack::{GatewayOptions, Stack},
};

use crate::{heading, row};

/// Not fewer in the short form: 5 % of a third are then five standard deviations of a fair pick.
const REQUESTS: u64 = 20_000;

pub(crate) async fn show() -> Result<()> {
    let stack = Stack::start(3, &[], GatewayOptions::default().discard_log()).await?;
    let load = Load::get(stack.gateway.address(), "/goods/list").connections(64);
    let outcome = load.run_count(REQUESTS).await;

    heading(&format!("{REQUESTS} requests over three goods"));
    row("failed", format!("{} (must be 0)", outcome.failed + outcome.refused));
    ensure!(outcome.failed + outcome.refused == 0, "requests failed: {:?}", outcome.errors);
    ensure!(outcome.by_instance.len() == 3, "not every goods served: {:?}", outcome.by_instance);
    for (instance, count) in &outcome.by_instance {
        let off = *count as f64 / (REQUESTS as f64 / 3.0) - 1.0;
        row(instance, format!("{count} ({:+.2} % off a third; must be within 5 %)", off * 100.0));
        ensure!(off.abs() <= 0.05, "{instance} served {count} of {REQUESTS}");
    }
    Ok(())
}
