//! Pingora's `ServiceDiscovery` over the directory, for its load balancer and its health checks.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use pingora::protocols::l4::socket::SocketAddr;
use pingora_load_balancing::{Backend, discovery::ServiceDiscovery};

use crate::directory::{Service, State};

/// The endpoints of one service as Pingora's backends. A draining endpoint is there, but disabled.
#[derive(Debug, Clone)]
pub struct ServiceEndpoints(Arc<Service>);

impl ServiceEndpoints {
    /// Follows a service of the directory.
    pub fn new(service: Arc<Service>) -> Self {
        Self(service)
    }
}

#[async_trait]
impl ServiceDiscovery for ServiceEndpoints {
    /// Never fails: the directory is always there, and losing the registry does not empty it.
    async fn discover(&self) -> pingora::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let mut backends = BTreeSet::new();
        let mut readiness = HashMap::new();
        for entry in self.0.endpoints().entries() {
            let mut backend = Backend {
                addr: SocketAddr::Inet(entry.endpoint.address),
                weight: entry.weight.into(),
                ext: Default::default(),
            };
            backend.ext.insert(entry.endpoint.clone());
            readiness.insert(key_of(&backend), entry.state() == State::Up);
            backends.insert(backend);
        }
        Ok((backends, readiness))
    }
}

/// Pingora looks readiness up by the backend's default hash, through a function that it keeps private.
fn key_of(backend: &Backend) -> u64 {
    let mut hasher = DefaultHasher::new();
    backend.hash(&mut hasher);
    hasher.finish()
}
