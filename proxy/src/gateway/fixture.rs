//! A service of a few endpoints and a route to it, for the tests in this directory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use openssl::nid::Nid;
use registry::contract::{Instance, Metadata, Record};
use registry::watch::{Update, WatchStatus};
use serde_json::value::RawValue;
use tokio::sync::mpsc::UnboundedReceiver;

use super::attempt::Chosen;
use super::origin::Arrival;
use super::request::Request;
use crate::config::{self, Scheme};
use crate::directory::{self, Directory, Endpoint, Finding, Writer};
use crate::head::tests::{FakeHead, head};
use crate::health::ServiceHealth;
use crate::health::findings::{self, Found};
use crate::health::service_health::Rules;
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::site::{Action, Common, Route, RouteName, Site, Target, Way};
use crate::tls::{self, Identity};

/// What a fixture consists of.
#[derive(Debug, Default)]
pub(super) struct Setup {
    pub(super) endpoints: u8,
    /// What the registration of each says for people and policies.
    pub(super) metadata: Metadata,
    pub(super) service: config::Service,
    /// Whether the configuration gives the addresses.
    pub(super) is_given: bool,
    pub(super) total: Option<Duration>,
    pub(super) retry: config::Retry,
    pub(super) changes: config::Changes,
    /// What the route does; none: it does not matter.
    pub(super) action: Option<Action>,
    /// What the route says of errors.
    pub(super) errors: config::ErrorAnswers,
    /// What is said of errors for all routes.
    pub(super) gateway_errors: config::ErrorAnswers,
}

impl Setup {
    /// So many endpoints, and the rest as if the configuration said nothing.
    pub(super) fn of(endpoints: u8) -> Self {
        Self { endpoints, ..Self::default() }
    }

    /// The same, and no retry but those that are free.
    pub(super) fn without_budget(mut self) -> Self {
        self.service.budget = config::Budget { percent: 0, per_second: 0 };
        self
    }

    pub(super) fn build(self) -> Fixture {
        let now = Instant::now();
        let (directory, mut writer) = directory::new(["goods"]);
        let instance = |number: u8| Instance {
            service: "goods".into(),
            id: number.to_string().into(),
            record: Record {
                metadata: self.metadata.clone(),
                ..Record::new(([10, 0, 0, number], 80).into())
            },
            lease: 7,
            revision: 1,
        };
        let instances = (0..self.endpoints).map(instance).collect();
        writer.stage(Update::Reset { instances, refused: Vec::new(), revision: 1 }, now);
        writer.publish(|| now);
        let service = directory.service("goods").unwrap();
        let (sender, found) = findings::channel();
        let rules = Rules::of(&self.service);
        let health = ServiceHealth::new(service.clone(), rules, sender, Arc::default(), now);
        let config::Service { limits, budget, protocol, .. } = self.service;
        let metrics = Arc::new(Metrics::new().unwrap());
        let mut timeouts: config::RouteTimeouts = (&config::Timeouts::default()).into();
        timeouts.total = self.total;
        let route = Arc::new(Route {
            name: RouteName::new("/goods".into()),
            metrics: metrics.route(&"/goods".into()),
            takes: RawValue::NULL.to_owned(),
            action: self.action.unwrap_or(Action::Answer(config::FixedAnswer::default())),
            changes: (&self.changes).into(),
            errors: self.errors,
            timeouts,
            retry: self.retry,
            upgrades: config::Upgrades::default(),
            grpc_web: false,
        });
        let metrics_of_service = metrics.service("goods");
        let target = Arc::new(Target {
            service,
            health: Arc::new(health),
            metrics: metrics_of_service,
            limits,
            budget,
            is_given: self.is_given,
            tls: None,
            protocol,
        });
        Fixture {
            directory,
            writer,
            published: now,
            way: Way { route, target },
            errors: self.gateway_errors,
            found,
            metrics,
            lifecycle: Lifecycle::default(),
            now,
        }
    }
}

/// A service, a route to it, and what is told of it.
#[derive(Debug)]
pub(super) struct Fixture {
    pub(super) directory: Arc<Directory>,
    writer: Writer,
    published: Instant,
    pub(super) way: Way,
    errors: config::ErrorAnswers,
    found: UnboundedReceiver<Found>,
    pub(super) metrics: Arc<Metrics>,
    lifecycle: Lifecycle,
    pub(super) now: Instant,
}

impl Fixture {
    pub(super) fn endpoint(&self, number: usize) -> Arc<Endpoint> {
        self.way.target.service.endpoints().entries()[number].endpoint.clone()
    }

    pub(super) fn chosen(&self, number: usize) -> Chosen {
        let endpoint = self.endpoint(number);
        let permit = endpoint.traffic.in_flight.try_acquire(None).unwrap();
        Chosen { endpoint, permit, doubted: false, trial: None, protocol: None }
    }

    /// What health has found since the last call. Whoever chooses sees it from now on.
    pub(super) fn findings(&mut self) -> Vec<Finding> {
        let found: Vec<_> = std::iter::from_fn(|| self.found.try_recv().ok()).collect();
        for Found { endpoint, finding } in &found {
            self.writer.judged(endpoint, *finding, self.now);
        }
        // The writer leaves some time between one publication and the next.
        self.published += Duration::from_secs(1);
        self.writer.publish(|| self.published);
        found.into_iter().map(|found| found.finding).collect()
    }

    /// A request of which nothing is known yet.
    pub(super) fn request(&self) -> Request {
        let trace_header = Bytes::from_static(b"trace_id");
        let errors = self.errors.clone();
        let site = Site::with(Common { max_requests: 100, trace_header, errors, ..Common::default() });
        Request::new(Arc::new(site), self.lifecycle.in_flight(), self.metrics.clone(), self.now)
    }

    /// A request whose first attempt goes to this endpoint and has begun.
    pub(super) fn sent_to(&self, number: usize) -> Request {
        let mut request = self.request();
        let permit = self.way.target.service.in_flight().acquire();
        request.admitted(self.way.clone(), self.chosen(number), permit, self.now);
        assert!(request.begin_attempt().is_some());
        request
    }

    /// Requests in the gateway.
    pub(super) fn in_flight(&self) -> u32 {
        self.lifecycle.requests_in_flight()
    }

    /// Whether the metrics say this.
    pub(super) fn counts(&self, line: &str) -> bool {
        let text = self.metrics.render(&Directory::default(), &WatchStatus::default(), 0).unwrap();
        let text = String::from_utf8(text).unwrap();
        text.lines().any(|l| l == line)
    }
}

/// A GET without anything.
pub(super) fn get() -> FakeHead {
    head(Method::GET, "/goods", &[])
}

/// A request that comes from no network.
pub(super) const NOWHERE: Arrival =
    Arrival { peer: None, scheme: Scheme::Http, identity: None, hides_client: false };

/// One that comes from this address.
pub(super) fn from(peer: &str) -> Arrival {
    Arrival { peer: Some(peer.parse().unwrap()), ..NOWHERE }
}

/// One that comes over TLS, from this address, and has shown a certificate of this common name and this URI.
pub(super) fn with_certificate(peer: &str, name: &str, uri: &str) -> Arrival {
    let certificate = tls::certificate(&[(Nid::COMMONNAME, name)], &[("uri", uri)]);
    let identity = Identity::of(&certificate).map(Arc::new);
    Arrival { scheme: Scheme::Https, identity, ..from(peer) }
}
