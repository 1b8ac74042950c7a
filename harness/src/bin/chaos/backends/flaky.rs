//! One backend answers half of its requests with 503, which the route says to try elsewhere.

use anyhow::{Result, ensure};
use harness::{
    backend::{Behaviour, Reply},
    stack::GatewayOptions,
};
use serde_json::json;
use tokio::time::sleep;

use super::{Fleet, gets};
use crate::{context::Context, measured::Measured};

/// Of its failures, what may reach a client.
const GOAL: f64 = 0.02;

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let routes = json!([{ "path": "/goods", "service": "goods", "retry": { "statuses": [503] } }]);
    let options = GatewayOptions::default().set("gateway/routes", routes);
    let fleet = Fleet::start(context, &Reply::ok(""), options).await?;
    let running = gets(&fleet.gateway, context).start();
    sleep(context.scale.calm).await;
    let seed = context.chance().u64(..);
    fleet.backends[0].behave(Behaviour::Sometimes { share: 0.5, seed, reply: Reply::status(503) }).await?;
    context.say("half of its answers are 503");
    sleep(context.scale.fault).await;
    let outcome = running.stop().await;

    let retried = fleet.gateway.metric("leaseway_retries_total", &[r#"reason="status""#]).await?;
    let reached = (outcome.failed + outcome.refused) as f64;
    let failures = retried + reached;
    measured.note(format_args!("{reached} of its {failures} failures reached a client"));
    ensure!(failures > 20.0, "it failed only {failures} times: nothing is shown");
    ensure!(reached < GOAL * failures, "{reached} of {failures} failures: {:?}", outcome.errors);
    Ok(())
}
