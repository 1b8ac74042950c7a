//! SIGTERM of one of ten.

use std::time::Instant;

use anyhow::{Result, ensure};
use harness::{grpc::Calls, process::Signal};

use super::{PATIENCE, Place, all_but_first, name, other, safe, show_none_failed, show_times};
use crate::heading;

pub(super) async fn show(place: &mut Place) -> Result<()> {
    let mut calls = Calls::default();
    let mut last = Instant::now();
    for _ in 0..place.size.rounds {
        let running = place.under_load().await;
        last = Instant::now();
        place.stack.goods[0].process().signal(Signal::SIGTERM)?;
        let status = place.stack.goods[0].wait_exit(PATIENCE).await?;
        ensure!(status.success(), "it ended with {status}");
        place.wait_known(&all_but_first()).await?;
        let of_round = place.calmed(running).await?;
        ensure!(of_round.instance(&name(0)) > 0, "the one that left had not served before");
        calls.add(of_round);
        place.start_again(0).await?;
    }
    heading(&format!("SIGTERM of one of ten, {} calls a second", place.size.rate));
    show_none_failed("safe calls", &calls.only(safe))?;
    show_none_failed("other calls", &calls.only(other))?;
    show_times(&calls, last);
    Ok(())
}
