//! How services are added to Pingora's server.

use std::net::SocketAddr;
use std::sync::Arc;

use pingora::apps::HttpServerApp;
use pingora::server::Server;
use pingora::services::background::{BackgroundService, background_service};
use pingora::services::listening::Service;
use pingora::services::{ServiceHandle, ServiceReadyNotifier};

use super::door::DoorService;
use super::sockets::Sockets;
use super::vital::Vital;
use crate::gateway::Door;
use crate::logging::Output;

/// The server, to which services are added.
pub(super) struct Services {
    pub(super) server: Server,
    output: Arc<Output>,
    /// Pingora's own start. Under `daemon_wait_for_ready`, it is what tells the parent to send SIGQUIT to the old
    /// process.
    pub(super) bootstrap: ServiceHandle,
    /// What all listeners wait for.
    pub(super) sockets: ServiceHandle,
}

impl Services {
    pub(super) fn new(mut server: Server, sockets: Sockets, output: Arc<Output>) -> Self {
        let bootstrap = server.bootstrap_as_a_service();
        let sockets = server.add_service(sockets);
        sockets.add_dependency(&bootstrap);
        Self { server, output, bootstrap, sockets }
    }

    /// A task that ends by itself, or whose end is no harm.
    pub(super) fn background<T: BackgroundService + Send + Sync + 'static>(
        &mut self,
        name: &str,
        task: T,
    ) -> ServiceHandle {
        self.server.add_service(background_service(name, task))
    }

    /// A task without which the process must not live.
    pub(super) fn vital(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.vital_once_ready(name, |ready| {
            ready.notify_ready();
            task
        });
    }

    /// One that says itself when it is ready.
    pub(super) fn vital_once_ready<T: Future<Output = ()> + Send + 'static>(
        &mut self,
        name: &'static str,
        start: impl FnOnce(ServiceReadyNotifier) -> T + Send + 'static,
    ) -> ServiceHandle {
        let vital = Vital::new(name, start, self.output.clone());
        self.background(name, vital)
    }

    /// What takes clients' connections, once there are sockets.
    pub(super) fn door(&mut self, door: Arc<Door>, addresses: Vec<SocketAddr>) -> ServiceHandle {
        let output = self.output.clone();
        let threads = self.server.configuration.threads;
        let service = self.server.add_service(DoorService { door, addresses, threads, output });
        service.add_dependency(&self.sockets);
        service
    }

    /// What listens, once there are sockets.
    pub(super) fn listening<A: HttpServerApp + Send + Sync + 'static>(
        &mut self,
        mut service: Service<A>,
        addresses: &[SocketAddr],
    ) -> ServiceHandle {
        for address in addresses {
            service.add_tcp(&address.to_string());
        }
        let service = self.server.add_service(service);
        service.add_dependency(&self.sockets);
        service
    }
}
