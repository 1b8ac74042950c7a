//! One of the goods is stopped: its sockets stay open, and nothing comes from it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::{load::Outcome, stack::Services};
use tokio::time::sleep;

use super::{calm, gets, is_in_state, stack};
use crate::{
    context::{Context, shown},
    measured::{Measured, bound},
};

const SLOW: Duration = Duration::from_secs(2);
const SLOW_SHARE: f64 = 0.01;
const LONGEST: Duration = Duration::from_secs(3);
const RETURN: Duration = Duration::from_secs(5);
const STOPPED: &str = "goods-1";

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let stack = stack(context).await?;
    let running = gets(&stack.gateway, context).start();
    calm(&running, context).await?;
    stack.goods[0].process().freeze()?;
    context.say(format_args!("{STOPPED} is stopped"));
    let is_up = |services: &Services| is_in_state(services, STOPPED, "up");
    let stopped = Instant::now();
    shown(&stack.gateway, "it is out", stopped, bound(LONGEST), |services| !is_up(services)).await?;
    sleep(context.scale.fault.saturating_sub(stopped.elapsed())).await;

    stack.goods[0].process().thaw()?;
    context.say("it goes on");
    let back = shown(&stack.gateway, "it is back", Instant::now(), bound(RETURN), is_up).await?;
    sleep(context.scale.calm).await;
    let outcome = running.stop().await;
    ensure!(outcome.instance(STOPPED) > 0, "it did not serve: {:?}", outcome.by_instance);
    measured.none_failed(&outcome)?;
    check_slow(&outcome, measured)?;
    measured.time("the slowest", outcome.latency(1.0), LONGEST)?;
    measured.time("back after", back, RETURN)
}

fn check_slow(outcome: &Outcome, measured: &mut Measured) -> Result<()> {
    let share = outcome.slower_than(SLOW) as f64 / outcome.sent as f64;
    let verdict = if share < SLOW_SHARE { "" } else { " (goal MISSED)" };
    measured.note(format_args!("{:.2} % took longer than {SLOW:?}{verdict}", 100.0 * share));
    ensure!(share < 10.0 * SLOW_SHARE, "{:.2} % took longer than {SLOW:?}", 100.0 * share);
    Ok(())
}
