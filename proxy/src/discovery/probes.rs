//! Probes: whether endpoints that the registry does not vouch for can be connected to.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::directory::{Endpoint, ProbeResult};
use crate::health::rounds::{Question, Rounds};
use crate::tasks::now;

/// From the start of an endpoint's probe to that of its next.
const INTERVAL: Duration = Duration::from_secs(1);
/// Probes at once. The others wait for their turn, the longest waiting first.
const MAX_RUNNING: usize = 256;

/// Probes endpoints, at once and then every second, for as long as they are wanted.
#[derive(Debug)]
pub(super) struct Probes {
    timeout: Duration,
    wanted: HashMap<u64, Arc<Endpoint>>,
    rounds: Rounds<Connect>,
}

#[derive(Debug)]
pub(super) struct Probed {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) probe: ProbeResult,
}

impl Probes {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, wanted: HashMap::new(), rounds: Rounds::new(MAX_RUNNING) }
    }

    /// A connect of probes that start from now on may take so long.
    pub(super) fn within(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Probes an endpoint from now on. Nothing new if it already is.
    pub(super) fn start(&mut self, endpoint: &Arc<Endpoint>) {
        let Entry::Vacant(wanted) = self.wanted.entry(endpoint.id) else { return };
        wanted.insert(endpoint.clone());
        let connect = Connect { address: endpoint.address, limit: self.timeout };
        self.rounds.start(endpoint.id, connect, INTERVAL, now());
    }

    /// Probes an endpoint no more. The outcome of a probe that runs is not told.
    pub(super) fn stop(&mut self, endpoint: u64) {
        self.wanted.remove(&endpoint);
        self.rounds.stop(endpoint);
    }

    /// Waits until probes have ended, and returns what they found. May be dropped while it waits without losing one.
    pub(super) async fn outcomes(&mut self) -> Vec<Probed> {
        loop {
            let answers = self.rounds.answers().await;
            // Left out: probes that failed for want of files, memory or ports of our own.
            let told = answers.into_iter().filter_map(|(id, probe)| Some((self.wanted.get(&id)?, probe?)));
            let probed: Vec<_> =
                told.map(|(endpoint, probe)| Probed { endpoint: endpoint.clone(), probe }).collect();
            if !probed.is_empty() {
                return probed;
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Connect {
    address: SocketAddr,
    limit: Duration,
}

impl Question for Connect {
    /// None: it says nothing about the endpoint.
    type Answer = Option<ProbeResult>;

    async fn ask(self) -> Option<ProbeResult> {
        let connected = timeout(self.limit, TcpStream::connect(self.address)).await;
        judge(connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(drop))
    }
}

/// What a connect says about the endpoint. That we ourselves lack files, memory or ports says nothing.
fn judge(connected: io::Result<()>) -> Option<ProbeResult> {
    let Err(error) = connected else { return Some(ProbeResult::Passed) };
    let errno = error.raw_os_error().map(Errno::from_raw);
    match errno {
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS | Errno::EADDRNOTAVAIL) => None,
        _ => Some(ProbeResult::Failed),
    }
}

#[cfg(test)]
mod tests;
