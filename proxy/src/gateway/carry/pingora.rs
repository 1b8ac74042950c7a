//! The carrier for all that Pingora's own proxy carries: its hooks, in the order in which it calls them.

mod connection;
mod cork;
mod head;

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use pingora::{Error, ErrorType, Result};

use crate::causes::plain;
use crate::config::{RouteTimeouts, Timeouts};
use crate::gateway::answer::{self, Answer};
use crate::gateway::attempt::Attempt;
use crate::gateway::cause::{self, Cause};
use crate::gateway::choose::{self, Nobody};
use crate::gateway::door::{check, normalise};
use crate::gateway::request::Request;
use crate::gateway::{Gateway, log};
use crate::site::Route;
use crate::traffic::waiting;
pub(crate) use connection::Connection;
pub(crate) use cork::Cork;

/// The answer of the gateway itself at `/`: the readiness probe of the article's manifests.
const SELF: &str = "gateway";

/// The least time that Pingora's timers know.
const TICK: Duration = Duration::from_millis(10);

/// How long an answer of the gateway's own may wait for the rest of the request's body, which it need not
/// know: a small one is here by then, and the client's connection can be kept.
const REST: Duration = Duration::from_millis(100);

#[async_trait]
impl ProxyHttp for Gateway {
    /// Boxed: Pingora moves it through several nested futures.
    type CTX = Box<Request>;

    fn new_ctx(&self) -> Box<Request> {
        Box::new(Request::new(self.site.get(), self.lifecycle.in_flight(), self.metrics.clone()))
    }

    /// None: the default is a compression module, which costs every request and is off.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, request: &mut Box<Request>) -> Result<bool> {
        self.set_client_timeouts(session, request);
        request.begin(session);
        if let Err(what) = check(session, request.names) {
            return self.answer(session, request, Answer::bad_request(what)).await;
        }
        let head = session.req_header();
        let Some(path) = normalise(head.uri.path()) else {
            let answer = Answer::bad_request("the path climbs above the root or is malformed");
            return self.answer(session, request, answer).await;
        };
        match request.site.route(&path).cloned() {
            Some(route) => {
                // Shorter than the endpoint's, or a client that stalls would be blamed on the endpoint.
                session.set_read_timeout(Some(route.timeouts.body));
                request.route = Some(route);
            }
            None if path == "/" && matches!(head.method, Method::GET | Method::HEAD) => {
                return self.answer_as_itself(session, request).await;
            }
            None => return self.answer(session, request, Answer::NO_ROUTE).await,
        }
        match self.admit(session, request) {
            Ok(()) => Ok(false),
            // Said here, where the client's connection can be kept.
            Err(answer) => self.answer(session, request, answer).await,
        }
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        request: &mut Box<Request>,
    ) -> Result<Box<HttpPeer>> {
        let left = request.left();
        let Some(timeouts) = request.route.as_ref().map(|route| route.timeouts) else {
            return Error::e_explain(ErrorType::InternalError, "a request without a route");
        };
        let tunnel =
            request.names.ask_for_tunnel(session.req_header()).then_some(request.site.timeouts.tunnel);
        let is_distrustful = request.last_cause() == Some(Cause::Closed);
        let policy = head::policy(request.names);
        let whole = request.site.timeouts;
        let peer = request
            .begin_attempt()
            .map(|attempt| Self::peer(&whole, attempt, &timeouts, left, tunnel, policy));
        match peer {
            Some(peer) if is_distrustful => Ok(on_new_connection(peer)),
            Some(peer) => Ok(peer),
            None => Error::e_explain(ErrorType::InternalError, "a request without an endpoint"),
        }
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _: &HttpPeer,
        request: &mut Box<Request>,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let cause = if request.is_over() { Cause::Total } else { Cause::of_connect(&error) };
        request.failed(&error, cause);
        // Nothing was sent: safe for any method.
        error.set_retry(self.try_again(session, request, cause));
        error
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        reused: bool,
        _: &HttpPeer,
        connection: RawFd,
        _: Option<&Digest>,
        request: &mut Box<Request>,
    ) -> Result<()> {
        let since = session.as_mut().is_body_empty().then(Instant::now);
        let may_be_torn = since.is_some() && request.names.ask_for_tunnel(session.req_header());
        request.cork = may_be_torn.then(|| Cork::new(connection)).flatten();
        let wait = wait(session, request, since);
        if let Some(attempt) = &mut request.attempt {
            attempt.connected(reused, connection, wait);
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        head: &mut RequestHeader,
        request: &mut Box<Request>,
    ) -> Result<()> {
        head::prepare(head, request)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        _: &mut Option<Bytes>,
        is_end: bool,
        request: &mut Box<Request>,
    ) -> Result<()> {
        if request.is_over() {
            return Err(Error::explain(ErrorType::ReadTimedout, "the request's time is over").into_down());
        }
        if is_end {
            request.cork.take().into_iter().for_each(Cork::release);
            let now = Instant::now();
            let wait = request.is_upload().then(|| wait(session, request, Some(now)));
            if let Some(attempt) = &mut request.attempt {
                attempt.sent(wait, now);
            }
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        request: &mut Box<Request>,
    ) -> Result<()> {
        let status = answer.status;
        let is_final = !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS;
        request.is_tunnel = status == StatusCode::SWITCHING_PROTOCOLS;
        if let Some(attempt) = &mut request.attempt {
            let now = Instant::now();
            if is_final { attempt.answered(status.as_u16(), now) } else { attempt.heard(now) }
        }
        if !is_final {
            return Ok(());
        }
        let is_tried_elsewhere =
            request.route.as_ref().is_some_and(|route| route.retry.statuses.contains(&status.as_u16()));
        if !is_tried_elsewhere || !answer::may_repeat(session) {
            return Ok(());
        }
        let error = Error::explain(ErrorType::HTTPStatus(status.as_u16()), "tried elsewhere").into_up();
        request.failed(&error, Cause::Status);
        if self.try_again(session, request, Cause::Status) {
            return Err(error);
        }
        // Then this is the answer.
        request.keep_answer();
        Ok(())
    }

    fn upstream_response_body_filter(
        &self,
        _: &mut Session,
        _: &mut Option<Bytes>,
        _: bool,
        request: &mut Box<Request>,
    ) -> Result<Option<Duration>> {
        if request.is_over() {
            return Err(Error::explain(ErrorType::ReadTimedout, "the request's time is over").into_up());
        }
        if let Some(attempt) = &mut request.attempt {
            attempt.went_on(Instant::now());
        }
        Ok(None)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        request: &mut Box<Request>,
        _reused: bool,
    ) -> Box<Error> {
        if request.is_next {
            // The next attempt was chosen when the status came.
            error.set_retry(true);
            return error;
        }
        let is_over = request.is_over();
        let Some(attempt) = &mut request.attempt else { return error };
        let cause = Cause::of_exchange(&error, attempt);
        let cause = if is_over { Cause::Total } else { cause };
        let is_lost = matches!(cause, Cause::Broken | Cause::Closed | Cause::Stalled)
            && cause::nothing_came(&error, attempt)
            && answer::may_repeat(session);
        request.failed(&error, cause);
        if !is_lost {
            error.set_retry(false);
            return error;
        }
        let mut again = self.try_again(session, request, cause);
        if !again && cause == Cause::Closed {
            // It says nothing against the endpoint, and there is no other.
            request.forgive();
            again = self.try_again(session, request, cause);
        }
        error.set_retry(again);
        error
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        request: &mut Box<Request>,
    ) -> Result<()> {
        if self.lifecycle.is_closing() {
            session.set_keepalive(None);
        }
        head::strip_hop_by_hop(answer);
        if answer.status == StatusCode::SWITCHING_PROTOCOLS {
            session.set_read_timeout(Some(request.site.timeouts.tunnel));
        }
        if session.req_header().version == Version::HTTP_10
            && answer.remove_header(&header::TRANSFER_ENCODING).is_some()
        {
            // HTTP/1.0 knows no chunks: the answer ends with the connection.
            session.set_keepalive(None);
        }
        answer.insert_header(request.site.trace_header.clone(), request.trace.id_value())?;
        Ok(())
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        request: &mut Box<Request>,
    ) -> FailToProxy {
        let answer = Answer::to(error, request);
        if let Some(answer) = answer.filter(|_| final_status(session).is_none()) {
            session.set_keepalive(None);
            // A client that is gone by now needs no answer.
            let _ = self.send(session, request, answer).await;
        }
        FailToProxy { error_code: answer.map_or(0, |a| a.status), can_reuse_downstream: false }
    }

    /// Failures are told by the access log, once.
    fn suppress_error_log(&self, _: &Session, _: &Box<Request>, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Box<Request>,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, request: &mut Box<Request>) {
        let took = request.took();
        if error.is_none()
            && let Some(attempt) = &mut request.attempt
        {
            attempt.succeeded(Instant::now());
        }
        let status = final_status(session).unwrap_or(0);
        let metrics = request.route.as_ref().map_or(&self.unrouted, |route| &route.metrics);
        metrics.answered(status, took);
        self.log(session, error, request, status, took);
    }
}

impl Gateway {
    /// Pingora lets a client's connection live for ever from its first request on, so this is said at each.
    fn set_client_timeouts(&self, session: &mut Session, request: &Request) {
        let timeouts = &request.site.timeouts;
        if self.lifecycle.is_closing() {
            session.set_keepalive(None);
        } else if session.get_keepalive().is_some() {
            session.set_keepalive(Some(timeouts.keepalive.as_secs()));
        }
        session.set_read_timeout(Some(timeouts.body));
        session.set_write_timeout(Some(timeouts.write));
        // Without it, a client that sends its next request early loses the one in flight.
        session.as_mut().set_pipelining_enabled(true);
    }

    /// Answers without an endpoint, at once: a body that takes its time is not waited for.
    async fn answer(&self, session: &mut Session, request: &mut Request, answer: Answer) -> Result<bool> {
        if !answer.leaves_body(session) || !has_ended(session, REST).await {
            session.set_keepalive(None);
        }
        request.declined(answer);
        self.send(session, request, answer).await?;
        Ok(true)
    }

    /// Sends an answer of the gateway's own. A connection that is to be closed then is not while the client
    /// still sends: that could undo the answer on its way.
    async fn send(&self, session: &mut Session, request: &mut Request, answer: Answer) -> Result<()> {
        // The service is done with the request, however long its client takes.
        request.permit = None;
        answer.send(session, request).await?;
        request.ended = Some(Instant::now());
        if answer.leaves_body(session) {
            has_ended(session, request.site.timeouts.body).await;
        }
        Ok(())
    }

    async fn answer_as_itself(&self, session: &mut Session, request: &Request) -> Result<bool> {
        let ready = self.lifecycle.is_ready(&self.directory);
        let mut head = ResponseHeader::build(if ready { 200 } else { 503 }, Some(4))?;
        head.insert_header(header::CONTENT_TYPE, "text/plain")?;
        head.insert_header(header::CONTENT_LENGTH, SELF.len())?;
        head.insert_header(request.site.trace_header.clone(), request.trace.id_value())?;
        session.write_response_header(Box::new(head), false).await?;
        session.write_response_body(Some(Bytes::from_static(SELF.as_bytes())), true).await?;
        Ok(true)
    }

    /// Lets a request in, and chooses its first endpoint.
    fn admit(&self, session: &Session, request: &mut Request) -> std::result::Result<(), Answer> {
        let Some(route) = request.route.clone() else { return Ok(()) };
        if request.hops.are_too_many() {
            route.metrics.looped();
            return Err(Answer::LOOP);
        }
        if self.lifecycle.requests_in_flight() > request.site.max_requests {
            route.metrics.limited("gateway");
            return Err(Answer::FULL_GATEWAY);
        }
        if route.counts_requests {
            request.permit = route.service.in_flight().try_acquire(route.limits.service);
            if request.permit.is_none() {
                route.metrics.limited("service");
                return Err(Answer::FULL_SERVICE);
            }
        }
        let now = Instant::now();
        match choose::attempt(session, request, &route, now) {
            Ok(attempt) => request.target(attempt),
            Err(Nobody::Full) => {
                route.metrics.limited("endpoint");
                return Err(Answer::FULL_ENDPOINTS);
            }
            Err(Nobody::There) => {
                return Err(Answer::no_endpoint(&self.directory, &route.service));
            }
        }
        // What was declined is no load of which retries could be a part.
        route.health.budget.request(now);
        Ok(())
    }

    /// All of its times end with the request's own, but for those within the tunnel that it may become: `tunnel`
    /// is how long that may be silent. (Until then, who waits for the first byte is broken off in time.)
    fn peer(
        whole: &Timeouts,
        attempt: &Attempt,
        timeouts: &RouteTimeouts,
        left: Option<Duration>,
        tunnel: Option<Duration>,
        policy: HttpUpstreamRequestPolicy,
    ) -> Box<HttpPeer> {
        // Pingora's timers tick every 10 ms, and take none for "at once".
        let clamp = |time: Duration| left.map_or(time, |left| time.min(left).max(TICK));
        let mut peer = attempt.connection.peer();
        let write = whole.write;
        let (read, write) = match tunnel {
            Some(silence) => (silence, write),
            None => (clamp(timeouts.idle), clamp(write)),
        };
        peer.options.connection_timeout = Some(clamp(timeouts.connect));
        peer.options.read_timeout = Some(read);
        peer.options.write_timeout = Some(write);
        peer.options.idle_timeout = Some(whole.pool);
        peer.options.http_upstream_request_policy = policy;
        peer
    }

    /// Goes on to another attempt, if there may be one; notes why.
    fn try_again(&self, session: &Session, request: &mut Request, cause: Cause) -> bool {
        let Some(route) = request.route.clone().filter(|_| request.has_attempts_left()) else { return false };
        let now = Instant::now();
        let Ok(next) = choose::attempt(session, request, &route, now) else { return false };
        // The budget keeps retries from being load on top of load. A connect that was refused was no load:
        // nobody has begun with the request, and who gets it next serves it once. That is free, so that the
        // dead of a large restart cost nobody a request; but not where the next is known to fail as well,
        // or with all of them dead each request would knock at three doors. A connect that timed out is not
        // free: it has cost time, and a full queue of connections is what overload looks like.
        let is_free = cause == Cause::Refused && !next.doubted;
        if !is_free && !route.health.budget.retry(&route.budget, now) {
            route.metrics.retry_denied();
            return false;
        }
        route.metrics.retried(cause.as_str());
        request.target(next);
        true
    }
}

impl Gateway {
    fn log(&self, session: &Session, error: Option<&Error>, request: &Request, status: u16, took: Duration) {
        let head = session.req_header();
        let error = error.map(plain);
        let line = log::Line {
            trace_id: request.trace.id(),
            client: request.client.to_str().unwrap_or_default(),
            method: head.method.as_str(),
            path: head.uri.path(),
            status,
            service: request.route.as_ref().map(|r| &**r.service.name()),
            endpoint: request.attempt.as_ref().map(|attempt| &*attempt.endpoint),
            attempts: request.attempts(),
            failed: request.failures(),
            sent: session.body_bytes_sent(),
            took,
            endpoint_took: request.attempt.as_ref().and_then(|attempt| attempt.took()),
            error: error.as_deref().or(request.last_error()),
        };
        line.write(&self.output);
    }
}

/// Reads the rest of the request's body, for so long at most. Whether that was all of it.
async fn has_ended(session: &mut Session, limit: Duration) -> bool {
    session.set_total_drain_timeout(Some(limit));
    session.drain_request_body().await.is_ok()
}

/// How a request waits that was sent whole at this time; none: it is still being sent.
fn wait(session: &Session, request: &Request, since: Option<Instant>) -> waiting::Request {
    let patience = request.route.as_ref().map_or(Duration::MAX, |route| route.timeouts.first_byte);
    let patience = request.left().map_or(patience, |left| patience.min(left));
    waiting::Request { since, patience, repeatable: since.is_some() && can_move(session, request) }
}

/// Whether a request can go elsewhere if its endpoint stalls. Otherwise it is better off where it is: the
/// answer may still come.
fn can_move(session: &Session, request: &Request) -> bool {
    let asked = request.tried().len() + 1;
    let has_another = |route: &Arc<Route>| route.service.endpoints().entries().len() > asked;
    answer::may_repeat(session)
        && request.has_attempts_left()
        && request.route.as_ref().is_some_and(has_another)
}

/// Where one kept connection was closed, others may be: a request must not spend its attempts on them. The
/// key is in no pool, so the connection is a new one; nobody will look for it there, so it is not kept.
fn on_new_connection(mut peer: Box<HttpPeer>) -> Box<HttpPeer> {
    peer.group_key = fastrand::u64(..) | 1 << 63;
    peer.options.idle_timeout = Some(Duration::ZERO);
    peer
}

/// The status that the client was answered with; a 100 or 103 is no answer yet.
fn final_status(session: &Session) -> Option<u16> {
    let head = session.response_written()?;
    let is_final = !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS;
    is_final.then(|| head.status.as_u16())
}
