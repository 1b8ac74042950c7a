//! The log's writer.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use crate::logging::Output;

/// Starts the thread that writes the log. By the time that services start, the process has forked, if it does at all:
/// threads may start.
pub(super) struct Log(pub(super) Arc<Output>);

#[async_trait]
impl BackgroundService for Log {
    async fn start(&self, _: ShutdownWatch) {
        if let Err(error) = self.0.start_writer() {
            tracing::warn!(%error, "cannot start the log's writer: each line is written at once");
        }
    }
}
