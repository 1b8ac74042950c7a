//! etcd as a [`Source`].

use async_trait::async_trait;
use etcd_client::proto::{PbEvent, PbKeyValue, PbWatchResponse};
use etcd_client::{GetOptions, WatchOptions};
use futures_util::future::BoxFuture;

use super::link::SharedLink;
use super::pages::{Content, MOST_BYTES, PageLimit, Pages, is_too_long};
use super::{Cursor, Event, Message, Page, RawKey, RawRecord, RawValue, Source, WatchStream, Written};
use crate::connect::{CALL_TIMEOUT, CallError, Cause, ConnectionSettings, Connector, Link, Reason};
use crate::contract::KeyRange;

/// The largest message of a watch that is taken, in bytes. etcd splits what is longer than its
/// `--max-request-bytes` (1.5 MiB by default), except for one event, and for those that were ready before
/// the watch was announced.
const MOST_OF_WATCH: usize = 64 * 1024 * 1024;

/// etcd, or anything that speaks its v3 API.
#[derive(Debug)]
pub struct EtcdSource {
    link: SharedLink,
    range: KeyRange,
    records: Pages,
    keys: Pages,
}

impl EtcdSource {
    /// Lists and watches a range of keys, such as [`Prefix::range`](crate::contract::Prefix::range) gives it.
    pub fn new(connection: ConnectionSettings, range: KeyRange) -> Self {
        Self::over(Connector::new(connection), range)
    }

    /// The same, over a connection that others use too.
    pub(crate) fn over(connector: Connector, range: KeyRange) -> Self {
        Self::with_pages_of(MOST_BYTES, connector, range)
    }

    fn with_pages_of(most_bytes: usize, connector: Connector, range: KeyRange) -> Self {
        let link = SharedLink::new(connector);
        let pages = |content| Pages {
            link: link.clone(),
            range: range.clone(),
            content,
            limit: PageLimit::default(),
            most_bytes,
        };
        Self { records: pages(Content::Records), keys: pages(Content::Keys), link, range }
    }
}

#[async_trait]
impl Source for EtcdSource {
    type Stream = EtcdStream;

    async fn records(&mut self, cursor: &Cursor) -> Result<Page<RawRecord>, CallError> {
        match self.records.read(cursor).await {
            // A single record that is longer than a page: no registration, whatever it holds.
            Err(error) if is_too_long(&error) => {
                let page = self.records.read_key(cursor).await?;
                let least = self.records.most_bytes;
                Ok(map(page, |kv| RawRecord { value: RawValue::TooLong(least), ..kv.into() }))
            }
            page => Ok(map(page?, RawRecord::from)),
        }
    }

    fn keys(&self, cursor: Cursor) -> BoxFuture<'static, Result<Page<RawKey>, CallError>> {
        let pages = self.keys.clone();
        Box::pin(async move { Ok(map(pages.read(&cursor).await?, RawKey::from)) })
    }

    async fn revision(&mut self) -> Result<i64, CallError> {
        let link = self.link.link().await?;
        let mut kv = link.client.kv_client();
        let get = kv.get(self.range.start.clone(), Some(GetOptions::new().with_count_only()));
        let answer = link.call("read the current revision", CALL_TIMEOUT, get).await?;
        Ok(answer.header().map_or(0, |h| h.revision()))
    }

    async fn open(&mut self, from: i64) -> Result<EtcdStream, CallError> {
        let options = WatchOptions::new()
            .with_range(self.range.end.clone())
            .with_start_revision(last_seen(from))
            .with_progress_notify()
            .with_fragment();
        let link = self.link.link().await?;
        let mut client = link.client.watch_client().max_decoding_message_size(MOST_OF_WATCH);
        let watch = client.watch(self.range.start.clone(), Some(options));
        let stream = link.call("watch the registrations", CALL_TIMEOUT, watch).await?;
        Ok(EtcdStream { stream, link, watch_id: None, from })
    }

    fn disconnect(&mut self) {
        self.link.discard();
    }
}

/// Where a watch of the events from `from` on starts: one revision earlier, which is then left out again.
/// An etcd whose own revision is below a watch's start answers no request for progress (since 3.5.22,
/// 3.6.2 and 3.4.38), so that a watch that waits for the next change would look dead.
fn last_seen(from: i64) -> i64 {
    from.saturating_sub(1).max(1)
}

/// An open watch on etcd.
#[derive(Debug)]
pub struct EtcdStream {
    stream: etcd_client::WatchStream,
    /// The connection of the stream: the source may have opened another by now.
    link: Link,
    watch_id: Option<i64>,
    /// The first revision wanted.
    from: i64,
}

impl EtcdStream {
    fn error(&self, cause: Cause) -> CallError {
        CallError { attempt: "watch the registrations", endpoint: self.link.endpoint.clone(), cause }
    }

    fn read(&mut self, response: PbWatchResponse) -> Message {
        let (revision, cluster) = response.header.map_or((0, 0), |h| (h.revision, h.cluster_id));
        if response.canceled {
            let compacted = response.compact_revision > 0;
            let reason = if compacted { Reason::Compacted } else { Reason::in_text(&response.cancel_reason) };
            return Message::Cancelled { reason, text: response.cancel_reason };
        }
        if response.created {
            self.watch_id = Some(response.watch_id);
            return Message::Created { revision, cluster };
        }
        if self.watch_id != Some(response.watch_id) {
            return Message::Progress { revision, of_watch: false };
        }
        let had_events = !response.events.is_empty();
        let events = response.events.into_iter().filter_map(read_event);
        let events: Vec<_> = events.filter(|e| e.revision() >= self.from).collect();
        if events.is_empty() {
            return Message::Progress { revision, of_watch: !had_events };
        }
        Message::Events { events, complete: !response.fragment }
    }
}

#[async_trait]
impl WatchStream for EtcdStream {
    async fn message(&mut self) -> Result<Message, CallError> {
        match self.stream.message().await {
            Ok(Some(response)) => Ok(self.read(response.0)),
            Ok(None) => Err(self.error(Cause::Closed)),
            Err(error) => Err(self.error(self.link.cause(error))),
        }
    }

    async fn ask_progress(&mut self) -> Result<(), CallError> {
        self.stream.request_progress().await.map_err(|e| self.error(self.link.cause(e)))
    }
}

/// Looks at the number of the event's type: etcd-client's own accessor panics at one that it does not know.
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

fn map<T>(page: Page<PbKeyValue>, item: impl FnMut(PbKeyValue) -> T) -> Page<T> {
    let Page { items, revision, cluster, next } = page;
    Page { items: items.into_iter().map(item).collect(), revision, cluster, next }
}

impl From<PbKeyValue> for RawRecord {
    fn from(kv: PbKeyValue) -> Self {
        Self { key: kv.key, value: kv.value.into(), lease: kv.lease, revision: kv.mod_revision }
    }
}

impl From<PbKeyValue> for RawKey {
    fn from(kv: PbKeyValue) -> Self {
        let written = Written { revision: kv.mod_revision, lease: kv.lease };
        Self { key: kv.key.into(), written }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Prefix;
    use harness::etcd::{Etcd, key};

    #[tokio::test]
    async fn a_single_record_that_is_longer_than_a_page_stops_no_list() -> anyhow::Result<()> {
        const PAGE: usize = 64 * 1024;
        let etcd = Etcd::start().await?;
        for (id, length) in [("a", 11), ("b", 4 * PAGE), ("c", PAGE / 2), ("d", 4 * PAGE), ("e", 11)] {
            etcd.put(&key("goods", id), vec![b'x'; length]).await?;
        }
        let connection = ConnectionSettings::to([etcd.endpoint()]);
        let mut source =
            EtcdSource::with_pages_of(PAGE, Connector::new(connection), Prefix::default().range());
        let mut cursor = Some(Cursor::default());
        let mut lengths = Vec::new();
        while let Some(at) = cursor {
            let page = source.records(&at).await?;
            lengths.extend(page.items.into_iter().map(|raw| match raw.value {
                RawValue::Bytes(bytes) => bytes.len(),
                RawValue::TooLong(length) => length,
            }));
            cursor = page.next;
        }
        assert_eq!(lengths, [11, PAGE, PAGE / 2, PAGE, 11]);
        Ok(())
    }

    #[tokio::test]
    async fn a_watch_outlives_the_connection_that_the_next_call_renews() -> anyhow::Result<()> {
        let etcd = Etcd::start().await?;
        let mut source =
            EtcdSource::new(ConnectionSettings::to([etcd.endpoint()]), Prefix::default().range());
        let mut stream = source.open(2).await?;
        assert!(matches!(stream.message().await?, Message::Created { .. }));
        source.disconnect();
        source.keys(Cursor::default()).await?;
        etcd.put(&key("goods", "a"), "10.0.0.1:80").await?;
        assert!(matches!(stream.message().await?, Message::Events { .. }));
        Ok(())
    }
}
