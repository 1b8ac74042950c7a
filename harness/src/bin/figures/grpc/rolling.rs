//! All ten are replaced, one after the other, as a deploy does it.

use anyhow::{Result, ensure};

use super::{PATIENCE, Place, name, other, safe, show_none_failed};
use crate::{heading, row};

pub(super) async fn show(place: &mut Place) -> Result<()> {
    let running = place.under_load().await;
    for at in 0..place.size.replaced {
        let status = place.stack.goods[at].stop(PATIENCE).await?;
        ensure!(status.success(), "{} ended with {status}", name(at));
        place.start_again(at).await?;
    }
    let calls = place.calmed(running).await?;
    heading(&format!("{} of ten restarted in turn, {} calls a second", place.size.replaced, place.size.rate));
    show_none_failed("safe calls", &calls.only(safe))?;
    show_none_failed("other calls", &calls.only(other))?;
    let least = calls.by_instance().into_values().min().unwrap_or(0);
    row("the fewest that one server has answered", least);
    ensure!(calls.by_instance().len() == super::SERVERS, "not all have served: {:?}", calls.by_instance());
    Ok(())
}
