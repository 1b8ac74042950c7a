//! The way of a request to Pingora's proxy, and of its client's connection back.

use std::sync::Arc;

use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::configuration::ServerConf;
use tokio::sync::watch;

use super::ByPingora;
use super::one_request::{OneRequest, Returned};
use crate::gateway::Gateway;
use crate::gateway::carry::Client;
use crate::gateway::carry::http1::Desk;
use crate::gateway::grammar::Body;

/// Whatever a request's head says, Pingora keeps a connection only if it had a time for it before.
const SOME_KEEPALIVE: u64 = 60;

/// Pingora's proxy, and what a request needs to go through it.
pub(in crate::gateway) struct Detour {
    proxy: Arc<HttpProxy<ByPingora>>,
    stopping: watch::Sender<bool>,
}

impl Detour {
    pub(in crate::gateway) fn new(gateway: Arc<Gateway>, server: &Arc<ServerConf>) -> Self {
        Self { proxy: Arc::new(http_proxy(server, ByPingora(gateway))), stopping: watch::Sender::new(false) }
    }

    /// Has Pingora carry the request whose head is on the desk. Gives the connection back if it serves another one: then
    /// what came behind the request is on the desk.
    pub(in crate::gateway) async fn carry(&self, client: Client, desk: &mut Desk) -> Option<Client> {
        let arrival = client.arrival();
        let (link, rest) = client.into_parts();
        let input = desk.take_input();
        let may_upgrade = desk.parsed.upgrade().is_some();
        let body = Body::of(desk.parsed.framing());
        let stream = OneRequest::new(link, arrival, (desk.plain_head(), body), input, may_upgrade);
        let mut session = ServerSession::new_http1(Box::new(stream));
        session.set_keepalive(desk.parsed.keeps_alive().then_some(SOME_KEEPALIVE));
        let reused = self.proxy.process_new_http(session, &self.stopping.subscribe()).await?;
        let (stream, _) = reused.consume();
        let Returned { link, input } = stream.into_any().downcast::<OneRequest>().ok()?.come_back()?;
        desk.give_input(input);
        Some(rest.with(link))
    }

    /// The process stops: connections close after the request that they serve.
    pub(in crate::gateway) async fn stop(&self) {
        self.stopping.send_replace(true);
        self.proxy.http_cleanup().await;
    }
}
