//! What the registry refuses, in etcd's own words: clients match on code and text.
//!
//! The source is etcd's `api/v3rpc/rpctypes/error.go`.

use thiserror::Error;
use tonic::{Code, Status};

/// Why a request was not carried out. It has then changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    /// Also what etcd says of an operation without content in a transaction.
    #[error("etcdserver: key not found")]
    KeyNotFound,
    #[error("etcdserver: value is provided")]
    ValueProvided,
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    #[error("etcdserver: too many operations in txn request")]
    TooManyOperations,
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    /// Since etcd 3.6; an older one ends in a panic.
    #[error("etcdserver: invalid sort option")]
    InvalidSortOption,
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    #[error("etcdserver: mvcc: database space exceeded")]
    NoSpace,
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
    #[error("etcdserver: request is too large")]
    RequestTooLarge,
    /// In grpc-go's words for an answer that it does not send: clients that know them ask for less.
    #[error(
        "grpc: trying to send message larger than max (16777216): ask for less at once, with a limit, a nearer range \
         end or keys_only"
    )]
    AnswerTooLarge,
    /// Not in etcd, which does not bound the work of a call.
    #[error(
        "one call may look at 1000000 keys and write, delete or sort 100000: ask for fewer at once, with a nearer \
         range end"
    )]
    TooMuchAtOnce,
    #[error("the lease has 100000 keys, and no lease may have more: grant another one")]
    TooManyKeysOfLease,
    /// A bound of [`Settings`](crate::Settings) on leases, watches or streams is reached.
    #[error("etcdserver: too many requests")]
    TooManyRequests,
    #[error("etcdserver: authentication is not enabled")]
    AuthNotEnabled,
    /// Until etcd 3.5.9 and 3.4.26. Newer ones pass over a token while authentication is off; here the client
    /// is told, because a login that means nothing is most often meant for another registry.
    #[error("etcdserver: invalid auth token")]
    InvalidToken,
    /// The same in the answer to a request for a watch.
    #[error("rpc error: code = Unauthenticated desc = etcdserver: invalid auth token")]
    InvalidTokenOfWatch,
    #[error("etcdserver: server stopped")]
    Stopped,
    #[error("mvcc: watcher range is empty")]
    EmptyWatchRange,
    #[error("mvcc: duplicate watch ID provided on the WatchStream")]
    DuplicateWatchId,
}

impl Refusal {
    /// What it is counted as: its text without `etcdserver: ` and without advice.
    pub(crate) fn reason(self) -> String {
        match self {
            Self::InvalidTokenOfWatch => return Self::InvalidToken.reason(),
            Self::AnswerTooLarge => return "answer too large".to_owned(),
            Self::TooMuchAtOnce => return "too much at once".to_owned(),
            Self::TooManyKeysOfLease => return "too many keys of a lease".to_owned(),
            _ => {}
        }
        let words = self.to_string();
        words.strip_prefix("etcdserver: ").map_or(words.clone(), str::to_owned)
    }

    fn code(self) -> Code {
        match self {
            Self::EmptyKey
            | Self::KeyNotFound
            | Self::ValueProvided
            | Self::LeaseProvided
            | Self::TooManyOperations
            | Self::DuplicateKey
            | Self::InvalidSortOption
            | Self::RequestTooLarge
            | Self::EmptyWatchRange
            | Self::DuplicateWatchId => Code::InvalidArgument,
            Self::Compacted | Self::FutureRevision | Self::LeaseTtlTooLarge => Code::OutOfRange,
            Self::NoSpace
            | Self::AnswerTooLarge
            | Self::TooMuchAtOnce
            | Self::TooManyKeysOfLease
            | Self::TooManyRequests => Code::ResourceExhausted,
            Self::LeaseNotFound => Code::NotFound,
            Self::LeaseExists | Self::AuthNotEnabled => Code::FailedPrecondition,
            Self::InvalidToken | Self::InvalidTokenOfWatch => Code::Unauthenticated,
            Self::Stopped => Code::Unavailable,
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code(), refusal.to_string())
    }
}
