//! The watch: looks ten times a second at the endpoints where requests wait, and at nothing else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::sleep;

use super::service::Service;
use crate::directory::Endpoint;

/// From one look to the next: so late a stall or a timeout may be seen.
const INTERVAL: Duration = Duration::from_millis(100);

/// An endpoint where requests wait, and the rules that it is under.
type Watched = (Arc<Service>, Arc<Endpoint>);

/// The endpoints that the watch has yet to hear of.
#[derive(Debug, Default)]
pub struct Watch {
    new: Mutex<Vec<Watched>>,
    came: Notify,
}

impl Watch {
    /// Looks at this endpoint from now on, for as long as requests wait there.
    pub fn add(&self, service: Arc<Service>, endpoint: Arc<Endpoint>) {
        self.new.lock().unwrap_or_else(PoisonError::into_inner).push((service, endpoint));
        self.came.notify_one();
    }

    /// Looks until the process ends.
    pub async fn run(&self) {
        let mut watched: Vec<Watched> = Vec::new();
        loop {
            if watched.is_empty() {
                self.came.notified().await;
            }
            sleep(INTERVAL).await;
            watched.append(&mut self.new.lock().unwrap_or_else(PoisonError::into_inner));
            let now = Instant::now();
            watched.retain(|(service, endpoint)| service.look(endpoint, now));
        }
    }
}
