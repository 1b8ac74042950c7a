//! The embedded registry as a service of Pingora's server.
//!
//! It is served from before the gateway reads it until the process ends, after the last request: backends
//! that stop meanwhile withdraw their registrations as ever. Only a process that hands its sockets to a new one
//! stops serving it at that moment. The socket stays open in both, so that nobody is refused: who connects
//! waits until the new process accepts, and who was connected connects anew.

use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use embedded_registry::{ServeError, Server, Visitors, first_revision};
use pingora::server::{ExecutionPhase, ListenFds, ShutdownWatch};
use pingora::services::{ServiceReadyNotifier, ServiceWithDependents};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::sleep;

use super::sockets;
use crate::config::Embedded;
use crate::logging::Output;
use crate::metrics::Metrics;

/// How often an address is tried that somebody else has.
const RETRY: Duration = Duration::from_secs(1);
/// Of how many tries one is logged: one a minute.
const COMPLAINT: u32 = 60;

/// Whose socket the registry is served on.
#[derive(Debug)]
pub(crate) enum Socket {
    /// Our own, which was bound before anything else happened.
    Bound(TcpListener),
    /// That of the process which this one replaces. It comes with the others.
    Inherited,
}

/// What it takes to serve.
#[derive(Debug)]
struct Start {
    socket: Socket,
    /// Through this the gateway itself connects, so that the number of other connections cannot keep it out.
    gateway: Visitors,
    phases: broadcast::Receiver<ExecutionPhase>,
}

/// The embedded registry as a service of Pingora's server.
#[derive(Debug)]
pub(crate) struct EmbeddedRegistry {
    config: Embedded,
    start: Option<Start>,
    metrics: Arc<Metrics>,
    output: Arc<Output>,
}

impl EmbeddedRegistry {
    /// `gateway`: the gateway itself, as it comes in. `phases`: those of the server, which tell when its sockets are
    /// handed over.
    pub(crate) fn new(
        config: Embedded,
        socket: Socket,
        gateway: Visitors,
        phases: broadcast::Receiver<ExecutionPhase>,
        metrics: Arc<Metrics>,
        output: Arc<Output>,
    ) -> Self {
        if let Socket::Bound(_) = socket {
            // The gateway reads this registry from the start. Under -u it reads the former process's until that hands
            // over.
            gateway.welcome();
        }
        Self { config, start: Some(Start { socket, gateway, phases }), metrics, output }
    }
}

#[async_trait]
impl ServiceWithDependents for EmbeddedRegistry {
    async fn start_service(
        &mut self,
        table: Option<ListenFds>,
        _: ShutdownWatch,
        _: usize,
        ready: ServiceReadyNotifier,
    ) {
        ready.notify_ready();
        let Some(start) = self.start.take() else { return };
        // A task of its own: Pingora would go on after a panic, and a gateway whose registry is gone must not.
        match tokio::spawn(serve(self.config.clone(), start, table, self.metrics.clone())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.output.end_with(&error),
            Err(panic) => self.output.end_with(&panic),
        }
    }

    fn name(&self) -> &str {
        "registry"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }

    /// Sockets that no service names are closed when they are handed over.
    fn listen_addresses(&self) -> Option<Vec<String>> {
        Some(vec![self.config.listen.to_string()])
    }
}

async fn serve(
    config: Embedded,
    start: Start,
    table: Option<ListenFds>,
    metrics: Arc<Metrics>,
) -> Result<(), ServeError> {
    let Start { socket, gateway, phases } = start;
    let address = config.listen;
    let listener = match socket {
        Socket::Bound(listener) => listener,
        Socket::Inherited => inherit(address, table.as_ref()).await?,
    };
    let revision = first_revision(SystemTime::now());
    tracing::info!(%address, revision, "the embedded registry serves");
    let server = Server::new(config.settings, revision).admit(gateway);
    metrics.embedded_registry(server.observer());
    server.serve(listener, handed_over(phases)).await
}

/// The socket that the former process has handed over. If it had none with this address, the address is tried until it
/// is free: somebody has it, perhaps the former process as a part of a wider address. Meanwhile the gateway serves what
/// it knows.
async fn inherit(address: SocketAddr, table: Option<&ListenFds>) -> Result<TcpListener, ServeError> {
    let failed = |source| ServeError::Bind { address, source };
    let inherited = table.map(|table| sockets::listener(table, address)).transpose().map_err(failed)?;
    if let Some(listener) = inherited.flatten() {
        return Ok(listener);
    }
    let listener = bind_when_free(address).await;
    if let Some(table) = table {
        sockets::add(table, address, listener.try_clone().map_err(failed)?);
    }
    Ok(listener)
}

async fn bind_when_free(address: SocketAddr) -> TcpListener {
    let mut tries = 0;
    loop {
        let bound = sockets::bind(address).map_err(|source| ServeError::Bind { address, source });
        match bound {
            Ok(listener) => return listener,
            Err(error) if tries == 0 => tracing::error!(
                error = &error as &dyn Error,
                "nobody can register: the process that handed over had no such socket. Trying again"
            ),
            Err(_) => {}
        }
        tries = (tries + 1) % COMPLAINT;
        sleep(RETRY).await;
    }
}

/// Ends when the server has sent its sockets to a new process.
async fn handed_over(mut phases: broadcast::Receiver<ExecutionPhase>) {
    loop {
        match phases.recv().await {
            Ok(ExecutionPhase::GracefulUpgradeCloseTimeout) => break,
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            // The server itself is gone, and the process about to be.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
    tracing::info!("the embedded registry stops serving: its socket is the new process's");
}
