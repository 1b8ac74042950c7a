//! `kill -9` of one of ten: as it serves, and when calls are in flight on it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::{grpc::Calls, process::Signal};
use tokio::time::sleep;

use super::{PATIENCE, Place, all_but_first, cut_off, name, other, safe, show_none_failed};
use crate::{heading, row};

/// For so long it stands still before it is killed, so that calls are in flight on it. It is not taken to stall before 1 s.
const HELD: Duration = Duration::from_millis(300);

pub(super) async fn show(place: &mut Place) -> Result<()> {
    // In the short form nothing would be in flight on one that is killed as it serves.
    let ways = if place.size.rounds > 1 { &[Duration::ZERO, HELD][..] } else { &[HELD] };
    for &held in ways {
        let (mut calls, mut in_flight, mut late) = (Calls::default(), 0, 0);
        for _ in 0..place.size.rounds {
            let (of_round, killed) = round(place, held).await?;
            let others = of_round.only(other);
            in_flight += cut_off(&others, killed)?;
            late += others.only(|call| call.begun >= killed).failures().len();
            calls.add(of_round);
        }
        let when =
            if held.is_zero() { String::new() } else { format!(", with the calls of {held:?} in flight") };
        heading(&format!("kill -9 of one of ten, {} calls a second{when}", place.size.rate));
        show_none_failed("safe calls", &calls.only(safe))?;
        let others = calls.only(other).count();
        row("other calls: failed, in flight on it", format!("{in_flight} of {others}"));
        row("... begun when it was dead", late);
        row("other calls: failed for another reason", "0 (must be 0)");
    }
    Ok(())
}

async fn round(place: &mut Place, held: Duration) -> Result<(Calls, Instant)> {
    let running = place.under_load().await;
    if !held.is_zero() {
        place.stack.goods[0].process().freeze()?;
        sleep(held).await;
    }
    place.stack.goods[0].process().signal(Signal::SIGKILL)?;
    let killed = Instant::now();
    place.stack.goods[0].wait_exit(PATIENCE).await?;
    place.wait_known(&all_but_first()).await?;
    let calls = place.calmed(running).await?;
    ensure!(calls.instance(&name(0)) > 0, "the one that was killed had not served before");
    place.start_again(0).await?;
    Ok((calls, killed))
}
