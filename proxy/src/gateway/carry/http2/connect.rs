//! How a request comes to an instance, by what that speaks, and what is kept of its connection afterwards.

use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use super::exchange::Exchange;
use super::instance::{Instance, OverHttp1, OverHttp2};
use crate::directory::Endpoint;
use crate::gateway::carry::failure::Failure;
use crate::gateway::cause::Ending;
use crate::gateway::protocol::Speaks;
use crate::tls::{Application, InstanceTls};
use crate::traffic::kept::KeptLink;
use crate::traffic::multiplexed::Wanted;
use crate::traffic::waiting::Interrupt;

/// Where an attempt goes.
struct Way {
    endpoint: Arc<Endpoint>,
    tls: Option<Arc<InstanceTls>>,
    /// Of what its handshake goes by; 0: there is none.
    generation: u64,
    /// Whether it must not go over a connection that has served before.
    is_fresh: bool,
    /// How long a connection may take.
    patience: Duration,
    /// And until when this request waits for it.
    due: Instant,
}

impl Exchange {
    /// A connection to the endpoint that was chosen, or a place on one.
    pub(super) async fn connect(&mut self) -> Result<Instance, Failure> {
        let is_grpc = self.request.is_grpc();
        let left = self.request.left(self.now);
        let Some(attempt) = self.request.begin_attempt() else {
            return Err(Failure::of(Ending::Fault, "the gateway: a request has no attempt to begin"));
        };
        let speaks = attempt.speaks(is_grpc);
        let patience = attempt.way.route.timeouts.connect;
        let tls = attempt.way.target.tls.clone();
        let way = Way {
            endpoint: attempt.endpoint.clone(),
            // Before the handshake: one that was made while this changes is of the former kind.
            generation: tls.as_ref().map_or(0, |tls| tls.generation()),
            tls,
            is_fresh: attempt.on_new_connection,
            patience,
            due: self.now + left.map_or(patience, |left| patience.min(left)),
        };
        if speaks == Speaks::Http1 {
            self.request.goes_untranslated();
        }
        let (instance, reused) = match speaks {
            Speaks::Http1 => self.connect_http1(way).await?,
            Speaks::Http2 => self.connect_http2(way).await?,
        };
        let (replay, now) = (self.replay(), self.now);
        let since = self.upload.is_nothing().then_some(now);
        let interrupt = Interrupt::Bell(self.bell.clone());
        self.request.connected(reused, interrupt, since, replay, now);
        Ok(instance)
    }

    /// One that is kept, or a new one.
    async fn connect_http1(&mut self, way: Way) -> Result<(Instance, bool), Failure> {
        let pool = self.request.common.timeouts.pool;
        let kept = &way.endpoint.traffic.kept;
        let kept = if way.is_fresh { None } else { kept.take(way.generation, pool, self.now) };
        let reused = kept.is_some();
        let link = match kept {
            Some(link) => link,
            None => {
                let (dialer, whom) = (self.shared.carrier().dialer.clone(), way.endpoint.clone());
                let tls = way.tls.clone();
                let dial = async move { dialer.dial(&whom, tls.as_deref(), Application::Http1).await };
                KeptLink::new(self.patiently(dial, way.due).await?, way.generation)
            }
        };
        Ok((Instance::Http1(Box::new(OverHttp1::new(link))), reused))
    }

    /// A place on a connection that others use, too.
    async fn connect_http2(&mut self, way: Way) -> Result<(Instance, bool), Failure> {
        let idle = self.request.common.timeouts.pool;
        let wanted = Wanted { generation: way.generation, is_fresh: way.is_fresh, idle };
        let multiplexed = way.endpoint.traffic.multiplexed.clone();
        let (dialer, whom) = (self.shared.carrier().dialer.clone(), way.endpoint.clone());
        let (tls, patience) = (way.tls.clone(), way.patience);
        let dial =
            async move { dialer.dial_within(patience, &whom, tls.as_deref(), Application::Http2).await };
        let stream = self.patiently(multiplexed.stream(wanted, || dial), way.due).await?;
        let reused = stream.reused;
        Ok((Instance::Http2(OverHttp2::new(stream)), reused))
    }

    /// Waits for a connection until then, while the client waits.
    async fn patiently<T, E>(
        &mut self,
        connecting: impl Future<Output = Result<T, E>>,
        due: Instant,
    ) -> Result<T, Failure>
    where
        Failure: From<E>,
    {
        let mut connecting = Box::pin(connecting);
        self.wait(|exchange, cx| {
            if let Poll::Ready(connected) = connecting.as_mut().poll(cx) {
                return Poll::Ready(connected.map_err(Failure::from));
            }
            if let Poll::Ready(failure) = exchange.poll_leaves(cx) {
                return Poll::Ready(Err(failure));
            }
            ready!(exchange.timer.poll(cx, exchange.now, due));
            Poll::Ready(Err(Failure::of(Ending::ConnectTimeout, "the endpoint: connect timed out")))
        })
        .await
    }

    /// The connection is free for another request, if it is one of HTTP/1 on which nothing is left of this one.
    pub(super) fn put_back(&mut self, instance: Instance) {
        let Instance::Http1(instance) = instance else { return };
        let Some(attempt) = self.request.attempt().filter(|_| instance.is_clean()) else { return };
        let pool = self.request.common.timeouts.pool;
        attempt.endpoint.traffic.kept.put(instance.link, pool, self.now, &self.shared.carrier().sweeper);
    }
}
