//! An eleventh server registers itself: when it has its share.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use harness::{
    grpc::{Calls, End},
    stack::Goods,
};
use tokio::time::sleep;

use super::{DRAIN, Place, SERVERS, other, safe, show_none_failed};
use crate::{heading, row};

const NEW: &str = "goods-new";
/// The goal: so far from even at most, as a part of an even share.
const OFF: f64 = 0.05;
/// Fewer calls than this say nothing of a share.
const ENOUGH: usize = 20_000;

pub(super) async fn show(place: &mut Place) -> Result<()> {
    let running = place.under_load().await;
    let mut new = Goods::start(&place.stack.etcd.endpoint(), NEW, &DRAIN).await?;
    let known = |services: &harness::stack::Services| services.instances("goods").contains(&NEW);
    place.stack.gateway.wait_services(known).await?;
    let registered = Instant::now();
    let settled = place.size.settled;
    sleep(settled + place.size.counted).await;
    let calls = place.calmed(running).await?;

    heading(&format!("a new server beside {SERVERS}, {} calls a second", place.size.rate));
    show_none_failed("safe calls", &calls.only(safe))?;
    show_none_failed("other calls", &calls.only(other))?;
    let first = calls.iter().find(|call| call.end == End::By(NEW.to_owned())).context("it got no call")?;
    let after = 1e3 * first.begun.saturating_duration_since(registered).as_secs_f64();
    row("its first call, after /services shows it", format!("{after:.0} ms"));
    let early = calls.only(|call| (registered..registered + settled).contains(&call.begun));
    row(&format!("its share of the first {settled:?}"), off(&early, NEW));
    let then = calls.only(|call| call.begun >= registered + settled);
    show_shares(&then)?;
    new.stop(super::PATIENCE).await.map(drop)
}

fn show_shares(calls: &Calls) -> Result<()> {
    let found = share_off(calls, NEW);
    let is_enough = calls.count() >= ENOUGH;
    let verdict = match found.abs() <= OFF {
        _ if !is_enough => "too few to say",
        true => "met",
        false => "MISSED",
    };
    let goal = format!("goal: within {:.0} %: {verdict}", 100.0 * OFF);
    row("its share after that", format!("{} of {} calls   ({goal})", off(calls, NEW), calls.count()));
    let counts = calls.by_instance();
    let furthest = counts.keys().map(|name| share_off(calls, name).abs()).fold(0.0, f64::max);
    row("the one that is furthest from even", format!("{:.2} % off", 100.0 * furthest));
    // Ten times the goal: of so few calls as the short form has, a share is a matter of luck.
    ensure!(found.abs() <= 10.0 * OFF, "its share is {} from even", off(calls, NEW));
    Ok(())
}

/// How far this one's share is from even, as a part of an even share.
fn share_off(calls: &Calls, instance: &str) -> f64 {
    let even = calls.count() as f64 / (SERVERS + 1) as f64;
    calls.instance(instance) as f64 / even - 1.0
}

fn off(calls: &Calls, instance: &str) -> String {
    format!("{:+.2} % off", 100.0 * share_off(calls, instance))
}
