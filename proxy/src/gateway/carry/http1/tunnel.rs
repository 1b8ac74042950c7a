//! A connection that was upgraded: bytes both ways, until both sides have said all.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::AsyncWrite;

use super::exchange::Exchange;
use super::failure::Failure;
use super::pump::{Failed, Manner, Pump};
use crate::tasks::now;

use crate::gateway::grammar::Body;
use crate::gateway::tunnel_drain;
use crate::link::Link;
use crate::traffic::kept::KeptLink;

/// One direction of a tunnel.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Way {
    #[default]
    Open,
    /// Its source has ended, and its sink is being told.
    Ending,
    Ended,
}

impl Exchange<'_> {
    /// Both sides have agreed to become a tunnel.
    pub(super) async fn tunnel(&mut self, mut instance: KeptLink) -> Result<(), Failure> {
        self.write_upgrade();
        self.download.input.consume(self.state.answer_head);
        self.state.keeps_client = false;
        for pump in [&mut *self.upload, &mut *self.download] {
            pump.begin(Body::UntilClose, Manner::AsIs, &self.request.common.trace_header);
        }
        let endpoint = self.request.attempt().map(|attempt| attempt.endpoint.clone());
        let _attendance =
            endpoint.as_ref().map(|endpoint| endpoint.traffic.departure.attend(self.client.bell.clone()));
        let mut tunnel = Tunnel { up: Way::Open, down: Way::Open, moved_at: [now(); 2], ends_at: None };
        poll_fn(|cx| tunnel.poll(cx, self, &mut instance.link)).await
    }
}

/// Both directions, and when they were of use last.
#[derive(Debug)]
struct Tunnel {
    up: Way,
    down: Way,
    moved_at: [Instant; 2],
    /// When it ends at the latest; none: its instance is registered.
    ends_at: Option<Instant>,
}

impl Tunnel {
    /// Ready when both sides have ended, or one of them has been silent for too long.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange<'_>,
        instance: &mut Link,
    ) -> Poll<Result<(), Failure>> {
        while exchange.client.bell.poll_rung(cx).is_ready() {
            self.note_departure(exchange);
        }
        let client = &mut exchange.client.link;
        let mut moved = [false; 2];
        let mut up = direction(&mut self.up, exchange.upload, cx, (client, instance), &mut moved[0]);
        if let Poll::Ready(Err(failed)) = up {
            let Failed::Sink(_) = failed else { return Poll::Ready(Err(Failure::of_upload(failed))) };
            // The instance takes no more: it may have said all, or say it yet. If it has broken off, that is seen there.
            self.up = Way::Ended;
            up = Poll::Ready(Ok(()));
        }
        let down = direction(&mut self.down, exchange.download, cx, (instance, client), &mut moved[1]);
        if let Poll::Ready(Err(failed)) = down {
            return Poll::Ready(Err(Failure::of_download(failed)));
        }
        let is_left = self.ends_at.is_some() && self.down == Way::Ended;
        if is_left || up.is_ready() && down.is_ready() {
            return Poll::Ready(Ok(()));
        }
        self.poll_time(cx, exchange, moved)
    }

    /// Its instance may have left: then it ends within the time that is given for that, each at another moment of it.
    fn note_departure(&mut self, exchange: &Exchange<'_>) {
        let has_left =
            exchange.request.attempt().is_some_and(|attempt| attempt.endpoint.traffic.departure.has_left());
        if has_left && self.ends_at.is_none() {
            self.ends_at =
                tunnel_drain::end(now(), exchange.request.common.timeouts.tunnel_drain, fastrand::u64(..));
        }
    }

    fn poll_time(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange<'_>,
        moved: [bool; 2],
    ) -> Poll<Result<(), Failure>> {
        let now = now();
        for (moved, at) in moved.into_iter().zip(&mut self.moved_at) {
            if moved {
                *at = now;
            }
        }
        if moved[1]
            && let Some(attempt) = exchange.request.attempt_mut()
        {
            attempt.went_on(now);
        }
        let silence = exchange.request.common.timeouts.tunnel;
        let [up, down] = self.moved_at;
        let up = Some(up).filter(|_| self.up == Way::Open);
        let down = Some(down).filter(|_| self.down == Way::Open);
        let silent = up.into_iter().chain(down).filter_map(|moved| moved.checked_add(silence));
        let Some(due) = silent.chain(self.ends_at).min() else { return Poll::Pending };
        ready!(exchange.client.timer.poll(cx, now, due));
        Poll::Ready(Ok(()))
    }
}

/// Moves what can be moved in one direction. Ready when its source has ended, and its sink knows.
fn direction(
    way: &mut Way,
    pump: &mut Pump,
    cx: &mut Context<'_>,
    (source, sink): (&mut Link, &mut Link),
    moved: &mut bool,
) -> Poll<Result<(), Failed>> {
    if *way == Way::Open {
        ready!(pump.poll(cx, (source, &mut *sink), moved))?;
        *way = Way::Ending;
    }
    if *way == Way::Ending {
        ready!(Pin::new(sink).poll_shutdown(cx)).map_err(Failed::Sink)?;
        *way = Way::Ended;
    }
    Poll::Ready(Ok(()))
}
