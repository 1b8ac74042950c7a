//! Connections to instances: taken from those that are kept, or opened, and put back.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use super::exchange::Exchange;
use super::over_http2::OverStream;
use super::progress::Sending;
use super::web::WebCall;
use crate::directory::Endpoint;
use crate::gateway::carry::failure::Failure;
use crate::gateway::carry::http2::OverHttp2;
use crate::gateway::cause::Ending;
use crate::gateway::protocol::Speaks;
use crate::link::Link;
use crate::tls::{Application, InstanceTls};
use crate::traffic::kept::KeptLink;
use crate::traffic::multiplexed::Wanted;
use crate::traffic::waiting::Interrupt;

impl Exchange<'_> {
    /// A connection to the endpoint that was chosen.
    pub(super) async fn connect(&mut self) -> Result<KeptLink, Failure> {
        let (replay, is_grpc) = (self.replay(), self.request.is_grpc());
        let pool = self.request.common.timeouts.pool;
        let Some(attempt) = self.request.begin_attempt() else {
            return Err(Failure::of(Ending::Fault, "the gateway: a request has no attempt to begin"));
        };
        let (endpoint, is_fresh) = (attempt.endpoint.clone(), attempt.on_new_connection);
        let patience = attempt.way.route.timeouts.connect;
        let speaks = attempt.speaks(is_grpc);
        let tls = attempt.way.target.tls.clone();
        // Before the handshake: one that was made while this changes is of the former kind.
        let generation = tls.as_ref().map_or(0, |tls| tls.generation());
        if speaks == Speaks::Http1 {
            self.request.goes_untranslated();
        }
        let is_kept = !is_fresh && speaks == Speaks::Http1;
        let kept = if !is_kept { None } else { endpoint.traffic.kept.take(generation, pool, self.now) };
        let (link, reused) = match (speaks, kept) {
            (Speaks::Http1, Some(link)) => (link, true),
            // Both are rare, and large: in a place of their own.
            (Speaks::Http1, None) => {
                let tls = tls.as_ref();
                (KeptLink::new(Box::pin(self.open(&endpoint, tls, patience)).await?, generation), false)
            }
            (Speaks::Http2, _) => {
                let wanted = Wanted { generation, is_fresh, idle: pool };
                Box::pin(self.stream(&endpoint, tls, wanted, patience)).await?
            }
        };
        let now = self.now;
        let since = (!self.has_body()).then_some(now);
        let interrupt = Interrupt::Bell(self.client.bell.clone());
        self.request.connected(reused, interrupt, since, replay, now);
        Ok(link)
    }

    /// Opens one. Its handshake is over within the same time.
    async fn open(
        &mut self,
        endpoint: &Endpoint,
        tls: Option<&Arc<InstanceTls>>,
        patience: Duration,
    ) -> Result<Link, Failure> {
        let carrier = self.carrier;
        let dialing = Box::pin(carrier.dialer.dial(endpoint, tls.map(|tls| &**tls), Application::Http1));
        self.patiently(dialing, patience).await
    }

    /// A stream on a connection that others use, too, in place of one.
    async fn stream(
        &mut self,
        endpoint: &Arc<Endpoint>,
        tls: Option<Arc<InstanceTls>>,
        wanted: Wanted,
        patience: Duration,
    ) -> Result<(KeptLink, bool), Failure> {
        let is_under_tls = tls.is_some();
        let (dialer, whom) = (self.carrier.dialer.clone(), endpoint.clone());
        let dial =
            async move { dialer.dial_within(patience, &whom, tls.as_deref(), Application::Http2).await };
        let multiplexed = endpoint.traffic.multiplexed.clone();
        let stream = self.patiently(Box::pin(multiplexed.stream(wanted, || dial)), patience).await?;
        let reused = stream.reused;
        let web = WebCall::of(self.request, &self.head);
        self.web_call = web.as_ref().map(WebCall::heard);
        let stream = OverStream::new(OverHttp2::new(stream), is_under_tls, web);
        Ok((KeptLink::new(Link::Foreign(Box::new(stream)), 0), reused))
    }

    /// Waits for a connection for so long, while the client waits.
    async fn patiently<T, E>(
        &mut self,
        mut connecting: Pin<Box<impl Future<Output = Result<T, E>>>>,
        patience: Duration,
    ) -> Result<T, Failure>
    where
        Failure: From<E>,
    {
        let due = self.now + self.request.left(self.now).map_or(patience, |left| patience.min(left));
        let has_body = self.has_body();
        let connected = self.wait(|exchange, cx| {
            if let Poll::Ready(connected) = connecting.as_mut().poll(cx) {
                return Poll::Ready(connected.map_err(Failure::from));
            }
            if !has_body && let Poll::Ready(failure) = exchange.poll_leaves(cx) {
                return Poll::Ready(Err(failure));
            }
            ready!(exchange.client.timer.poll(cx, exchange.now, due));
            Poll::Ready(Err(Failure::of(Ending::ConnectTimeout, "the endpoint: connect timed out")))
        });
        connected.await
    }

    /// The connection is free for another request, if nothing is left on it of this one. (One on which an answer came before
    /// its request was whole is not: many an instance closes it then, whatever it says.)
    pub(super) fn put_back(&mut self, instance: KeptLink) {
        let is_clean = self.progress.sending == Sending::Done
            && !self.progress.is_early
            && self.download.input.is_empty()
            && self.answer.keeps_alive();
        let Some(attempt) = self.request.attempt().filter(|_| is_clean) else { return };
        let pool = self.request.common.timeouts.pool;
        attempt.endpoint.traffic.kept.put(instance, pool, self.now, &self.carrier.sweeper);
    }
}
