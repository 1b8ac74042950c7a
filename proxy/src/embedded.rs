//! The embedded registry as a service of Pingora's server.
//!
//! It is served from before the gateway reads it until the process ends, after the last request: backends
//! that stop meanwhile withdraw their registrations as ever. Only a process that hands its sockets to a new one
//! stops serving it at that moment. The socket stays open in both, so that nobody is refused: who connects
//! waits until the new process accepts, and who was connected connects anew.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use embedded_registry::{ServeError, Server, first_revision};
use pingora::server::{ExecutionPhase, ListenFds, ShutdownWatch};
use pingora::services::{ServiceReadyNotifier, ServiceWithDependents};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::sleep;

use crate::config::Embedded;
use crate::logging::Output;
use crate::sockets;

/// How often an address is tried that somebody else has.
const RETRY: Duration = Duration::from_secs(1);

/// Whose socket the registry is served on.
#[derive(Debug)]
pub enum Socket {
    /// Our own, which was bound before anything else happened.
    Bound(TcpListener),
    /// That of the process which this one replaces. It comes with the others.
    Inherited,
}

/// The embedded registry as a service of Pingora's server.
#[derive(Debug)]
pub struct EmbeddedRegistry {
    config: Embedded,
    socket: Option<Socket>,
    phases: Option<broadcast::Receiver<ExecutionPhase>>,
    output: Arc<Output>,
}

impl EmbeddedRegistry {
    /// `phases`: those of the server, which tell when its sockets are handed over.
    pub fn new(
        config: Embedded,
        socket: Socket,
        phases: broadcast::Receiver<ExecutionPhase>,
        output: Arc<Output>,
    ) -> Self {
        Self { config, socket: Some(socket), phases: Some(phases), output }
    }

    /// What a start without `-u` does, or one where nobody had the address.
    ///
    /// # Errors
    /// The address is taken, or not ours.
    pub fn bind(config: &Embedded) -> Result<TcpListener, ServeError> {
        let address = config.listen;
        let listener = Server::bind(address)?;
        if !address.ip().is_loopback() {
            tracing::warn!(
                %address,
                "the embedded registry listens beyond this machine, and it has no users: whoever reaches it may \
                 register and remove instances, and so choose where the gateway sends requests"
            );
        }
        Ok(listener)
    }

    async fn serve(&mut self, table: Option<ListenFds>) -> Result<(), ServeError> {
        let (Some(socket), Some(phases)) = (self.socket.take(), self.phases.take()) else { return Ok(()) };
        let listener = match socket {
            Socket::Bound(listener) => listener,
            Socket::Inherited => inherit(self.config.listen, table.as_ref()).await,
        };
        let revision = first_revision(SystemTime::now());
        tracing::info!(address = %self.config.listen, revision, "the embedded registry serves");
        let server = Server::new(self.config.settings.clone(), revision);
        server.serve(listener, handed_over(phases)).await?;
        tracing::info!("the embedded registry was handed over to the new process");
        Ok(())
    }
}

/// The socket of the process that handed its own to this one. Where it had none of this address, somebody else
/// has it: the gateway serves what it knows, and waits for its turn.
async fn inherit(address: SocketAddr, table: Option<&ListenFds>) -> TcpListener {
    let mut has_complained = false;
    loop {
        let found = table.map(|table| sockets::listener(table, address));
        let found = match found {
            Some(Ok(Some(listener))) => Ok(listener),
            Some(Err(source)) => Err(ServeError::Bind { address, source }),
            Some(Ok(None)) | None => Server::bind(address),
        };
        match found {
            Ok(listener) => return listener,
            Err(error) if !has_complained => {
                has_complained = true;
                tracing::error!(%error, "the process that handed over had no such socket: trying again");
            }
            Err(_) => {}
        }
        sleep(RETRY).await;
    }
}

/// Ends when the server has sent its sockets to a new process.
async fn handed_over(mut phases: broadcast::Receiver<ExecutionPhase>) {
    loop {
        match phases.recv().await {
            Ok(ExecutionPhase::GracefulUpgradeCloseTimeout) => return,
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            // The server itself is gone, and the process about to be.
            Err(RecvError::Closed) => return std::future::pending().await,
        }
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
        // A gateway whose registry is gone must not live on.
        if let Err(error) = self.serve(table).await {
            tracing::error!(error = &error as &dyn std::error::Error, "ending the process");
            self.output.flush();
            std::process::exit(1);
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
