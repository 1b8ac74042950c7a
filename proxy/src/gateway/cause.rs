//! Why an attempt failed.

use pingora::{Error, ErrorSource, ErrorType};

use super::attempt::Attempt;
use crate::traffic::ejection::Failure;
use crate::traffic::waiting::Broken;

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The connect was refused, or there is no way to the address.
    Refused,
    /// The connect was not done in time.
    ConnectTimeout,
    /// The connection broke, or what came over it was not HTTP.
    Broken,
    /// A re-used connection was closed before a byte of the answer came: it was idle, and anybody may
    /// close it.
    Closed,
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
    /// Why there is no connection.
    pub fn of_connect(error: &Error) -> Self {
        use ErrorType::{ConnectError, ConnectNoRoute, ConnectRefused, ConnectTimedout};
        match error.etype() {
            ConnectRefused | ConnectNoRoute | ConnectError => Self::Refused,
            ConnectTimedout => Self::ConnectTimeout,
            _ => Self::Gateway,
        }
    }

    /// Why a request that had a connection came to nothing.
    pub fn of_exchange(error: &Error, attempt: &mut Attempt) -> Self {
        use ErrorType::{ConnectionClosed, InternalError, ReadTimedout, WriteTimedout};
        match attempt.stop_waiting() {
            Some(Broken::Stalled) => return Self::Stalled,
            Some(Broken::FirstByte) => return Self::FirstByte,
            None => {}
        }
        match (error.esource(), error.etype()) {
            (ErrorSource::Downstream, _) => Self::Client,
            (ErrorSource::Internal | ErrorSource::Unset, _) | (_, InternalError) => Self::Gateway,
            (_, ErrorType::HTTPStatus(_)) => Self::Status,
            (_, ReadTimedout | WriteTimedout) => Self::Timeout,
            (_, ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError)
                if attempt.reused && nothing_came(error, attempt) =>
            {
                Self::Closed
            }
            _ => Self::Broken,
        }
    }

    /// What it says of the endpoint. None: nothing. (A status has been told when it came; whose fault it
    /// is that the whole time is over, the attempt knows.)
    pub fn failure(self) -> Option<Failure> {
        match self {
            Self::Refused => Some(Failure::Refused),
            Self::ConnectTimeout => Some(Failure::ConnectTimeout),
            Self::Broken => Some(Failure::Broken),
            Self::Timeout | Self::FirstByte => Some(Failure::Timeout),
            // The watch has told it.
            Self::Stalled => None,
            Self::Closed | Self::Status | Self::Total | Self::Client | Self::Gateway => None,
        }
    }

    /// Its name in the access log and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::Broken => "broken",
            Self::Closed => "closed",
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

/// Whether the exchange broke before a byte of an answer came. Where it broke within the answer's head,
/// Pingora says so in words alone.
pub(super) fn nothing_came(error: &Error, attempt: &Attempt) -> bool {
    use ErrorType::{ConnectionClosed, ReadError, WriteError};
    let read = error.context.as_ref().and_then(|context| context.as_str().rsplit_once("already read: "));
    matches!(error.etype(), ConnectionClosed | ReadError | WriteError)
        && !attempt.was_heard()
        && read.is_none_or(|(_, bytes)| bytes == "0")
}
