//! One backend becomes ten times slower; `ewma` sees it and goes around it.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{
    backend::{Behaviour, Reply},
    stack::GatewayOptions,
};
use serde_json::json;

use super::{Fleet, gets};
use crate::{context::Context, measured::Measured};

const USUAL: Duration = Duration::from_millis(20);
/// Of an equal share of the requests: what `random` sends to the slow one is more, whatever the chance.
const LESS: f64 = 0.8;
const FACTOR: u32 = 10;
/// The 99th percentile with the slow one, as a multiple of that without it.
const GOAL: f64 = 1.5;

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let options =
        GatewayOptions::default().set("gateway/services", json!({ "goods": { "balance": "ewma" } }));
    let usual = Reply::After(USUAL, Box::new(Reply::ok("")));
    let fleet = Fleet::start(context, &usual, options).await?;
    // Its first requests open connections.
    gets(&fleet.gateway, context).run_for(context.scale.calm).await;
    let without = gets(&fleet.gateway, context).run_for(context.scale.fault).await;
    fleet.backends[0].behave(Behaviour::Slow(FACTOR)).await?;
    context.say(format_args!("one is {FACTOR} times slower"));
    let with = gets(&fleet.gateway, context).run_for(context.scale.fault).await;

    measured.none_failed(&with)?;
    let equal = 1.0 / fleet.backends.len() as f64;
    let share = with.instance("0") as f64 / with.sent as f64;
    measured.note(format_args!("{:.2} % of the requests went to the slow one", 100.0 * share));
    ensure!(share < LESS * equal, "{share} of the requests went to the slow one; {equal} is an equal share");
    let (p99, p99_without) = (with.latency(0.99), without.latency(0.99));
    let times = p99.as_secs_f64() / p99_without.as_secs_f64();
    let verdict = if times <= GOAL { "" } else { " (goal MISSED)" };
    measured.note(format_args!("p99 {p99:.1?}, without it {p99_without:.1?}: {times:.2} times{verdict}"));
    Ok(())
}
