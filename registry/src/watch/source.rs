//! The seam to the network: what a watch needs of a registry.

mod etcd;
mod link;
mod pages;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use crate::connect::{CallError, Reason};
use crate::contract::MAX_VALUE;
pub use etcd::{EtcdSource, EtcdStream};

/// A key and its value as the registry holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: RawValue,
    /// The lease that holds it, 0 for none.
    pub lease: i64,
    /// The revision at which it was last written.
    pub revision: i64,
}

/// A value, unless it is too long to be a registration: then it is dropped where it arrives, so that junk
/// never adds up.
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

/// How a key was last written. The revision tells two writes of one history apart; the lease, whose id is
/// drawn, those that two histories made at the same revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The revision.
    pub revision: i64,
    /// The lease that holds the key, 0 for none.
    pub lease: i64,
}

/// A key without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawKey {
    /// The key.
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
    /// Its records or keys.
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
        /// The key.
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

/// What arrives on a watch. Created, cancelled, progress and events are four different things: an open
/// stream is not yet a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The watch is registered.
    Created {
        /// What the registry is at.
        revision: i64,
        /// The cluster's id; 0 if it gave none.
        cluster: u64,
    },
    /// Changes.
    Events {
        /// In order.
        events: Vec<Event>,
        /// Whether the last revision is whole; more of it follows otherwise.
        complete: bool,
    },
    /// A report without events.
    Progress {
        /// What the registry is at.
        revision: i64,
        /// Whether it speaks for this watch, and not for the stream alone.
        of_watch: bool,
    },
    /// The watch has ended.
    Cancelled {
        /// Why.
        reason: Reason,
        /// The registry's words.
        text: String,
    },
}

/// What a watch needs of a registry.
#[async_trait]
pub trait Source: Send + 'static {
    /// An open watch.
    type Stream: WatchStream;

    /// A page of a list of every record.
    async fn records(&mut self, cursor: &Cursor) -> Result<Page<RawRecord>, CallError>;
    /// A page of a list of the keys alone. It owns what it needs, so that a watch is read meanwhile.
    fn keys(&self, cursor: Cursor) -> BoxFuture<'static, Result<Page<RawKey>, CallError>>;
    /// The current revision, by a linearizable read.
    async fn revision(&mut self) -> Result<i64, CallError>;
    /// Asks for a watch from a revision on.
    async fn open(&mut self, from: i64) -> Result<Self::Stream, CallError>;
    /// Forgets the connection: the next call goes to another endpoint and logs in again. A watch that is
    /// open stays so.
    fn disconnect(&mut self);
}

/// An open watch.
#[async_trait]
pub trait WatchStream: Send {
    /// The next message. May be dropped while it waits without losing one.
    async fn message(&mut self) -> Result<Message, CallError>;
    /// Asks the registry to say that it is alive.
    async fn ask_progress(&mut self) -> Result<(), CallError>;
}
