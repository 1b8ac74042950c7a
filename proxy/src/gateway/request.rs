//! What a request carries along, from its head to its line in the log.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Method, Version, header};

use super::answer::Answer;
use super::attempt::{Attempt, Chosen};
use super::cause::{Cause, Ending};
use super::entry::FieldsFound;
use super::grpc::{Call, End, Form, Kind, Timeout};
use super::hops::Hops;
use super::origin::{Arrival, Origin};
use super::retry::{self, Reach, Replay, Tries};
use super::text::IpText;
use super::trace::Trace;
use super::tunnel_end::TunnelEnd;
use crate::config::ATTEMPTS;
use crate::directory::Endpoint;
use crate::grpc::Status;
use crate::head::Head;
use crate::metrics::Metrics;
use crate::site::{Asked, Common, Route, Site, Target, Way};
use crate::traffic::in_flight::Permit;
use crate::traffic::waiting::{Interrupt, Wait};

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

/// The attempts of a request.
#[derive(Debug)]
struct Attempts {
    /// The current one, or the last one.
    current: Attempt,
    begun: u8,
    /// Those that failed, in order.
    failed: Vec<FailedAttempt>,
    /// The endpoints that are not chosen again, by id.
    tried: Tried,
    /// The request's place among the service's, until the service is done with it.
    permit: Option<Permit>,
    /// The endpoint at which its client was before, if that was well when the request was let in.
    home: Option<Arc<Endpoint>>,
}

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct FailedAttempt {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) cause: Cause,
}

/// Endpoints that are not chosen again, by id: as many as there can be attempts.
#[derive(Debug, Default)]
struct Tried {
    ids: [u64; ATTEMPTS],
    count: usize,
}

impl Tried {
    fn add(&mut self, id: u64) {
        if let Some(slot) = self.ids.get_mut(self.count) {
            *slot = id;
            self.count += 1;
        }
    }

    fn forget_last(&mut self) {
        self.count = self.count.saturating_sub(1);
    }

    fn ids(&self) -> &[u64] {
        self.ids.get(..self.count).unwrap_or_default()
    }
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

    /// This route has taken it. That makes a call of one of gRPC-Web, if the route has such go on; and a call whose time
    /// nobody can read gets this answer.
    pub(super) fn is_taken_by(&mut self, route: &Route, head: &impl Head) -> Result<(), Answer> {
        if route.grpc_web && self.fields.call == Kind::Web {
            self.call = Some(Box::new(Call::new(head.values(&GRPC_TIMEOUT), true)));
        }
        // Servers say INTERNAL to it, which is what a 400 means in gRPC: that an argument is invalid, only what is called
        // says. Without its time the call would wait for longer than its client does.
        let is_readable = self.call.as_ref().is_none_or(|call| call.timeout.is_ok());
        if is_readable { Ok(()) } else { Err(Answer::BAD_TIMEOUT) }
    }

    /// It goes on as it came, and its answer comes back so: it is no call if it came as one of gRPC-Web. So it is where its
    /// instance speaks HTTP/1, which has no calls of gRPC and may have those, and where its carrier knows nothing of them.
    pub(super) fn goes_untranslated(&mut self) {
        self.call.take_if(|call| call.is_web);
    }

    /// Whether it is a call of gRPC: be it one of gRPC-Web that its route has go on.
    pub(super) fn is_call(&self) -> bool {
        self.call.is_some()
    }

    /// Whether it needs an instance that speaks HTTP/2, if nobody says otherwise.
    pub(super) fn is_grpc(&self) -> bool {
        self.is_call() || self.fields.call == Kind::Grpc
    }

    /// How it is written, if it is a call of gRPC-Web that goes on as gRPC. `head`: as it came from the client.
    pub(super) fn web_form<'h>(&self, head: &'h impl Head) -> Option<Form<'h>> {
        self.call.as_ref().filter(|call| call.is_web)?;
        head.value(&header::CONTENT_TYPE).and_then(Form::of)
    }

    /// What is known of how the call has ended, of which its endpoint was told before.
    pub(super) fn call_came_to(&mut self, end: End) {
        if let Some(call) = &mut self.call {
            call.end = Some(end);
        }
    }

    /// The trailers of the answer are here, or it has ended without them: the call has ended so.
    pub(super) fn call_ended(&mut self, end: End, now: Instant) {
        self.call_came_to(end);
        if let Some(attempt) = self.attempt_mut() {
            attempt.ended_call(end.status, now);
        }
    }

    /// How the call has ended whose client got this status of HTTP, or left before it did (0).
    pub(super) fn grpc_status(&self, status: u16) -> Status {
        let is_clients = || self.failures().last().is_some_and(|failed| failed.cause == Cause::Client);
        match self.call_end() {
            Some(end) => end.status,
            None if status == 0 || is_clients() => Status::Cancelled,
            None => Status::Unknown,
        }
    }

    /// How the call has ended, as far as that is known.
    pub(super) fn call_end(&self) -> Option<End> {
        self.call.as_ref()?.end
    }

    /// What is wrong with the answer to the call, if something is.
    pub(super) fn call_fault(&self) -> Option<&'static str> {
        self.call_end()?.fault
    }

    /// What the instance is told of the call's time: what is left of it. None: its client has said nothing of it.
    pub(super) fn call_timeout(&self, now: Instant) -> Option<String> {
        self.call.as_ref()?.time()?;
        self.left(now).map(|left| Timeout(left).value())
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

    /// It is let in on this way, and this is the endpoint of its first attempt. `permit` is its place among the
    /// service's requests.
    pub(super) fn admitted(&mut self, way: Way, chosen: Chosen, permit: Permit, now: Instant) {
        self.progress = Progress::Attempting(Attempts {
            current: Attempt::new(chosen, way, now),
            begun: 0,
            failed: Vec::new(),
            tried: Tried::default(),
            permit: Some(permit),
            home: None,
        });
    }

    /// Its client was at this endpoint before, which was well when the request was let in.
    pub(super) fn has_home(&mut self, endpoint: Arc<Endpoint>) {
        if let Some(attempts) = self.attempts_mut() {
            attempts.home = Some(endpoint);
        }
    }

    /// Begins the attempt that was chosen. None: there is none to begin.
    pub(super) fn begin_attempt(&mut self) -> Option<&Attempt> {
        let attempts = self.attempts_mut()?;
        if !attempts.current.begin() {
            return None;
        }
        attempts.begun = attempts.begun.saturating_add(1);
        Some(&attempts.current)
    }

    /// The current attempt has a connection; `interrupt` is how it is broken off while it waits.
    /// `since`: when the request was sent whole; none: it is still being sent.
    pub(super) fn connected(
        &mut self,
        reused: bool,
        interrupt: Interrupt,
        since: Option<Instant>,
        replay: Replay,
        now: Instant,
    ) {
        let wait = self.waits(since, replay, now);
        if let Some(attempt) = self.attempt_mut() {
            attempt.connected(reused, interrupt, wait);
        }
    }

    /// It was sent whole.
    pub(super) fn sent(&mut self, replay: Replay, now: Instant) {
        let is_upload = self.attempt().is_some_and(Attempt::is_upload);
        let wait = is_upload.then(|| self.waits(Some(now), replay, now));
        if let Some(attempt) = self.attempt_mut() {
            attempt.sent(wait, now);
        }
    }

    /// The current attempt came to such an end; unless the client was to blame, its endpoint is not chosen again for
    /// this request. Says why, and how far it had come. None: there is no attempt.
    pub(super) fn failed(
        &mut self,
        ending: Ending,
        error: Cow<'static, str>,
        now: Instant,
    ) -> Option<(Cause, Reach)> {
        let is_over = self.is_over(now);
        let attempts = self.attempts_mut()?;
        let (cause, reach) = attempts.current.failed(ending, is_over, now);
        attempts.note(cause);
        self.error = Some(error);
        Some((cause, reach))
    }

    /// The current attempt was answered with a status that is tried elsewhere. Its answer may be used yet.
    pub(super) fn answered_with_failure(&mut self) {
        if let Some(attempts) = self.attempts_mut() {
            attempts.note(Cause::Status);
        }
    }

    /// That answer is used.
    pub(super) fn keep_answer(&mut self) {
        if let Some(attempts) = self.attempts_mut() {
            attempts.tried.forget_last();
            attempts.failed.pop();
        }
    }

    /// Another attempt follows one that was answered with such a status.
    pub(super) fn died_of(&mut self, error: String) {
        self.error = Some(Cow::Owned(error));
    }

    /// The next attempt is to be on this endpoint.
    pub(super) fn goes_to(&mut self, chosen: Chosen, on_new_connection: bool, now: Instant) {
        if let Some(attempts) = self.attempts_mut() {
            let way = attempts.current.way.clone();
            attempts.current = Attempt::new(chosen, way, now);
            attempts.current.on_new_connection = on_new_connection;
        }
    }

    /// The endpoint of the attempt that failed may be chosen again after all.
    pub(super) fn forgive(&mut self) {
        if let Some(attempts) = self.attempts_mut() {
            attempts.tried.forget_last();
        }
    }

    /// An answer of the gateway's own begins to be sent: the service is done with the request, however long its client
    /// takes.
    pub(super) fn leaves_service(&mut self) {
        if let Some(attempts) = self.attempts_mut() {
            attempts.permit = None;
        }
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

    /// The current attempt, or the last one.
    pub(super) fn attempt(&self) -> Option<&Attempt> {
        self.attempts().map(|attempts| &attempts.current)
    }

    pub(super) fn attempt_mut(&mut self) -> Option<&mut Attempt> {
        self.attempts_mut().map(|attempts| &mut attempts.current)
    }

    pub(super) fn home(&self) -> Option<&Arc<Endpoint>> {
        self.attempts()?.home.as_ref()
    }

    /// The endpoints that are not chosen again.
    pub(super) fn tried(&self) -> &[u64] {
        self.attempts().map(|attempts| attempts.tried.ids()).unwrap_or_default()
    }

    /// What bounds its attempts.
    pub(super) fn tries(&self, now: Instant) -> Tries {
        Tries {
            begun: self.attempts_begun().into(),
            permitted: self.route().map_or(0, |route| route.retry.attempts),
            is_over: self.is_over(now),
        }
    }

    /// How it waits for the head of its answer if it was sent whole at this time; none: it is still being sent.
    fn waits(&self, since: Option<Instant>, replay: Replay, now: Instant) -> Wait {
        let patience = self.route().map_or(Duration::MAX, |route| route.timeouts.first_byte);
        let patience = self.left(now).map_or(patience, |left| patience.min(left));
        let asked = self.tried().len() + 1;
        let has_another =
            || self.target().is_some_and(|target| target.service.endpoints().entries().len() > asked);
        let repeatable = since.is_some() && retry::may_move(replay, self.tries(now), has_another);
        Wait { since, patience, repeatable }
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

    /// Whether the last failed attempt was broken off because nothing came.
    pub(super) fn was_silent(&self) -> bool {
        let last = self.failures().last();
        last.is_some_and(|failed| matches!(failed.cause, Cause::FirstByte | Cause::Stalled))
    }

    pub(super) fn attempts_begun(&self) -> u8 {
        self.attempts().map_or(0, |attempts| attempts.begun)
    }

    /// The attempts that failed, in order.
    pub(super) fn failures(&self) -> &[FailedAttempt] {
        self.attempts().map(|attempts| &attempts.failed[..]).unwrap_or_default()
    }

    /// What the last failed attempt died of, or why there was none.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    fn attempts(&self) -> Option<&Attempts> {
        match &self.progress {
            Progress::Attempting(attempts) => Some(attempts),
            Progress::Begun | Progress::Declined(..) | Progress::Elsewhere(..) => None,
        }
    }

    fn attempts_mut(&mut self) -> Option<&mut Attempts> {
        match &mut self.progress {
            Progress::Attempting(attempts) => Some(attempts),
            Progress::Begun | Progress::Declined(..) | Progress::Elsewhere(..) => None,
        }
    }
}

impl Attempts {
    /// Notes that the current attempt has failed.
    fn note(&mut self, cause: Cause) {
        let endpoint = self.current.endpoint.clone();
        if cause != Cause::Client {
            self.tried.add(endpoint.id);
        }
        self.failed.push(FailedAttempt { endpoint, cause });
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
mod tests {
    use super::*;
    use crate::gateway::fixture::{Fixture, NOWHERE, Setup, from, get};
    use crate::head::tests::head;
    use crate::traffic::in_flight::InFlight;

    const MS: Duration = Duration::from_millis(1);
    const SAFE: Replay = Replay { idempotent: true, whole: true, unanswered: true };

    /// A service whose requests may take 400 ms, and a request whose first attempt has begun.
    fn within_400_ms(endpoints: u8) -> (Fixture, Request, Instant) {
        let fixture = Setup { total: Some(400 * MS), ..Setup::of(endpoints) }.build();
        let request = fixture.sent_to(0);
        let started = request.started;
        (fixture, request, started)
    }

    #[test]
    fn a_request_that_was_not_let_in_has_nothing_to_begin_and_nothing_to_lose() {
        let fixture = Setup::of(1).build();
        let mut request = fixture.request();
        let later = Instant::now() + Duration::from_secs(1_000);
        for _ in 0..2 {
            assert!(request.begin_attempt().is_none() && request.attempt_mut().is_none());
            assert!(request.failed(Ending::Fault, "as it was".into(), later).is_none());
            assert_eq!(
                (request.attempts_begun(), request.failures().len(), request.tried()),
                (0, 0, &[][..])
            );
            assert!(!request.is_over(later), "nothing bounds it");
            request.declined(fixture.way.route.clone(), None, Some("too many"));
        }
        assert_eq!(request.error(), Some("too many"));
    }

    #[test]
    fn a_request_knows_its_client_by_one_name() {
        let fixture = Setup::of(1).build();
        let mut request = fixture.request();
        request.begin(&get(), from("::ffff:192.0.2.7"));
        assert_eq!(request.client.as_str(), "192.0.2.7", "as it is known where IPv6 is not spoken");
        request.begin(&get(), NOWHERE);
        assert_eq!(request.trace.id().len(), 32);
    }

    #[test]
    fn an_endpoint_that_failed_is_not_chosen_again_and_one_whose_client_left_is_not_held_against_it() {
        let fixture = Setup::of(2).build();
        let mut request = fixture.sent_to(0);
        request.failed(Ending::Refused, "refused".into(), fixture.now);
        assert_eq!(request.tried(), [fixture.endpoint(0).id]);
        request.goes_to(fixture.chosen(1), false, fixture.now);
        assert!(request.begin_attempt().is_some() && request.begin_attempt().is_none());
        request.failed(Ending::ClientLeft, "left".into(), fixture.now);
        assert_eq!(request.tried(), [fixture.endpoint(0).id]);
        let causes: Vec<_> = request.failures().iter().map(|failed| failed.cause).collect();
        assert_eq!(causes, [Cause::Refused, Cause::Client]);
        assert_eq!((request.attempts_begun(), request.error()), (2, Some("left")));
        request.forgive();
        assert!(request.tried().is_empty());
    }

    #[test]
    fn an_answer_that_is_used_after_all_leaves_what_failed_before_it() {
        let fixture = Setup::of(2).build();
        let mut request = fixture.sent_to(0);
        request.failed(Ending::Refused, "refused".into(), fixture.now);
        request.goes_to(fixture.chosen(1), false, fixture.now);
        request.begin_attempt();
        request.attempt_mut().unwrap().answered(503, fixture.now);
        request.answered_with_failure();
        assert_eq!(request.failures().len(), 2);
        request.keep_answer();
        assert_eq!(request.failures().len(), 1);
        assert_eq!(request.error(), Some("refused"));
    }

    #[test]
    fn the_whole_time_bounds_a_request_until_it_is_a_tunnel() {
        let (_fixture, mut request, started) = within_400_ms(1);
        assert_eq!(request.left(started + 100 * MS), Some(300 * MS));
        assert!(!request.is_over(started + 399 * MS) && request.is_over(started + 400 * MS));
        let Tries { begun, permitted, is_over } = request.tries(started + 400 * MS);
        assert_eq!((begun, permitted, is_over), (1, 3, true));
        request.attempt_mut().unwrap().answered(101, started);
        assert_eq!(request.left(started + 1_000 * MS), None);
    }

    /// A call with these fields, whose first attempt has begun.
    fn call(fixture: &Fixture, fields: &[(&'static str, &[u8])]) -> Request {
        let mut request = fixture.sent_to(0);
        request.begin(&head(Method::POST, "/shop.v1.Goods/List", fields).over_http2(), NOWHERE);
        request
    }

    #[test]
    fn a_calls_own_time_bounds_it_as_its_routes_does_and_goes_on_as_what_is_left_of_it() {
        let grpc = ("content-type", &b"application/grpc"[..]);
        for (total, timeout, left, goes_on) in [
            (None, None, None, None),
            (Some(400), None, Some(300), None),
            (None, Some("2S"), Some(1_900), Some("1900000u")),
            (Some(400), Some("2S"), Some(300), Some("300000u")),
            (Some(400), Some("150m"), Some(50), Some("50000000n")),
            (Some(400), Some("1n"), Some(0), Some("1n")),
        ] {
            let fixture = Setup { total: total.map(|total| total * MS), ..Setup::of(1) }.build();
            let timeout = timeout.map(|timeout: &str| ("grpc-timeout", timeout.as_bytes()));
            let request = call(&fixture, &[grpc].into_iter().chain(timeout).collect::<Vec<_>>());
            let now = request.started + 100 * MS;
            assert_eq!(request.left(now), left.map(|left| left * MS), "{timeout:?} of {total:?}");
            assert_eq!(request.call_timeout(now).as_deref(), goes_on, "{timeout:?} of {total:?}");
            assert_eq!(request.is_over(now), left == Some(0));
        }
        let fixture = Setup::of(1).build();
        let no_call = call(&fixture, &[("grpc-timeout", b"1n")]);
        assert_eq!(no_call.left(no_call.started), None, "it means nothing to others");
    }

    #[test]
    fn a_call_whose_time_is_malformed_is_declined_by_whatever_route_takes_it() {
        for (content_type, grpc_web, timeout, is_declined) in [
            ("application/grpc", false, "123456789m", true),
            ("application/grpc", false, "12345678m", false),
            ("application/grpc-web", false, "123456789m", false),
            ("application/grpc-web", true, "123456789m", true),
            ("application/json", true, "123456789m", false),
        ] {
            let mut fixture = Setup::of(1).build();
            Arc::get_mut(&mut fixture.way.route).unwrap().grpc_web = grpc_web;
            let fields = [("content-type", content_type.as_bytes()), ("grpc-timeout", timeout.as_bytes())];
            let head = head(Method::POST, "/shop.v1.Goods/List", &fields).over_http2();
            let mut request = fixture.request();
            request.begin(&head, NOWHERE);
            let expected = if is_declined { Err(Answer::BAD_TIMEOUT) } else { Ok(()) };
            assert_eq!(request.is_taken_by(&fixture.way.route, &head), expected, "{content_type} {timeout}");
            assert_eq!(
                request.is_call(),
                content_type != "application/json" && (grpc_web || content_type.ends_with("grpc"))
            );
            assert_eq!(request.web_form(&head).is_some(), grpc_web && content_type.ends_with("web"));
        }
    }

    #[test]
    fn a_call_of_which_nobody_said_how_it_ended_ended_so() {
        let fixture = Setup::of(2).build();
        let mut request = call(&fixture, &[("content-type", b"application/grpc")]);
        assert_eq!(request.grpc_status(200), Status::Unknown);
        assert_eq!(request.grpc_status(0), Status::Cancelled, "it left before it was answered");
        request.failed(Ending::ClientLeft, "left".into(), fixture.now);
        assert_eq!(request.grpc_status(200), Status::Cancelled, "and within its answer");
        request.call_ended(End::of_trailers(None), fixture.now);
        assert_eq!(request.grpc_status(200), Status::Unknown);
        assert!(request.call_fault().is_some());
    }

    #[test]
    fn a_request_waits_for_as_long_as_it_has_and_can_move_where_there_is_somewhere_to_go() {
        for (endpoints, can_move) in [(1, false), (2, true)] {
            let (_fixture, request, started) = within_400_ms(endpoints);
            let now = started + 150 * MS;
            let waits = request.waits(Some(now), SAFE, now);
            assert_eq!((waits.patience, waits.repeatable), (250 * MS, can_move));
            let post = Replay { idempotent: false, ..SAFE };
            assert!(!request.waits(Some(now), post, now).repeatable);
            assert!(!request.waits(None, SAFE, now).repeatable, "it is still being sent");
        }
    }

    #[test]
    fn whoever_was_broken_off_is_told_that_the_endpoint_did_not_answer_in_time() {
        for (cause, status) in [(Cause::Stalled, 504), (Cause::FirstByte, 504), (Cause::Broken, 502)] {
            let fixture = Setup::of(1).build();
            let mut request = fixture.sent_to(0);
            request.attempts_mut().unwrap().note(cause);
            let answer = request.answer_to_failed(Ending::Broke, fixture.now).unwrap();
            assert_eq!(answer.status, status, "{cause:?}");
        }
    }

    #[test]
    fn a_request_that_is_answered_has_left_its_service() {
        let fixture = Setup::of(1).build();
        let in_flight = Arc::new(InFlight::default());
        let mut request = fixture.request();
        let permit = in_flight.try_acquire(None).unwrap();
        request.admitted(fixture.way.clone(), fixture.chosen(0), permit, fixture.now);
        assert_eq!(in_flight.count(), 1);
        request.leaves_service();
        assert_eq!(in_flight.count(), 0);
        request.was_answered(request.started + 5 * MS);
        assert_eq!(request.took(request.started + 900 * MS), 5 * MS, "what comes after is its client's");
    }

    #[test]
    fn a_panic_counts_against_its_request_and_leaves_nothing_in_flight() {
        let fixture = Setup::of(1).build();
        let request = fixture.sent_to(0);
        let serving = std::thread::spawn(move || {
            let _request = request;
            panic!("while serving");
        });
        assert!(serving.join().is_err());
        assert_eq!(fixture.in_flight(), 0);
        assert_eq!(fixture.endpoint(0).traffic.in_flight.count(), 0);
        assert!(fixture.counts("leaseway_panics_total 1"));
    }
}
