//! What the gateway's `/services` shows.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The gateway's picture of the registry.
#[derive(Clone, Debug, Deserialize)]
pub struct Services {
    /// The registry's revision that this picture shows.
    pub revision: i64,
    /// Whether the first list is in.
    pub synced: bool,
    /// The endpoints of each service.
    pub services: BTreeMap<String, Vec<Endpoint>>,
}

/// An endpoint in `/services`.
#[derive(Clone, Debug, Deserialize)]
pub struct Endpoint {
    /// The instance's id.
    pub instance: String,
    /// Its `ip:port`.
    pub address: String,
    /// Its weight; 0 while draining.
    pub weight: u32,
    /// Its lease, in hex.
    pub lease: String,
    /// Its state, by DESIGN.md's names.
    pub state: String,
    /// What its probe said last, if it was probed.
    #[serde(default)]
    pub probe: Option<String>,
}

impl Services {
    /// The instances of a service, sorted; none when the service is not there.
    pub fn instances(&self, service: &str) -> Vec<&str> {
        let mut names: Vec<_> =
            self.endpoints(service).iter().map(|endpoint| endpoint.instance.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// The endpoints of a service; none when the service is not there.
    pub fn endpoints(&self, service: &str) -> &[Endpoint] {
        self.services.get(service).map_or(&[], Vec::as_slice)
    }
}
