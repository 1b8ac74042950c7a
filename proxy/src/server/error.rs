//! Why the gateway could not start.

use std::net::SocketAddr;

use embedded_registry::ServeError;

use super::sockets::ListenError;
use crate::config::{ConfigError, RunDirectoryError};
use crate::site::DraftError;

/// Why the gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is taken, or not ours.
    #[error("{0}")]
    Listen(ListenError),
    /// The embedded registry cannot be served.
    #[error(transparent)]
    Registry(#[from] ServeError),
    /// The process that is to be replaced serves by another registry, and this one would serve nothing.
    #[error(
        "will not take over with an empty registry: nobody listens on {address} now, and there is no snapshot. \
         Leave gateway.registry.embedded.listen as it was, or stop the other process and start without -u"
    )]
    EmptyRegistry {
        /// Where the embedded registry was to listen.
        address: SocketAddr,
    },
    /// The directory of pid file and upgrade socket cannot be used.
    #[error(transparent)]
    RunDirectory(#[from] RunDirectoryError),
    /// The configuration has changed for the worse since it was loaded.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration makes no site.
    #[error(transparent)]
    Site(#[from] DraftError),
    /// Two metrics of one name.
    #[error("cannot set up the metrics")]
    Metrics(#[from] prometheus::Error),
}
