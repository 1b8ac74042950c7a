//! Builds Pingora's server: which services run, in which order they get ready, how it stops.
//!
//! A start goes by stages, each of which needs the one before it: what is listened on ([`bound`]), who is there
//! ([`picture`]), what is found of them (health), the site, and the [`services`] that run:
//!
//! ```text
//! log         starts the log's writer
//! registry    the embedded one, if there is one
//! discovery   feeds the directory; ready with the first list, or with the snapshot
//! sockets     hands the sockets that were bound at the start to Pingora; under -u takes those of the running
//!             process, after discovery
//! gateway     listens after the sockets; under -u and with an embedded registry not before it can serve
//! admin       listens after the sockets
//! lookout     keeps up which addresses no instance may have
//! watch       breaks off requests that wait too long for their answers
//! checks      asks endpoints whether they are well, where the configuration says so
//! reload      takes a configuration over that has changed
//! certificates  takes certificates over whose files have changed
//! adoption    has routes lead to the services that their paths name, as these register; ready when those are adopted
//!             that are there
//! late        says that the registry keeps the gateway waiting
//! ready       after all of these: says that the gateway serves, and what it found
//! stop        when told to: waits until nothing is in flight and the snapshot is written, then ends the process
//! ```
//!
//! A picture that stands still, addresses that have become the gateway's own, requests that wait for ever, endpoints
//! that nobody finds well again: the tasks that prevent these are [`vital`].

mod announcement;
pub mod blocked;
mod bound;
mod door;
mod embedded;
mod error;
mod log;
mod picture;
pub mod run_files;
mod services;
mod serving;
mod signals;
mod sockets;
mod stop;
mod vital;
mod workers;

use std::sync::Arc;

use embedded_registry::Visitors;
use pingora::server::{RunArgs, Server};
use pingora::services::listening::Service;

use crate::admin::Admin;
use crate::cli::Arguments;
use crate::config::{self, Config};
use crate::gateway::{Door, Gateway};
use crate::lifecycle::Lifecycle;
use crate::logging::Output;
use crate::metrics::Metrics;
use crate::site::{Current, Loaded, StatusCell};
use announcement::{Facts, Late, Ready};
use bound::Bound;
use embedded::{EmbeddedRegistry, Socket};
pub(crate) use error::StartError;
use log::Log;
use picture::Picture;
use services::Services;
use serving::Serving;
use signals::Signals;
use stop::Stop;

/// Runs the gateway until it is told to stop and has finished what is in flight. Ends the process itself
/// when the last request is done; returns only where there was nothing to wait for.
///
/// # Errors
/// The gateway could not start; nothing was served.
pub fn run(loaded: Loaded, arguments: &Arguments, output: Arc<Output>) -> Result<(), StartError> {
    let mut config = loaded.once_more()?;
    run_files::prepare(&mut config, arguments)?;
    let bound = Bound::new(&config, arguments, &output)?;
    let common = Common { metrics: Arc::new(Metrics::new()?), lifecycle: Arc::default(), output };
    let (server, signals) = build(config, loaded, arguments, bound, &common)?;
    server.run(RunArgs { shutdown_signal: Box::new(signals) });
    Ok(())
}

/// What most parts of the gateway need.
struct Common {
    metrics: Arc<Metrics>,
    lifecycle: Arc<Lifecycle>,
    output: Arc<Output>,
}

/// `config`: what was loaded, as this start can use it.
fn build(
    config: Config,
    loaded: Loaded,
    arguments: &Arguments,
    bound: Bound,
    common: &Common,
) -> Result<(Server, Signals), StartError> {
    let Config { server: conf, gateway: config, .. } = config;
    let starts_empty = matches!(bound.registry, Some(Socket::Bound(_)));
    let picture = Picture::new(&config, starts_empty, &common.metrics);
    let serving = Serving::new(&config, loaded, &picture, &common.metrics)?;
    let site = serving.site;
    let gateway = gateway(site.clone(), &picture, common);
    let admin = admin(&config, site.clone(), &picture, serving.status, common);
    let upgrade_sock = conf.upgrade_sock.clone().into();
    let signals = Signals::new(common.lifecycle.clone(), site.clone(), serving.asked, upgrade_sock);
    let facts = Arc::new(Facts::new(&config, &arguments.conf, picture.directory.clone()));

    let server = Server::new_with_opt_and_conf(arguments.pingora_options(), conf);
    let mut services = Services::new(server, bound.sockets, common.output.clone());
    services.background("log", Log(common.output.clone()));
    services.background("stop", stop(site, &picture, common));
    let embedded = config.registry.embedded.clone().zip(bound.registry);
    let has_embedded = embedded.is_some();
    if let Some((embedded, socket)) = embedded {
        add_registry(&mut services, embedded, socket, picture.visitors, common);
    }
    let (discovery, lookout, reread) = (picture.discovery, picture.lookout, picture.reread);
    let discovery =
        services.vital_once_ready("discovery", move |ready| discovery.run(move || ready.notify_ready()));
    let adoption = serving.adoption;
    let adoption = services.vital_once_ready("adoption", |ready| adoption.run(move || ready.notify_ready()));
    if arguments.upgrade {
        services.bootstrap.add_dependency(&discovery);
        services.bootstrap.add_dependency(&adoption);
    }
    services.vital("lookout", lookout.run(move || reread.ask()));
    services.vital("watch", async move { serving.stall_watch.run().await });
    services.vital("checks", serving.checks.run());
    services.vital("reload", serving.reload.run());
    services.vital("certificates", serving.certificates.run());
    let door = Arc::new(Door::new(gateway, &services.server.configuration));
    let gateway = services.door(door, config.addresses().collect());
    if has_embedded {
        // It takes only a moment: a client that connects meanwhile is served then, instead of being told "not ready".
        gateway.add_dependency(&discovery);
        gateway.add_dependency(&adoption);
    }
    services.background("late", Late(facts.clone()));
    let ready = services.background("ready", Ready(facts));
    ready.add_dependency(&discovery);
    ready.add_dependency(&adoption);
    ready.add_dependency(&gateway);
    if let Some(address) = config.admin {
        let mut admin = Service::new("admin".to_owned(), admin);
        admin.threads = Some(1);
        ready.add_dependency(services.listening(admin, &[address]));
    }
    Ok((services.server, signals))
}

fn gateway(site: Arc<Current>, picture: &Picture, common: &Common) -> Gateway {
    let Common { metrics, lifecycle, output } = common;
    Gateway::new(site, picture.directory.clone(), metrics.clone(), lifecycle.clone(), output.clone())
}

fn admin(
    config: &config::Gateway,
    site: Arc<Current>,
    picture: &Picture,
    configuration: StatusCell,
    common: &Common,
) -> Admin {
    Admin {
        site,
        directory: picture.directory.clone(),
        status: picture.status.clone(),
        configuration,
        lifecycle: common.lifecycle.clone(),
        hosts: config.admin_hosts.clone(),
        guard: config.registry.guard,
        metrics: common.metrics.clone(),
        output: common.output.clone(),
    }
}

fn stop(site: Arc<Current>, picture: &Picture, common: &Common) -> Stop {
    Stop {
        lifecycle: common.lifecycle.clone(),
        site,
        saver: picture.discovery.saver(),
        output: common.output.clone(),
    }
}

fn add_registry(
    services: &mut Services,
    config: config::Embedded,
    socket: Socket,
    gateway: Visitors,
    common: &Common,
) {
    let is_inherited = matches!(socket, Socket::Inherited);
    let phases = services.server.watch_execution_phase();
    let (metrics, output) = (common.metrics.clone(), common.output.clone());
    let registry = EmbeddedRegistry::new(config, socket, gateway, phases, metrics, output);
    let registry = services.server.add_service(registry);
    // With a socket of its own, it must not wait for those: under -u they come after discovery, which reads this
    // registry.
    if is_inherited {
        registry.add_dependency(&services.sockets);
    }
}
