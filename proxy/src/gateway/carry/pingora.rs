//! The carrier for all that Pingora's own proxy carries: its hooks, in the order in which it calls them.

mod bodies;
mod connection;
mod cork;
mod detour;
mod ending;
mod head;
mod http2_stream;
mod one_request;
mod peer;
mod streams;
mod upload;

use std::ops::Deref;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use crate::causes::plain;
use crate::gateway::answer::{Answer, REST};
use crate::gateway::cause::Ending;
use crate::gateway::edits::{AnswerEdits, RequestEdits};
use crate::gateway::grammar::is_interim;
use crate::gateway::meaning::{self, Meaning};
use crate::gateway::origin::Arrival;
use crate::gateway::request::Request;
use crate::gateway::retry::Replay;
use crate::gateway::{Gateway, resend};
use crate::metrics::OpenTunnel;
use crate::tls::check_address;
use crate::traffic::waiting::Interrupt;
use connection::Connection;
use cork::Cork;
pub(in crate::gateway) use detour::Detour;
use one_request::OneRequest;
use peer::AttemptTimes;
use upload::{Silence, Witness};

/// How long a client may take to be told that a connection ends: under TLS that is written like any byte.
const SHUTDOWN: Duration = Duration::from_secs(2);

/// A request, and what this carrier has in hand for it.
#[derive(Debug)]
pub(crate) struct Carried {
    request: Request,
    /// The connection that the current attempt opens, if no other is free.
    connection: Option<Connection>,
    /// Holds back the head of a request that may become a tunnel.
    cork: Option<Cork>,
    /// From its 101 on.
    tunnel: Option<OpenTunnel>,
    /// Of a body that its client sends over HTTP/2.
    witness: Option<Witness>,
}

/// Pingora has told of the request before, unless it was let go of.
impl Drop for Carried {
    fn drop(&mut self) {
        if let Some(witness) = self.witness.take() {
            witness.tell(&mut self.request, Instant::now());
        }
    }
}

/// The gateway, as Pingora calls it.
#[derive(Debug)]
pub(in crate::gateway) struct ByPingora(Arc<Gateway>);

impl Deref for ByPingora {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.0
    }
}

const NOT_AGREED: &str = "a 101 that was not asked for, or does not say to which protocol";

#[async_trait]
impl ProxyHttp for ByPingora {
    /// Boxed: Pingora moves it through several nested futures.
    type CTX = Box<Carried>;

    fn new_ctx(&self) -> Box<Carried> {
        Box::new(Carried {
            request: self.request(Instant::now()),
            connection: None,
            cork: None,
            tunnel: None,
            witness: None,
        })
    }

    /// None: the default is a compression module, which costs every request and is off.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, carried: &mut Box<Carried>) -> Result<bool> {
        if session.req_header().version == Version::HTTP_2 {
            head::join_cookies(session.req_header_mut())?;
        }
        carried.witness = Witness::of(&self.0, session.req_header());
        let request = &mut carried.request;
        self.set_client_timeouts(session, request);
        let received = self.receive(request, session.req_header(), arrival(session));
        request.goes_untranslated();
        if let Some(route) = request.route() {
            // Shorter than the endpoint's, or a client that stalls would be blamed on the endpoint.
            session.set_read_timeout(Some(route.timeouts.body));
        }
        match received {
            Ok(()) => Ok(false),
            // Said here, where the client's connection can be kept.
            Err(answer) => answer_at_once(session, request, answer).await.map(|()| true),
        }
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        carried: &mut Box<Carried>,
    ) -> Result<Box<HttpPeer>> {
        let request = &mut carried.request;
        let left = request.left(Instant::now());
        let (site, fields) = (request.common.timeouts, request.fields);
        let may_be_tunnel = head::may_be_tunnel(request, session.req_header());
        let Some(attempt) = request.begin_attempt() else {
            return Error::e_explain(ErrorType::InternalError, "a request has no attempt to begin");
        };
        let times = AttemptTimes { site: &site, route: &attempt.way.route.timeouts, left, may_be_tunnel };
        let connection = carried.connection.insert(Connection::new(attempt.endpoint.clone()));
        let mut peer = peer::peer(
            (connection, attempt.way.target.tls.as_deref()),
            times,
            head::policy(fields, may_be_tunnel),
        );
        if attempt.on_new_connection {
            peer::on_new_connection(&mut peer);
        }
        Ok(peer)
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _: &HttpPeer,
        carried: &mut Box<Carried>,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let again = goes_again(session, carried, &error);
        error.set_retry(again);
        error
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        reused: bool,
        peer: &HttpPeer,
        descriptor: RawFd,
        digest: Option<&Digest>,
        carried: &mut Box<Carried>,
    ) -> Result<()> {
        // Nothing was sent yet: this connection counts as one that was never open.
        let checked = check_address(peer, digest);
        checked.map_err(|error| Error::explain(ErrorType::InvalidCert, error.to_string()).into_up())?;
        let request = &mut carried.request;
        let now = Instant::now();
        let since = session.as_mut().is_body_empty().then_some(now);
        let may_be_tunnel = head::may_be_tunnel(request, session.req_header());
        let is_held_back = may_be_tunnel && since.is_some();
        carried.cork = is_held_back.then(|| Cork::new(descriptor)).flatten();
        if let Some(connection) = carried.connection.as_ref().filter(|_| !reused) {
            connection.opened(descriptor);
        }
        request.connected(reused, Interrupt::Descriptor(descriptor), since, replay(session, request), now);
        if let (Some(witness), Some(route), None) = (&carried.witness, request.route(), since) {
            let (limit, write) = (route.timeouts.body, request.common.timeouts.write);
            witness.upload().awaits(Silence { since: now, limit, write, instance: descriptor });
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        head: &mut RequestHeader,
        carried: &mut Box<Carried>,
    ) -> Result<()> {
        head::prepare(head, &RequestEdits::of(&carried.request, session.req_header(), Instant::now()))
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        _: &mut Option<Bytes>,
        is_end: bool,
        carried: &mut Box<Carried>,
    ) -> Result<()> {
        let request = &mut carried.request;
        let now = Instant::now();
        if request.is_over(now) {
            return Err(over().into_down());
        }
        if let Some(witness) = &mut carried.witness {
            witness.read(is_end, now);
        }
        if is_end {
            carried.cork.take().into_iter().for_each(Cork::release);
            request.sent(replay(session, request), now);
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        carried: &mut Box<Carried>,
    ) -> Result<()> {
        let request = &mut carried.request;
        let (status, now) = (answer.status, Instant::now());
        let is_agreed =
            head::may_be_tunnel(request, session.req_header()) && head::switches_to_websocket(answer);
        if status == StatusCode::SWITCHING_PROTOCOLS && !is_agreed {
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, NOT_AGREED).into_up());
        }
        let (head, status) = (session.req_header(), status.as_u16());
        match meaning::of(request, head, status, replay(session, request), now) {
            Meaning::Elsewhere => {
                Err(Error::explain(ErrorType::HTTPStatus(status), "tried elsewhere").into_up())
            }
            Meaning::Interim | Meaning::Tunnel | Meaning::Answer => Ok(()),
        }
    }

    fn upstream_response_body_filter(
        &self,
        _: &mut Session,
        piece: &mut Option<Bytes>,
        _: bool,
        carried: &mut Box<Carried>,
    ) -> Result<Option<Duration>> {
        let request = &mut carried.request;
        let now = Instant::now();
        if request.is_over(now) {
            return Err(over().into_up());
        }
        if let Some(witness) = &mut carried.witness {
            witness.writes(piece.as_ref().map_or(0, Bytes::len), now);
        }
        if let Some(attempt) = request.attempt_mut() {
            attempt.went_on(now);
        }
        Ok(None)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        carried: &mut Box<Carried>,
        _reused: bool,
    ) -> Box<Error> {
        let again = goes_again(session, carried, &error);
        error.set_retry(again);
        error
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        carried: &mut Box<Carried>,
    ) -> Result<()> {
        let request = &carried.request;
        if self.lifecycle.is_closing() || is_last(session) {
            session.set_keepalive(None);
        }
        head::strip_hop_by_hop(answer);
        if answer.status == StatusCode::SWITCHING_PROTOCOLS {
            session.set_read_timeout(Some(request.common.timeouts.tunnel));
            carried.tunnel = Some(self.metrics.tunnel());
        }
        if session.req_header().version == Version::HTTP_10
            && answer.remove_header(&header::TRANSFER_ENCODING).is_some()
        {
            // HTTP/1.0 knows no chunks: the answer ends with the connection.
            session.set_keepalive(None);
        }
        if let Some(witness) = &mut carried.witness {
            witness.answers(answer.status);
        }
        AnswerEdits::of_instance(request, session.req_header(), answer.status, answer.version).apply(answer)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        carried: &mut Box<Carried>,
    ) -> FailToProxy {
        let ending = carried.ending(error);
        let request = &mut carried.request;
        let answer = request.answer_to_failed(ending, Instant::now());
        if let Some(answer) = answer.filter(|_| final_status(session).is_none()) {
            session.set_keepalive(None);
            // A client that is gone by now needs no answer.
            let _ = send(session, request, answer).await;
        }
        FailToProxy { error_code: answer.map_or(0, |a| a.status), can_reuse_downstream: false }
    }

    /// Failures are told by the access log, once.
    fn suppress_error_log(&self, _: &Session, _: &Box<Carried>, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Box<Carried>,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, carried: &mut Box<Carried>) {
        if carried.tunnel.take().is_some() {
            carried.request.tunnel_ended(ending::of_tunnel(error));
        }
        let error = error.map(plain);
        let answered = (final_status(session).unwrap_or(0), session.body_bytes_sent());
        self.finish(&mut carried.request, session.req_header(), answered, error.as_deref(), Instant::now());
        carried.witness = None;
    }
}

impl Gateway {
    /// Pingora lets a client's connection live for ever from its first request on, so this is said at each.
    fn set_client_timeouts(&self, session: &mut Session, request: &Request) {
        let timeouts = &request.common.timeouts;
        if self.lifecycle.is_closing() || is_last(session) {
            session.set_keepalive(None);
        } else if session.get_keepalive().is_some() {
            session.set_keepalive(Some(timeouts.keepalive.as_secs()));
        }
        session.set_read_timeout(Some(timeouts.body));
        session.set_write_timeout(Some(timeouts.write));
        // Without it, a client that sends its next request early loses the one in flight.
        session.as_mut().set_pipelining_enabled(true);
    }
}

/// As its connection has it: what can be seen of the socket is not who speaks on it.
fn arrival(session: &Session) -> Arrival {
    let arrival = one_request(session).map(OneRequest::arrival);
    let arrival = arrival.or_else(|| Some(&http2_stream::shared(session.as_ref().digest()?)?.arrival));
    arrival.map_or(Arrival::clear(None), Clone::clone)
}

/// Whether this is the last request on its connection.
fn is_last(session: &Session) -> bool {
    one_request(session).is_some_and(OneRequest::is_last)
}

/// None: HTTP/2 is spoken.
fn one_request(session: &Session) -> Option<&OneRequest> {
    session.as_ref().stream()?.as_any().downcast_ref()
}

impl Carried {
    /// How its attempt has ended. An instance that has not got all of a request need not say anything: then its silence is
    /// that of the client, which nothing but [`Upload::stalled`](upload::Upload::stalled) bounds over HTTP/2.
    fn ending(&self, error: &Error) -> Ending {
        let was_connected = self.request.attempt().is_some_and(|attempt| attempt.was_connected());
        let is_unfinished = self.witness.as_ref().is_some_and(|witness| !witness.has_ended());
        match ending::of(error, was_connected) {
            Ending::Silent if is_unfinished && *error.etype() == ErrorType::ReadTimedout => {
                Ending::ClientSilent
            }
            ending => ending,
        }
    }
}

/// Tells the request that its attempt has failed. Whether it has another.
fn goes_again(session: &Session, carried: &mut Carried, error: &Error) -> bool {
    if let Some(witness) = &carried.witness {
        witness.upload().rests();
    }
    let (now, head) = (Instant::now(), session.req_header());
    let failure = (carried.ending(error), plain(error).into());
    let replay = replay(session, &carried.request);
    resend::goes_again(&mut carried.request, head, failure, replay, now)
}

/// What decides whether the request may be sent twice.
fn replay(session: &Session, request: &Request) -> Replay {
    Replay {
        idempotent: request.is_idempotent(&session.req_header().method),
        whole: !session.as_ref().retry_buffer_truncated(),
        unanswered: session.response_written().is_none(),
    }
}

fn over() -> Box<Error> {
    Error::explain(ErrorType::ReadTimedout, "the request's time is over")
}

/// Answers without an endpoint, at once: a body that takes its time is not waited for.
async fn answer_at_once(session: &mut Session, request: &mut Request, answer: Answer) -> Result<()> {
    // Nothing is read for a probe: if it declares a body, Pingora itself closes the connection.
    let is_kept = answer.is_of_itself() || leaves_body(session, answer) && has_ended(session, REST).await;
    if !is_kept {
        session.set_keepalive(None);
    }
    send(session, request, answer).await
}

/// Sends an answer of the gateway's own. A connection that is to be closed then is not while the client
/// still sends: that could undo the answer on its way.
async fn send(session: &mut Session, request: &mut Request, answer: Answer) -> Result<()> {
    request.leaves_service();
    let (head, body) = head::reply(answer, request, session.req_header())?;
    session.write_response_header(Box::new(head), false).await?;
    session.write_response_body(Some(body), true).await?;
    request.was_answered(Instant::now());
    if leaves_body(session, answer) {
        has_ended(session, request.common.timeouts.body).await;
    }
    Ok(())
}

fn leaves_body(session: &Session, answer: Answer) -> bool {
    answer.leaves_body(session.req_header().headers.contains_key(header::EXPECT))
}

/// Reads the rest of the request's body, for so long at most. Whether that was all of it.
async fn has_ended(session: &mut Session, limit: Duration) -> bool {
    session.set_total_drain_timeout(Some(limit));
    session.drain_request_body().await.is_ok()
}

/// The status that the client was answered with; a 100 or 103 is no answer yet.
fn final_status(session: &Session) -> Option<u16> {
    let head = session.response_written()?;
    let status = head.status.as_u16();
    (!is_interim(status)).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::carry::Block;
    use crate::gateway::fixture::{Setup, from, with_certificate};
    use crate::gateway::grammar::{Body, Framing};
    use crate::link::Link;
    use crate::logging::{Form, Output};
    use crate::site::{self, Site};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use upload::Upload;

    /// Whether a client that has sent so much is told that its connection is kept when the gateway answers for itself,
    /// which it does without waiting for anything.
    async fn is_kept(sent: &[u8]) -> bool {
        let (mut client, stream) = tokio::io::duplex(4096);
        client.write_all(sent).await.unwrap();
        let mut session = Session::new_h1(Box::new(stream));
        assert!(session.as_mut().read_request().await.unwrap());
        session.set_keepalive(Some(60));
        let mut request = Setup::of(0).build().request();
        tokio::select! {
            biased;
            answered = answer_at_once(&mut session, &mut request, Answer::itself(true)) => answered.unwrap(),
            () = std::future::ready(()) => panic!("it waits"),
        }
        drop(session);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("gateway"), "{answer}");
        !answer.to_lowercase().contains("connection: close")
    }

    #[tokio::test]
    async fn a_probe_is_answered_at_once_whatever_body_it_declares() {
        assert!(is_kept(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await);
        assert!(!is_kept(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").await);
        assert!(!is_kept(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await);
        assert!(!is_kept(b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await);
    }

    /// The request that Pingora reads from a connection that has come so, and that connection as it sees it.
    async fn session(head: &str, arrival: Arrival) -> (Session, Link) {
        let (link, client) = Link::pair(4096);
        let whole = (head.replace('|', "\r\n").into_bytes(), Body::of(Framing::None));
        let stream = OneRequest::new(link, arrival, whole, Block::default(), false);
        let mut session = Session::new_h1(Box::new(stream));
        assert!(session.as_mut().read_request().await.unwrap());
        (session, client)
    }

    #[tokio::test]
    async fn a_request_has_come_as_its_connection_has() {
        let head = "GET / HTTP/1.1|Host: a|X-Forwarded-Client-Cert: Hash=1|x_forwarded_client_cert: Hash=2||";
        let shown = with_certificate("192.0.2.7", "pay", "spiffe://pay");
        for (came, scheme, ends) in [
            (from("192.0.2.7"), "http", None),
            (Arrival { identity: None, ..shown.clone() }, "https", None),
            (shown, "https", Some(";Subject=\"CN=pay\";URI=spiffe://pay")),
        ] {
            let (session, _client) = session(head, came.clone()).await;
            let found = arrival(&session);
            assert_eq!((found.peer, found.scheme, &found.identity), (came.peer, came.scheme, &came.identity));
            let mut request = Setup::of(1).build().sent_to(0);
            request.begin(session.req_header(), found);
            let mut sent = session.req_header().clone();
            head::prepare(&mut sent, &RequestEdits::of(&request, session.req_header(), request.started))
                .unwrap();
            assert_eq!(sent.headers["x-forwarded-proto"], scheme);
            assert_eq!(sent.headers["x-forwarded-for"], "192.0.2.7");
            assert!(!sent.headers.contains_key("x_forwarded_client_cert"));
            let told: Vec<_> = sent.headers.get_all("x-forwarded-client-cert").iter().collect();
            assert_eq!(told.len(), usize::from(ends.is_some()), "{told:?}");
            let told = told.first().map(|value| value.to_str().unwrap());
            assert!(told.is_none_or(|told| told.ends_with(ends.unwrap())), "{told:?}");
        }
    }

    #[test]
    fn an_instance_that_has_not_got_all_of_a_request_may_be_silent() {
        let fixture = Setup::of(1).build();
        let (site, output) = (Arc::new(site::Current::new(Site::default())), Output::waiting(Form::Json));
        let (directory, metrics) = (fixture.directory.clone(), fixture.metrics.clone());
        let gateway = Arc::new(Gateway::new(site, directory, metrics, Arc::default(), output));
        let mut head = RequestHeader::build("POST", b"/", None).unwrap();
        assert!(Witness::of(&gateway, &head).is_none(), "it did not come over HTTP/2");
        head.extensions_mut().insert(Arc::new(Upload::new(Arc::default())));
        let mut request = fixture.sent_to(0);
        let replay = Replay { idempotent: false, whole: true, unanswered: true };
        request.connected(true, Interrupt::Descriptor(-1), None, replay, fixture.now);
        let witness = Witness::of(&gateway, &head);
        let mut carried = Carried { request, connection: None, cork: None, tunnel: None, witness };
        let (silent, slow) = (ErrorType::ReadTimedout, ErrorType::WriteTimedout);
        let [silent, slow] = [silent, slow].map(|kind| Error::explain(kind, "").into_up());
        for (is_end, expected) in [(false, Ending::ClientSilent), (true, Ending::Silent)] {
            carried.witness.as_mut().unwrap().read(is_end, fixture.now);
            assert_eq!(carried.ending(&silent), expected);
            assert_eq!(carried.ending(&slow), Ending::Silent, "it takes nothing");
        }
    }
}
