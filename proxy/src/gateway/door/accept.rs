//! Takes connections from a socket that is listened on.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pingora::server::ShutdownWatch;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::answers::{FULL, tell_at_once};
use super::entrance::welcome;
use super::{Door, closing};
use crate::link::is_scarcity;
use crate::tasks::now;

/// How soon it is tried again to take a connection when the process lacks descriptors or memory.
const SCARCE: Duration = Duration::from_millis(20);
/// When somebody has waited for so long in vain, all who wait are told, one at a time.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it may take to take him who is told.
const WAITING: Duration = Duration::from_millis(20);
/// So often it is told in the log.
const NEWS: Duration = Duration::from_secs(60);

/// A descriptor that is kept to be given up: with it one connection can be taken when there is no other.
#[derive(Debug)]
struct Reserve(Option<File>);

impl Reserve {
    fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }
}

/// For how long the process has been unable to take who waits.
#[derive(Debug, Default)]
struct Scarcity {
    began: Option<Instant>,
    seen: Option<Instant>,
    warned: Option<Instant>,
    /// How many were told since.
    declined: u64,
}

impl Scarcity {
    /// Somebody waits and cannot be taken: since then. (If that was not so a moment ago, it begins anew.)
    fn lasts(&mut self, now: Instant) -> Duration {
        let goes_on = self.seen.is_some_and(|seen| now.saturating_duration_since(seen) < 5 * SCARCE);
        if !goes_on {
            self.began = Some(now);
        }
        self.seen = Some(now);
        self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began))
    }

    /// Somebody was taken.
    fn ends(&mut self) {
        self.began = None;
        self.seen = None;
    }

    /// How many were declined since it was told of last, if it is to be told of again: once a minute.
    fn news(&mut self, now: Instant) -> Option<u64> {
        let is_news = self.warned.is_none_or(|warned| now.saturating_duration_since(warned) >= NEWS);
        is_news.then(|| {
            self.warned = Some(now);
            std::mem::take(&mut self.declined)
        })
    }
}

/// Takes connections until the process stops, and then those that are on their way.
pub(super) async fn accept(
    door: Arc<Door>,
    listener: TcpListener,
    address: SocketAddr,
    mut shutdown: ShutdownWatch,
) -> TcpListener {
    let (reserve, scarcity) = (Reserve::new(), Scarcity::default());
    let mut accepting = Accepting { door, listener, address, reserve, scarcity };
    // An error means that the server itself is gone.
    accepting.until(async { drop(shutdown.wait_for(|stopping| *stopping).await) }).await;
    // A socket that was handed over is shared with the process that goes on.
    let is_handed_over = !accepting.door.gateway.lifecycle.is_stopping();
    if !is_handed_over && closing::admit_no_more(&accepting.listener) {
        accepting.until(sleep(closing::HANDSHAKE)).await;
    }
    accepting.listener
}

/// What it takes to take connections from a socket.
struct Accepting {
    door: Arc<Door>,
    listener: TcpListener,
    /// Where it listens, as the configuration says.
    address: SocketAddr,
    reserve: Reserve,
    scarcity: Scarcity,
}

impl Accepting {
    async fn until(&mut self, end: impl Future<Output = ()>) {
        let mut end = pin!(end);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = &mut end => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    self.scarcity.ends();
                    welcome(&self.door, stream, peer, self.address);
                }
                // A client that has left while it waited.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => self.bear(&error).await,
            }
        }
    }

    /// Nobody can be taken now.
    async fn bear(&mut self, error: &io::Error) {
        let now = now();
        let lasts = self.scarcity.lasts(now);
        if let Some(declined) = self.scarcity.news(now) {
            tracing::warn!(
                %error,
                declined,
                "cannot take connections: they wait, and are answered with 503 after a second. (Told once a minute)"
            );
        }
        if lasts >= PATIENCE && is_scarcity(error) && decline(&self.listener, &mut self.reserve).await {
            self.scarcity.declined += 1;
            self.door.gateway.metrics.connection_declined();
        }
        sleep(SCARCE).await;
    }
}

/// Tells one who waits that there is no room. Whether there was one.
async fn decline(listener: &TcpListener, reserve: &mut Reserve) -> bool {
    drop(reserve.0.take());
    let waiting = timeout(WAITING, listener.accept()).await.ok().and_then(Result::ok);
    let was_there = waiting.is_some();
    if let Some((stream, _)) = waiting {
        tell_at_once(&stream, FULL);
    }
    *reserve = Reserve::new();
    was_there
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;
    use tokio::net::TcpStream;
    use tokio::sync::watch;

    #[test]
    fn who_comes_when_nobody_waits_any_more_waits_from_the_beginning() {
        let (mut scarcity, start) = (Scarcity::default(), Instant::now());
        let millis = Duration::from_millis;
        for after in [0, 20, 60, 110] {
            assert_eq!(scarcity.lasts(start + millis(after)), millis(after));
        }
        assert_eq!(scarcity.lasts(start + millis(500)), Duration::ZERO);
        assert_eq!(scarcity.lasts(start + millis(520)), millis(20));
        scarcity.ends();
        assert_eq!(scarcity.lasts(start + millis(540)), Duration::ZERO);
    }

    #[test]
    fn it_is_told_once_a_minute_however_often_it_comes() {
        let (mut scarcity, start) = (Scarcity::default(), Instant::now());
        let told = (0..180).filter_map(|second| {
            scarcity.ends();
            let told = scarcity.news(start + Duration::from_secs(second));
            scarcity.declined += 1;
            Some((second, told?))
        });
        assert_eq!(told.collect::<Vec<_>>(), [(0, 0), (60, 60), (120, 60)]);
    }

    #[tokio::test]
    async fn when_the_process_stops_no_more_are_let_in_and_when_it_hands_over_all_are() {
        for stops in [true, false] {
            let bench = Bench::new();
            if stops {
                bench.lifecycle.stop();
            }
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (_server, shutdown) = watch::channel(true);
            let _open = accept(bench.door.clone(), listener, address, shutdown).await;
            assert_eq!(TcpStream::connect(address).await.is_err(), stops);
        }
    }
}
