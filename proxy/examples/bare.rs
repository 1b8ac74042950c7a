//! The smallest Pingora proxy with static upstreams, as it comes: the control that the gateway's own cost
//! is measured against. `bare LISTEN UPSTREAM...`

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::modules::http::HttpModules;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;

struct Bare {
    upstreams: Vec<SocketAddr>,
    next: AtomicUsize,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> pingora::Result<Box<HttpPeer>> {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.upstreams.len();
        let mut peer = HttpPeer::new(self.upstreams[next], false, String::new());
        peer.options.idle_timeout = Some(Duration::from_secs(30));
        Ok(Box::new(peer))
    }
}

/// Serves until it is killed.
pub fn main() -> anyhow::Result<()> {
    let mut addresses = std::env::args().skip(1);
    let listen = addresses.next().unwrap_or_default();
    let upstreams = addresses.map(|a| a.parse()).collect::<Result<Vec<_>, _>>()?;
    anyhow::ensure!(!upstreams.is_empty(), "usage: bare LISTEN UPSTREAM...");
    let threads = std::thread::available_parallelism()?.get();
    let conf = ServerConf { threads, upstream_keepalive_pool_size: 1024, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let next = AtomicUsize::new(0);
    let mut service = http_proxy_service(&server.configuration, Bare { upstreams, next });
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever()
}
