//! The way of a request: trace -> head -> route -> service -> endpoint -> answer.
//!
//! The hooks below are in the order in which Pingora calls them. All that a request carries along is in
//! [`Request`].

mod access_log;
mod failure;
mod head;
mod path;
mod request;
mod route;
mod text;
mod trace;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use crate::balance::{self, Choice};
use crate::config::{self, Timeouts};
use crate::directory::{Directory, Endpoint};
use crate::lifecycle::Lifecycle;
use crate::logging::Output;
use crate::metrics::{Metrics, ServiceMetrics};
use failure::Answer;
pub use request::Request;
use route::Routes;

/// The answer of the gateway itself at `/`: the readiness probe of the article's manifests.
const SELF: &str = "gateway";

/// What serves requests.
#[derive(Debug)]
pub struct Gateway {
    routes: Routes,
    directory: Arc<Directory>,
    metrics: Arc<Metrics>,
    /// Of requests that no route takes.
    unrouted: ServiceMetrics,
    lifecycle: Arc<Lifecycle>,
    output: Arc<Output>,
    /// The name, ready to be shared by many heads.
    trace_header: Bytes,
    timeouts: Timeouts,
}

impl Gateway {
    /// A gateway over a directory that was made with the routes' services.
    pub fn new(
        config: &config::Gateway,
        directory: Arc<Directory>,
        metrics: Arc<Metrics>,
        lifecycle: Arc<Lifecycle>,
        output: Arc<Output>,
    ) -> Self {
        Self {
            routes: Routes::new(&config.routes, &directory, &metrics),
            directory,
            unrouted: metrics.service(""),
            metrics,
            lifecycle,
            output,
            trace_header: Bytes::copy_from_slice(config.trace_header.as_str().as_bytes()),
            timeouts: config.timeouts,
        }
    }

    /// Pingora lets a client's connection live for ever from its first request on, so this is said at each.
    fn set_client_timeouts(&self, session: &mut Session) {
        if self.lifecycle.is_closing() {
            session.set_keepalive(None);
        } else if session.get_keepalive().is_some() {
            session.set_keepalive(Some(self.timeouts.keepalive.as_secs()));
        }
        session.set_read_timeout(Some(self.timeouts.body));
        session.set_write_timeout(Some(self.timeouts.write));
        // Without it, a client that sends its next request early loses the one in flight.
        session.as_mut().set_pipelining_enabled(true);
    }

    /// Answers without an endpoint. What is left of the body is read first, or the connection could not be
    /// used again; a client that waits for `100 Continue` never sends it.
    async fn answer(&self, session: &mut Session, request: &mut Request, answer: Answer) -> Result<bool> {
        let expects = session.req_header().headers.contains_key(header::EXPECT);
        if answer.status == 400 || expects {
            session.set_keepalive(None);
        } else {
            session.set_total_drain_timeout(Some(self.timeouts.body));
            if session.drain_request_body().await.is_err() {
                session.set_keepalive(None);
            }
        }
        answer.send(session, request, &self.trace_header).await?;
        Ok(true)
    }

    async fn answer_as_itself(&self, session: &mut Session, request: &Request) -> Result<bool> {
        let ready = self.lifecycle.is_ready(&self.directory);
        let mut head = ResponseHeader::build(if ready { 200 } else { 503 }, Some(4))?;
        head.insert_header(header::CONTENT_TYPE, "text/plain")?;
        head.insert_header(header::CONTENT_LENGTH, SELF.len())?;
        head.insert_header(self.trace_header.clone(), request.trace.id_value())?;
        session.write_response_header(Box::new(head), false).await?;
        session.write_response_body(Some(Bytes::from_static(SELF.as_bytes())), true).await?;
        Ok(true)
    }

    fn peer(&self, endpoint: &Endpoint, is_tunnel: bool) -> Box<HttpPeer> {
        let timeouts = &self.timeouts;
        let silence = if is_tunnel { timeouts.tunnel } else { timeouts.idle };
        let mut peer = Box::new(HttpPeer::new(endpoint.address, false, String::new()));
        peer.group_key = endpoint.id;
        peer.options.connection_timeout = Some(timeouts.connect);
        peer.options.read_timeout = Some(silence);
        peer.options.write_timeout = Some(timeouts.write);
        peer.options.idle_timeout = Some(timeouts.pool);
        peer
    }

    /// Whether a failed attempt leads to another one; notes why.
    fn try_again(&self, request: &Request, reason: &str) -> bool {
        let target = !request.needs_target() || self.choose(request).is_some();
        let left = request.has_attempts_left() && target;
        if left && let Some(route) = &request.route {
            route.metrics.retried(reason);
        }
        left
    }

    fn choose(&self, request: &Request) -> Option<Arc<Endpoint>> {
        let service = &request.route.as_ref()?.service;
        let choice = Choice {
            tried: request.tried(),
            chance: fastrand::u64(..),
            now: Instant::now(),
            key: 0,
            limit: None,
        };
        balance::pick(&service.endpoints(), &choice).map(|entry| entry.endpoint.clone())
    }
}

/// The status that the client was answered with; a 100 or 103 is no answer yet.
fn final_status(session: &Session) -> Option<u16> {
    let head = session.response_written()?;
    let is_final = !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS;
    is_final.then(|| head.status.as_u16())
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// Boxed: Pingora moves it through several nested futures.
    type CTX = Box<Request>;

    fn new_ctx(&self) -> Box<Request> {
        Box::new(Request::new(self.lifecycle.in_flight(), self.metrics.clone()))
    }

    /// None: the default is a compression module, which costs every request and is off.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, request: &mut Box<Request>) -> Result<bool> {
        self.set_client_timeouts(session);
        request.begin(session);
        if let Err(what) = head::check(session) {
            return self.answer(session, request, Answer::bad_request(what)).await;
        }
        let head = session.req_header();
        let Some(path) = path::normalise(head.uri.path()) else {
            let answer = Answer::bad_request("the path climbs above the root or is malformed");
            return self.answer(session, request, answer).await;
        };
        match self.routes.find(&path) {
            Some(route) => request.route = Some(route.clone()),
            None if path == "/" && matches!(head.method, Method::GET | Method::HEAD) => {
                return self.answer_as_itself(session, request).await;
            }
            None => return self.answer(session, request, Answer::NO_ROUTE).await,
        }
        match self.choose(request) {
            Some(endpoint) => request.target(endpoint),
            // Said here, where the client's connection can be kept.
            None => return self.answer(session, request, Answer::NO_ENDPOINT).await,
        }
        Ok(false)
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        request: &mut Box<Request>,
    ) -> Result<Box<HttpPeer>> {
        if request.needs_target() {
            let Some(endpoint) = self.choose(request) else {
                request.answer = Some(Answer::NOT_REACHED);
                return Error::e_explain(ErrorType::ConnectNoRoute, "every endpoint was tried");
            };
            request.target(endpoint);
        }
        request.attempt();
        match &request.endpoint {
            Some(endpoint) => Ok(self.peer(endpoint, head::asks_for_tunnel(session.req_header()))),
            None => Error::e_explain(ErrorType::InternalError, "a request without an endpoint"),
        }
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        request: &mut Box<Request>,
        mut error: Box<Error>,
    ) -> Box<Error> {
        request.failed(&error);
        // Nothing was sent: safe for any method.
        error.set_retry(self.try_again(request, "connect"));
        error
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        _reused: bool,
        _: &HttpPeer,
        _fd: std::os::unix::io::RawFd,
        _: Option<&Digest>,
        request: &mut Box<Request>,
    ) -> Result<()> {
        request.connected = true;
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        head: &mut RequestHeader,
        request: &mut Box<Request>,
    ) -> Result<()> {
        head::prepare(head, request, &self.trace_header)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        request: &mut Box<Request>,
        reused: bool,
    ) -> Box<Error> {
        request.failed(&error);
        let may_retry = failure::may_retry(&error, session);
        if may_retry && reused && self.choose(request).is_none() {
            // The last endpoint had closed an idle connection, which says nothing against the endpoint.
            request.forgive();
        }
        error.set_retry(may_retry && self.try_again(request, "broken"));
        error
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        request: &mut Box<Request>,
    ) -> Result<()> {
        request.answered();
        if self.lifecycle.is_closing() {
            session.set_keepalive(None);
        }
        head::strip_hop_by_hop(answer);
        if answer.status == StatusCode::SWITCHING_PROTOCOLS {
            session.set_read_timeout(Some(self.timeouts.tunnel));
        }
        if session.req_header().version == Version::HTTP_10
            && answer.remove_header(&header::TRANSFER_ENCODING).is_some()
        {
            // HTTP/1.0 knows no chunks: the answer ends with the connection.
            session.set_keepalive(None);
        }
        answer.insert_header(self.trace_header.clone(), request.trace.id_value())?;
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
            let _ = answer.send(session, request, &self.trace_header).await;
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
        let took = request.started.elapsed();
        let status = final_status(session).unwrap_or(0);
        let metrics = request.route.as_ref().map_or(&self.unrouted, |route| &route.metrics);
        metrics.answered(status, took);
        self.log(session, error, request, status, took);
    }
}

impl Gateway {
    fn log(&self, session: &Session, error: Option<&Error>, request: &Request, status: u16, took: Duration) {
        let head = session.req_header();
        let error = error.map(ToString::to_string);
        let line = access_log::Line {
            trace_id: request.trace.id(),
            client: request.client.to_str().unwrap_or_default(),
            method: head.method.as_str(),
            path: head.uri.path(),
            status,
            service: request.route.as_ref().map(|r| &**r.service.name()),
            endpoint: request.endpoint.as_deref(),
            attempts: request.attempts(),
            sent: session.body_bytes_sent(),
            took,
            endpoint_took: request.endpoint_took(),
            error: error.as_deref().or(request.last_error()),
        };
        line.write(&self.output);
    }
}
