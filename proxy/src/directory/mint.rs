//! New endpoints.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Endpoint;
use crate::traffic::Traffic;

/// Makes endpoints, no two with the same id.
#[derive(Debug, Default)]
pub(super) struct Mint {
    last_id: u64,
    /// Shared by all endpoints to which nothing is sent: there may be very many.
    unrouted: Arc<Traffic>,
}

impl Mint {
    /// An endpoint that nothing was sent to yet. `host`: the name that the configuration gives for its address. `is_routed`: whether anything ever will be.
    pub(super) fn endpoint(
        &mut self,
        service: Arc<str>,
        instance: Arc<str>,
        (address, host): (SocketAddr, Option<Arc<str>>),
        is_routed: bool,
    ) -> Arc<Endpoint> {
        self.last_id += 1;
        let traffic = if is_routed { Arc::default() } else { self.unrouted.clone() };
        Arc::new(Endpoint { id: self.last_id, service, instance, address, host, traffic })
    }
}
