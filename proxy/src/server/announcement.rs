//! What a start says of itself: who it is and what it found, once it is ready; and before that, if the
//! registry keeps it waiting.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::time::sleep;

use crate::config::{self, Registry};
use crate::directory::Directory;

/// How long the registry has before the gateway says that it waits for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is known of a gateway when it starts.
#[derive(Debug)]
pub(crate) struct Facts {
    configuration: String,
    listen: String,
    admin: String,
    registry: String,
    directory: Arc<Directory>,
}

impl Facts {
    /// `file`: where the configuration was read from.
    #[must_use]
    pub(crate) fn new(config: &config::Gateway, file: &Path, directory: Arc<Directory>) -> Self {
        // A daemon has another working directory than whoever reads the path.
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        Self {
            configuration: file.display().to_string(),
            listen: list(config.addresses()),
            admin: config.admin.map_or_else(|| "off".to_owned(), |address| address.to_string()),
            registry: name(&config.registry),
            directory,
        }
    }
}

fn list(addresses: impl Iterator<Item = SocketAddr>) -> String {
    addresses.map(|address| address.to_string()).collect::<Vec<_>>().join(", ")
}

fn name(registry: &Registry) -> String {
    match &registry.embedded {
        Some(embedded) => format!("embedded, at {}", embedded.listen),
        None => registry.connection.endpoints.join(", "),
    }
}

/// Says that the gateway waits, unless there is something to serve from in time.
#[derive(Debug)]
pub(crate) struct Late(pub(crate) Arc<Facts>);

#[async_trait]
impl BackgroundService for Late {
    async fn start(&self, _: ShutdownWatch) {
        sleep(PATIENCE).await;
        let Facts { configuration, listen, admin, registry, directory } = &*self.0;
        if !directory.is_filled() {
            tracing::info!(
                version = env!("CARGO_PKG_VERSION"),
                pid = std::process::id(),
                configuration,
                listen,
                admin,
                registry,
                "not ready yet: waiting for the registry's first answer"
            );
        }
    }
}

/// Says that the gateway is ready. It is to start after all that makes it so.
#[derive(Debug)]
pub(crate) struct Ready(pub(crate) Arc<Facts>);

#[async_trait]
impl BackgroundService for Ready {
    async fn start(&self, _: ShutdownWatch) {
        let Facts { configuration, listen, admin, registry, directory } = &*self.0;
        let services = directory.services();
        // A service that only a route names has none.
        let counts = services.values().map(|service| service.endpoints().entries().len());
        let counts: Vec<_> = counts.filter(|count| *count > 0).collect();
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            pid = std::process::id(),
            configuration,
            listen,
            admin,
            registry,
            source = if directory.is_stale() { "snapshot" } else { "registry" },
            revision = directory.revision(),
            services = counts.len(),
            endpoints = counts.iter().sum::<usize>(),
            "ready"
        );
    }
}
