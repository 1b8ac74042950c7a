//! Connections to instances that speak HTTP/1: taken from those that are kept, or opened, and put back.

use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use super::exchange::Exchange;
use super::progress::Sending;
use crate::directory::Endpoint;
use crate::gateway::carry::failure::Failure;
use crate::gateway::cause::Ending;
use crate::link::Link;
use crate::tls::InstanceTls;
use crate::traffic::kept::KeptLink;
use crate::traffic::waiting::Interrupt;

impl Exchange<'_> {
    /// A connection to the endpoint that was chosen.
    pub(super) async fn connect(&mut self) -> Result<KeptLink, Failure> {
        let replay = self.replay();
        let pool = self.request.common.timeouts.pool;
        let Some(attempt) = self.request.begin_attempt() else {
            return Err(Failure::of(Ending::Fault, "the gateway: a request has no attempt to begin"));
        };
        let (endpoint, is_fresh) = (attempt.endpoint.clone(), attempt.on_new_connection);
        let patience = attempt.way.route.timeouts.connect;
        let tls = attempt.way.target.tls.clone();
        // Before the handshake: one that was made while this changes is of the former kind.
        let generation = tls.as_ref().map_or(0, |tls| tls.generation());
        let kept = if is_fresh { None } else { endpoint.traffic.kept.take(generation, pool, self.now) };
        let reused = kept.is_some();
        let link = match kept {
            Some(link) => link,
            None => KeptLink::new(self.open(&endpoint, tls.as_ref(), patience).await?, generation),
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
        let due = self.now + self.request.left(self.now).map_or(patience, |left| patience.min(left));
        let has_body = self.has_body();
        // Rare, and large: in a place of its own.
        let mut dialing = Box::pin(self.carrier.dialer.dial(endpoint, tls.map(|tls| &**tls)));
        let dialled = self.wait(|exchange, cx| {
            if let Poll::Ready(dialled) = dialing.as_mut().poll(cx) {
                return Poll::Ready(dialled.map_err(|error| Failure::of_dial(&error)));
            }
            if !has_body && let Poll::Ready(failure) = exchange.poll_leaves(cx) {
                return Poll::Ready(Err(failure));
            }
            ready!(exchange.client.timer.poll(cx, exchange.now, due));
            Poll::Ready(Err(Failure::of(Ending::ConnectTimeout, "the endpoint: connect timed out")))
        });
        dialled.await
    }

    /// The connection is free for another request, if nothing is left on it of this one. (One on which an answer came before
    /// its request was whole is not: many an instance closes it then, whatever it says.)
    pub(super) fn put_back(&mut self, instance: KeptLink) {
        let is_clean = self.progress.sending == Sending::Done
            && !self.progress.is_early
            && self.download.input.is_empty()
            && self.answer.keeps_alive();
        let Some(attempt) = self.request.attempt().filter(|_| is_clean) else { return };
        attempt.endpoint.traffic.kept.put(instance, self.now, &self.carrier.sweeper);
    }
}
