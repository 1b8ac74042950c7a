//! What a configuration says of a service's endpoints.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{self, Balance, GivenAddress, Initially};

/// What a configuration says of the endpoints of a service that a route names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Where they are, if the configuration gives that; none: where those are that register.
    pub addresses: Option<Arc<[GivenAddress]>>,
    /// Which of them a request goes to.
    pub balance: Balance,
    /// How long a new one's share grows to what its weight says; zero: it has it at once.
    pub slow_start: Duration,
    /// Whether a new one is used before it has passed a check.
    pub initially: Initially,
}

impl Default for Policy {
    fn default() -> Self {
        Self::from(&config::Service::default())
    }
}

impl From<&config::Service> for Policy {
    fn from(service: &config::Service) -> Self {
        let config::Service { addresses, balance, slow_start, check, .. } = service;
        // Where nothing is ever checked, nobody could pass.
        let initially = check.as_ref().map_or(Initially::Up, |check| check.initially);
        let addresses = addresses.as_deref().map(Arc::from);
        Self { addresses, balance: balance.clone(), slow_start: *slow_start, initially }
    }
}
