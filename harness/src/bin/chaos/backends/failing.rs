//! All backends fail: no choice is better than another, and every one of them is still tried.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::{
    backend::{Backend, Behaviour, Reply},
    stack::{GatewayOptions, Services},
    wait::eventually,
};

use super::{Fleet, PATIENCE, calm, gets};
use crate::{
    context::{Context, shown},
    measured::Measured,
};

/// The time to connect: what takes longer was a timeout.
const GOAL: Duration = Duration::from_secs(1);

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let fleet = Fleet::start(context, &Reply::ok(""), GatewayOptions::default()).await?;
    answering_500(&fleet, context, measured).await?;
    returned(&fleet, context, measured).await?;
    refusing(&fleet, context, measured).await?;
    returned(&fleet, context, measured).await
}

async fn answering_500(fleet: &Fleet, context: &Context, measured: &mut Measured) -> Result<()> {
    behave(fleet, &Behaviour::Always(Reply::status(500))).await?;
    context.say("all answer 500");
    in_panic(fleet, context).await?;
    let before: Vec<_> = fleet.backends.iter().map(Backend::count).collect();
    let slowest = fails_with(fleet, context, 500).await?;
    let tried = fleet.backends.iter().zip(before).filter(|(backend, before)| backend.count() > *before);
    let tried = tried.count();
    measured.note(format_args!("all answer 500: {tried} of {} are tried", fleet.backends.len()));
    ensure!(tried == fleet.backends.len(), "only {tried} are tried: the others are ejected");
    ensure!(is_in_panic(fleet).await?, "all failed, and leaseway_balance_panic is not 1");
    measured.time("the slowest error", slowest, GOAL)
}

async fn refusing(fleet: &Fleet, context: &Context, measured: &mut Measured) -> Result<()> {
    behave(fleet, &Behaviour::Refuse).await?;
    context.say("all refuse");
    let slowest = fails_with(fleet, context, 502).await?;
    ensure!(is_in_panic(fleet).await?, "all refused, and leaseway_balance_panic is not 1");
    measured.time("all refuse: the slowest error", slowest, GOAL)
}

async fn returned(fleet: &Fleet, context: &Context, measured: &mut Measured) -> Result<()> {
    behave(fleet, &Behaviour::Usual).await?;
    let since = Instant::now();
    let running = gets(&fleet.gateway, context).start();
    let all_up = |services: &Services| services.endpoints("goods").iter().all(|e| e.state == "up");
    shown(&fleet.gateway, "all are up again", since, PATIENCE, all_up).await?;
    context.say("all are up again");
    running.wait_begun(200, PATIENCE).await?;
    measured.note("all well again");
    measured.none_failed(&running.stop().await)
}

async fn behave(fleet: &Fleet, behaviour: &Behaviour) -> Result<()> {
    for backend in &fleet.backends {
        backend.behave(behaviour.clone()).await?;
    }
    Ok(())
}

/// Sends requests until so many are out that all are used.
async fn in_panic(fleet: &Fleet, context: &Context) -> Result<()> {
    let running = gets(&fleet.gateway, context).start();
    eventually("all are used", PATIENCE, async || {
        ensure!(is_in_panic(fleet).await?, "all fail, and leaseway_balance_panic is not 1");
        Ok(())
    })
    .await?;
    running.stop().await;
    Ok(())
}

/// The slowest answer of a load that gets nothing but `status`.
async fn fails_with(fleet: &Fleet, context: &Context, status: u16) -> Result<Duration> {
    let running = gets(&fleet.gateway, context).start();
    calm(&running, context).await?;
    let outcome = running.stop().await;
    let others = outcome.sent - outcome.status(status);
    ensure!(others == 0, "{others} are not {status}: {:?}, {:?}", outcome.by_status, outcome.errors);
    Ok(outcome.latency(1.0))
}

async fn is_in_panic(fleet: &Fleet) -> Result<bool> {
    Ok(fleet.gateway.metric("leaseway_balance_panic", &[r#"service="goods""#]).await? == 1.0)
}
