//! The gateway's door, as a service of Pingora's server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::{ServiceReadyNotifier, ServiceWithDependents};
use tokio::net::TcpListener;

use super::sockets::{self, ListenError};
use super::workers;
use crate::gateway::Door;
use crate::logging::Output;

/// Has the door take connections from the sockets that there are for it.
pub(super) struct DoorService {
    pub(super) door: Arc<Door>,
    pub(super) addresses: Vec<SocketAddr>,
    /// How many carry requests.
    pub(super) threads: usize,
    pub(super) output: Arc<Output>,
}

/// Runs the door, on its own threads.
async fn open(
    door: Arc<Door>,
    addresses: Vec<SocketAddr>,
    table: ListenFds,
    shutdown: ShutdownWatch,
    ready: ServiceReadyNotifier,
) -> Result<(), ListenError> {
    let key = "gateway.listen";
    let listener = |&address| match listener(&table, address) {
        Ok(listener) => Ok((address, listener)),
        Err(why) => Err(ListenError { key, address, why }),
    };
    let listeners = addresses.iter().map(listener).collect::<Result<_, _>>()?;
    ready.notify_ready();
    door.run(listeners, shutdown, || sockets::close(&table, &addresses)).await;
    Ok(())
}

/// The socket of an address: that of the table, or, where a new process listens on what the former one did not, one
/// that is bound now.
fn listener(table: &ListenFds, address: SocketAddr) -> io::Result<TcpListener> {
    let listener = match sockets::listener(table, address)? {
        Some(listener) => listener,
        None => {
            let listener = sockets::bind(address)?;
            sockets::add(table, address, listener.try_clone()?);
            listener
        }
    };
    TcpListener::from_std(listener)
}

#[async_trait]
impl ServiceWithDependents for DoorService {
    async fn start_service(
        &mut self,
        table: Option<ListenFds>,
        shutdown: ShutdownWatch,
        _: usize,
        ready: ServiceReadyNotifier,
    ) {
        let Some(table) = table else { return };
        let workers = match workers::start(self.threads) {
            Ok(workers) => workers,
            Err(error) => self.output.end_with(&error),
        };
        let door = open(self.door.clone(), self.addresses.clone(), table, shutdown, ready);
        // A task of its own: Pingora would go on after a panic, and a gateway that takes no connections must not.
        match workers.spawn(door).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.output.end_with(&error),
            Err(panic) => self.output.end_with(&panic),
        }
    }

    fn name(&self) -> &str {
        "gateway"
    }

    /// What runs the door is not what carries requests.
    fn threads(&self) -> Option<usize> {
        Some(1)
    }

    /// Sockets that no service names are closed when they are handed over.
    fn listen_addresses(&self) -> Option<Vec<String>> {
        Some(self.addresses.iter().map(ToString::to_string).collect())
    }
}
