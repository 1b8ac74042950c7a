//! What stands on the port.
//!
//! ```text
//! accept       takes connections
//! entrance     who comes in: by whom it is sent, whether it may, TLS
//!   crowd        how many connections there may be        handshakes   how many that are not in yet
//!   networks     from where: pure                         handshake    TLS
//!   proxy_protocol  whom a proxy names                    not_in       why somebody does not come in
//!   told         what was told of that: pure              answers      what somebody is told who does not
//! closing      closes a socket without anybody being reset who has connected
//! connection   one client's: head after head, each to its carrier
//! http2        one who speaks HTTP/2                      meter        what such a one floods it with
//! bells        how connections learn that the process stops
//! ```

mod accept;
mod answers;
mod bells;
#[cfg(test)]
pub(super) mod bench;
mod closing;
mod connection;
mod crowd;
mod entrance;
mod handshake;
mod handshakes;
mod http2;
mod meter;
#[cfg(test)]
mod model;
mod networks;
mod not_in;
mod proxy_protocol;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_to_instances;
mod told;
mod turns;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::Gateway;
use super::answer::Answer;
use super::carry::http1::{After, Carrier, Desk, Desks};
use super::carry::http2 as http2_carrier;
use super::carry::pingora::Detour;
use super::carry::{Client, Dialer};
use super::grammar::Refusal;
use crate::config::Http1Carrier;
use crate::tasks::now;
use crate::traffic::kept::Sweeper;
use bells::Bells;
use crowd::Crowd;
use handshakes::Handshakes;
use meter::Floods;
use told::Told;
use turns::Turns;

/// What stands on the port: takes connections, reads heads, and gives each request to its carrier.
pub(crate) struct Door {
    gateway: Arc<Gateway>,
    carrier: Carrier,
    http2: Arc<http2_carrier::Carrier>,
    detour: Detour,
    bells: Bells,
    crowd: Arc<Crowd>,
    handshakes: Arc<Handshakes>,
    turns: Turns,
    floods: Arc<Floods>,
    told: Told,
    is_stopping: AtomicBool,
}

impl Door {
    pub(crate) fn new(gateway: Gateway, server: &Arc<ServerConf>) -> Self {
        let gateway = Arc::new(gateway);
        // Pingora keeps so many for each thread.
        let kept = server.upstream_keepalive_pool_size * server.threads;
        let sweeper = Sweeper::new(kept);
        gateway.metrics.kept_by(sweeper.clone());
        let dialer = Arc::new(Dialer::Tcp);
        Self {
            http2: Arc::new(http2_carrier::Carrier {
                gateway: gateway.clone(),
                sweeper: sweeper.clone(),
                dialer: dialer.clone(),
            }),
            carrier: Carrier { desks: Desks::default(), sweeper, dialer },
            detour: Detour::new(gateway.clone(), server),
            bells: Bells::new(gateway.metrics.clone()),
            crowd: Crowd::new(),
            handshakes: Arc::default(),
            turns: Turns::new(server.threads),
            floods: Floods::new(gateway.metrics.clone()),
            told: Told::default(),
            gateway,
            is_stopping: AtomicBool::new(false),
        }
    }

    /// Takes connections from these sockets, each with the address that the configuration gives it, until the process stops, and returns when no more are taken. Those that are open go on by
    /// themselves. `close` closes whatever else keeps the sockets open: between the last one who is taken and that, nobody
    /// must have time to come.
    pub(crate) async fn run(
        self: Arc<Self>,
        listeners: Vec<(SocketAddr, TcpListener)>,
        shutdown: ShutdownWatch,
        close: impl FnOnce(),
    ) {
        tokio::spawn(self.carrier.sweeper.clone().run());
        let is_open = self.gateway.lifecycle.opens();
        let accepting = |(address, listener)| {
            let (door, shutdown) = (self.clone(), shutdown.clone());
            async move { (address, accept::accept(door, listener, address, shutdown).await) }
        };
        let listeners = listeners.into_iter().map(accepting).collect::<JoinSet<_>>().join_all().await;
        for (address, listener) in listeners {
            if let Err(error) = closing::take_rest(&self, listener, address) {
                tracing::warn!(%error, "cannot take the last connections that wait: they are reset");
            }
        }
        close();
        self.is_stopping.store(true, Ordering::Release);
        self.bells.ring();
        drop(is_open);
        self.detour.stop().await;
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// Whether requests are carried by Pingora.
    fn goes_through_pingora(&self) -> bool {
        self.gateway.http1() == Http1Carrier::Pingora
    }

    /// Whether a connection's request of this number is its last.
    fn is_last(&self, number: u32) -> bool {
        let most = self.gateway.site.look(|site| site.common().connections.requests);
        most.is_some_and(|most| number >= most.get())
    }

    /// When a connection that begins now is too old; none: never.
    fn old_at(&self) -> Option<Instant> {
        let age = self.gateway.site.look(|site| site.common().connections.max_age)?;
        now().checked_add(http2_carrier::spread(age))
    }

    /// What is on the desk is no request.
    async fn refuse(&self, client: &mut Client, desk: &mut Desk, refusal: Refusal) -> After {
        self.gateway.metrics.head_refused(refusal.status);
        self.carrier.refuse(&self.gateway, client, desk, Answer::refused(refusal)).await
    }

    /// For how long it is read, and dropped, what a client sends that gets no further answer.
    fn linger(&self) -> Duration {
        self.gateway.time(|times| times.body)
    }
}
