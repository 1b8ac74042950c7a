//! The site: all that a configuration says of requests, at one moment. A request takes the one that there is when it
//! begins, and keeps what concerns it to its end: the route that takes it, and what is common to all.
//!
//! ```text
//! reload       when the file has changed: reads and checks it, tells what is wrong with it
//!   looks        when a file that is looked at again and again is taken; pure
//!   refusal      why it changes nothing
//!   status       which configuration serves, and what became of the last one that was to
//!   source       where it is read
//! replacement  how one site takes another's place, and how services are adopted while one serves
//!   adoption     which services a route leads to whose paths name them; pure
//! certificates  keeps what TLS goes by as the files are
//! listener     where clients are served, and how
//! ends         what is made of files of certificates for a site: how clients come, and how instances are spoken to
//! draft        the one way to a site: a checked configuration, and what it does not change of the site that serves
//! routes       which route takes a request
//! route        what it does then, and whom it leads to
//!   by_path      a route to the services that its paths name
//!   changes      what it changes
//!   split        which of several services
//!   sticky       where its client was before
//!   target       one of these services
//! tls          how the instances of services are spoken to under TLS
//! ```

mod adoption;
mod by_path;
mod certificates;
mod changes;
mod draft;
mod ends;
mod listener;
mod looks;
mod refusal;
mod reload;
mod replacement;
mod revision;
mod route;
mod routes;
mod source;
mod split;
mod status;
mod sticky;
mod target;
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use ipnet::IpNet;

use crate::config::{ClientAbort, Connections, ErrorAnswers, Http1Carrier, Http2Carrier, Paths, Timeouts};
use crate::directory::Service;
use crate::head::Head;
use crate::health::ServiceHealth;
use crate::metrics::ServiceMetrics;
use crate::tls::Watched;

pub(crate) use adoption::adopted_of;
pub(crate) use by_path::{ByPath, Named};
pub(crate) use certificates::Certificates;
pub(crate) use changes::{FieldChange, FieldValue};
pub(crate) use draft::DraftError;
#[cfg(test)]
pub(crate) use draft::tests as drafts;
pub(crate) use draft::{Carried, Draft, Materials, policies};
pub(crate) use ends::Ends;
pub use ends::check_certificates;
pub(crate) use listener::Listener;
pub(crate) use reload::Reload;
pub(crate) use replacement::{Adoption, Replacement};
pub(crate) use revision::Revision;
pub(crate) use route::{Action, Route, RouteName, Way};
pub(crate) use routes::{Asked, Routes, Unmet, first_unmet};
pub use source::{Loaded, Source};
pub(crate) use split::{Share, Split};
pub(crate) use status::{Rejected, Status, StatusCell};
pub(crate) use sticky::{Remembered, key_of_this_process};
pub(crate) use target::Target;
use tls::ServicesTls;

/// All that a configuration says of requests.
#[derive(Debug, Default)]
pub(crate) struct Site {
    routes: Routes,
    /// What those lead to whose paths name services.
    by_path: Vec<Arc<ByPath>>,
    /// The services that the configuration names, by name.
    services: BTreeMap<Arc<str>, Lasting>,
    listeners: Vec<Arc<Listener>>,
    tls: ServicesTls,
    common: Arc<Common>,
}

/// What a site says of all requests, whatever their routes.
#[derive(Debug, Default)]
pub(crate) struct Common {
    /// How long things may take.
    pub(crate) timeouts: Timeouts,
    /// The name of the header that carries the trace id, ready to be shared by many heads.
    pub(crate) trace_header: Bytes,
    /// How many connections clients may have.
    pub(crate) connections: Connections,
    /// Requests in flight in all, at most.
    pub(crate) max_requests: u32,
    /// What the gateway's own error answers look like.
    pub(crate) errors: ErrorAnswers,
    /// Whose word of who asks is believed.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Whether `Forwarded` is added to requests.
    pub(crate) forwarded: bool,
    /// Whether `Via` is added to requests and answers.
    pub(crate) via: bool,
    /// Whether an error answer of the gateway's own says in `Proxy-Status` what went wrong.
    pub(crate) proxy_status: bool,
    /// By which code HTTP/1 is carried. Whoever reads a request's head asks it.
    pub(crate) http1: Http1Carrier,
    /// By which code clients' HTTP/2 is carried. Whoever begins a connection asks it.
    pub(crate) http2: Http2Carrier,
    /// By what a client shows that it does not wait for its answer any more.
    pub(crate) client_abort: ClientAbort,
    /// Which paths are let through.
    pub(crate) paths: Paths,
}

/// What lasts of a service from one site that names it to the next: its endpoints, what is known of their health, and
/// what is counted.
#[derive(Debug, Clone)]
struct Lasting {
    service: Arc<Service>,
    health: Arc<ServiceHealth>,
    metrics: Arc<ServiceMetrics>,
}

impl Site {
    /// One without routes.
    #[cfg(test)]
    pub(crate) fn with(common: Common) -> Self {
        Self { common: Arc::new(common), ..Self::default() }
    }

    /// What it says of all requests. A request keeps this and its route to its end, and not the whole site: ten thousand
    /// routes would stay in memory for as long as one tunnel.
    pub(crate) fn common(&self) -> &Arc<Common> {
        &self.common
    }

    /// Where clients are served; none: not here.
    pub(crate) fn listener(&self, address: SocketAddr) -> Option<&Arc<Listener>> {
        self.listeners.iter().find(|listener| listener.rules.address == address)
    }

    /// What follows its files, each once: two looks at one at a time would not be two.
    fn watched(&self) -> Vec<Arc<dyn Watched>> {
        ends::watched(&self.listeners, &self.tls)
    }

    /// All routes, in the order in which they are tried.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.in_order()
    }

    /// What lasts of a service that it names or has adopted.
    fn lasting(&self, service: &str) -> Option<Lasting> {
        let adopted = || self.by_path.iter().find_map(|route| Some(route.target(service)?.lasting()));
        self.services.get(service).cloned().or_else(adopted)
    }

    /// The services that it names or has adopted.
    fn services(&self) -> BTreeSet<Arc<str>> {
        let adopted = self.by_path.iter().flat_map(|route| route.targets());
        let adopted = adopted.map(|target| target.service.name().clone());
        self.services.keys().cloned().chain(adopted).collect()
    }

    /// How many services there are for which a route by path has no place.
    pub(crate) fn left_out(&self) -> usize {
        self.by_path.iter().flat_map(|route| route.left_out()).collect::<BTreeSet<_>>().len()
    }

    /// How many of them lead to nothing.
    pub(crate) fn without_endpoint(&self) -> usize {
        self.routes().filter(|route| route.action.leads_to_nothing()).count()
    }

    /// The route that takes a request.
    pub(crate) fn route(&self, asked: &Asked<'_, impl Head>) -> Option<&Arc<Route>> {
        self.routes.find(asked)
    }
}

/// The site as it is now.
#[derive(Debug)]
pub(crate) struct Current(ArcSwap<Site>);

impl Current {
    pub(crate) fn new(site: Site) -> Self {
        Self(ArcSwap::from_pointee(site))
    }

    /// For a request: to be taken once, for all that it asks of a site.
    pub(crate) fn get(&self) -> Arc<Site> {
        self.0.load_full()
    }

    /// What this makes of it, where that is all that it is wanted for.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Site) -> T) -> T {
        look(&self.0.load())
    }

    fn set(&self, site: Site) {
        self.0.store(Arc::new(site));
    }
}
