//! The embedded registry as a server.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    select,
    sync::watch as signal,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    client::{Calls, Client},
    connections::Places,
    door::{Visitors, door},
    front::{Front, Served},
    json::JsonGateway,
    observer::{Memory, Observer},
    registry::Registry,
    room::Room,
    service::{Api, Shared},
    serving::{builder, serve},
    settings::Settings,
};

/// How long answers that are under way may still take once the server stops.
const DRAIN: Duration = Duration::from_secs(5);
/// How often leases are looked at when none is about to expire. No TTL is shorter than twice this, so that a lease that
/// is granted meanwhile does not end late.
const LOOK: Duration = Duration::from_secs(1);

/// Why a registry could not be served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be listened on: another program does, it is not this machine's, or the user may not.
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
}

/// An etcd of one member, in memory.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    memory: Arc<Memory>,
    visitors: Visitors,
}

impl Server {
    /// An empty registry that begins at this revision. It should be that of the current time ([`first_revision()`]):
    /// then revisions never fall back from one start to the next, and those of the start before are answered as
    /// compacted.
    pub fn new(settings: Settings, first_revision: i64) -> Self {
        // Half of all numbers are left to count on.
        let registry = Registry::new(first_revision.clamp(1, i64::MAX / 2), &settings);
        let (_, visitors) = door();
        Self { settings, memory: Arc::new(Memory::new(registry)), visitors }
    }

    /// Lets the gateway in by a [`Door`](crate::Door) of its own, beside the listener, and opens this door. The
    /// [settings](Settings) bound other clients, but not the gateway.
    #[must_use]
    pub fn admit(self, visitors: Visitors) -> Self {
        visitors.welcome();
        Self { visitors, ..self }
    }

    /// What tells how much the registry holds; to be taken before it is [served](Self::serve).
    pub fn observer(&self) -> Observer {
        Observer(Arc::clone(&self.memory))
    }

    /// Binds the socket to serve on. The caller has it, to hand a copy of it on to the next process.
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
    /// [`ServeError::Listener`] when the listener cannot be used.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        listener.set_nonblocking(true).map_err(ServeError::Listener)?;
        let address = listener.local_addr().map_err(ServeError::Listener)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(ServeError::Listener)?;

        let (stop, stopping) = signal::channel(false);
        let room = Arc::new(Room::default());
        let shared = self.shared(address, Arc::clone(&room), stopping.clone());
        let api = Api::new(&shared);
        let json =
            JsonGateway::new(api.clone(), Arc::clone(&self.memory), Arc::clone(&room), &self.settings.hosts);
        let calls = Calls::new(self.settings.max_watch_streams);
        let front = Front { api, json, memory: self.memory, room, calls };
        let places = Places::new(self.settings.max_connections);
        let mut connections = Connections { all: JoinSet::new(), front, stopping };
        let accepting = accept(&mut connections, listener, places, self.visitors);
        select! {
            () = accepting => {}
            () = expire_leases(&shared) => {}
            () = shutdown => {}
        }
        stop.send_replace(true);
        // Answers that take longer are cut off.
        let _ = timeout(DRAIN, async { while connections.all.join_next().await.is_some() {} }).await;
        Ok(())
    }

    fn shared(&self, address: SocketAddr, room: Arc<Room>, stopping: signal::Receiver<bool>) -> Arc<Shared> {
        let advertised = self.settings.advertise.clone().unwrap_or_else(|| url(address));
        Shared::new(Arc::clone(&self.memory), room, stopping, self.settings.progress_interval, advertised)
    }
}

/// All connections. Dropping it ends them.
struct Connections {
    all: JoinSet<()>,
    front: Front,
    stopping: signal::Receiver<bool>,
}

impl Connections {
    fn serve(&mut self, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, client: Arc<Client>) {
        let served = Served { front: self.front.clone(), client };
        self.all.spawn(serve(builder(), io, served, self.stopping.clone()));
    }
}

/// Serves whoever connects; never returns.
async fn accept(
    connections: &mut Connections,
    listener: tokio::net::TcpListener,
    places: Places,
    mut visitors: Visitors,
) {
    loop {
        select! {
            // In this order: the gateway never waits for other clients.
            biased;
            Some(visitor) = visitors.queue.recv() => connections.serve(visitor, Client::gateway()),
            // Before further ones are accepted: otherwise tasks that have ended would pile up while guests arrive
            // without a pause.
            Some(_) = connections.all.join_next(), if !connections.all.is_empty() => {}
            guest = places.next(&listener) => {
                let client = guest.client();
                connections.serve(guest, client);
            }
        }
    }
}

/// The first revision of a registry that starts at this time: microseconds since 1970. It is above every
/// revision of the one before, unless that made more than a million a second, or the clock was set back.
pub fn first_revision(now: SystemTime) -> i64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// The URL that is advertised by default. For `0.0.0.0` and `[::]` it is that of this machine's loopback, as in etcd.
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
