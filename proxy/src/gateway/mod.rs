//! The way of a request: door -> route -> admit -> (choose -> attempt)* -> answer -> log.
//!
//! ```text
//! door        takes connections, reads heads, and gives each request to its carrier
//! carry       moves the bytes: asks what is to be done at each step, and does it
//!   admit     whether a request is let in          log     its line
//!   resend    sends it again                       answer  what the gateway itself answers
//!   split     to which of several services         sticky  where its client was before
//!   request   what a request carries along: its stages, its attempts
//!   choose    whom it is sent to
//!   attempt   what is known of one try
//!   protocol  in which version of HTTP: pure
//!   retry     when a request is sent again: pure
//!   meaning   what an answer's status means
//!   cause     why an attempt failed: pure
//!   handshakes  tells of instances that cannot be spoken to under TLS
//!   tunnel_drain  when a tunnel ends whose instance has left: pure
//!   tunnel_end  why one has ended
//!   edits     what is changed of a request and of its answer: pure
//!   entry     which heads are let through: pure
//!   origin    who asks, over what, and for which host: pure
//!   redirect  where a client is sent: pure
//!   reply     an answer of the gateway's own, as it is sent: pure
//!   grpc      what is known of gRPC's calls: pure
//!   grpc_answer  an answer of the gateway's own, in gRPC's shape
//!   proxy_status  what an error answer says for programs: pure
//!   error_kind    of which kinds there are
//!   grammar   what a message of HTTP/1 is: pure
//!   clock     the date that answers have
//!   explain   which route takes a request, and why, for people: pure
//! ```
//!
//! Nothing but `door` and `carry` knows how a connection is read and written, so that what decides serves any carrier.

mod admit;

mod answer;
mod attempt;
mod carry;
mod cause;
mod choose;
mod clock;
mod door;
mod edits;
mod entry;
mod error_kind;
pub mod explain;
#[cfg(test)]
mod fixture;
mod grammar;
#[cfg(test)]
mod grammar_checks;
mod grpc;
mod grpc_answer;
mod handshakes;
mod hash_key;
mod hops;
mod log;
mod meaning;
mod origin;
mod protocol;
mod proxy_status;
mod redirect;
mod reply;
mod request;
mod resend;
mod retry;
mod split;
mod sticky;
mod text;
mod trace;
mod tunnel_drain;
mod tunnel_end;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Method};

use crate::config::{HostPattern, Http1Carrier, Http2Carrier, PathChange, PathRefusal, Redirect, Timeouts};
use crate::directory::Directory;
use crate::head::Head;
use crate::lifecycle::Lifecycle;
use crate::logging::Output;
use crate::metrics::{Metrics, RouteMetrics, ServiceMetrics};
use crate::site::{self, Action, Asked, Common, Listener, Named, Route, Way};
use admit::{GatewayState, admit};
use answer::Answer;
use clock::Clock;
pub(crate) use door::Door;
use log::LogLine;
use origin::Arrival;
use request::Request;

/// The longest path and query that can be sent, in bytes: as much as an `http::Uri` takes.
const TARGET: usize = 65_534;

/// What serves requests.
#[derive(Debug)]
pub(crate) struct Gateway {
    site: Arc<site::Current>,
    directory: Arc<Directory>,
    metrics: Arc<Metrics>,
    /// Of requests that go to no service.
    unserved: Arc<ServiceMetrics>,
    /// Of requests that no route takes.
    unrouted: Arc<RouteMetrics>,
    lifecycle: Arc<Lifecycle>,
    output: Arc<Output>,
    clock: Clock,
}

impl Gateway {
    /// A gateway that serves by the site as it is, and answers for itself by the directory.
    pub(crate) fn new(
        site: Arc<site::Current>,
        directory: Arc<Directory>,
        metrics: Arc<Metrics>,
        lifecycle: Arc<Lifecycle>,
        output: Arc<Output>,
    ) -> Self {
        let (unserved, unrouted) = (metrics.service(""), metrics.route(&"".into()));
        Self { site, directory, unserved, unrouted, metrics, lifecycle, output, clock: Clock::new() }
    }

    /// How long something may take, by the site as it is now.
    fn time(&self, of: fn(&Timeouts) -> Duration) -> Duration {
        self.site.look(|site| of(&site.common().timeouts))
    }

    /// What the site says of all requests, as it is now.
    fn common(&self) -> Arc<Common> {
        self.site.look(|site| site.common().clone())
    }

    /// Where clients are served, as it is now.
    fn listener(&self, at: SocketAddr) -> Arc<Listener> {
        let listener = self.site.look(|site| site.listener(at).cloned());
        // The addresses are those that the process has started with.
        listener.unwrap_or_else(|| Arc::new(Listener::clear(at)))
    }

    /// By what HTTP/1 is carried, by the site as it is now.
    fn http1(&self) -> Http1Carrier {
        self.site.look(|site| site.common().http1)
    }

    /// By what clients' HTTP/2 is carried, by the site as it is now.
    fn http2(&self) -> Http2Carrier {
        self.site.look(|site| site.common().http2)
    }

    /// A request begins, by the site as it is now.
    fn request(&self, now: Instant) -> Request {
        Request::new(self.site.get(), self.lifecycle.in_flight(), self.metrics.clone(), now)
    }

    /// A request's head is here: entry -> route -> admit. It has an attempt to begin then, or this answer.
    fn receive(&self, request: &mut Request, head: &impl Head, arrival: Arrival) -> Result<(), Answer> {
        request.begin(head, arrival);
        if head.target() == b"*" && head.method() == Method::OPTIONS {
            return Err(Answer::SERVER);
        }
        let path = entry::enter(head, request.fields, request.common.paths)?;
        let (scheme, client) = (request.origin.scheme, request.origin.client);
        let identity = request.origin.identity.clone();
        let asked = Asked::of(head, &path, scheme, client, identity.as_deref());
        let Some(route) = request.find_route(&asked) else {
            return Err(if is_for_itself(head, &path) { self.answer_as_itself() } else { Answer::NO_ROUTE });
        };
        self.take(request, route, head, &path)
    }

    /// A route has taken a request with this normalised path.
    fn take(
        &self,
        request: &mut Request,
        route: Arc<Route>,
        head: &impl Head,
        path: &str,
    ) -> Result<(), Answer> {
        if let Err(answer) = request.is_taken_by(&route, head) {
            request.declined(route, None, answer.error().map(|(_, why)| why));
            return Err(answer);
        }
        let changed = match changed_path(&route.changes.path, head, path) {
            Ok(changed) => changed,
            Err(refusal) => {
                request.declined(route, None, None);
                return Err(Answer::bad_request(refusal.as_str()));
            }
        };
        let target = match &route.action {
            Action::Forward(target) => Some(target.clone()),
            Action::Split(_) => None,
            Action::ForwardByPath(by_path) => match by_path.named(path) {
                Named::Adopted(target) => Some(target),
                // An allowed name under which nobody has registered. (With one that is not allowed, the next routes
                // are tried.) As if no route had taken it: which names are allowed is nobody's business.
                Named::Nobody => return Err(Answer::NO_ROUTE),
                Named::NotKnown => {
                    request.declined(route.clone(), None, Some("it is not known yet who is registered"));
                    return Err(Answer::NOT_READ);
                }
            },
            Action::Redirect { to, hosts } => {
                return Err(send_elsewhere(request, &route, (to, hosts), head, (path, changed.as_deref())));
            }
            Action::Answer(answer) => {
                request.declined(route.clone(), None, None);
                return Err(Answer::as_route(answer.status));
            }
        };
        if let Some(changed) = changed {
            request.changes_path(&changed, head.query());
        }
        let state =
            GatewayState { in_flight: self.lifecycle.requests_in_flight(), directory: &self.directory };
        match target {
            Some(target) => admit(request, Way { route, target }, head, state, request.started),
            None => split::admit(request, route, head, state, request.started),
        }
    }

    fn answer_as_itself(&self) -> Answer {
        Answer::itself(self.lifecycle.is_ready(&self.directory))
    }

    /// A request was answered with this status and so many bytes of a body, or ended in an error. (Status 0: the client
    /// left before it was answered.)
    fn finish(
        &self,
        request: &mut Request,
        head: &impl Head,
        (status, sent): (u16, usize),
        error: Option<&str>,
        now: Instant,
    ) {
        if error.is_none()
            && let Some(attempt) = request.attempt_mut()
        {
            attempt.succeeded(now);
        }
        let took = request.took(now);
        request.route().map_or(&self.unrouted, |route| &route.metrics).answered(status);
        let service = request.target().map_or(&self.unserved, |target| &target.metrics);
        service.answered(status, took);
        if request.is_call() {
            service.called(request.grpc_status(status));
        }
        LogLine::of(request, head, (status, sent), took, error).write(&self.output, &self.clock);
    }
}

/// A route sends whoever asks for this normalised path elsewhere, with the path `changed` if it makes another of it.
fn send_elsewhere(
    request: &mut Request,
    route: &Arc<Route>,
    (to, hosts): (&Redirect, &[HostPattern]),
    head: &impl Head,
    (path, changed): (&str, Option<&str>),
) -> Answer {
    let told = request.origin.host().map(HeaderValue::as_bytes);
    let host = redirect::asked_host(told, head.host(), hosts);
    let (method, scheme, query) = (head.method(), request.origin.scheme, head.query());
    match redirect::location(to, redirect::Asked { method, scheme, host, path, query }, changed) {
        Ok(location) => {
            request.goes_elsewhere(route.clone(), location);
            Answer::as_route(to.status)
        }
        Err(answer) => {
            request.declined(route.clone(), None, answer.fault());
            answer
        }
    }
}

/// The path that a route makes of a request's, which is this one when it is normalised; none: that stays.
fn changed_path<'p>(
    change: &PathChange,
    head: &impl Head,
    path: &'p str,
) -> Result<Option<Cow<'p, str>>, PathRefusal> {
    let Some(changed) = change.apply(path)? else { return Ok(None) };
    // What is no UTF-8 a head shows with other letters, which must not take the place of the client's own.
    let written = head.target().split(|byte| *byte == b'?').next().unwrap_or_default();
    if std::str::from_utf8(written).is_err() {
        return Err(PathRefusal::Malformed);
    }
    let query = head.query().map_or(0, |query| query.len() + 1);
    if changed.len() + query > TARGET {
        return Err(PathRefusal::WithQuery);
    }
    Ok(Some(changed))
}

/// Whether a request that no route takes asks whether the gateway is there.
fn is_for_itself(head: &impl Head, path: &str) -> bool {
    path == "/" && matches!(*head.method(), Method::GET | Method::HEAD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::tests::head;
    use crate::logging::Form;
    use crate::site::{Site, drafts};
    use crate::traffic::ejection::Failure;
    use fixture::{Setup, from, get, with_certificate};

    #[test]
    fn an_endpoint_is_told_of_success_at_the_end_of_an_answer_that_came_to_a_good_one() {
        for (error, expected) in [(None, 0), (Some("the client left"), 1)] {
            let fixture = Setup::of(1).build();
            let site = Arc::new(site::Current::new(Site::default()));
            let (directory, metrics) = (fixture.directory.clone(), fixture.metrics.clone());
            let output = Output::new(Form::Json, false);
            let gateway = Gateway::new(site, directory, metrics, Arc::default(), output);
            let endpoint = fixture.endpoint(0);
            fixture.way.target.health.failed(&endpoint, Failure::Broken, fixture.now);
            let mut request = fixture.sent_to(0);
            request.attempt_mut().unwrap().answered(200, fixture.now);
            assert_eq!(endpoint.traffic.streak.length(), 1, "its body has not come yet");
            gateway.finish(&mut request, &get(), (200, 5), error, fixture.now);
            assert_eq!(endpoint.traffic.streak.length(), expected);
        }
    }

    #[test]
    fn a_request_is_taken_by_what_is_spoken_on_its_connection_and_by_whom_it_has_shown() {
        let config = drafts::config(
            "[{name: pay, match: {client_cert: {san: \"spiffe://a/*\"}}, answer: {status: 204}}, \
             {name: moved, match: {scheme: https}, redirect: {host: b.example}}, \
             {name: up, match: {scheme: http}, redirect: {scheme: https, status: 308}}]",
            "{}",
        );
        let (materials, _writer) = drafts::bench(&config);
        let site = drafts::draft(&config, &Site::default(), &materials).site;
        let (site, output) = (Arc::new(site::Current::new(site)), Output::new(Form::Json, false));
        let gateway = Gateway::new(site, materials.directory, materials.metrics, Arc::default(), output);
        let lie = &b"Hash=1;URI=spiffe://a/b"[..];
        let head = head(Method::GET, "/x", &[("host", b"a.example"), ("x-forwarded-client-cert", lie)]);
        let other = with_certificate("192.0.2.7", "b", "spiffe://b/a");
        for (arrival, expected) in [
            (with_certificate("192.0.2.7", "a", "spiffe://a/b"), ("pay", None)),
            (other.clone(), ("moved", Some("https://b.example/x"))),
            (Arrival { identity: None, ..other }, ("moved", Some("https://b.example/x"))),
            (from("192.0.2.7"), ("up", Some("https://a.example/x"))),
        ] {
            let mut request = gateway.request(Instant::now());
            assert!(gateway.receive(&mut request, &head, arrival.clone()).is_err(), "it goes to no service");
            let location = request.location().map(|location| location.to_str().unwrap());
            assert_eq!((&*request.route().unwrap().name, location), expected, "{arrival:?}");
        }
    }
}
