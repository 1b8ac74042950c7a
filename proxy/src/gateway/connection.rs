//! A connection to an endpoint, of which it is known when it is closed.
//!
//! A request that waits for its answer is broken off through the descriptor of the connection that it waits on. The
//! connection is Pingora's, which closes it before it tells us that the exchange is over; in between, the number may
//! be another connection's already. So each connection has a tracer, which Pingora tells before it closes: from
//! then on nobody touches that number.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use pingora::upstreams::peer::{Tracer, Tracing};

use crate::directory::Endpoint;

/// Before it is open.
const NONE: RawFd = -1;

/// A connection to an endpoint.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    endpoint: Arc<Endpoint>,
    descriptor: Arc<AtomicI32>,
}

impl Connection {
    /// One that is not open yet, and may never be: where another is free, that is used instead.
    pub fn new(endpoint: Arc<Endpoint>) -> Self {
        Self { endpoint, descriptor: Arc::new(AtomicI32::new(NONE)) }
    }

    /// It is open.
    pub fn opened(&self, descriptor: RawFd) {
        self.descriptor.store(descriptor, Ordering::Release);
    }

    /// What Pingora tells of its end.
    pub fn tracer(&self) -> Tracer {
        Tracer(self.boxed_clone())
    }
}

impl Tracing for Connection {
    fn on_connected(&self) {}

    fn on_disconnected(&self) {
        let descriptor = self.descriptor.load(Ordering::Acquire);
        if descriptor != NONE {
            self.endpoint.traffic.waiting.closing(descriptor);
        }
    }

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(self.clone())
    }
}
