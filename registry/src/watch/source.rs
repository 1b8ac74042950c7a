//! What a watch needs of a registry: [`Source`], which [`EtcdSource`] is. Whoever keeps registrations elsewhere, or
//! tests, can give [`watch_source`](super::watch_source) another one.

mod etcd;
mod link;
mod pages;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use crate::connect::{CallError, Reason};
use crate::contract::MAX_VALUE;
pub use etcd::{EtcdSource, EtcdStream};

/// A key and its value as the registry holds them: nobody knows yet whether it is a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    /// The whole key, with the prefix.
    pub key: Vec<u8>,
    /// Its value.
    pub value: RawValue,
    /// The id of the lease that holds it, 0 for none.
    pub lease: i64,
    /// The revision at which it was last written.
    pub revision: i64,
}

/// A value. One that is too long to be a registration is dropped where it arrives, so that it takes no memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawValue {
    /// At most [`MAX_VALUE`] bytes.
    Bytes(Vec<u8>),
    /// The length of a longer one, in bytes, or the least that it must be.
    TooLong(usize),
}

impl From<Vec<u8>> for RawValue {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() > MAX_VALUE { Self::TooLong(bytes.len()) } else { Self::Bytes(bytes) }
    }
}

impl RawRecord {
    /// How it was last written.
    pub fn written(&self) -> Written {
        Written { revision: self.revision, lease: self.lease }
    }
}

/// How a key was last written. Two writes in one history of the registry differ by their revisions. Two that were made
/// at the same revision, before and after the registry was emptied, differ by their leases, whose ids are random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The revision at which the key was written.
    pub revision: i64,
    /// The id of the lease that holds the key, 0 for none.
    pub lease: i64,
}

/// A key as the registry holds it, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawKey {
    /// The whole key, with the prefix.
    pub key: Box<[u8]>,
    /// How it was last written.
    pub written: Written,
}

/// How far a list has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The last key of the page before; none for the first page.
    pub after: Option<Box<[u8]>>,
    /// The revision that the first page showed; 0 for the first page, which shows the newest one.
    pub revision: i64,
}

/// A part of a list, in the order of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The records, or the keys.
    pub items: Vec<T>,
    /// The revision that they show: the cursor's, or for a first page the newest.
    pub revision: i64,
    /// The cluster's id; 0 if it gave none.
    pub cluster: u64,
    /// Where the next page starts; none after the last.
    pub next: Option<Cursor>,
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The key was written.
    Put(RawRecord),
    /// The key was deleted, or its lease ended.
    Delete {
        /// The whole key, with the prefix.
        key: Vec<u8>,
        /// The revision of the deletion.
        revision: i64,
    },
}

impl Event {
    /// The revision that the event is part of.
    pub fn revision(&self) -> i64 {
        match self {
            Event::Put(raw) => raw.revision,
            Event::Delete { revision, .. } => *revision,
        }
    }
}

/// What arrives on a watch. The first is [`Message::Created`]: until then the stream is open, but nothing is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The registry watches from now on.
    Created {
        /// The newest revision of the registry.
        revision: i64,
        /// The cluster's id; 0 if it gave none.
        cluster: u64,
    },
    /// Changes.
    Events {
        /// Those, in the order of their revisions; at least one.
        events: Vec<Event>,
        /// Whether all events of the last one's revision have come; otherwise more of them follow.
        complete: bool,
    },
    /// A sign of life without events.
    Progress {
        /// The newest revision of the registry.
        revision: i64,
        /// Whether this watch has sent everything up to that revision. Otherwise events may still be on their way.
        of_watch: bool,
    },
    /// The watch has ended.
    Cancelled {
        /// Why, as far as it is known.
        reason: Reason,
        /// The registry's words, for people.
        text: String,
    },
}

/// A registry whose records can be listed and watched.
///
/// Each call should fail after [`CALL_TIMEOUT`](crate::connect::CALL_TIMEOUT); the watch then waits, and calls again.
/// A call may be dropped while it waits.
#[async_trait]
pub trait Source: Send + 'static {
    /// An open watch.
    type Stream: WatchStream;

    /// A page of a list of every record. All pages of a list show one revision, that of the first.
    async fn records(&mut self, cursor: &Cursor) -> Result<Page<RawRecord>, CallError>;
    /// A page of a list of the keys alone. It borrows nothing, so that a watch can be read meanwhile.
    fn keys(&self, cursor: Cursor) -> BoxFuture<'static, Result<Page<RawKey>, CallError>>;
    /// The newest revision, by a linearizable read: a member of a cluster that lags must ask the others.
    async fn revision(&mut self) -> Result<i64, CallError>;
    /// Asks for a watch of all events from revision `from` on.
    async fn open(&mut self, from: i64) -> Result<Self::Stream, CallError>;
    /// Forgets the connection: the next call goes to another endpoint and logs in again. A watch that is open goes on.
    fn disconnect(&mut self);
}

/// An open watch.
#[async_trait]
pub trait WatchStream: Send {
    /// Waits for the next message, without a deadline. May be dropped while it waits, without losing one.
    async fn message(&mut self) -> Result<Message, CallError>;
    /// Asks the registry for a [`Message::Progress`], to see that it is alive.
    async fn ask_progress(&mut self) -> Result<(), CallError>;
}
