//! What a request carries from hook to hook.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use pingora::Error;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::proxy::Session;

use super::answer::Answer;
use super::attempt::Attempt;
use super::carry::Cork;
use super::cause::Cause;
use super::door::Names;
use super::hops::Hops;
use super::text::push_ip;
use super::trace::Trace;
use crate::causes::plain;
use crate::config::ATTEMPTS;
use crate::directory::Endpoint;
use crate::metrics::Metrics;
use crate::site::{Route, Site};
use crate::traffic::in_flight::Permit;

/// A request's state.
#[derive(Debug)]
pub struct Request {
    /// The site that there was when it began.
    pub(super) site: Arc<Site>,
    pub(super) started: Instant,
    /// When an answer of the gateway's own was sent.
    pub(super) ended: Option<Instant>,
    pub(super) names: Names,
    pub(super) trace: Trace,
    /// The gateways that it has come through.
    pub(super) hops: Hops,
    /// The client's address, without its port.
    pub(super) client: HeaderValue,
    pub(super) route: Option<Arc<Route>>,
    /// The current attempt, or the last one.
    pub(super) attempt: Option<Attempt>,
    /// Whether the attempt is one that was not begun yet.
    pub(super) is_next: bool,
    /// An answer that was decided on before it is sent.
    pub(super) answer: Option<Answer>,
    /// Whether it has become a tunnel: then its whole time no longer bounds it.
    pub(super) is_tunnel: bool,
    /// Holds back the head of one that may become a tunnel.
    pub(super) cork: Option<Cork>,
    /// Its place among the service's requests, where they are limited.
    pub(super) permit: Option<Permit>,
    /// The endpoints that failed, by id.
    tried: [u64; ATTEMPTS],
    failures: usize,
    attempts: u8,
    /// The attempts that failed, in order.
    failed: Vec<Failed>,
    last_error: Option<String>,
    metrics: Arc<Metrics>,
    _in_flight: Permit,
}

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub endpoint: Arc<Endpoint>,
    pub cause: Cause,
}

impl Request {
    pub(super) fn new(site: Arc<Site>, in_flight: Permit, metrics: Arc<Metrics>) -> Self {
        Self {
            site,
            started: Instant::now(),
            ended: None,
            names: Names::default(),
            trace: Trace::none(),
            hops: Hops::none(),
            client: HeaderValue::from_static(""),
            route: None,
            attempt: None,
            is_next: false,
            answer: None,
            is_tunnel: false,
            cork: None,
            permit: None,
            tried: [0; ATTEMPTS],
            failures: 0,
            attempts: 0,
            failed: Vec::new(),
            last_error: None,
            metrics,
            _in_flight: in_flight,
        }
    }

    /// Goes on with the client's trace, or begins one.
    pub(super) fn begin(&mut self, session: &Session) {
        let head = session.req_header();
        self.names = Names::of(head, &self.site.trace_header);
        self.trace = Trace::begin(self.names.traceparent(head), || fastrand::u128(..));
        if self.names.cdn_loop {
            self.hops = Hops::of(head);
        }
        if let Some(SocketAddr::Inet(address)) = session.client_addr() {
            let mut client = Vec::with_capacity(40);
            push_ip(&mut client, address.ip().to_canonical());
            // An address holds nothing that a header may not.
            self.client =
                HeaderValue::from_maybe_shared(Bytes::from(client)).unwrap_or(HeaderValue::from_static(""));
        }
    }

    /// The next attempt is to be this one.
    pub(super) fn target(&mut self, attempt: Attempt) {
        self.attempt = Some(attempt);
        self.is_next = true;
    }

    /// Begins the next attempt. None: there is none.
    pub(super) fn begin_attempt(&mut self) -> Option<&Attempt> {
        if !std::mem::take(&mut self.is_next) {
            return None;
        }
        self.attempts = self.attempts.saturating_add(1);
        self.attempt.as_ref()
    }

    /// The current attempt failed; unless the client was to blame, its endpoint is not chosen again for
    /// this request.
    pub(super) fn failed(&mut self, error: &Error, cause: Cause) {
        self.last_error = Some(plain(error));
        let Some(attempt) = &mut self.attempt else { return };
        attempt.failed(cause, Instant::now());
        self.failed.push(Failed { endpoint: attempt.endpoint.clone(), cause });
        if cause == Cause::Client {
            return;
        }
        if let Some(slot) = self.tried.get_mut(self.failures) {
            *slot = attempt.endpoint.id;
            self.failures += 1;
        }
    }

    /// It is answered without an attempt.
    pub(super) fn declined(&mut self, answer: Answer) {
        self.last_error = answer.fault().map(str::to_owned);
    }

    /// The next attempt may go to the same endpoint after all.
    pub(super) fn forgive(&mut self) {
        self.failures = self.failures.saturating_sub(1);
    }

    /// The attempt that was said to have failed is the request's last, and its answer is the answer.
    pub(super) fn keep_answer(&mut self) {
        self.forgive();
        self.failed.pop();
        self.last_error = self.failed.last().map(|failed| failed.cause.as_str().to_owned());
    }

    pub(super) fn tried(&self) -> &[u64] {
        self.tried.get(..self.failures).unwrap_or_default()
    }

    /// Whether it may be attempted again, by the route's count and the request's own time.
    pub(super) fn has_attempts_left(&self) -> bool {
        usize::from(self.attempts) < self.most_attempts() && !self.is_over()
    }

    /// How many attempts its route permits.
    pub(super) fn most_attempts(&self) -> usize {
        self.route.as_ref().map_or(ATTEMPTS, |route| route.retry.attempts)
    }

    /// From its head to the end of its answer. (What the client sends after that may take longer.)
    pub(super) fn took(&self) -> Duration {
        self.ended.map_or_else(|| self.started.elapsed(), |end| end.saturating_duration_since(self.started))
    }

    /// How much of its whole time is left; none: it has as much as it takes.
    pub(super) fn left(&self) -> Option<Duration> {
        let total = self.route.as_ref().filter(|_| !self.is_tunnel)?.timeouts.total?;
        Some(total.saturating_sub(self.started.elapsed()))
    }

    /// Whether its whole time is over.
    pub(super) fn is_over(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// Why the last failed attempt did.
    pub(super) fn last_cause(&self) -> Option<Cause> {
        self.failed.last().map(|failed| failed.cause)
    }

    /// Whether the last failed attempt was broken off because nothing came.
    pub(super) fn was_silent(&self) -> bool {
        matches!(self.last_cause(), Some(Cause::FirstByte | Cause::Stalled))
    }

    /// Whether the current attempt has a body to send.
    pub(super) fn is_upload(&self) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| attempt.upload)
    }

    /// Whether the current attempt has a connection.
    pub(super) fn is_connected(&self) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| attempt.connected)
    }

    pub(super) fn attempts(&self) -> u8 {
        self.attempts
    }

    /// The attempts that failed, in order.
    pub(super) fn failures(&self) -> &[Failed] {
        &self.failed
    }

    /// What the last failed attempt died of, or why there was none.
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
        let request = Request::new(Arc::default(), lifecycle.in_flight(), metrics.clone());
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
}
