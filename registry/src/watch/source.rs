//! The seam to the network: what a watch needs of a registry, and how etcd gives it.

use async_trait::async_trait;
use etcd_client::proto::{PbEvent, PbKeyValue, PbWatchResponse};
use etcd_client::{GetOptions, WatchOptions, WatchStream};

use crate::connect::{CALL_TIMEOUT, CallError, Cause, Connection, Connector, Link};
use crate::contract::KeyRange;

/// Keys per page of a list.
const PAGE: i64 = 2_000;
/// The largest answer that is taken, in bytes. gRPC's default of 4 MiB is less than one page of long
/// values, and less than one batch of a busy watch.
const MAX_MESSAGE: usize = 256 * 1024 * 1024;

/// A key and its value as the registry holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// The lease that holds it, 0 for none.
    pub lease: i64,
    /// The revision at which it was last written.
    pub revision: i64,
}

/// Every record of the range, at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The records.
    pub records: Vec<Raw>,
    /// The revision.
    pub revision: i64,
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The key was written.
    Put(Raw),
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
        /// Whether its revision is compacted.
        compacted: bool,
        /// The registry's words.
        reason: String,
    },
}

/// What a watch needs of a registry.
#[async_trait]
pub trait Source: Send + 'static {
    /// An open watch.
    type Stream: Stream;

    /// Every record, at one revision.
    async fn list(&mut self) -> Result<Listing, CallError>;
    /// The current revision, by a linearizable read.
    async fn revision(&mut self) -> Result<i64, CallError>;
    /// Asks for a watch from a revision on.
    async fn open(&mut self, from: i64) -> Result<Self::Stream, CallError>;
    /// Forgets the connection: the next call goes to another endpoint.
    fn disconnect(&mut self);
}

/// An open watch.
#[async_trait]
pub trait Stream: Send {
    /// The next message. May be dropped while it waits without losing one.
    async fn message(&mut self) -> Result<Message, CallError>;
    /// Asks the registry to say that it is alive.
    async fn ask_progress(&mut self) -> Result<(), CallError>;
}

/// etcd, or anything that speaks its v3 API.
#[derive(Debug)]
pub struct EtcdSource {
    connector: Connector,
    range: KeyRange,
    /// The one that was used last.
    link: Option<Link>,
}

impl EtcdSource {
    /// Lists and watches a range of keys.
    pub fn new(connection: Connection, range: KeyRange) -> Self {
        Self::over(Connector::new(connection), range)
    }

    /// The same, over a connection that others use too.
    pub(crate) fn over(connector: Connector, range: KeyRange) -> Self {
        Self { connector, range, link: None }
    }

    async fn link(&mut self) -> Result<&Link, CallError> {
        let link = self.connector.link(CALL_TIMEOUT).await?;
        Ok(self.link.insert(link))
    }

    async fn page(&mut self, start: Vec<u8>, revision: i64) -> Result<Page, CallError> {
        let options =
            GetOptions::new().with_range(self.range.end.clone()).with_limit(PAGE).with_revision(revision);
        let link = self.link().await?;
        let mut kv = link.client.kv_client().max_decoding_message_size(MAX_MESSAGE);
        let get = kv.get(start, Some(options));
        let answer = link.call("list the registrations", CALL_TIMEOUT, get).await?.0;
        Ok(Page {
            revision: answer.header.map_or(0, |h| h.revision),
            more: answer.more,
            records: answer.kvs.into_iter().map(Raw::from).collect(),
        })
    }
}

struct Page {
    revision: i64,
    more: bool,
    records: Vec<Raw>,
}

#[async_trait]
impl Source for EtcdSource {
    type Stream = EtcdStream;

    async fn list(&mut self) -> Result<Listing, CallError> {
        let mut page = self.page(self.range.start.clone(), 0).await?;
        // The pages that follow are read at the first one's revision.
        let revision = page.revision;
        let mut records = page.records;
        while page.more {
            let Some(last) = records.last() else { break };
            let mut start = last.key.clone();
            start.push(0);
            page = self.page(start, revision).await?;
            records.append(&mut page.records);
        }
        Ok(Listing { records, revision })
    }

    async fn revision(&mut self) -> Result<i64, CallError> {
        let start = self.range.start.clone();
        let link = self.link().await?;
        let mut kv = link.client.kv_client();
        let get = kv.get(start, Some(GetOptions::new().with_count_only()));
        let answer = link.call("read the current revision", CALL_TIMEOUT, get).await?;
        Ok(answer.header().map_or(0, |h| h.revision()))
    }

    async fn open(&mut self, from: i64) -> Result<EtcdStream, CallError> {
        let range = self.range.clone();
        let options = WatchOptions::new()
            .with_range(range.end)
            .with_start_revision(last_seen(from))
            .with_progress_notify()
            .with_fragment();
        let link = self.link().await?;
        let mut client = link.client.watch_client().max_decoding_message_size(MAX_MESSAGE);
        let watch = client.watch(range.start, Some(options));
        Ok(EtcdStream {
            stream: link.call("watch the registrations", CALL_TIMEOUT, watch).await?,
            endpoint: link.endpoint.clone(),
            watch_id: None,
            from,
        })
    }

    fn disconnect(&mut self) {
        if let Some(link) = self.link.take() {
            link.discard();
        }
    }
}

/// Where a watch of the events from `from` on starts: one revision earlier, which is then left out again.
/// An etcd whose own revision is below a watch's start answers no request for progress (since 3.5.22,
/// 3.6.2 and 3.4.38), so that a watch that waits for the next change would look dead.
fn last_seen(from: i64) -> i64 {
    from.saturating_sub(1).max(1)
}

/// A watch on etcd.
#[derive(Debug)]
pub struct EtcdStream {
    stream: WatchStream,
    endpoint: String,
    watch_id: Option<i64>,
    /// The first revision wanted.
    from: i64,
}

impl EtcdStream {
    fn error(&self, cause: Cause) -> CallError {
        CallError { attempt: "watch the registrations", endpoint: self.endpoint.clone(), cause }
    }

    fn read(&mut self, response: PbWatchResponse) -> Message {
        let revision = response.header.map_or(0, |h| h.revision);
        if response.canceled {
            return Message::Cancelled {
                compacted: response.compact_revision > 0,
                reason: response.cancel_reason,
            };
        }
        if response.created {
            self.watch_id = Some(response.watch_id);
            return Message::Created { revision };
        }
        let had_events = !response.events.is_empty();
        let events = response.events.into_iter().filter_map(read_event);
        let events: Vec<_> = events.filter(|e| e.revision() >= self.from).collect();
        if events.is_empty() {
            return Message::Progress {
                revision,
                of_watch: !had_events && self.watch_id == Some(response.watch_id),
            };
        }
        Message::Events { events, complete: !response.fragment }
    }
}

#[async_trait]
impl Stream for EtcdStream {
    async fn message(&mut self) -> Result<Message, CallError> {
        match self.stream.message().await {
            Ok(Some(response)) => Ok(self.read(response.0)),
            Ok(None) => Err(self.error(Cause::Closed)),
            Err(error) => Err(self.error(Cause::Etcd(error))),
        }
    }

    async fn ask_progress(&mut self) -> Result<(), CallError> {
        self.stream.request_progress().await.map_err(|e| self.error(Cause::Etcd(e)))
    }
}

/// Read by its number: etcd-client's own accessor panics at a kind that it does not know.
fn read_event(event: PbEvent) -> Option<Event> {
    const PUT: i32 = 0;
    const DELETE: i32 = 1;
    let kv = event.kv?;
    match event.r#type {
        PUT => Some(Event::Put(kv.into())),
        DELETE => Some(Event::Delete { key: kv.key, revision: kv.mod_revision }),
        _ => None,
    }
}

impl From<PbKeyValue> for Raw {
    fn from(kv: PbKeyValue) -> Self {
        Self { key: kv.key, value: kv.value, lease: kv.lease, revision: kv.mod_revision }
    }
}
