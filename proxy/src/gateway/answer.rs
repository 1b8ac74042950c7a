//! The gateway's own answers.

use std::time::Duration;

use super::cause::{Ending, Reset};
use super::error_kind::Kind;
use super::grammar::Refusal;
use crate::directory::Directory;
use crate::site::Target;
use crate::tls::Fault;

/// How long an answer of the gateway's own may wait for the rest of the request's body, which it need not know: a small
/// one is here by then, and the client's connection can be kept.
pub(super) const REST: Duration = Duration::from_millis(100);

/// An answer of the gateway's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    said: Said,
    rest: Rest,
}

/// What is left of a request's body when it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// It comes to an end.
    Known,
    /// Nobody knows where it ends, or whether it comes: the request is not valid, or its client stalls.
    Unknown,
}

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// This text, and no more.
    Plain(&'static str),
    /// `{"code":-1,"message":"...","trace_id":"..."}`. From 502 on, the message names the service before it says what
    /// is wrong there. It names no instance and no address: these are for the log.
    Message(Kind, &'static str),
    /// What the request's route says: it is no error.
    AsRoute,
}

impl Answer {
    pub(super) const NO_ROUTE: Self =
        Self::message(404, Kind::DestinationNotFound, "no route takes this request");
    pub(super) const RESET: Self = Self::reset("the endpoint broke the request off");
    pub(super) const RESET_CANCELLED: Self =
        Self::reset("the endpoint broke the request off: it is not waited for");
    pub(super) const RESET_TOO_MUCH: Self =
        Self::reset("the endpoint broke the request off: it is asked for too much");
    pub(super) const RESET_INSECURE: Self =
        Self::reset("the endpoint broke the request off: what is spoken is not safe enough for it");
    pub(super) const FULL_GATEWAY: Self =
        Self::full("too many requests are in flight in the gateway at the moment");
    pub(super) const FULL_SERVICE: Self =
        Self::full("too many requests of the service are in flight at the moment");
    pub(super) const FULL_ENDPOINTS: Self =
        Self::full("each endpoint that is well has too many requests in flight at the moment");
    pub(super) const LOOP: Self = Self::message(
        508,
        Kind::ProxyLoopDetected,
        "the request has gone through 8 gateways, so it goes round in circles",
    );
    pub(super) const REDIRECT_LOOP: Self = Self::message(
        508,
        Kind::ProxyLoopDetected,
        "the route sends the client to where it is, so it would go round in circles: a redirect to https needs match: \
         {scheme: http}, one to another host match: {host: ...}",
    );
    pub(super) const NO_HOST: Self = Self::bad_request("Host is missing, or is no host");
    pub(super) const LONG_LOCATION: Self =
        Self::bad_request("the URL that the route makes of this one is longer than 8 KiB");
    pub(super) const NOT_READ: Self =
        Self::unavailable("the registry has not been read yet, so no endpoint is known");
    const NONE_REGISTERED: Self = Self::unavailable("no endpoint is registered");
    const NONE_USABLE: Self = Self::unavailable(
        "endpoints are registered, but none takes requests: each is draining or cannot be connected to",
    );
    const NONE_GIVEN: Self = Self::unavailable("none of its addresses is known, or can be used");
    const NONE_GIVEN_USABLE: Self =
        Self::unavailable("none of its addresses takes requests: none can be connected to");
    pub(super) const BAD_TIMEOUT: Self = Self::bad_request(
        "grpc-timeout is malformed: it is one of up to eight digits and a unit of H, M, S, m, u or n",
    );
    const NOT_TRUSTED: Self =
        Self::message(502, Kind::TlsCertificateError, "the endpoint's certificate is not trusted");
    const NO_HANDSHAKE: Self =
        Self::message(502, Kind::TlsProtocolError, "the TLS handshake with the endpoint failed");
    const DECLINED: Self =
        Self::message(502, Kind::TlsAlertReceived, "the endpoint declined the gateway's TLS");
    const BROKE_OFF: Self =
        Self::message(502, Kind::ConnectionTerminated, "the endpoint broke off before it answered");
    const TAKES_NO_MORE: Self = Self::unavailable("the endpoint takes no more requests at the moment");
    const BAD_ANSWER: Self =
        Self::message(502, Kind::HttpProtocolError, "the endpoint's answer is not valid HTTP");
    const TIMED_OUT: Self =
        Self::message(504, Kind::ConnectionReadTimeout, "the endpoint did not answer in time");
    const OVER: Self =
        Self::message(504, Kind::HttpResponseTimeout, "the time for the whole request is over");
    const CLIENT_TIMED_OUT: Self =
        Self::message(408, Kind::HttpRequestError, "the request did not arrive in time").of_unknown_rest();
    const BAD_NOMINATION: Self = Self::bad_request("the Connection header names what it must not");
    const BAD_BODY: Self = Self::bad_request("the request's body is not valid").of_unknown_rest();
    const INTERNAL: Self = Self::message(500, Kind::ProxyInternalError, "the gateway failed");

    const fn message(status: u16, kind: Kind, message: &'static str) -> Self {
        Self { status, said: Said::Message(kind, message), rest: Rest::Known }
    }

    const fn of_unknown_rest(self) -> Self {
        Self { rest: Rest::Unknown, ..self }
    }

    const fn reset(message: &'static str) -> Self {
        Self::message(502, Kind::ConnectionTerminated, message)
    }

    const fn unavailable(message: &'static str) -> Self {
        Self::message(503, Kind::DestinationUnavailable, message)
    }

    const fn full(message: &'static str) -> Self {
        Self::message(503, Kind::ConnectionLimitReached, message)
    }

    const fn not_reached(kind: Kind) -> Self {
        Self::message(502, kind, "no endpoint could be reached")
    }

    pub(super) const fn bad_request(message: &'static str) -> Self {
        Self::message(400, Kind::HttpRequestError, message)
    }

    /// What came is no head, or is too much of one.
    pub(super) const fn refused(Refusal { status, why }: Refusal) -> Self {
        Self::message(status, Kind::HttpRequestError, why).of_unknown_rest()
    }

    /// The head itself is not valid.
    pub(super) const fn bad_head(message: &'static str) -> Self {
        Self::bad_request(message).of_unknown_rest()
    }

    /// The gateway's answer for itself: the readiness probe of the article's manifests looks for this text.
    pub(super) const fn itself(is_ready: bool) -> Self {
        Self { status: if is_ready { 200 } else { 503 }, said: Said::Plain("gateway"), rest: Rest::Known }
    }

    /// To whoever asks what the server as a whole can do (`OPTIONS *`: RFC 9110, 9.3.7): it is there.
    pub(super) const SERVER: Self = Self { status: 200, said: Said::Plain(""), rest: Rest::Known };

    /// The route of the request answers by itself, with this status.
    pub(super) const fn as_route(status: u16) -> Self {
        Self { status, said: Said::AsRoute, rest: Rest::Known }
    }

    /// Why a service has no endpoint for a request. What is given is no matter of the registry.
    pub(super) fn no_endpoint(directory: &Directory, target: &Target) -> Self {
        let is_empty = target.service.endpoints().entries().is_empty();
        match (target.is_given, is_empty) {
            (true, true) => Self::NONE_GIVEN,
            (true, false) => Self::NONE_GIVEN_USABLE,
            (false, false) => Self::NONE_USABLE,
            (false, true) if directory.is_filled() => Self::NONE_REGISTERED,
            (false, true) => Self::NOT_READ,
        }
    }

    /// What a request gets whose last attempt came to such an end. None: its client is gone. `was_silent`: the attempt was broken off because nothing came; `is_over`: the time of the whole request
    /// is over.
    pub(super) fn to(ending: Ending, was_silent: bool, is_over: bool) -> Option<Self> {
        let answer = match ending {
            Ending::ClientLeft => return None,
            Ending::ClientSilent => Self::CLIENT_TIMED_OUT,
            Ending::BadNomination => Self::BAD_NOMINATION,
            Ending::BadBody => Self::BAD_BODY,
            _ if was_silent => Self::TIMED_OUT,
            _ if is_over => Self::OVER,
            Ending::Refused => Self::not_reached(Kind::ConnectionRefused),
            Ending::ConnectTimeout => Self::not_reached(Kind::ConnectionTimeout),
            Ending::Handshake(Fault::Certificate) => Self::NOT_TRUSTED,
            Ending::Handshake(Fault::Protocol) => Self::NO_HANDSHAKE,
            Ending::Handshake(Fault::Alert) | Ending::Alerted => Self::DECLINED,
            Ending::NoConnection => Self::not_reached(Kind::ProxyInternalError),
            Ending::Silent => Self::TIMED_OUT,
            Ending::Broke | Ending::BrokeWithinHead | Ending::WentAway => Self::BROKE_OFF,
            Ending::Reset(Reset::Cancelled) => Self::RESET_CANCELLED,
            Ending::Reset(Reset::TooMuch) => Self::RESET_TOO_MUCH,
            Ending::Reset(Reset::Insecure) => Self::RESET_INSECURE,
            Ending::Reset(Reset::Other) => Self::RESET,
            Ending::Declined => Self::TAKES_NO_MORE,
            Ending::NotHttp | Ending::Status => Self::BAD_ANSWER,
            Ending::Fault => Self::INTERNAL,
        };
        Some(answer)
    }

    pub(super) fn said(self) -> Said {
        self.said
    }

    /// Which error it is, and what is said of it; none: it is none.
    pub(super) fn error(self) -> Option<(Kind, &'static str)> {
        match self.said {
            Said::Message(kind, message) => Some((kind, message)),
            Said::Plain(_) | Said::AsRoute => None,
        }
    }

    /// What the access log says went wrong: where it was not the client's request.
    pub(super) fn fault(self) -> Option<&'static str> {
        self.error().filter(|_| self.status >= 500).map(|(_, message)| message)
    }

    /// Whether the gateway answers for itself: at once, as a probe has little patience.
    pub(super) fn is_of_itself(self) -> bool {
        matches!(self.said, Said::Plain(_))
    }

    /// Whether what is left of the request's body is read beside the answer: if it comes to an end. Who waits for
    /// `100 Continue` never sends it, and a probe has none.
    pub(super) fn leaves_body(self, expects_continue: bool) -> bool {
        self.rest == Rest::Known && !expects_continue && !self.is_of_itself()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory;
    use crate::gateway::fixture::{Fixture, Setup};

    #[test]
    fn an_ending_has_its_answer() {
        for (ending, status, kind) in [
            (Ending::ClientSilent, 408, Kind::HttpRequestError),
            (Ending::BadNomination, 400, Kind::HttpRequestError),
            (Ending::BadBody, 400, Kind::HttpRequestError),
            (Ending::Refused, 502, Kind::ConnectionRefused),
            (Ending::ConnectTimeout, 502, Kind::ConnectionTimeout),
            (Ending::NoConnection, 502, Kind::ProxyInternalError),
            (Ending::Silent, 504, Kind::ConnectionReadTimeout),
            (Ending::Broke, 502, Kind::ConnectionTerminated),
            (Ending::BrokeWithinHead, 502, Kind::ConnectionTerminated),
            (Ending::NotHttp, 502, Kind::HttpProtocolError),
            (Ending::Reset(Reset::Other), 502, Kind::ConnectionTerminated),
            (Ending::WentAway, 502, Kind::ConnectionTerminated),
            (Ending::Declined, 503, Kind::DestinationUnavailable),
            (Ending::Fault, 500, Kind::ProxyInternalError),
        ] {
            let answer = Answer::to(ending, false, false).unwrap();
            assert_eq!((answer.status, answer.error().unwrap().0), (status, kind), "{ending:?}");
            let is_clients = status < 500;
            for (was_silent, is_over, timeout) in
                [(true, false, Kind::ConnectionReadTimeout), (false, true, Kind::HttpResponseTimeout)]
            {
                let expected = if is_clients { (status, kind) } else { (504, timeout) };
                let answer = Answer::to(ending, was_silent, is_over).unwrap();
                assert_eq!((answer.status, answer.error().unwrap().0), expected, "{ending:?}");
            }
        }
        assert_eq!(Answer::to(Ending::ClientLeft, true, true), None);
    }

    #[test]
    fn whoever_was_broken_off_is_told_that_the_endpoint_was_silent_and_not_how_that_was_done() {
        assert_eq!(Answer::to(Ending::Broke, true, true), Some(Answer::TIMED_OUT));
        assert_eq!(Answer::to(Ending::Broke, false, true), Some(Answer::OVER));
    }

    #[test]
    fn the_rest_of_a_body_is_read_where_it_will_come_to_an_end() {
        assert!(Answer::NO_ROUTE.leaves_body(false));
        assert!(!Answer::NO_ROUTE.leaves_body(true), "it waits for 100 Continue");
        assert!(!Answer::itself(true).leaves_body(false) && !Answer::itself(false).leaves_body(false));
        assert!([200, 400, 408].iter().all(|status| Answer::as_route(*status).leaves_body(false)));
        assert!(Answer::NO_HOST.leaves_body(false) && Answer::LONG_LOCATION.leaves_body(false));
        assert!(!Answer::bad_head("no Host").leaves_body(false));
        assert!(!Answer::BAD_BODY.leaves_body(false) && !Answer::CLIENT_TIMED_OUT.leaves_body(false));
    }

    #[test]
    fn only_what_is_no_fault_of_the_request_is_told_in_the_log_as_one() {
        assert_eq!(Answer::bad_request("no Host").fault(), None);
        assert_eq!(Answer::NO_ROUTE.fault(), None);
        assert_eq!(Answer::itself(false).fault(), None, "a probe that finds out is no failure");
        assert_eq!(Answer::as_route(503).fault(), None, "it is what was asked for");
        assert!(Answer::LOOP.fault().is_some() && Answer::FULL_GATEWAY.fault().is_some());
    }

    #[test]
    fn what_a_service_lacks_is_said_as_it_has_its_endpoints() {
        let unread = directory::new(["goods"]).0;
        for (endpoints, is_given, expected) in [
            (0, false, Answer::NONE_REGISTERED),
            (0, true, Answer::NONE_GIVEN),
            (1, false, Answer::NONE_USABLE),
            (1, true, Answer::NONE_GIVEN_USABLE),
        ] {
            let Fixture { directory, way, .. } = Setup { is_given, ..Setup::of(endpoints) }.build();
            assert_eq!(Answer::no_endpoint(&directory, &way.target), expected);
            let before = if endpoints == 0 && !is_given { Answer::NOT_READ } else { expected };
            assert_eq!(Answer::no_endpoint(&unread, &way.target), before);
        }
    }
}
