//! etcd's gRPC services, as thin as can be: each call is one call of the [`Registry`] under its lock, and what
//! is costly (copies, encoding, sending) happens outside of it.

mod api;
mod auth;
mod cluster;
mod kv;
mod lease;
mod maintenance;
mod news;
mod session;
mod watch;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use etcd_client::proto::PbResponseHeader;
use tokio::sync::watch as signal;
use tonic::Status;

pub(crate) use api::Api;

use crate::registry::Registry;

/// The same for every embedded registry and start, as those of an etcd that starts again: `leaseway` and
/// `embedded`, as bytes.
const CLUSTER_ID: u64 = u64::from_be_bytes(*b"leaseway");
const MEMBER_ID: u64 = u64::from_be_bytes(*b"embedded");
/// There never is an election.
const TERM: u64 = 1;

/// What all services share.
#[derive(Debug)]
pub(crate) struct Shared {
    registry: Mutex<Registry>,
    /// True once the server stops.
    stopping: signal::Receiver<bool>,
    progress_interval: Duration,
    /// Where clients are told to reach this registry.
    advertised: String,
    /// The bound on what is stored, in bytes.
    quota: usize,
}

impl Shared {
    pub fn new(
        registry: Registry,
        stopping: signal::Receiver<bool>,
        progress_interval: Duration,
        advertised: String,
        quota: usize,
    ) -> Arc<Self> {
        Arc::new(Self { registry: Mutex::new(registry), stopping, progress_interval, advertised, quota })
    }

    /// The registry. Never to be held across an await.
    pub fn locked(&self) -> MutexGuard<'_, Registry> {
        // A panic while it was held has failed one request: the others go on with what there is.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn header(revision: i64) -> PbResponseHeader {
    PbResponseHeader { cluster_id: CLUSTER_ID, member_id: MEMBER_ID, revision, raft_term: TERM }
}

/// Of a method, or of its path.
fn unimplemented(method: &str) -> Status {
    let method = method.rsplit('/').next().unwrap_or(method);
    Status::unimplemented(format!(
        "{method} is not implemented by Leaseway's embedded registry; an etcd cluster has it"
    ))
}

/// Ends when the server stops.
async fn stopped(stopping: &mut signal::Receiver<bool>) {
    // A sender that is gone has stopped too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
