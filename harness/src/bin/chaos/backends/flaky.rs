//! One backend answers half of its requests with 503, which the route says to try elsewhere.

use anyhow::{Result, ensure};
use harness::{
    backend::{Behaviour, Reply},
    stack::{Gateway, GatewayOptions},
    wait::eventually,
};
use serde_json::json;
use tokio::time::sleep;

use super::{Fleet, PATIENCE, calm, gets};
use crate::{context::Context, measured::Measured};

/// Of its failures, what may reach a client.
const GOAL: f64 = 0.02;
/// So many times it is to fail. It is ejected over and over meanwhile, so that takes its time.
const ENOUGH: f64 = 50.0;

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let routes = json!([{ "path": "/goods", "service": "goods", "retry": { "statuses": [503] } }]);
    let options = GatewayOptions::default().set("gateway/routes", routes);
    let fleet = Fleet::start(context, &Reply::ok(""), options).await?;
    let running = gets(&fleet.gateway, context).start();
    calm(&running, context).await?;
    let seed = context.chance().u64(..);
    fleet.backends[0].behave(Behaviour::Sometimes { share: 0.5, seed, reply: Reply::status(503) }).await?;
    context.say("half of its answers are 503");
    sleep(context.scale.fault).await;
    eventually("it has failed often enough", PATIENCE, async || {
        let retried = retried(&fleet.gateway).await?;
        ensure!(retried >= ENOUGH, "it failed only {retried} times: nothing is shown");
        Ok(())
    })
    .await?;
    let outcome = running.stop().await;

    let retried = retried(&fleet.gateway).await?;
    let reached = (outcome.failed + outcome.refused) as f64;
    let failures = retried + reached;
    measured.note(format_args!("{reached} of its {failures} failures reached a client"));
    ensure!(reached < GOAL * failures, "{reached} of {failures} failures: {:?}", outcome.errors);
    Ok(())
}

/// How many of its failures were tried elsewhere.
async fn retried(gateway: &Gateway) -> Result<f64> {
    gateway.metric("leaseway_retries_total", &[r#"reason="status""#]).await
}
