//! What a request carries from hook to hook.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource};

use super::failure::Answer;
use super::head;
use super::route::Route;
use super::text::push_ip;
use super::trace::Trace;
use crate::config::ATTEMPTS;
use crate::directory::Endpoint;
use crate::lifecycle::InFlight;
use crate::metrics::Metrics;

/// A request's state.
#[derive(Debug)]
pub struct Request {
    pub(super) started: Instant,
    pub(super) trace: Trace,
    /// The client's address, without its port.
    pub(super) client: HeaderValue,
    pub(super) route: Option<Arc<Route>>,
    /// The endpoint of the current attempt.
    pub(super) endpoint: Option<Arc<Endpoint>>,
    /// Whether the current attempt has a connection.
    pub(super) connected: bool,
    /// An answer that was decided on before it is sent.
    pub(super) answer: Option<Answer>,
    /// The endpoints that failed, by id.
    tried: [u64; ATTEMPTS],
    failures: usize,
    attempts: u8,
    last_error: Option<String>,
    attempted_at: Instant,
    endpoint_took: Option<Duration>,
    metrics: Arc<Metrics>,
    _in_flight: InFlight,
}

impl Request {
    pub(super) fn new(in_flight: InFlight, metrics: Arc<Metrics>) -> Self {
        let now = Instant::now();
        Self {
            started: now,
            trace: Trace::none(),
            client: HeaderValue::from_static(""),
            route: None,
            endpoint: None,
            connected: false,
            answer: None,
            tried: [0; ATTEMPTS],
            failures: 0,
            attempts: 0,
            last_error: None,
            attempted_at: now,
            endpoint_took: None,
            metrics,
            _in_flight: in_flight,
        }
    }

    /// Goes on with the client's trace, or begins one.
    pub(super) fn begin(&mut self, session: &Session) {
        let parent = head::traceparent(session.req_header());
        self.trace = Trace::begin(parent, || fastrand::u128(..));
        if let Some(SocketAddr::Inet(address)) = session.client_addr() {
            let mut client = Vec::with_capacity(40);
            push_ip(&mut client, address.ip().to_canonical());
            // An address holds nothing that a header may not.
            self.client =
                HeaderValue::from_maybe_shared(Bytes::from(client)).unwrap_or(HeaderValue::from_static(""));
        }
    }

    /// The next attempt goes to this endpoint.
    pub(super) fn target(&mut self, endpoint: Arc<Endpoint>) {
        self.endpoint = Some(endpoint);
    }

    /// Whether the current endpoint has failed, or none was chosen yet.
    pub(super) fn needs_target(&self) -> bool {
        let current = self.endpoint.as_ref().map(|e| e.id);
        current.is_none_or(|id| self.tried().contains(&id))
    }

    pub(super) fn attempt(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
        self.connected = false;
        self.attempted_at = Instant::now();
    }

    /// The current attempt failed; unless the client was to blame, its endpoint is not chosen again for
    /// this request.
    pub(super) fn failed(&mut self, error: &Error) {
        self.last_error = Some(error.to_string());
        if *error.esource() == ErrorSource::Downstream {
            return;
        }
        if let (Some(slot), Some(endpoint)) = (self.tried.get_mut(self.failures), &self.endpoint) {
            *slot = endpoint.id;
            self.failures += 1;
        }
    }

    /// The next attempt may go to the same endpoint after all.
    pub(super) fn forgive(&mut self) {
        self.failures = self.failures.saturating_sub(1);
    }

    /// The head of the answer is here.
    pub(super) fn answered(&mut self) {
        self.endpoint_took = Some(self.attempted_at.elapsed());
    }

    pub(super) fn tried(&self) -> &[u64] {
        self.tried.get(..self.failures).unwrap_or_default()
    }

    pub(super) fn has_attempts_left(&self) -> bool {
        usize::from(self.attempts) < ATTEMPTS
    }

    pub(super) fn attempts(&self) -> u8 {
        self.attempts
    }

    pub(super) fn endpoint_took(&self) -> Option<Duration> {
        self.endpoint_took
    }

    /// What the last failed attempt died of.
    pub(super) fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }
}

/// A panic in a hook unwinds through here: it ends this request alone, and is told with its trace id.
impl Drop for Request {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.metrics.panicked();
            tracing::error!(trace_id = self.trace.id(), "a panic ended this request");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Directory;
    use crate::lifecycle::Lifecycle;
    use registry::status::Status;

    #[test]
    fn a_panic_counts_against_its_request_and_leaves_nothing_in_flight() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let lifecycle = Lifecycle::default();
        let mut request = Request::new(lifecycle.in_flight(), metrics.clone());
        request.attempt();
        let serving = std::thread::spawn(move || {
            let _request = request;
            panic!("while serving");
        });
        assert!(serving.join().is_err());
        assert_eq!(lifecycle.requests_in_flight(), 0);
        let text = metrics.render(&Directory::default(), &Status::default(), 0).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("leaseway_panics_total 1"), "{text}");
    }

    #[test]
    fn a_request_has_a_bounded_number_of_attempts() {
        let lifecycle = Lifecycle::default();
        let mut request = Request::new(lifecycle.in_flight(), Arc::new(Metrics::new().unwrap()));
        for _ in 0..ATTEMPTS {
            assert!(request.has_attempts_left());
            request.attempt();
        }
        assert!(!request.has_attempts_left());
    }
}
