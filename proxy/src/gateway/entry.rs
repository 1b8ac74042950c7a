//! Where connections enter: what must be said before Pingora's proxy reads a request's head.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;

use super::Gateway;

/// Pingora's proxy behind a limit on the time between two pieces of a request's head, which it reads with
/// a fixed 60 s before any hook is called.
pub struct Entry {
    proxy: Arc<HttpProxy<Gateway>>,
    head_timeout: Duration,
}

impl Entry {
    /// Guards a proxy.
    pub fn new(proxy: HttpProxy<Gateway>, head_timeout: Duration) -> Self {
        Self { proxy: Arc::new(proxy), head_timeout }
    }
}

#[async_trait]
impl HttpServerApp for Entry {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        session.set_read_timeout(Some(self.head_timeout));
        self.proxy.process_new_http(session, shutdown).await
    }

    async fn http_cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}
