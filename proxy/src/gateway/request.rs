//! What a request carries along, from its head to its line in the log.

mod attempts;
mod call;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Method, Version};

use super::answer::Answer;
use super::attempt::Attempt;
use super::cause::Ending;
use super::entry::FieldsFound;
use super::grpc::{Call, Kind, Timeout};
use super::hops::Hops;
use super::origin::{Arrival, Origin};
use super::retry;
use super::text::IpText;
use super::trace::Trace;
use super::tunnel_end::TunnelEnd;
use crate::head::Head;
use crate::metrics::Metrics;
use crate::site::{Asked, Common, Route, Site, Target, Way};
use crate::traffic::in_flight::Permit;
use attempts::Attempts;
pub(super) use attempts::FailedAttempt;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// A request's state.
#[derive(Debug)]
pub(super) struct Request {
    /// The site that there was when it began, until it is asked for a route.
    site: Option<Arc<Site>>,
    /// What that says of all requests.
    pub(super) common: Arc<Common>,
    pub(super) fields: FieldsFound,
    pub(super) trace: Trace,
    /// The gateways that it has come through.
    pub(super) hops: Hops,
    /// Who asks, over what, and for which host.
    pub(super) origin: Origin,
    /// The client's address, without its port; if nobody knows it, that of the nearest proxy.
    pub(super) client: IpText,
    /// The path and the query that its route has made of its target.
    new_target: Option<Box<[u8]>>,
    pub(super) started: Instant,
    /// When an answer of the gateway's own was sent.
    ended: Option<Instant>,
    progress: Progress,
    /// What its last failed attempt died of, or why there was none.
    error: Option<Cow<'static, str>>,
    /// Why it has ended as a tunnel, if it was one.
    tunnel: Option<TunnelEnd>,
    /// What is known of it as a call of gRPC, if it is one. Boxed, as most requests are none.
    call: Option<Box<Call>>,
    metrics: Arc<Metrics>,
    _in_flight: Permit,
}

/// How far a request has come.
#[derive(Debug)]
enum Progress {
    /// No route has taken it, or none will.
    Begun,
    /// A route took it, and it goes to no service, or was not let in by this one.
    Declined(Arc<Route>, Option<Arc<Target>>),
    /// A route took it, and sends its client there.
    Elsewhere(Arc<Route>, HeaderValue),
    /// It was let in.
    Attempting(Attempts),
}

impl Request {
    pub(super) fn new(site: Arc<Site>, in_flight: Permit, metrics: Arc<Metrics>, now: Instant) -> Self {
        Self {
            common: site.common().clone(),
            site: Some(site),
            fields: FieldsFound::default(),
            trace: Trace::none(),
            hops: Hops::none(),
            origin: Origin::unknown(),
            client: IpText::NONE,
            new_target: None,
            started: now,
            ended: None,
            progress: Progress::Begun,
            error: None,
            tunnel: None,
            call: None,
            metrics,
            _in_flight: in_flight,
        }
    }

    /// Its head is here: goes on with the client's trace, or begins one.
    pub(super) fn begin(&mut self, head: &impl Head, arrival: Arrival) {
        self.fields = FieldsFound::of(head, &self.common.trace_header);
        self.trace = Trace::begin(self.fields.traceparent(head), || fastrand::u128(..));
        if self.fields.cdn_loop {
            self.hops = Hops::of(head);
        }
        (self.origin, self.client) = Origin::of(head, arrival, &self.common);
        // Over HTTP/1 there are none, whatever the type of a body is.
        let is_call = self.fields.call == Kind::Grpc && head.version() == Version::HTTP_2;
        self.call = is_call.then(|| Box::new(Call::new(head.values(&GRPC_TIMEOUT), false)));
    }

    /// Whether doing it twice is the same as doing it once.
    pub(super) fn is_idempotent(&self, method: &Method) -> bool {
        self.route().is_some_and(|route| retry::is_idempotent(method, &route.retry))
    }

    /// The route that takes it, by the site that there was when it began. It is asked once.
    pub(super) fn find_route(&mut self, asked: &Asked<'_, impl Head>) -> Option<Arc<Route>> {
        self.site.take()?.route(asked).cloned()
    }

    /// The host that its client has asked for, with its port: as a proxy says that is trusted, else as the head says.
    pub(super) fn asked_host<'r>(&'r self, head: &'r impl Head) -> Option<&'r [u8]> {
        self.origin.host().map(HeaderValue::as_bytes).or_else(|| head.host())
    }

    /// Its route has made another path of its own; the query stays.
    pub(super) fn changes_path(&mut self, path: &str, query: Option<&[u8]>) {
        let mut target = path.as_bytes().to_vec();
        if let Some(query) = query {
            target.push(b'?');
            target.extend_from_slice(query);
        }
        self.new_target = Some(target.into());
    }

    /// The path and the query that its route has made of its target; none: it goes on as it came.
    pub(super) fn new_target(&self) -> Option<&[u8]> {
        self.new_target.as_deref()
    }

    /// This route took it, and sends its client there.
    pub(super) fn goes_elsewhere(&mut self, route: Arc<Route>, location: HeaderValue) {
        self.progress = Progress::Elsewhere(route, location);
    }

    /// Where its route sends its client.
    pub(super) fn location(&self) -> Option<&HeaderValue> {
        match &self.progress {
            Progress::Elsewhere(_, location) => Some(location),
            _ => None,
        }
    }

    /// This route took it, and it goes to no service, or was not let in by this one. `fault`: what the log says of that.
    pub(super) fn declined(
        &mut self,
        route: Arc<Route>,
        target: Option<Arc<Target>>,
        fault: Option<&'static str>,
    ) {
        self.progress = Progress::Declined(route, target);
        self.error = fault.map(Cow::Borrowed);
    }

    /// An answer of the gateway's own was sent.
    pub(super) fn was_answered(&mut self, now: Instant) {
        self.ended = Some(now);
    }

    /// It was a tunnel, which has ended.
    pub(super) fn tunnel_ended(&mut self, end: TunnelEnd) {
        self.metrics.tunnel_ended(end.as_str());
        self.tunnel = Some(end);
    }

    /// Why it has ended as a tunnel, if it was one.
    pub(super) fn tunnel(&self) -> Option<TunnelEnd> {
        self.tunnel
    }

    pub(super) fn route(&self) -> Option<&Arc<Route>> {
        match &self.progress {
            Progress::Begun => None,
            Progress::Declined(route, _) | Progress::Elsewhere(route, _) => Some(route),
            Progress::Attempting(attempts) => Some(&attempts.current.way.route),
        }
    }

    /// The service that it goes to, or would have gone to.
    pub(super) fn target(&self) -> Option<&Arc<Target>> {
        match &self.progress {
            Progress::Begun | Progress::Elsewhere(..) => None,
            Progress::Declined(_, target) => target.as_ref(),
            Progress::Attempting(attempts) => Some(&attempts.current.way.target),
        }
    }

    /// The way that it goes, if it was let in.
    pub(super) fn way(&self) -> Option<&Way> {
        self.attempts().map(|attempts| &attempts.current.way)
    }

    /// From its head to the end of its answer. (What the client sends after that may take longer.)
    pub(super) fn took(&self, now: Instant) -> Duration {
        self.ended.unwrap_or(now).saturating_duration_since(self.started)
    }

    /// How much of its whole time is left; none: it has as much as it takes.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        let of_route = self.route()?.timeouts.total;
        // Asked several times by each request, of which most are no calls.
        let total = match self.call.as_ref().and_then(|call| call.time()) {
            Some(Timeout(of_call)) => of_route.map_or(of_call, |total| total.min(of_call)),
            None => of_route?,
        };
        let is_tunnel = self.attempt().is_some_and(Attempt::is_tunnel);
        (!is_tunnel).then(|| total.saturating_sub(now.saturating_duration_since(self.started)))
    }

    /// Whether its whole time is over.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.left(now).is_some_and(|left| left.is_zero())
    }

    /// What it gets when its last attempt came to such an end. None: its client is gone.
    pub(super) fn answer_to_failed(&self, ending: Ending, now: Instant) -> Option<Answer> {
        Answer::to(ending, self.was_silent(), self.is_over(now))
    }

    /// What the last failed attempt died of, or why there was none.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }
}

/// A panic while it is served unwinds through here: it ends this request alone, and is told with its trace id.
impl Drop for Request {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.metrics.panicked();
            tracing::error!(trace_id = self.trace.id(), "a panic ended this request");
        }
    }
}

#[cfg(test)]
mod tests;
