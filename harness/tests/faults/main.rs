//! What fails around the gateway, and what its clients notice: nothing, or a clear word.

mod announcement;
mod backends;
mod complaints;
mod daemon;
mod departures;
mod embedded;
mod explain;
mod grpc;
mod grpc_health;
mod memory;
mod registry;
mod reload;
mod rivals;
mod signals;
mod start;
mod stop;
mod trust;
mod two_gateways;
mod upgrade;
mod upgrade_socket;

use std::time::Duration;

use anyhow::Result;
use harness::{
    load::Outcome,
    stack::{GatewayOptions, Stack},
};

/// Bounds what is awaited, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway over `count` goods, named `goods-1` and so on, which drain quickly.
async fn stack_of(count: usize) -> Result<Stack> {
    stack_of_with(count, GatewayOptions::default()).await
}

/// The same, configured otherwise.
async fn stack_of_with(count: usize, options: GatewayOptions) -> Result<Stack> {
    Stack::start(count, &["--drain", "1s"], options).await
}

/// Checks that a load ran and that none of it failed or was refused.
fn assert_none_failed(outcome: &Outcome) {
    assert!(outcome.sent > 100, "only {} requests were sent: nothing is shown", outcome.sent);
    let Outcome { failed, refused, errors, .. } = outcome;
    assert_eq!((*failed, *refused), (0, 0), "of {}: {errors:?}", outcome.sent);
}
