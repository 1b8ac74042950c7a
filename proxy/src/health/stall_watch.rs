//! The stall watch: looks ten times a second at the endpoints where requests wait, and at nothing else. What has
//! waited too long it breaks off.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::ServiceHealth;
use crate::directory::Endpoint;
use crate::tasks;
use crate::traffic::waiting::Interrupt;

/// From one look to the next: so late a stall or a timeout may be seen.
const INTERVAL: Duration = Duration::from_millis(100);

type Watched = (Arc<ServiceHealth>, Arc<Endpoint>);

/// The endpoints that the watch has yet to hear of.
#[derive(Debug, Default)]
pub(crate) struct StallWatch {
    new: Mutex<Vec<Watched>>,
    came: Notify,
}

impl StallWatch {
    /// Looks at this endpoint from now on, for as long as requests wait there.
    pub(super) fn add(&self, service: Arc<ServiceHealth>, endpoint: Arc<Endpoint>) {
        self.new.lock().unwrap_or_else(PoisonError::into_inner).push((service, endpoint));
        self.came.notify_one();
    }

    pub(crate) async fn run(&self) {
        let mut watched: Vec<Watched> = Vec::new();
        loop {
            if watched.is_empty() {
                self.came.notified().await;
            }
            sleep(INTERVAL).await;
            watched.append(&mut self.new.lock().unwrap_or_else(PoisonError::into_inner));
            let now = tasks::now();
            watched.retain(|(service, endpoint)| service.look(endpoint, now, break_off));
        }
    }
}

fn break_off(interrupt: &Interrupt) {
    match interrupt {
        // It fails only where the other side was first.
        Interrupt::Descriptor(connection) => _ = shutdown(*connection, Shutdown::Both),
        Interrupt::Bell(bell) => bell.ring(),
    }
}
