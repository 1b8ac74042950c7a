//! SIGSTOP of one of ten, and later SIGCONT.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::{grpc::Calls, stack::Services};
use tokio::time::sleep;

use super::{Place, SERVERS, cut_off, name, other, safe, show_none_failed, show_times, talk::Talk};
use crate::{heading, row};

const SLOW: Duration = Duration::from_secs(2);
/// The goal, in calls of all.
const SLOW_SHARE: f64 = 0.01;

pub(super) async fn show(place: &mut Place) -> Result<()> {
    let running = place.under_load().await;
    let talk = Talk::start(&running.clients().await?);
    sleep(place.size.calm).await;
    let stopped = Instant::now();
    place.stack.goods[0].process().freeze()?;
    sleep(place.size.still).await;
    place.stack.goods[0].process().thaw()?;
    let still = stopped.elapsed();
    let is_up = |services: &Services| {
        let endpoints = services.endpoints("goods");
        endpoints.len() == SERVERS && endpoints.iter().all(|endpoint| endpoint.state == "up")
    };
    place.stack.gateway.wait_services(is_up).await?;
    let back = stopped.elapsed().saturating_sub(still);
    let calls = place.calmed(running).await?;
    let talked = talk.stop().await?;

    heading(&format!(
        "SIGSTOP of one of ten for {:.1} s, {} calls a second",
        still.as_secs_f64(),
        place.size.rate
    ));
    ensure!(calls.instance(&name(0)) > 0, "the one that stood still had not served before");
    show_none_failed("safe calls", &calls.only(safe))?;
    let others = calls.only(other);
    // They wait for it until it goes on. It may answer them then, or take what else was left meanwhile for a flood: hyper and
    // tonic close a connection on which more than 20 streams were reset before they had looked at them.
    let failed = cut_off(&others, stopped + still)?;
    row("other calls: failed, in flight on it", format!("{failed} of {}", others.count()));
    show_slow("safe calls", &calls.only(safe), stopped, still)?;
    show_slow("all calls", &calls, stopped, still)?;
    show_times(&calls, stopped);
    row("up again after SIGCONT", format!("{:.0} ms", 1e3 * back.as_secs_f64()));
    row("connections of clients", format!("{} (must be 10)", calls.connections));
    ensure!(calls.connections == 10, "{} connections were opened", calls.connections);
    talked.show(stopped)
}

/// Prints how many took long of those that began while it stood still.
fn show_slow(what: &str, calls: &Calls, stopped: Instant, still: Duration) -> Result<()> {
    let meanwhile = calls.only(|call| (stopped..stopped + still).contains(&call.begun));
    let slow = meanwhile.slower_than(SLOW);
    let share = slow as f64 / meanwhile.count() as f64;
    let verdict = if share < SLOW_SHARE { "met" } else { "MISSED" };
    let goal = format!("goal: under {:.0} %: {verdict}", 100.0 * SLOW_SHARE);
    let name = format!("{what} meanwhile: slower than {SLOW:?}");
    row(&name, format!("{slow} of {}, {:.2} %   ({goal})", meanwhile.count(), 100.0 * share));
    ensure!(share < 10.0 * SLOW_SHARE, "{:.2} % of {what} took longer than {SLOW:?}", 100.0 * share);
    Ok(())
}
