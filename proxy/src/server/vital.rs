//! Tasks without which the process must not live.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::ServiceReadyNotifier;
use pingora::services::background::BackgroundService;

use crate::logging::Output;

/// A task for as long as the process lives. Pingora would go on after a panic in it; here, the process ends.
pub(super) struct Vital {
    name: &'static str,
    start: Mutex<Option<Start>>,
    output: Arc<Output>,
}

type Start = Box<dyn FnOnce(ServiceReadyNotifier) -> Task + Send>;
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Vital {
    /// `start`: makes the task, which says itself when it is ready: what depends on it waits for that.
    pub(super) fn new<T: Future<Output = ()> + Send + 'static>(
        name: &'static str,
        start: impl FnOnce(ServiceReadyNotifier) -> T + Send + 'static,
        output: Arc<Output>,
    ) -> Self {
        let start: Start = Box::new(|ready| Box::pin(start(ready)));
        Self { name, start: Mutex::new(Some(start)), output }
    }
}

#[async_trait]
impl BackgroundService for Vital {
    async fn start_with_ready_notifier(&self, _: ShutdownWatch, ready: ServiceReadyNotifier) {
        let start = self.start.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(start) = start else { return };
        if let Err(error) = tokio::spawn(start(ready)).await {
            tracing::error!(%error, "{} ended: ending the process", self.name);
            self.output.flush();
            std::process::exit(1);
        }
    }
}
