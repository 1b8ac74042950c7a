//! What all that runs beside the requests has in common.

use std::time::Instant;

use tokio::task::JoinError;

/// The time by tokio's clock, which tests may stop.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What a task came to; none if it was cancelled. If it panicked, so does who asks.
pub(crate) fn joined<T>(outcome: Result<T, JoinError>) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => None,
    }
}
