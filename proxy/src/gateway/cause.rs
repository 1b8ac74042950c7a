//! Why an attempt failed: what its carrier saw, and what that means.

use crate::tls::Fault;
use crate::traffic::ejection::Failure;
use crate::traffic::waiting::Broken;

/// How an exchange ended that came to no good end, as its carrier saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The client left, or takes nothing any more.
    ClientLeft,
    /// The client was silent within its body, or still sent it when the time of the whole request was over.
    ClientSilent,
    /// The client's `Connection` names a header that must go on.
    BadNomination,
    /// What the client sent as its body is not valid.
    BadBody,
    /// The connect was refused, or there is no way to the address.
    Refused,
    /// The connect, or the TLS handshake on it, was not done in time.
    ConnectTimeout,
    /// The TLS handshake failed: nothing was sent.
    Handshake(Fault),
    /// The gateway could not open a connection: it lacks ports, files or memory.
    NoConnection,
    /// The endpoint was silent for too long.
    Silent,
    /// The connection broke or was closed.
    Broke,
    /// The same, and the endpoint said by an alert of TLS that it would: it may not like our certificate.
    Alerted,
    /// The endpoint broke off the request's stream alone (RST_STREAM).
    Reset(Reset),
    /// It has not begun with the request, and says so (REFUSED_STREAM).
    Declined,
    /// The connection, which others use, takes no more requests, and so the endpoint has not begun with this one: it is
    /// above the last stream of a GOAWAY, or the connection was found closed before it was written.
    WentAway,
    /// The connection broke or was closed when a part of a head had come over it.
    BrokeWithinHead,
    /// What came over the connection is not HTTP.
    NotHttp,
    /// The answer has a status that the route has tried elsewhere.
    Status,
    /// The gateway has a fault.
    Fault,
}

/// Why an endpoint broke off a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reset {
    /// Nobody waits for it any more.
    Cancelled,
    /// It is asked for too much.
    TooMuch,
    /// What is spoken is not safe enough.
    Insecure,
    Other,
}

/// What else is known of an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Circumstances {
    /// Whether the time of the whole request is over.
    pub(super) is_over: bool,
    /// Why the gateway broke the exchange off, if it did.
    pub(super) broken_off: Option<Broken>,
    /// Whether the connection had served other requests before.
    pub(super) reused: bool,
    /// Whether a whole head came over it, be it one that goes before the answer's (1xx).
    pub(super) heard: bool,
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The connect was refused, or there is no way to the address.
    Refused,
    /// The connect, or the TLS handshake on it, was not done in time.
    ConnectTimeout,
    /// The TLS handshake failed.
    Handshake,
    /// The connection broke, or what came over it was not HTTP.
    Broken,
    /// A re-used connection was closed before a byte of the answer came: it was idle, and anybody may
    /// close it.
    Closed,
    /// The endpoint broke off the stream of this request, and no other.
    Reset,
    /// The endpoint has declined to begin with it.
    Declined,
    /// The connection that it was to go over, or had begun to, took no more requests.
    WentAway,
    /// The endpoint was silent for too long within its answer.
    Timeout,
    /// Its first byte did not come in time.
    FirstByte,
    /// The endpoint has stalled, and the request can go elsewhere.
    Stalled,
    /// It answered with a status that the route has tried elsewhere.
    Status,
    /// The request's own time is over.
    Total,
    /// The client left, or what it sent was not HTTP.
    Client,
    /// The gateway lacks ports, files or memory, or has a fault.
    Gateway,
}

impl Cause {
    /// Why an attempt failed that ended so. What the gateway itself broke off looks to a carrier as if the endpoint
    /// had closed the connection.
    pub(super) fn of(ending: Ending, circumstances: Circumstances) -> Self {
        let Circumstances { is_over, broken_off, reused, heard } = circumstances;
        if is_over {
            return Self::Total;
        }
        match broken_off {
            Some(Broken::Stalled) => return Self::Stalled,
            Some(Broken::FirstByte) => return Self::FirstByte,
            None => {}
        }
        match ending {
            Ending::ClientLeft | Ending::ClientSilent | Ending::BadNomination | Ending::BadBody => {
                Self::Client
            }
            Ending::Refused => Self::Refused,
            Ending::ConnectTimeout => Self::ConnectTimeout,
            Ending::Handshake(_) => Self::Handshake,
            Ending::NoConnection | Ending::Fault => Self::Gateway,
            Ending::Silent => Self::Timeout,
            Ending::Broke | Ending::Alerted if reused && !heard => Self::Closed,
            Ending::Broke | Ending::Alerted | Ending::BrokeWithinHead | Ending::NotHttp => Self::Broken,
            Ending::Reset(_) => Self::Reset,
            Ending::Declined => Self::Declined,
            Ending::WentAway => Self::WentAway,
            Ending::Status => Self::Status,
        }
    }

    /// What it says of the endpoint. None: nothing. (A status has been told when it came; whose fault it
    /// is that the whole time is over, the attempt knows.)
    pub(super) fn failure(self) -> Option<Failure> {
        match self {
            Self::Refused | Self::Handshake => Some(Failure::Refused),
            Self::ConnectTimeout => Some(Failure::ConnectTimeout),
            Self::Broken | Self::Reset => Some(Failure::Broken),
            Self::Timeout | Self::FirstByte => Some(Failure::Timeout),
            // The watch has told it.
            Self::Stalled => None,
            // What is declined, or was not begun, is no failure: it may be for being busy, or about to go.
            Self::Declined | Self::WentAway => None,
            Self::Closed | Self::Status | Self::Total | Self::Client | Self::Gateway => None,
        }
    }

    /// Its name in the access log and in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::Handshake => "handshake",
            Self::Broken => "broken",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Declined => "declined",
            Self::WentAway => "went_away",
            Self::Timeout => "timeout",
            Self::FirstByte => "first_byte",
            Self::Stalled => "stalled",
            Self::Status => "status",
            Self::Total => "total",
            Self::Client => "client",
            Self::Gateway => "gateway",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Circumstances =
        Circumstances { is_over: false, broken_off: None, reused: false, heard: false };

    #[test]
    fn an_ending_has_its_cause() {
        for (ending, expected) in [
            (Ending::ClientLeft, Cause::Client),
            (Ending::ClientSilent, Cause::Client),
            (Ending::BadNomination, Cause::Client),
            (Ending::BadBody, Cause::Client),
            (Ending::Refused, Cause::Refused),
            (Ending::ConnectTimeout, Cause::ConnectTimeout),
            (Ending::Handshake(Fault::Certificate), Cause::Handshake),
            (Ending::Handshake(Fault::Alert), Cause::Handshake),
            (Ending::NoConnection, Cause::Gateway),
            (Ending::Silent, Cause::Timeout),
            (Ending::Broke, Cause::Broken),
            (Ending::Alerted, Cause::Broken),
            (Ending::BrokeWithinHead, Cause::Broken),
            (Ending::NotHttp, Cause::Broken),
            (Ending::Reset(Reset::Other), Cause::Reset),
            (Ending::Declined, Cause::Declined),
            (Ending::WentAway, Cause::WentAway),
            (Ending::Status, Cause::Status),
            (Ending::Fault, Cause::Gateway),
        ] {
            assert_eq!(Cause::of(ending, PLAIN), expected, "{ending:?}");
            assert_eq!(Cause::of(ending, Circumstances { is_over: true, ..PLAIN }), Cause::Total);
        }
    }

    #[test]
    fn what_the_gateway_broke_off_is_not_the_connections_end() {
        for (why, expected) in [(Broken::Stalled, Cause::Stalled), (Broken::FirstByte, Cause::FirstByte)] {
            let broken_off = Circumstances { broken_off: Some(why), reused: true, ..PLAIN };
            assert_eq!(Cause::of(Ending::Broke, broken_off), expected);
        }
    }

    #[test]
    fn the_time_that_is_over_comes_before_all_else() {
        for why in [Broken::Stalled, Broken::FirstByte] {
            let both = Circumstances { is_over: true, broken_off: Some(why), reused: true, heard: true };
            assert_eq!(Cause::of(Ending::Broke, both), Cause::Total, "{why:?}");
        }
    }

    #[test]
    fn a_cause_has_its_name_and_says_this_of_the_endpoint() {
        for (cause, name, failure) in [
            (Cause::Refused, "refused", Some(Failure::Refused)),
            (Cause::ConnectTimeout, "connect_timeout", Some(Failure::ConnectTimeout)),
            (Cause::Handshake, "handshake", Some(Failure::Refused)),
            (Cause::Broken, "broken", Some(Failure::Broken)),
            (Cause::Closed, "closed", None),
            (Cause::Reset, "reset", Some(Failure::Broken)),
            (Cause::Declined, "declined", None),
            (Cause::WentAway, "went_away", None),
            (Cause::Timeout, "timeout", Some(Failure::Timeout)),
            (Cause::FirstByte, "first_byte", Some(Failure::Timeout)),
            (Cause::Stalled, "stalled", None),
            (Cause::Status, "status", None),
            (Cause::Total, "total", None),
            (Cause::Client, "client", None),
            (Cause::Gateway, "gateway", None),
        ] {
            assert_eq!((cause.as_str(), cause.failure()), (name, failure), "{cause:?}");
        }
    }

    #[test]
    fn only_a_connection_that_had_served_and_said_nothing_may_have_been_closed_while_idle() {
        let cause = |ending, reused, heard| Cause::of(ending, Circumstances { reused, heard, ..PLAIN });
        assert_eq!(cause(Ending::Broke, true, false), Cause::Closed);
        assert_eq!(cause(Ending::Alerted, true, false), Cause::Closed);
        assert_eq!(cause(Ending::Broke, false, false), Cause::Broken, "a new connection");
        assert_eq!(cause(Ending::Broke, true, true), Cause::Broken, "a 1xx came");
        assert_eq!(cause(Ending::BrokeWithinHead, true, false), Cause::Broken, "half a head came");
    }
}
