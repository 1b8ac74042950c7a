//! The first stage: what this process listens on is its own before anything else happens, or is about to come from
//! the process that it replaces.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use embedded_registry::ServeError;

use super::embedded::Socket;
use super::error::StartError;
use super::sockets::{self, Handover, ListenError, Sockets};
use crate::cli::Arguments;
use crate::config::{Config, Registry};
use crate::logging::Output;

/// What this process listens on.
pub(super) struct Bound {
    pub(super) sockets: Sockets,
    /// None: the registry is elsewhere.
    pub(super) registry: Option<Socket>,
}

impl Bound {
    /// Binds all addresses that are free. Under -u, those of the running gateway come later.
    pub(super) fn new(
        config: &Config,
        arguments: &Arguments,
        output: &Arc<Output>,
    ) -> Result<Self, StartError> {
        let mut sockets = sockets(config, arguments, output)?;
        let registry = bind_registry(&config.gateway.registry, arguments, &mut sockets)?;
        Ok(Self { sockets, registry })
    }
}

/// Those of the gateway and its admin port.
fn sockets(config: &Config, arguments: &Arguments, output: &Arc<Output>) -> Result<Sockets, StartError> {
    let listen = config.gateway.addresses().map(|address| ("gateway.listen", address));
    let admin = config.gateway.admin.iter().map(|address| ("gateway.admin", *address));
    let addresses = listen.chain(admin);
    if !arguments.upgrade {
        return Sockets::bind(addresses, output.clone()).map_err(StartError::Listen);
    }
    let embedded = config.gateway.registry.embedded.iter().map(|embedded| embedded.listen);
    let path = config.server.upgrade_sock.clone();
    let addresses = addresses.map(|(_, address)| address).chain(embedded).collect();
    let handover = Handover { path, addresses };
    Ok(Sockets::of_a_running_gateway(handover, output.clone()))
}

/// None: the registry is elsewhere.
fn bind_registry(
    registry: &Registry,
    arguments: &Arguments,
    sockets: &mut Sockets,
) -> Result<Option<Socket>, StartError> {
    let Some(address) = registry.embedded.as_ref().map(|embedded| embedded.listen) else { return Ok(None) };
    let listener = match sockets::bind(address) {
        Ok(_) if arguments.upgrade && !registry.snapshot.as_deref().is_some_and(Path::exists) => {
            return Err(StartError::EmptyRegistry { address });
        }
        Ok(listener) => listener,
        Err(why) if arguments.upgrade && why.kind() == ErrorKind::AddrInUse => {
            return Ok(Some(Socket::Inherited));
        }
        Err(why) => {
            return Err(StartError::Listen(ListenError { key: sockets::REGISTRY, address, why }));
        }
    };
    sockets.add(address, listener.try_clone().map_err(|source| ServeError::Bind { address, source })?);
    Ok(Some(Socket::Bound(listener)))
}
