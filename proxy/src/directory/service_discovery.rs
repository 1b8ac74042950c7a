//! Pingora's `ServiceDiscovery` over the directory: active checks run over it, and its load balancers may.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use pingora::protocols::l4::socket::SocketAddr;
use pingora_load_balancing::{Backend, discovery::ServiceDiscovery};

use super::{Directory, Endpoints, Entry};

/// The endpoints of one service as Pingora's backends. All are there; those of the best rank are enabled.
///
/// To Pingora a backend is its address and its weight. So instances at one address are one backend, with the
/// weight of all of them; [`entries`] tells them apart.
#[derive(Debug, Clone)]
pub struct ServiceEndpoints {
    directory: Arc<Directory>,
    service: String,
}

/// What a backend stands for, among its extensions.
#[derive(Debug, Clone)]
struct At {
    endpoints: Arc<Endpoints>,
    places: Vec<usize>,
}

/// The endpoints that a backend of [`ServiceEndpoints`] stands for, each with its own identity; none, if it
/// comes from elsewhere.
pub(crate) fn entries(backend: &Backend) -> impl Iterator<Item = &Entry> {
    let at = backend.ext.get::<At>();
    at.into_iter().flat_map(|at| at.places.iter().filter_map(|place| at.endpoints.entries().get(*place)))
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
        let endpoints = Arc::clone(&service.endpoints());
        // Pingora divides by the sum of the weights; what is draining is disabled below.
        let least = usize::from(endpoints.entries().iter().all(|entry| entry.weight == 0));
        let mut addresses = BTreeMap::<_, Vec<usize>>::new();
        for (place, entry) in endpoints.entries().iter().enumerate() {
            addresses.entry(entry.endpoint.address).or_default().push(place);
        }
        for (address, places) in addresses {
            let mut backend = Backend { addr: SocketAddr::Inet(address), weight: 0, ext: Default::default() };
            backend.ext.insert(At { endpoints: endpoints.clone(), places });
            let weight = entries(&backend).map(|entry| usize::from(entry.weight)).sum::<usize>();
            backend.weight = weight.max(least);
            let is_enabled = entries(&backend).any(|entry| endpoints.is_best(entry));
            readiness.insert(key_of(&backend), is_enabled);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory;
    use registry::contract::{Instance, Record};
    use registry::watch::Update;
    use std::time::Instant;

    #[tokio::test]
    async fn instances_at_one_address_are_one_backend_that_tells_them_apart() -> pingora::Result<()> {
        let (directory, mut writer) = directory::new([]);
        let instance = |id: &str, port: u16, weight: u16| {
            let record = Record { weight, ..Record::new(([10, 0, 0, 1], port).into()) };
            Instance { service: "goods".into(), id: id.into(), record, lease: 7, revision: 3 }
        };
        let instances = vec![instance("a", 80, 1), instance("b", 80, 2), instance("c", 81, 0)];
        writer.hear(Update::Reset { instances, refused: Vec::new(), revision: 3 });
        writer.publish(Instant::now);
        let (backends, readiness) = ServiceEndpoints::new(directory, "goods").discover().await?;
        let shown = backends.iter().map(|backend| {
            let instances: Vec<_> = entries(backend).map(|entry| &*entry.endpoint.instance).collect();
            (instances.join(" "), backend.weight, readiness[&key_of(backend)])
        });
        assert_eq!(shown.collect::<Vec<_>>(), [("a b".to_owned(), 3, true), ("c".to_owned(), 0, false)]);
        Ok(())
    }
}
