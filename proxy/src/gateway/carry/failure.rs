//! Why an exchange has come to no good end.

use std::borrow::Cow;
use std::io::{self, ErrorKind};

use super::dialer::DialError;
use crate::gateway::cause::{Ending, Reset};
use crate::link::is_scarcity;
use crate::tls::alert_of;
use crate::traffic::multiplexed::{self, Failed as Unopened, Fate};

/// Why a pump has failed.
#[derive(Debug)]
pub(in crate::gateway::carry) enum Failed {
    /// The source's connection broke.
    Source(io::Error),
    /// The source has ended before the body's end.
    Ended,
    /// What the source sends is no body.
    Malformed(&'static str),
    /// The sink's connection broke.
    Sink(io::Error),
}

impl Failed {
    /// A client's stream broke.
    pub(in crate::gateway::carry) fn of_client(error: h2::Error) -> Self {
        Self::Source(as_io(error))
    }

    /// A stream to an instance broke.
    pub(in crate::gateway::carry) fn of_instance(error: h2::Error) -> Self {
        Self::Sink(as_io(error))
    }
}

fn as_io(error: h2::Error) -> io::Error {
    if error.is_io() {
        error.into_io().unwrap_or_else(|| ErrorKind::BrokenPipe.into())
    } else {
        io::Error::other(error)
    }
}

/// Why an exchange has come to no good end.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}")]
pub(in crate::gateway::carry) struct Failure {
    pub(in crate::gateway::carry) ending: Ending,
    /// For the log.
    pub(in crate::gateway::carry) what: Cow<'static, str>,
}

impl Failure {
    pub(in crate::gateway::carry) const fn of(ending: Ending, what: &'static str) -> Self {
        Self { ending, what: Cow::Borrowed(what) }
    }

    pub(in crate::gateway::carry) fn because(ending: Ending, what: String) -> Self {
        Self { ending, what: Cow::Owned(what) }
    }

    pub(in crate::gateway::carry) fn of_dial(error: &DialError) -> Self {
        match error {
            DialError::Connect(error) => Self::of_connect(error),
            DialError::Handshake(error) => Self::because(
                Ending::Handshake(error.fault),
                format!("the endpoint: TLS handshake failed: {error}"),
            ),
        }
    }

    /// A client's stream broke.
    pub(in crate::gateway::carry) fn of_client(error: &h2::Error) -> Self {
        if error.is_io() || error.reason().is_some() {
            return Self::because(Ending::ClientLeft, format!("the client: {error}"));
        }
        // It is what was to be sent.
        Self::because(Ending::NotHttp, format!("the endpoint: its answer cannot be said in HTTP/2: {error}"))
    }

    /// A stream to an instance broke, or its connection.
    pub(in crate::gateway::carry) fn of_stream(error: &h2::Error) -> Self {
        let ending = match multiplexed::fate(error) {
            Fate::Declined => Ending::Declined,
            Fate::WentAway => Ending::WentAway,
            Fate::Reset(reason) => Ending::Reset(reset(reason)),
            Fate::Broke => Ending::Broke,
            Fate::Malformed => Ending::NotHttp,
            Fate::Ours => Ending::Fault,
        };
        Self::because(ending, format!("the endpoint: {error}"))
    }

    /// A request was not sent on a connection that others use, too.
    pub(in crate::gateway::carry) fn of_unsent(error: &h2::Error) -> Self {
        match multiplexed::fate_unsent(error) {
            Fate::WentAway => Self::because(Ending::WentAway, format!("the endpoint: {error}")),
            _ => Self::because(Ending::Fault, format!("the gateway: a request that cannot be sent: {error}")),
        }
    }

    fn of_connect(error: &io::Error) -> Self {
        let ending = ending(error);
        let what = match ending {
            Ending::Refused if error.kind() == ErrorKind::ConnectionRefused => "connect refused",
            Ending::ConnectTimeout => "connect timed out",
            Ending::NoConnection => "a connection could not be opened",
            _ => "connect failed",
        };
        Self::because(ending, format!("the endpoint: {what}: {error}"))
    }

    /// The request did not go on.
    pub(in crate::gateway::carry) fn of_upload(failed: Failed) -> Self {
        match failed {
            Failed::Source(error) => {
                Self::because(Ending::ClientLeft, format!("the client: read failed: {error}"))
            }
            Failed::Ended => Self::of(Ending::ClientLeft, "the client: connection closed within its body"),
            Failed::Malformed(why) => Self::because(Ending::BadBody, format!("the client: {why}")),
            Failed::Sink(error) => {
                Self::because(Ending::Broke, format!("the endpoint: write failed: {error}"))
            }
        }
    }

    /// The connection has ended before the head of an answer was whole. `has_begun`: a part of it came.
    pub(in crate::gateway::carry) fn of_end(has_begun: bool) -> Self {
        Self::of(broke(has_begun), "the endpoint: connection closed")
    }

    /// The same, and the connection broke.
    pub(in crate::gateway::carry) fn of_read(error: &io::Error, has_begun: bool) -> Self {
        let within = error.get_ref();
        if let Some(failure) = within.and_then(|error| error.downcast_ref::<Self>()) {
            return failure.clone();
        }
        if let Some(error) = within.and_then(|error| error.downcast_ref()) {
            return Self::of_stream(error);
        }
        match alert_of(error).filter(|_| !has_begun) {
            Some(alert) => Self::because(Ending::Alerted, format!("the endpoint: {alert}")),
            None => Self::because(broke(has_begun), format!("the endpoint: read failed: {error}")),
        }
    }

    /// The answer did not go on.
    pub(in crate::gateway::carry) fn of_download(failed: Failed) -> Self {
        match failed {
            Failed::Source(error) => {
                Self::because(Ending::Broke, format!("the endpoint: read failed: {error}"))
            }
            Failed::Ended => Self::of(Ending::Broke, "the endpoint: connection closed within its answer"),
            Failed::Malformed(why) => {
                Self::because(Ending::NotHttp, format!("the endpoint: its answer is not valid: {why}"))
            }
            Failed::Sink(error) => {
                Self::because(Ending::ClientLeft, format!("the client: write failed: {error}"))
            }
        }
    }
}

/// By <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>, "Errors".
fn reset(reason: h2::Reason) -> Reset {
    match reason {
        h2::Reason::CANCEL => Reset::Cancelled,
        h2::Reason::ENHANCE_YOUR_CALM => Reset::TooMuch,
        h2::Reason::INADEQUATE_SECURITY => Reset::Insecure,
        _ => Reset::Other,
    }
}

impl From<DialError> for Failure {
    fn from(error: DialError) -> Self {
        Self::of_dial(&error)
    }
}

impl From<Unopened> for Failure {
    fn from(failed: Unopened) -> Self {
        if let Unopened::Dial(error) = &failed
            && let Some(error) = error.downcast_ref::<DialError>()
        {
            return Self::of_dial(error);
        }
        let ending = match failed {
            Unopened::Handshake(_) | Unopened::Silent => Ending::NotHttp,
            Unopened::Declined => Ending::WentAway,
            Unopened::Dial(_) | Unopened::Abandoned => Ending::NoConnection,
        };
        Self::because(ending, format!("the endpoint: {failed}"))
    }
}

fn broke(has_begun: bool) -> Ending {
    if has_begun { Ending::BrokeWithinHead } else { Ending::Broke }
}

/// How an attempt has ended whose connection could not be opened for this reason.
fn ending(error: &io::Error) -> Ending {
    match error.kind() {
        ErrorKind::TimedOut => Ending::ConnectTimeout,
        // It is the gateway that lacks ports, or is not permitted to connect.
        ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse | ErrorKind::PermissionDenied => {
            Ending::NoConnection
        }
        _ if is_scarcity(error) => Ending::NoConnection,
        _ => Ending::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn who_lacks_something_is_told_from_who_is_not_there() {
        let of = |errno: Errno| ending(&io::Error::from_raw_os_error(errno as i32));
        for errno in [Errno::ECONNREFUSED, Errno::EHOSTUNREACH, Errno::ENETUNREACH, Errno::ECONNRESET] {
            assert_eq!(of(errno), Ending::Refused, "{errno}");
        }
        for errno in [Errno::EADDRNOTAVAIL, Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::EACCES] {
            assert_eq!(of(errno), Ending::NoConnection, "{errno}");
        }
        assert_eq!(of(Errno::ETIMEDOUT), Ending::ConnectTimeout);
    }
}
