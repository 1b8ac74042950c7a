//! A connection that was upgraded: bytes both ways, until both sides have said all.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::AsyncWrite;

use super::exchange::Exchange;
use super::pump::{Manner, Pump};
use super::request_head;
use crate::gateway::carry::failure::Failed;
use crate::gateway::carry::failure::Failure;
use crate::gateway::cause::Ending;
use crate::gateway::grammar::{Body, agree};
use crate::gateway::tunnel_drain;
use crate::gateway::tunnel_end::TunnelEnd;
use crate::link::Link;
use crate::tasks::now;
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
        self.download.input.consume(self.progress.answer_head);
        self.told.keeps_client = false;
        for pump in [&mut *self.upload, &mut *self.download] {
            pump.begin(Body::UntilClose, Manner::AsIs, &self.request.common.trace_header);
        }
        let endpoint = self.request.attempt().map(|attempt| attempt.endpoint.clone());
        let _attendance =
            endpoint.as_ref().map(|endpoint| endpoint.traffic.departure.attend(self.client.bell.clone()));
        let mut tunnel =
            Tunnel { up: Way::Open, down: Way::Open, moved_at: [now(); 2], ends_at: None, ended_first: None };
        let _open = self.gateway.metrics.tunnel();
        let ended = poll_fn(|cx| tunnel.poll(cx, self, &mut instance.link)).await;
        // However an instance goes that has left: it may have been killed.
        let failed = if tunnel.ends_at.is_some() { TunnelEnd::Departed } else { TunnelEnd::Error };
        self.request.tunnel_ended(*ended.as_ref().unwrap_or(&failed));
        if ended.is_err() {
            // What has broken must not look like an orderly end, to the instance either.
            instance.link.reset();
        }
        ended.map(drop)
    }

    /// A 101 is an answer only to what has asked for it.
    pub(super) fn check_upgrade(&self) -> Result<(), Failure> {
        let agreed = self.answer.upgrade().map(|agreed| agreed.of(self.download.input.bytes()));
        match request_head::upgrade(&self.head, self.request).zip(agreed) {
            Some((asked, agreed)) if agree(asked, agreed) => Ok(()),
            _ => Err(Failure::of(Ending::NotHttp, "the endpoint: a 101 to what was not asked for")),
        }
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
    /// Which side was the first to end; none: neither has ended.
    ended_first: Option<TunnelEnd>,
}

impl Tunnel {
    /// Ready when both sides have ended, or one of them has been silent for too long.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange<'_>,
        instance: &mut Link,
    ) -> Poll<Result<TunnelEnd, Failure>> {
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
            self.ended_first.get_or_insert(TunnelEnd::Instance);
            up = Poll::Ready(Ok(()));
        }
        let down = direction(&mut self.down, exchange.download, cx, (instance, client), &mut moved[1]);
        if let Poll::Ready(Err(failed)) = down {
            return Poll::Ready(Err(Failure::of_download(failed)));
        }
        if self.ended_first.is_none() {
            self.ended_first = match (self.up, self.down) {
                (Way::Open, Way::Open) => None,
                (Way::Open, _) => Some(TunnelEnd::Instance),
                _ => Some(TunnelEnd::Client),
            };
        }
        if self.ends_at.is_some() && self.down == Way::Ended {
            return Poll::Ready(Ok(TunnelEnd::Departed));
        }
        if up.is_ready() && down.is_ready() {
            return Poll::Ready(Ok(self.ended_first.unwrap_or(TunnelEnd::Client)));
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
    ) -> Poll<Result<TunnelEnd, Failure>> {
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
        let up = Some(up).filter(|_| self.up != Way::Ended);
        let down = Some(down).filter(|_| self.down != Way::Ended);
        let silent = up.into_iter().chain(down).filter_map(|moved| moved.checked_add(silence));
        let Some(due) = silent.chain(self.ends_at).min() else { return Poll::Pending };
        ready!(exchange.client.timer.poll(cx, now, due));
        Poll::Ready(Ok(if self.ends_at == Some(due) { TunnelEnd::Departed } else { TunnelEnd::Idle }))
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

#[cfg(test)]
mod tests {
    use crate::gateway::door::bench::{Bench, rest, tunnel};
    use crate::tasks::now;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const SECOND: Duration = Duration::from_secs(1);

    /// That one has ended for this reason, the log and the metrics say.
    async fn assert_ended(bench: &Bench, reason: &str) {
        tokio::time::sleep(SECOND).await;
        let log = bench.log();
        assert!(
            log.contains("\"status\":101,") && log.contains(&format!("\"tunnel\":\"{reason}\"")),
            "{log}"
        );
        assert_eq!(log.contains("\"error\""), reason == "error", "{log}");
        let ended = format!("leaseway_tunnels_ended_total{{reason=\"{reason}\"}}");
        assert_eq!((bench.metric(&ended), bench.metric("leaseway_tunnels")), (1, 0), "{reason}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_breaks_off_ends_by_an_error() {
        let mut bench = Bench::new();
        let (client, instance) = tunnel(&mut bench).await;
        assert_eq!(bench.metric("leaseway_tunnels"), 1);
        client.reset();
        assert_ended(&bench, "error").await;
        drop(instance);
    }

    #[tokio::test(start_paused = true)]
    async fn each_side_can_end_before_the_other() {
        for is_client_first in [true, false] {
            let mut bench = Bench::new();
            let (mut one, mut other) = tunnel(&mut bench).await;
            if !is_client_first {
                std::mem::swap(&mut one, &mut other);
            }
            one.write_all(b"that is all").await.unwrap();
            one.shutdown().await.unwrap();
            assert_eq!(rest(&mut other).await, "that is all");
            other.write_all(b"here is more").await.unwrap();
            tokio::time::sleep(600 * SECOND).await;
            other.write_all(b" and more").await.unwrap();
            other.shutdown().await.unwrap();
            assert_eq!(rest(&mut one).await, "here is more and more");
            assert_eq!(bench.lifecycle.requests_in_flight(), 0);
            assert_ended(&bench, if is_client_first { "client" } else { "instance" }).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_ends_in_which_a_side_is_silent_for_too_long() {
        let mut bench = Bench::new();
        let (mut client, mut instance) = tunnel(&mut bench).await;
        let begun = now();
        tokio::spawn(async move {
            while instance.write_all(b"x").await.is_ok() {
                tokio::time::sleep(1_000 * SECOND).await;
            }
        });
        assert_eq!(rest(&mut client).await, "xxxx");
        assert_eq!((now() - begun).as_secs(), 3_600);
        assert_ended(&bench, "idle").await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_ends_soon_after_its_instance_has_left() {
        let mut bench = Bench::new();
        let (mut client, instance) = tunnel(&mut bench).await;
        bench.register(0);
        let left = now();
        rest(&mut client).await;
        assert!(now() - left <= 10 * SECOND);
        assert_ended(&bench, "departed").await;
        drop(instance);
    }

    #[tokio::test(start_paused = true)]
    async fn a_side_that_breaks_off_is_no_end_to_the_other() {
        for is_client in [true, false] {
            let mut bench = Bench::new();
            let (mut one, mut other) = tunnel(&mut bench).await;
            if !is_client {
                std::mem::swap(&mut one, &mut other);
            }
            one.reset();
            let error = other.read_to_end(&mut Vec::new()).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{is_client}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_whose_instance_has_left_ends_with_the_instance_however_that_goes() {
        for is_killed in [false, true] {
            let mut bench = Bench::new();
            fastrand::seed(7);
            let (mut client, instance) = tunnel(&mut bench).await;
            bench.register(0);
            let left = now();
            if is_killed {
                instance.reset()
            } else {
                drop(instance)
            }
            let ended = client.read_to_end(&mut Vec::new()).await;
            assert_eq!(ended.is_err(), is_killed, "{ended:?}");
            assert!(now() - left < SECOND);
            tokio::time::sleep(SECOND).await;
            assert_eq!(bench.metric("leaseway_tunnels_ended_total{reason=\"departed\"}"), 1);
        }
    }
}
