//! What a watch stream tells, as etcd's messages.

use std::iter;

use etcd_client::{
    EventType,
    proto::{PbEvent, PbKeyValue, PbResponseHeader, PbWatchResponse},
};
use prost::Message;

use super::header;
use crate::{
    refusal::Refusal,
    store::{KeyChange, is_deletion},
    watch::{Batch, News},
};

/// The watch id of an answer that concerns every watch of a stream, or none.
const NO_WATCH: i64 = -1;
/// From this size on, in bytes, an answer comes in fragments if its watch wants that: etcd's largest message.
const FRAGMENT: usize = 2 * 1024 * 1024;
/// What an event takes in an answer beside its own bytes: its tag and its length.
const EVENT_OVERHEAD: usize = 6;

/// The answer to a request for a watch.
pub(super) fn created(created: Result<i64, Refusal>, header: PbResponseHeader) -> PbWatchResponse {
    let header = Some(header);
    match created {
        Ok(watch_id) => PbWatchResponse { header, watch_id, created: true, ..Default::default() },
        Err(refusal) => PbWatchResponse {
            header,
            watch_id: NO_WATCH,
            created: true,
            canceled: true,
            cancel_reason: refusal.to_string(),
            ..Default::default()
        },
    }
}

pub(super) fn cancelled(watch_id: i64, header: PbResponseHeader) -> PbWatchResponse {
    PbWatchResponse { header: Some(header), watch_id, canceled: true, ..Default::default() }
}

/// Everything up to the header's revision has been told.
pub(super) fn progress(watch_id: i64, header: PbResponseHeader) -> PbWatchResponse {
    PbWatchResponse { header: Some(header), watch_id, ..Default::default() }
}

/// What there is to say of a piece of news, made as it is taken: a batch in fragments may be large, and a client
/// that does not read must not hold more than one of them.
pub(super) type Responses = Box<dyn Iterator<Item = PbWatchResponse> + Send>;

pub(super) fn none() -> Responses {
    Box::new(iter::empty())
}

pub(super) fn responses(news: News) -> Responses {
    match news {
        News::Batch(batch) => Box::new(Fragments { batch, told: 0 }),
        News::Compacted { watch, revision } => Box::new(iter::once(compacted(watch, revision))),
        News::Progress { revision } => Box::new(iter::once(progress(NO_WATCH, header(revision)))),
    }
}

/// As in etcd, without a reason and with a header that knows no revision.
fn compacted(watch_id: i64, compact_revision: i64) -> PbWatchResponse {
    PbWatchResponse {
        header: Some(header(0)),
        watch_id,
        canceled: true,
        compact_revision,
        ..Default::default()
    }
}

/// A batch as one response, or as several if its watch wants that. A divided batch is a part in any case.
struct Fragments {
    batch: Batch,
    /// How many of its changes have been told.
    told: usize,
}

impl Iterator for Fragments {
    type Item = PbWatchResponse;

    fn next(&mut self) -> Option<PbWatchResponse> {
        let Self { batch, told } = self;
        let mut events = Vec::new();
        let mut bytes = 0;
        for change in batch.changes.get(*told..)? {
            let event = event(change, batch);
            bytes += event.encoded_len() + EVENT_OVERHEAD;
            if batch.in_fragments && !events.is_empty() && bytes >= FRAGMENT {
                break;
            }
            events.push(event);
        }
        *told += events.len();
        (!events.is_empty()).then(|| PbWatchResponse {
            header: Some(header(batch.through)),
            watch_id: batch.watch,
            fragment: *told < batch.changes.len() || batch.is_divided(),
            events,
            ..Default::default()
        })
    }
}

fn event(change: &KeyChange, batch: &Batch) -> PbEvent {
    let record = &change.record;
    let kind = if is_deletion(record) { EventType::Delete } else { EventType::Put };
    // A key that was created was nothing before, and what is compacted is not told.
    let has_previous = batch.with_previous
        && record.create_revision != record.mod_revision
        && record.mod_revision > batch.compacted;
    let previous = change.previous.as_deref().filter(|_| has_previous).cloned();
    PbEvent { r#type: kind as i32, kv: Some(PbKeyValue::clone(record)), prev_kv: previous }
}
