//! The embedded registry as a server.

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use thiserror::Error;
use tokio::{sync::watch as signal, time::sleep};
use tonic::transport;

use crate::{
    connections,
    front::Front,
    json::JsonGateway,
    observer::{Memory, Observer},
    registry::Registry,
    service::{Api, Shared},
    settings::Settings,
};

/// How long answers that are under way may still take once the server stops.
const DRAIN: Duration = Duration::from_secs(5);
/// A connection that is silent for this long is asked whether it lives, and closed if it does not answer.
const PING: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How many streams one connection may have at a time: etcd's clients put all of their watches on one.
const MAX_STREAMS: u32 = 10_000;
/// How many requests of one connection are taken in at a time: each may be 2 MiB.
const MAX_REQUESTS: usize = 100;
/// How often leases are looked at when none is about to expire. No TTL is shorter than two of these, so that
/// none which is granted meanwhile is late.
const LOOK: Duration = Duration::from_secs(1);

/// Why a registry could not be served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address is taken, not ours, or not allowed.
    #[error(
        "the embedded registry cannot listen on {address}: if an etcd does, name it in registry.endpoints in the \
         place of embedded; else set embedded.listen"
    )]
    Bind {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The listener that was handed in cannot be used.
    #[error("the embedded registry cannot use its listening socket")]
    Listener(#[source] io::Error),
    /// The transport failed.
    #[error("the embedded registry stopped serving")]
    Transport(#[source] transport::Error),
}

/// An etcd of one member, in memory.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    memory: Arc<Memory>,
}

impl Server {
    /// An empty registry whose first revision is `first_revision`: of now, as [`first_revision()`] tells it, so
    /// that revisions never fall back from one start to the next, and what was before answers as compacted.
    pub fn new(settings: Settings, first_revision: i64) -> Self {
        // Half of all numbers are left to count on.
        let registry = Registry::new(first_revision.clamp(1, i64::MAX / 2), &settings);
        Self { settings, memory: Arc::new(Memory::new(registry)) }
    }

    /// Tells what the registry holds, from now on.
    pub fn observer(&self) -> Observer {
        Observer(Arc::clone(&self.memory))
    }

    /// Binds the socket to serve on. It is the caller's, who may hand it on to the next process.
    ///
    /// # Errors
    /// [`ServeError::Bind`] when the address cannot be listened on.
    pub fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
        TcpListener::bind(address).map_err(|source| ServeError::Bind { address, source })
    }

    /// Serves until `shutdown` ends: then nothing more is accepted, streams end with etcd's "server stopped",
    /// and other answers get 5 s to be sent. To be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ServeError::Listener`] when the listener is of no use, [`ServeError::Transport`] when serving fails.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        listener.set_nonblocking(true).map_err(ServeError::Listener)?;
        let address = listener.local_addr().map_err(ServeError::Listener)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(ServeError::Listener)?;

        let (stop, stopping) = signal::channel(false);
        let shared = self.shared(address, stopping.clone());
        let incoming = connections::accept(listener, self.settings.max_connections);
        let api = Api::new(&shared);
        let json = JsonGateway::new(api.clone(), Arc::clone(&self.memory), &self.settings.hosts);
        let front = Front { api, json };
        let serving = transport::Server::builder()
            .accept_http1(true)
            .http2_keepalive_interval(Some(PING))
            .http2_keepalive_timeout(Some(PING_TIMEOUT))
            .max_concurrent_streams(MAX_STREAMS)
            .concurrency_limit_per_connection(MAX_REQUESTS)
            .serve_with_incoming_shutdown(front, incoming, async {
                shutdown.await;
                stop.send_replace(true);
            });
        tokio::select! {
            served = serving => served.map_err(ServeError::Transport),
            () = expire_leases(&shared) => Ok(()),
            () = drained(stopping) => Ok(()),
        }
    }

    fn shared(&self, address: SocketAddr, stopping: signal::Receiver<bool>) -> Arc<Shared> {
        let advertised = self.settings.advertise.clone().unwrap_or_else(|| url(address));
        Shared::new(Arc::clone(&self.memory), stopping, self.settings.progress_interval, advertised)
    }
}

/// The first revision of a registry that starts at this time: microseconds since 1970. It is above every
/// revision of the one before, unless that made more than a million a second, or the clock was set back.
pub fn first_revision(now: SystemTime) -> i64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// As etcd does by default, an address that stands for all is advertised as this machine alone.
fn url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://localhost:{}", address.port())
    } else {
        format!("http://{address}")
    }
}

/// Ends each lease at its time; never returns.
async fn expire_leases(shared: &Shared) {
    loop {
        let now = Instant::now();
        let next = shared.locked().expire(now);
        let pause = next.map_or(LOOK, |next| next.saturating_duration_since(now).min(LOOK));
        if pause.is_zero() {
            // Watches get their turn before more leases end.
            tokio::task::yield_now().await;
        } else {
            sleep(pause).await;
        }
    }
}

/// Ends when those that are still answered have had their time.
async fn drained(mut stopping: signal::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
    sleep(DRAIN).await;
}
