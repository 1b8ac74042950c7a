//! Builds Pingora's server: which services run, in which order they get ready, how it stops.
//!
//! ```text
//! registry    the embedded one, if there is one
//! discovery   feeds the directory; ready with the first list, or with the snapshot
//! sockets     hands the sockets that were bound at the start to Pingora; under -u takes those of the running
//!             process, after discovery
//! gateway     listens after the sockets; under -u and with an embedded registry not before it can serve
//! admin       listens after the sockets
//! lookout     keeps up which addresses no instance may have
//! watch       breaks off requests that wait too long for their answers
//! checks      asks endpoints whether they are well, where the configuration says so
//! late        says that the registry keeps the gateway waiting
//! ready       after all of these: says that the gateway serves, and what it found
//! stop        when told to: waits until nothing is in flight and the snapshot is written, then ends the process
//! ```

mod announcement;
mod embedded;
pub mod run_files;
mod signals;
mod sockets;
pub mod unheeded;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use embedded_registry::ServeError;
use pingora::apps::HttpServerApp;
use pingora::proxy::http_proxy_service_with_name;
use pingora::server::{RunArgs, Server, ShutdownWatch};
use pingora::services::background::{BackgroundService, GenBackgroundService};
use pingora::services::listening::Service;
use pingora::services::{ServiceHandle, ServiceReadyNotifier};
use registry::connect::InProcess;
use registry::watch::{self as registrations, Reread, source::EtcdSource};
use tokio::sync::watch;

use announcement::{Facts, Late, Ready};
use embedded::{EmbeddedRegistry, Socket};
use signals::{EndSignals, Signals};
use sockets::{Handover, ListenError, Sockets};

use crate::admin::{self, Admin};
use crate::cli::Arguments;
use crate::config::{Config, Registry, RunDirectoryError};
use crate::directory;
use crate::discovery::Discovery;
use crate::gateway::Gateway;
use crate::health::checks::{CheckError, CheckedService, Checks};
use crate::health::{findings, service_health, stall_watch::StallWatch};
use crate::lifecycle::Lifecycle;
use crate::logging::Output;
use crate::lookout::{Lookout, ThisMachine};
use crate::metrics::Metrics;
use crate::site::{self, Site};
use crate::snapshot::Saver;

/// Why the gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is taken, or not ours.
    #[error("{0}")]
    Listen(ListenError),
    /// The embedded registry cannot be served.
    #[error(transparent)]
    Registry(#[from] ServeError),
    /// The process that is to be replaced serves by another registry, and this one would serve nothing.
    #[error(
        "will not take over with an empty registry: nobody listens on {address} now, and there is no snapshot. \
         Leave gateway.registry.embedded.listen as it was, or stop the other process and start without -u"
    )]
    EmptyRegistry {
        /// Where the embedded registry was to listen.
        address: SocketAddr,
    },
    /// The directory of pid file and upgrade socket cannot be used.
    #[error(transparent)]
    RunDirectory(#[from] RunDirectoryError),
    /// The check of a service cannot be made into a request.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// Two metrics of one name.
    #[error("cannot set up the metrics")]
    Metrics(#[from] prometheus::Error),
}

/// Runs the gateway until it is told to stop and has finished what is in flight. Ends the process itself
/// when the last request is done; returns only where there was nothing to wait for.
///
/// # Errors
/// The gateway could not start; nothing was served.
pub fn run(mut config: Config, arguments: &Arguments, output: Arc<Output>) -> Result<(), StartError> {
    run_files::prepare(&mut config, arguments)?;
    let mut sockets = sockets(&config, arguments, &output)?;
    let registry = bind_registry(&config.gateway.registry, arguments, &mut sockets)?;
    let lifecycle = Arc::new(Lifecycle::default());
    let lame_duck = config.gateway.timeouts.lame_duck;
    let signals = Signals::new(lifecycle.clone(), lame_duck, config.server.upgrade_sock.clone().into());
    let server = build(config, arguments, sockets, registry, lifecycle, output)?;
    server.run(RunArgs { shutdown_signal: Box::new(signals) });
    Ok(())
}

/// None: the registry is elsewhere.
fn bind_registry(
    registry: &Registry,
    arguments: &Arguments,
    sockets: &mut Sockets,
) -> Result<Option<Socket>, StartError> {
    let Some(address) = registry.embedded.as_ref().map(|embedded| embedded.listen) else { return Ok(None) };
    let listener = match sockets::bind(address) {
        Ok(_) if arguments.upgrade && !registry.snapshot.as_deref().is_some_and(Path::exists) => {
            return Err(StartError::EmptyRegistry { address });
        }
        Ok(listener) => listener,
        Err(why) if arguments.upgrade && why.kind() == ErrorKind::AddrInUse => {
            return Ok(Some(Socket::Inherited));
        }
        Err(why) => {
            return Err(StartError::Listen(ListenError { key: sockets::REGISTRY, address, why }));
        }
    };
    sockets.add(address, listener.try_clone().map_err(|source| ServeError::Bind { address, source })?);
    Ok(Some(Socket::Bound(listener)))
}

/// Those of the gateway and its admin port.
fn sockets(config: &Config, arguments: &Arguments, output: &Arc<Output>) -> Result<Sockets, StartError> {
    let listen = config.gateway.listen.iter().map(|address| ("gateway.listen", *address));
    let admin = config.gateway.admin.iter().map(|address| ("gateway.admin", *address));
    let addresses = listen.chain(admin);
    if !arguments.upgrade {
        return Sockets::bind(addresses, output.clone()).map_err(StartError::Listen);
    }
    let embedded = config.gateway.registry.embedded.iter().map(|embedded| embedded.listen);
    let path = config.server.upgrade_sock.clone();
    let addresses = addresses.map(|(_, address)| address).chain(embedded).collect();
    let handover = Handover { path, addresses };
    Ok(Sockets::of_a_running_gateway(handover, output.clone()))
}

fn build(
    config: Config,
    arguments: &Arguments,
    sockets: Sockets,
    socket: Option<Socket>,
    lifecycle: Arc<Lifecycle>,
    output: Arc<Output>,
) -> Result<Server, StartError> {
    let Config { server: conf, gateway: config, .. } = config;
    let services = config.routes.iter().map(|route| route.service.as_str());
    let policy = |name| (name, directory::Policy::from(config.services.get(name)));
    let (directory, writer) = directory::with_routed(services.map(policy));
    let writer = writer.within(config.registry.bounds);
    let metrics = Arc::new(Metrics::new()?);
    let mut registry = config.registry.clone();
    let (door, visitors) = embedded_registry::door();
    if registry.embedded.is_some() {
        registry.connection.in_process = Some(InProcess::new(move || door.enter()));
    }
    let setting = admin::Setting { guard: registry.guard };
    let (lookout, reserved, first_look) = Lookout::new(&config, ThisMachine);
    let watch = registrations::watch(registry.connection.clone(), registry.watch.clone(), reserved);
    let lookout = LookingOut::new(lookout, watch.0.reread.clone(), output.clone());
    let connect = config.timeouts.connect;
    let embedded = registry.embedded.clone().zip(socket);
    let (mut discovery, status) = Discovery::new(watch, writer, registry, connect, metrics.clone());
    if let Some((_, Socket::Bound(_))) = &embedded {
        discovery = discovery.from_an_empty_registry();
    }
    let (findings, found) = findings::channel();
    let discovery = discovery.with_findings(found).after(first_look);
    let watch = Arc::new(StallWatch::default());
    let (_, checked) = watch::channel(Arc::new(CheckedService::all_of(&directory, &config.services)?));
    let checks = Checks::new(checked, findings.clone(), metrics.clone());
    let health = service_health::of_services(&directory, &config.services, &findings, &watch);
    let site = Arc::new(site::Current::new(Site::new(&config, &directory, &health, &metrics)));
    let gateway = Gateway::new(site, directory.clone(), metrics.clone(), lifecycle.clone(), output.clone());
    let stop = Stop {
        lifecycle: lifecycle.clone(),
        drain: config.timeouts.drain,
        saver: discovery.saver(),
        output: output.clone(),
    };
    let hosts = config.admin_hosts.clone();
    let facts = Arc::new(Facts::new(&config, &arguments.conf, directory.clone()));
    let admin = Admin {
        directory,
        status,
        lifecycle,
        hosts,
        setting,
        metrics: metrics.clone(),
        output: output.clone(),
    };

    let mut server = Server::new_with_opt_and_conf(arguments.pingora_options(), conf);
    let bootstrap = server.bootstrap_as_a_service();
    let sockets = server.add_service(sockets);
    // Under `daemon_wait_for_ready`, it is what tells the parent to send SIGQUIT to the old process.
    sockets.add_dependency(&bootstrap);
    let discovery = server.add_service(background("discovery", Feed::new(discovery, output.clone())));
    if arguments.upgrade {
        bootstrap.add_dependency(&discovery);
    }
    let has_embedded = embedded.is_some();
    if let Some((embedded, socket)) = embedded {
        let phases = server.watch_execution_phase();
        let is_inherited = matches!(socket, Socket::Inherited);
        let registry = EmbeddedRegistry::new(embedded, socket, visitors, phases, metrics, output.clone());
        let registry = server.add_service(registry);
        // One that is ours must not wait: under -u the sockets come after discovery, which reads it.
        if is_inherited {
            registry.add_dependency(&sockets);
        }
    }
    server.add_service(background("lookout", lookout));
    server.add_service(background("watch", Watching { watch, output: output.clone() }));
    server.add_service(background("checks", Checking::new(checks, output)));
    server.add_service(background("stop", stop));
    let gateway = http_proxy_service_with_name(&server.configuration, gateway, "gateway");
    let gateway = listen(&mut server, &sockets, gateway, &config.listen);
    server.add_service(background("late", Late(facts.clone())));
    let ready = server.add_service(background("ready", Ready(facts)));
    ready.add_dependency(&discovery);
    ready.add_dependency(&gateway);
    if has_embedded {
        // It takes but a moment: who connects meanwhile is served then, instead of hearing "not ready".
        gateway.add_dependency(&discovery);
    }
    if let Some(address) = config.admin {
        let mut admin = Service::new("admin".to_owned(), admin);
        admin.threads = Some(1);
        ready.add_dependency(listen(&mut server, &sockets, admin, &[address]));
    }
    Ok(server)
}

fn listen<A: HttpServerApp + Send + Sync + 'static>(
    server: &mut Server,
    sockets: &ServiceHandle,
    mut service: Service<A>,
    addresses: &[SocketAddr],
) -> ServiceHandle {
    for address in addresses {
        service.add_tcp(&address.to_string());
    }
    let service = server.add_service(service);
    service.add_dependency(sockets);
    service
}

fn background<T: BackgroundService + Send + Sync + 'static>(name: &str, task: T) -> GenBackgroundService<T> {
    let mut service = pingora::services::background::background_service(name, task);
    service.threads = Some(1);
    service
}

/// Feeds the directory for as long as the process lives.
struct Feed {
    discovery: Mutex<Option<Discovery<EtcdSource>>>,
    output: Arc<Output>,
}

impl Feed {
    fn new(discovery: Discovery<EtcdSource>, output: Arc<Output>) -> Self {
        Self { discovery: Mutex::new(Some(discovery)), output }
    }
}

#[async_trait]
impl BackgroundService for Feed {
    async fn start_with_ready_notifier(&self, _: ShutdownWatch, ready: ServiceReadyNotifier) {
        // The process has forked by now, if it does at all: threads may start.
        if let Err(error) = self.output.start_writer() {
            tracing::warn!(%error, "cannot start the log's writer: each line is written at once");
        }
        let discovery = self.discovery.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(discovery) = discovery else { return };
        // A gateway whose picture stands still must not live on.
        run_or_exit("discovery", &self.output, discovery.run(move || ready.notify_ready())).await;
    }
}

/// Looks which addresses are whose for as long as the process lives.
struct LookingOut {
    lookout: Mutex<Option<Lookout<ThisMachine>>>,
    reread: Reread,
    output: Arc<Output>,
}

impl LookingOut {
    fn new(lookout: Lookout<ThisMachine>, reread: Reread, output: Arc<Output>) -> Self {
        Self { lookout: Mutex::new(Some(lookout)), reread, output }
    }
}

#[async_trait]
impl BackgroundService for LookingOut {
    async fn start(&self, _: ShutdownWatch) {
        let lookout = self.lookout.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (Some(lookout), reread) = (lookout, self.reread.clone()) else { return };
        // Without it, an instance could have an address that has become the gateway's own.
        run_or_exit("the lookout", &self.output, lookout.run(move || reread.ask())).await;
    }
}

/// Watches over waiting requests for as long as the process lives.
struct Watching {
    watch: Arc<StallWatch>,
    output: Arc<Output>,
}

#[async_trait]
impl BackgroundService for Watching {
    async fn start(&self, _: ShutdownWatch) {
        let watch = self.watch.clone();
        // Requests would wait for ever without it.
        run_or_exit("the watch", &self.output, async move { watch.run().await }).await;
    }
}

/// Asks endpoints whether they are well for as long as the process lives.
struct Checking {
    checks: Mutex<Option<Checks>>,
    output: Arc<Output>,
}

impl Checking {
    fn new(checks: Checks, output: Arc<Output>) -> Self {
        Self { checks: Mutex::new(Some(checks)), output }
    }
}

#[async_trait]
impl BackgroundService for Checking {
    async fn start(&self, _: ShutdownWatch) {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(checks) = checks else { return };
        // What is unhealthy would never be used again without them.
        run_or_exit("checks", &self.output, checks.run()).await;
    }
}

/// Runs what the gateway must not live on without: a panic in there ends the process.
async fn run_or_exit(name: &str, output: &Arc<Output>, task: impl Future<Output = ()> + Send + 'static) {
    if let Err(error) = tokio::spawn(task).await {
        tracing::error!(%error, "{name} ended: ending the process");
        output.flush();
        std::process::exit(1);
    }
}

/// Ends the process when nothing is in flight any more and the snapshot is written: Pingora itself would sleep
/// for the whole time.
struct Stop {
    lifecycle: Arc<Lifecycle>,
    drain: Duration,
    saver: Saver,
    output: Arc<Output>,
}

#[async_trait]
impl BackgroundService for Stop {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        // An error means that the server itself is gone.
        let _ = shutdown.wait_for(|stopping| *stopping).await;
        let left = tokio::select! {
            left = self.lifecycle.drained(self.drain) => left,
            () = second_signal() => self.lifecycle.requests_in_flight(),
        };
        self.saver.save().await;
        if left > 0 {
            tracing::warn!(requests = left, "stopped with requests in flight");
        } else {
            tracing::info!("stopped");
        }
        self.output.flush();
        std::process::exit(0);
    }
}

/// Whoever asks twice does not want to wait.
async fn second_signal() {
    match EndSignals::listen() {
        Ok(mut signals) => signals.stop().await,
        Err(_) => std::future::pending().await,
    }
}
