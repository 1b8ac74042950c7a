//! A live target and how it stands.

use std::net::SocketAddr;
use std::sync::Arc;

/// The gateway's live target for an instance. It keeps its identity (service, instance, address) and with
/// it its connections through a new lease, another weight and a resync.
#[derive(Debug)]
pub struct Endpoint {
    /// Never used again, not even for the same instance at the same address: it keys the connection
    /// pool, so that a re-used `ip:port` never inherits another instance's connections.
    pub id: u64,
    /// The service that it belongs to.
    pub service: Arc<str>,
    /// The instance that it is.
    pub instance: Arc<str>,
    /// Where it answers.
    pub address: SocketAddr,
}

/// An endpoint and what its registration says at the moment.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Its share of requests; 0: nothing new.
    pub weight: u16,
    /// The lease that holds its registration, 0 for none.
    pub lease: i64,
    /// The revision of its registration.
    pub revision: i64,
}

impl Entry {
    /// How the endpoint stands.
    pub fn state(&self) -> State {
        if self.weight == 0 { State::Draining } else { State::Up }
    }
}

/// How an endpoint stands. The names are those of `/services`, logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Registered, nothing known against it.
    Up,
    /// Registered with weight 0: somebody takes it out. What is in flight finishes, nothing new.
    Draining,
}

impl State {
    /// Every state.
    pub const ALL: [State; 2] = [State::Up, State::Draining];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Up => "up",
            State::Draining => "draining",
        }
    }
}
