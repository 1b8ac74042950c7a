//! Waiting for a condition that only asking can tell.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep};

/// How often a condition is asked for.
const PAUSE: Duration = Duration::from_millis(10);

/// Asks `probe` every 10 ms until it answers `Ok`, and returns that answer.
///
/// # Errors
/// After `within`: says that `what` did not happen, with the probe's last error as the cause.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut probe: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        match probe().await {
            Ok(value) => return Ok(value),
            Err(last) if Instant::now() >= deadline => {
                return Err(last).with_context(|| format!("not within {within:?}: {what}"));
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}
