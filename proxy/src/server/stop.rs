//! The end of the process.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::signals::EndSignals;
use crate::lifecycle::Lifecycle;
use crate::logging::Output;
use crate::site::Current;
use crate::snapshot::Saver;

/// Ends the process when nothing is in flight any more and the snapshot is written: Pingora itself would sleep
/// for the whole time.
pub(super) struct Stop {
    pub(super) lifecycle: Arc<Lifecycle>,
    /// Says how long it waits for requests.
    pub(super) site: Arc<Current>,
    pub(super) saver: Saver,
    pub(super) output: Arc<Output>,
}

#[async_trait]
impl BackgroundService for Stop {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        // An error means that the server itself is gone.
        let _ = shutdown.wait_for(|stopping| *stopping).await;
        let drain = self.site.get().common().timeouts.drain;
        let left = tokio::select! {
            left = self.lifecycle.drained(drain) => left,
            () = second_signal() => self.lifecycle.requests_in_flight(),
        };
        self.saver.save().await;
        if left > 0 {
            tracing::warn!(requests = left, "stopped with requests in flight");
        } else {
            tracing::info!("stopped");
        }
        self.output.flush();
        std::process::exit(0);
    }
}

/// Whoever asks twice does not want to wait.
async fn second_signal() {
    match EndSignals::listen() {
        Ok(mut signals) => signals.stop().await,
        Err(_) => std::future::pending().await,
    }
}
