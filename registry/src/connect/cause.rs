//! Calls that failed: what was attempted, where, and why.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use etcd_client::Error as EtcdError;
use openssl::error::ErrorStack;
use tonic::Code;

use super::authorities::{AuthoritiesError, reason};
use super::obstacle::{Attempted, NO_STATUS, Obstacle};
use super::reason::Reason;

/// A call to the registry that failed: what was attempted, where, and why.
#[derive(Debug, thiserror::Error)]
#[error("could not {attempt} at {endpoint}: {cause}")]
pub struct CallError {
    /// What was attempted, such as "list the registrations": it reads on after "could not".
    pub attempt: &'static str,
    /// The endpoint that it was attempted at.
    pub endpoint: String,
    /// What went wrong.
    pub cause: Cause,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The registry answered with an error, or the connection to it broke.
    #[error("{}", Described(.0))]
    Etcd(EtcdError),
    /// No answer came in time.
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    /// The endpoint is not a URL.
    #[error("this is not the URL of an endpoint")]
    Url,
    /// The certificates of the authorities cannot be used.
    #[error(transparent)]
    Authorities(#[from] AuthoritiesError),
    /// Our own certificate or its key, in this file, cannot be used.
    #[error("cannot use {} for TLS: {}", .0.display(), reason(.1))]
    Certificates(PathBuf, ErrorStack),
    /// TLS cannot be used at all.
    #[error("cannot use TLS: {0}")]
    Tls(#[from] ErrorStack),
    /// The password file cannot be read.
    #[error("cannot read the password file {0}: {1}")]
    Password(PathBuf, std::io::Error),
    /// The password file has nothing in it.
    #[error("the password file {} is empty: write the user's password into it", .0.display())]
    NoPassword(PathBuf),
    /// The registry could not be talked to. The obstacle says what to do; the text is what the system or TLS said.
    #[error("{0} ({1})")]
    Obstacle(Obstacle, String),
    /// The answer is one that an etcd does not give to this call; the text says what is wrong with it.
    #[error("the answer makes no sense: {0}")]
    Answer(&'static str),
    /// The peer ended the stream.
    #[error("the stream was closed")]
    Closed,
}

impl Cause {
    /// Why the registry refused, if it did and its words are known; otherwise [`Reason::Other`].
    pub fn reason(&self) -> Reason {
        match self {
            Self::Etcd(EtcdError::GRpcStatus(status)) => Reason::in_text(status.message()),
            Self::Etcd(EtcdError::LeaseKeepAliveError(text)) => Reason::in_text(text),
            _ => Reason::Other,
        }
    }

    /// Whether the registry may be well but has more to do than it can: it is then asked less often.
    pub(crate) fn is_overload(&self) -> bool {
        match self {
            Cause::Deadline(_) => true,
            Cause::Etcd(EtcdError::GRpcStatus(s)) => s.code() == Code::ResourceExhausted,
            _ => false,
        }
    }

    /// Whether another connection may fare better: not where the registry's answer was a clear no.
    pub(crate) fn is_of_the_link(&self) -> bool {
        let Cause::Etcd(EtcdError::GRpcStatus(status)) = self else { return true };
        let refused = [Code::PermissionDenied, Code::ResourceExhausted, Code::NotFound, Code::OutOfRange];
        !refused.contains(&status.code())
    }
}

/// An etcd-client error in a person's words: the status's message and the innermost cause, without
/// the dump of codes and metadata that its own `Display` gives.
struct Described<'a>(&'a EtcdError);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EtcdError::GRpcStatus(status) = self.0 else {
            return self.0.fmt(f);
        };
        f.write_str(status.message())?;
        match causes(status).last().map(ToString::to_string) {
            Some(text) if !status.message().contains(&*text) => write!(f, ": {text}"),
            _ => Ok(()),
        }
    }
}

/// What led to a status, the innermost last; nothing if the registry itself gave it.
fn causes(status: &tonic::Status) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(status), |error| error.source())
}

impl Cause {
    /// What an etcd-client error means on this connection.
    pub(super) fn of(error: EtcdError, attempted: Attempted<'_>) -> Self {
        let EtcdError::GRpcStatus(status) = &error else { return Self::Etcd(error) };
        let mut texts: Vec<_> = causes(status).map(ToString::to_string).collect();
        let connected = !causes(status).any(|cause| cause.is::<tonic::ConnectError>());
        let attempted = Attempted { connected, ..attempted };
        let is_answer = texts.is_empty() && !status.message().contains(NO_STATUS);
        if is_answer {
            return Self::Etcd(error);
        }
        texts.push(status.message().to_owned());
        match Obstacle::find(&texts, attempted) {
            Some(obstacle) => Self::Obstacle(obstacle, Described(&error).to_string()),
            None => Self::Etcd(error),
        }
    }
}
