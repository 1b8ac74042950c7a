//! Probes: whether endpoints that the registry does not vouch for can be connected to.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout};

use crate::directory::{Endpoint, Probe};
use crate::tasks::{joined, sleep_until};

/// From the start of an endpoint's probe to that of its next.
const INTERVAL: Duration = Duration::from_secs(1);
/// Probes at once. The others wait for their turn, the longest waiting first.
const MAX_RUNNING: usize = 256;

/// Probes endpoints, at once and then every second, for as long as they are wanted.
#[derive(Debug)]
pub(super) struct Probes {
    /// How long a connect may take.
    timeout: Duration,
    wanted: HashMap<u64, Stage>,
    /// By when it is due, and then by age.
    waiting: BTreeMap<(Instant, u64), Arc<Endpoint>>,
    running: JoinSet<Ended>,
}

/// How far an endpoint's current probe is.
#[derive(Debug)]
enum Stage {
    Waiting(Instant),
    Running(AbortHandle),
}

/// What a probe found.
#[derive(Debug)]
pub(super) struct Outcome {
    pub endpoint: Arc<Endpoint>,
    pub probe: Probe,
}

/// A probe that has ended.
#[derive(Debug)]
struct Ended {
    endpoint: Arc<Endpoint>,
    begun: Instant,
    /// None: it says nothing about the endpoint.
    probe: Option<Probe>,
}

impl Probes {
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, wanted: HashMap::new(), waiting: BTreeMap::new(), running: JoinSet::new() }
    }

    /// Probes an endpoint from now on. Nothing new if it already is.
    pub fn start(&mut self, endpoint: &Arc<Endpoint>) {
        if !self.wanted.contains_key(&endpoint.id) {
            self.schedule(endpoint.clone(), Instant::now());
        }
    }

    /// Probes an endpoint no more. The outcome of a probe that runs is not told.
    pub fn stop(&mut self, endpoint: u64) {
        match self.wanted.remove(&endpoint) {
            Some(Stage::Waiting(at)) => drop(self.waiting.remove(&(at, endpoint))),
            Some(Stage::Running(probe)) => probe.abort(),
            None => {}
        }
    }

    /// Waits until probes have ended, and returns their outcomes. May be dropped while it waits without
    /// losing one.
    pub async fn outcomes(&mut self) -> Vec<Outcome> {
        loop {
            let next = self.run_due(Instant::now());
            let mut ended = tokio::select! {
                Some(ended) = self.running.join_next_with_id() => Some(ended),
                () = sleep_until(next.map(Instant::into_std)) => None,
            };
            let mut outcomes = Vec::new();
            while let Some(probe) = ended {
                outcomes.extend(self.end(probe));
                ended = self.running.try_join_next_with_id();
            }
            if !outcomes.is_empty() {
                return outcomes;
            }
        }
    }

    /// Begins the probes that are due, as many as may run. Returns when the next one is due; none if none
    /// waits, or if one has to end first.
    fn run_due(&mut self, now: Instant) -> Option<Instant> {
        while self.running.len() < MAX_RUNNING {
            let (at, _) = *self.waiting.first_key_value()?.0;
            if at > now {
                return Some(at);
            }
            let (_, endpoint) = self.waiting.pop_first()?;
            let id = endpoint.id;
            let probe = self.running.spawn(probe(endpoint, self.timeout, now));
            self.wanted.insert(id, Stage::Running(probe));
        }
        None
    }

    /// Takes a probe's end and schedules the next. None: nobody wants to know any more, or it says nothing.
    fn end(&mut self, ended: Result<(Id, Ended), JoinError>) -> Option<Outcome> {
        let (task, Ended { endpoint, begun, probe }) = joined(ended)?;
        // An endpoint may have been given up and taken up again while its former probe was ending.
        match self.wanted.get(&endpoint.id) {
            Some(Stage::Running(probe)) if probe.id() == task => {}
            _ => return None,
        }
        self.schedule(endpoint.clone(), begun + INTERVAL);
        probe.map(|probe| Outcome { endpoint, probe })
    }

    fn schedule(&mut self, endpoint: Arc<Endpoint>, at: Instant) {
        self.wanted.insert(endpoint.id, Stage::Waiting(at));
        self.waiting.insert((at, endpoint.id), endpoint);
    }
}

async fn probe(endpoint: Arc<Endpoint>, limit: Duration, begun: Instant) -> Ended {
    let connected = timeout(limit, TcpStream::connect(endpoint.address)).await;
    let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    // A connection that was opened is closed at once.
    Ended { probe: judge(connected.map(drop)), endpoint, begun }
}

/// What a connect says about the endpoint. That we ourselves lack files, memory or ports says nothing.
fn judge(connected: io::Result<()>) -> Option<Probe> {
    let Err(error) = connected else { return Some(Probe::Passed) };
    let errno = error.raw_os_error().map(Errno::from_raw);
    match errno {
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS | Errno::EADDRNOTAVAIL) => None,
        _ => Some(Probe::Failed),
    }
}

#[cfg(test)]
mod tests;
