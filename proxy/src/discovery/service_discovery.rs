//! Pingora's `ServiceDiscovery` over the directory, for its load balancer and its health checks.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use pingora::protocols::l4::socket::SocketAddr;
use pingora_load_balancing::{Backend, discovery::ServiceDiscovery};

use crate::directory::Directory;

/// The endpoints of one service as Pingora's backends. All are there; those of the best rank are enabled.
#[derive(Debug, Clone)]
pub struct ServiceEndpoints {
    directory: Arc<Directory>,
    service: String,
}

impl ServiceEndpoints {
    /// Follows a service of the directory, whether or not it is there yet.
    pub fn new(directory: Arc<Directory>, service: impl Into<String>) -> Self {
        Self { directory, service: service.into() }
    }
}

#[async_trait]
impl ServiceDiscovery for ServiceEndpoints {
    /// Never fails: the directory is always there, and losing the registry does not empty it.
    async fn discover(&self) -> pingora::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let mut backends = BTreeSet::new();
        let mut readiness = HashMap::new();
        // By name each time: a service that went and came back is another object.
        let Some(service) = self.directory.service(&self.service) else {
            return Ok((backends, readiness));
        };
        let endpoints = service.endpoints();
        // Pingora divides by the sum of the weights; what is draining is disabled below.
        let least = u16::from(endpoints.entries().iter().all(|entry| entry.weight == 0));
        for entry in endpoints.entries() {
            let mut backend = Backend {
                addr: SocketAddr::Inet(entry.endpoint.address),
                weight: usize::from(entry.weight.max(least)),
                ext: Default::default(),
            };
            backend.ext.insert(entry.endpoint.clone());
            // Two instances at one address are one backend to Pingora.
            *readiness.entry(key_of(&backend)).or_default() |= endpoints.is_best(entry);
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
