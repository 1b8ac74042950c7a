//! A scripted etcd, for what a real one cannot be made to do: a gRPC server on loopback that says what a
//! test wants said. A puppet: it stores nothing, checks nothing, and does not mind contradicting itself.
//!
//! ```no_run
//! # async fn test() -> anyhow::Result<()> {
//! use harness::fake::{Fake, say};
//!
//! let fake = Fake::start().await?;
//! fake.ranges.next(say::listed(10, [say::kv("goods/a", "10.0.0.1:80", 9)]));
//! let watch = fake.watches.next();
//! watch.say(say::created(10));
//! // ... whatever is under test connects to fake.endpoint(), lists, and opens its watch; then:
//! watch.say(say::cancelled("etcdserver: no leader"));
//! # Ok(())
//! # }
//! ```

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use anyhow::{Context, Result};
use etcd_client::proto::{
    PbKvServer, PbLeaseGrantResponse, PbLeaseKeepAliveResponse, PbLeaseRevokeResponse, PbLeaseServer,
    PbRangeRequest, PbRangeResponse, PbTxnRequest, PbTxnResponse, PbWatchServer,
};
use tokio::task::JoinHandle;
use tonic::transport::{Server, server::TcpIncoming};

mod answers;
pub mod say;
mod services;
mod watches;

pub use answers::{Answers, Reply};
use services::Puppet;
pub use tonic::{Code, Status};
pub use watches::{Line, Script, Watches};

/// What the fake was asked, and when.
#[derive(Clone, Debug)]
pub struct Asked {
    /// When the request arrived.
    pub at: Instant,
    /// The request.
    pub request: Request,
}

/// A request, as far as tests look at it.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// A list, a page of one, or a read of a key or of the revision alone (`count_only`).
    Range(PbRangeRequest),
    /// A transaction.
    Txn(PbTxnRequest),
    /// A watch was opened.
    Watch {
        /// The first key.
        key: Vec<u8>,
        /// The revision that it starts at.
        from: i64,
        /// Whether a member without a leader must end it.
        requires_leader: bool,
    },
    /// A watch was asked for a sign of life.
    Progress,
    /// A lease.
    Grant {
        /// Seconds.
        ttl: i64,
    },
    /// A sign of life for a lease.
    KeepAlive {
        /// The lease.
        lease: i64,
    },
    /// The end of a lease.
    Revoke {
        /// The lease.
        lease: i64,
    },
}

/// A scripted etcd. What is not scripted fails as unavailable. Dropping it frees its port, and leaves the
/// connections that are open to themselves.
#[derive(Debug)]
pub struct Fake {
    /// Answers to lists and reads.
    pub ranges: Answers<PbRangeResponse>,
    /// Answers to transactions.
    pub txns: Answers<PbTxnResponse>,
    /// Answers to requests for a lease.
    pub grants: Answers<PbLeaseGrantResponse>,
    /// Answers to keepalives, one per request.
    pub keepalives: Answers<PbLeaseKeepAliveResponse>,
    /// Answers to revokes.
    pub revokes: Answers<PbLeaseRevokeResponse>,
    /// What watches say.
    pub watches: Watches,
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    server: JoinHandle<()>,
}

impl Fake {
    /// Starts one with an empty script.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub async fn start() -> Result<Self> {
        let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let incoming = incoming.context("binding a port for a scripted etcd")?.with_nodelay(Some(true));
        let address = incoming.local_addr()?;
        let puppet = Puppet::default();
        let server = Server::builder()
            .add_service(PbKvServer::new(puppet.clone()))
            .add_service(PbLeaseServer::new(puppet.clone()))
            .add_service(PbWatchServer::new(puppet.clone()))
            .serve_with_incoming(incoming);
        let server = tokio::spawn(async move {
            // An error ends the server, and so the test, which then reaches nobody.
            let _ = server.await;
        });
        let Puppet { ranges, txns, grants, keepalives, revokes, watches, asked } = puppet;
        Ok(Self { ranges, txns, grants, keepalives, revokes, watches, address, asked, server })
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that it was asked so far, in the order of arrival.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.asked).clone()
    }

    /// How many requests of a kind have arrived.
    pub fn count(&self, kind: impl Fn(&Request) -> bool) -> usize {
        lock(&self.asked).iter().filter(|asked| kind(&asked.request)).count()
    }

    /// The revisions that watches were opened from, in order.
    pub fn watched_from(&self) -> Vec<i64> {
        let from = |asked: &Asked| match asked.request {
            Request::Watch { from, .. } => Some(from),
            _ => None,
        };
        lock(&self.asked).iter().filter_map(from).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A test that panicked while it held the lock has failed already; the others may look on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
