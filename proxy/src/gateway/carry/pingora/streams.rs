//! The streams of connections on which HTTP/2 is spoken, each of which is a request.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;

use super::ByPingora;
use super::http2_stream;
use super::upload::Upload;

/// Pingora's proxy, which serves each stream for as long as its client has not stalled.
pub(super) struct Streams(pub(super) Arc<HttpProxy<ByPingora>>);

#[async_trait]
impl HttpServerApp for Streams {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if session.is_body_done() {
            return self.0.process_new_http(session, shutdown).await;
        }
        let shared = session.digest().and_then(http2_stream::shared);
        let upload = Arc::new(Upload::new(shared.map(|shared| shared.bodies.clone()).unwrap_or_default()));
        // By the head it is known to whoever is asked about the request.
        session.req_header_mut().extensions_mut().insert(upload.clone());
        tokio::select! {
            biased;
            returned = self.0.process_new_http(session, shutdown) => returned,
            () = upload.stalled() => None,
        }
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.0.server_options()
    }
}
