//! The way of a request to Pingora's proxy, and of its client's connection back.

use std::sync::Arc;

use bytes::Bytes;
use pingora::apps::{HttpServerApp, HttpServerOptions, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::configuration::ServerConf;
use tokio::sync::watch;

use super::ByPingora;
use super::http2_stream::Http2Stream;
use super::one_request::{OneRequest, Returned};
use super::streams::Streams;
use crate::gateway::Gateway;
use crate::gateway::carry::Client;
use crate::gateway::carry::http1::Desk;
use crate::gateway::grammar::Body;
use crate::gateway::origin::Arrival;
use crate::link::Link;

/// Whatever a request's head says, Pingora keeps a connection only if it had a time for it before.
const SOME_KEEPALIVE: u64 = 60;

/// Pingora's proxy, and what a request needs to go through it.
pub(in crate::gateway) struct Detour {
    proxy: Arc<HttpProxy<ByPingora>>,
    streams: Arc<Streams>,
    stopping: watch::Sender<bool>,
}

impl Detour {
    pub(in crate::gateway) fn new(gateway: Arc<Gateway>, server: &Arc<ServerConf>) -> Self {
        let keepalive = gateway.time(|times| times.keepalive);
        let mut proxy = http_proxy(server, ByPingora(gateway));
        let mut options = HttpServerOptions::default();
        // As long as HTTP/1 connections may be silent; asked for at the start alone.
        options.h2_idle_timeout = Some(keepalive);
        proxy.server_options = Some(options);
        let proxy = Arc::new(proxy);
        Self { streams: Arc::new(Streams(proxy.clone())), proxy, stopping: watch::Sender::new(false) }
    }

    /// Has Pingora carry the request whose head is on the desk. Gives the connection back if it serves another one: then
    /// what came behind the request is on the desk.
    pub(in crate::gateway) async fn carry(&self, client: Client, desk: &mut Desk) -> Option<Client> {
        let arrival = client.arrival();
        let is_last = client.is_last;
        let (link, rest) = client.into_parts();
        let input = desk.take_input();
        let may_upgrade = desk.parsed.upgrade().is_some();
        let body = Body::of(desk.parsed.framing());
        let stream =
            OneRequest::new(link, arrival, (desk.plain_head(), body), input, may_upgrade).last(is_last);
        let mut session = ServerSession::new_http1(Box::new(stream));
        session.set_keepalive(desk.parsed.keeps_alive().then_some(SOME_KEEPALIVE));
        let reused = self.proxy.process_new_http(session, &self.stopping.subscribe()).await?;
        let (stream, _) = reused.consume();
        let Returned { link, input } = stream.into_any().downcast::<OneRequest>().ok()?.come_back()?;
        desk.give_input(input);
        Some(rest.with(link))
    }

    /// Has Pingora serve a client who speaks HTTP/2, to the end of the connection. `begin`: what was read of it.
    pub(in crate::gateway) async fn carry_http2(&self, link: Link, arrival: Arrival, begin: Bytes) {
        let stream = Http2Stream::new(link, arrival, begin);
        let mut stopping = self.stopping.subscribe();
        if *stopping.borrow() {
            // Pingora waits for the change.
            stopping.mark_changed();
        }
        self.streams.process_new(Box::new(stream), &stopping).await;
    }

    /// The process stops: connections close after the request that they serve.
    pub(in crate::gateway) async fn stop(&self) {
        self.stopping.send_replace(true);
        self.proxy.http_cleanup().await;
    }
}
