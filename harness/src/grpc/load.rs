//! A load of unary calls whose every call is accounted for. Each begins at its time, whatever became of the others.
//!
//! A call is sent again, on another connection if need be, where the other side has provably not begun with it: the
//! connection took no more calls, GOAWAY was below it, or its stream was refused. Clients of gRPC do that by themselves.

mod calls;
mod connections;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until, timeout},
};

pub use self::calls::{Call, Calls, End};
use self::connections::{Connections, Sent};
use super::Client;
use crate::wait::eventually;

/// A call without an end after this time failed. Longer than the gateway waits for the first byte of an answer.
const PATIENCE: Duration = Duration::from_secs(40);
/// How often a call may be sent.
const TIMES: u32 = 5;

/// What to call, how often, over how many connections.
#[derive(Clone, Debug)]
pub struct CallLoad {
    target: SocketAddr,
    path: String,
    message: Bytes,
    /// The metadata of each kind of call.
    kinds: Vec<Vec<(String, String)>>,
    connections: usize,
    rate: u32,
}

/// A load that runs until it is stopped. Dropping it stops it too.
#[derive(Debug)]
pub struct RunningCalls {
    shared: Arc<Shared>,
    driver: JoinHandle<Result<Vec<Call>>>,
}

#[derive(Debug)]
struct Shared {
    load: CallLoad,
    connections: Connections,
    begun: AtomicU64,
    stop: watch::Sender<bool>,
}

impl CallLoad {
    /// Calls of `/package.Service/Method` with an empty message, 200 a second over 10 connections in clear.
    pub fn new(target: SocketAddr, path: &str) -> Self {
        let (path, message) = (path.to_owned(), Bytes::new());
        Self { target, path, message, kinds: vec![Vec::new()], connections: 10, rate: 200 }
    }

    /// At this rate.
    pub fn rate(mut self, per_second: u32) -> Self {
        self.rate = per_second;
        self
    }

    /// One kind more, with this metadata: there are as many calls of each, on every connection.
    pub fn also(mut self, name: &str, value: &str) -> Self {
        self.kinds.push(vec![(name.to_owned(), value.to_owned())]);
        self
    }

    /// Runs for this time.
    ///
    /// # Errors
    /// As [`RunningCalls::stop`].
    pub async fn run_for(&self, time: Duration) -> Result<Calls> {
        let running = self.start();
        sleep(time).await;
        running.stop().await
    }

    /// Runs until it is stopped.
    pub fn start(&self) -> RunningCalls {
        let shared = Arc::new(Shared {
            load: self.clone(),
            connections: Connections::new(self.target, self.connections),
            begun: AtomicU64::new(0),
            stop: watch::Sender::new(false),
        });
        RunningCalls { driver: tokio::spawn(Arc::clone(&shared).drive()), shared }
    }
}

impl RunningCalls {
    /// Calls begun so far.
    pub fn begun(&self) -> u64 {
        self.shared.begun.load(Ordering::Relaxed)
    }

    /// Waits until `count` calls have begun.
    ///
    /// # Errors
    /// When they have not within `within`.
    pub async fn wait_begun(&self, count: u64, within: Duration) -> Result<()> {
        let begun = eventually("the load has begun", within, async || {
            ensure!(self.begun() >= count, "{} calls of {count} have begun", self.begun());
            Ok(())
        });
        begun.await
    }

    /// Its connections, for other calls beside its own.
    ///
    /// # Errors
    /// When one of them cannot be opened.
    pub async fn clients(&self) -> Result<Vec<Arc<Client>>> {
        self.shared.connections.all().await
    }

    /// Begins no more calls, waits for the end of each, and says what became of them.
    ///
    /// # Errors
    /// When the load itself broke.
    pub async fn stop(mut self) -> Result<Calls> {
        self.shared.stop.send_replace(true);
        let calls = (&mut self.driver).await.context("the load broke")??;
        Ok(Calls::new(calls, self.shared.connections.opened()))
    }
}

impl Drop for RunningCalls {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Shared {
    async fn drive(self: Arc<Self>) -> Result<Vec<Call>> {
        let (mut running, mut ended) = (JoinSet::new(), Vec::new());
        let (begin, mut stop) = (Instant::now(), self.stop.subscribe());
        for number in 0_u32.. {
            let due = begin + Duration::from_secs(1) * number / self.load.rate;
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                () = sleep_until(due) => {}
            }
            self.begun.fetch_add(1, Ordering::Relaxed);
            running.spawn(Arc::clone(&self).call(number as usize, due));
            while let Some(call) = running.try_join_next() {
                ended.push(call?);
            }
        }
        while let Some(call) = running.join_next().await {
            ended.push(call?);
        }
        Ok(ended)
    }

    async fn call(self: Arc<Self>, number: usize, due: Instant) -> Call {
        let kinds = self.load.kinds.len();
        let (kind, place) = (number % kinds, number / kinds % self.load.connections);
        let end = timeout(PATIENCE, self.sent_until_begun(kind, place)).await;
        let end = end.unwrap_or_else(|_| End::Failed(format!("no end within {PATIENCE:?}")));
        Call { kind, begun: due.into_std(), took: due.elapsed(), end }
    }

    async fn sent_until_begun(&self, kind: usize, place: usize) -> End {
        let load = &self.load;
        let pairs: Vec<_> = load.kinds[kind].iter().map(|(name, value)| (&**name, &**value)).collect();
        for _ in 0..TIMES {
            match self.connections.send(place, &load.path, &pairs, &load.message).await {
                Sent::Ended(end) => return end,
                Sent::NotBegun => {}
            }
        }
        End::Failed(format!("not taken {TIMES} times in a row"))
    }
}
