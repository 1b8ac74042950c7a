//! Lists by pages, whose size follows what the registry holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use etcd_client::proto::PbKeyValue;
use etcd_client::{GetOptions, GetResponse};

use super::link::SharedLink;
use super::{Cursor, Page};
use crate::connect::{CALL_TIMEOUT, CallError, Cause, Reason};
use crate::contract::KeyRange;

const LIST: &str = "list the registrations";
/// Keys in the first page of a list.
const FIRST_KEYS: i64 = 2_000;
/// Keys in a page of short records. etcd looks at every key that is left in the range for each page, so
/// that many small pages of a long list cost it more than few large ones.
const MOST_KEYS: i64 = 10_000;
/// The largest page that is taken, in bytes: hundreds of the longest records, or ten thousand short ones. What is read
/// of it is in memory three times while it is decoded, and whoever may register decides how long records are.
pub(super) const MOST_BYTES: usize = 6 * 1024 * 1024;

/// Reads a range of keys page by page.
#[derive(Debug, Clone)]
pub(super) struct Pages {
    pub link: SharedLink,
    pub range: KeyRange,
    pub content: Content,
    pub limit: PageLimit,
    /// The largest page that is taken, in bytes.
    pub most_bytes: usize,
}

/// What a page holds of each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Records,
    Keys,
}

impl Pages {
    /// Reads the page at a cursor. One that turns out too long is read again with fewer keys.
    pub(super) async fn read(&self, cursor: &Cursor) -> Result<Page<PbKeyValue>, CallError> {
        loop {
            let limit = self.limit.get();
            match self.ask(cursor, limit, self.content).await {
                Ok(answer) => {
                    self.limit.taken(answer.0.kvs.iter().map(size).sum(), self.most_bytes);
                    return self.page(answer, cursor);
                }
                Err(error) if is_too_long(&error) && self.limit.halve(limit) => {}
                Err(error) => {
                    // A registry or a network that is too slow for this page may manage half of it.
                    if matches!(error.cause, Cause::Deadline(_)) {
                        self.limit.halve(limit);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Reads the first key at a cursor, without its value.
    pub(super) async fn read_key(&self, cursor: &Cursor) -> Result<Page<PbKeyValue>, CallError> {
        self.page(self.ask(cursor, 1, Content::Keys).await?, cursor)
    }

    async fn ask(&self, cursor: &Cursor, limit: i64, content: Content) -> Result<GetResponse, CallError> {
        let mut options = GetOptions::new()
            .with_range(self.range.end.clone())
            .with_limit(limit)
            // The pages that follow are read at the first one's revision.
            .with_revision(cursor.revision);
        if content == Content::Keys {
            options = options.with_keys_only();
        }
        let link = self.link.link().await?;
        let mut kv = link.client.kv_client().max_decoding_message_size(self.most_bytes);
        let get = kv.get(self.start(cursor), Some(options));
        link.call(LIST, CALL_TIMEOUT, get).await
    }

    fn page(&self, answer: GetResponse, cursor: &Cursor) -> Result<Page<PbKeyValue>, CallError> {
        let answer = answer.0;
        if let Some(nonsense) = nonsense(&answer.kvs, answer.more, cursor) {
            let endpoint = self.link.endpoint();
            return Err(CallError { attempt: LIST, endpoint, cause: Cause::Answer(nonsense) });
        }
        let (newest, cluster) = answer.header.map_or((0, 0), |h| (h.revision, h.cluster_id));
        let revision = if cursor.revision > 0 { cursor.revision } else { newest };
        let last = answer.kvs.last().filter(|_| answer.more);
        let next = last.map(|kv| Cursor { after: Some(kv.key.as_slice().into()), revision });
        Ok(Page { items: answer.kvs, revision, cluster, next })
    }

    fn start(&self, cursor: &Cursor) -> Vec<u8> {
        match &cursor.after {
            // The first key after another is that one and a zero byte.
            Some(key) => [key, &[0][..]].concat(),
            None => self.range.start.clone(),
        }
    }
}

/// Whether a page was longer than what is taken.
pub(super) fn is_too_long(error: &CallError) -> bool {
    error.cause.reason() == Reason::TooLong
}

/// What is wrong with a page. A list that does not move on would never end, and one that ends early would
/// be taken for the whole.
fn nonsense(kvs: &[PbKeyValue], more: bool, cursor: &Cursor) -> Option<&'static str> {
    let first_is_new = kvs.first().zip(cursor.after.as_ref()).is_none_or(|(kv, after)| *kv.key > **after);
    let ascends = kvs.is_sorted_by(|a, b| a.key < b.key);
    if kvs.is_empty() && more {
        Some("it has no record, and says that there are more")
    } else if first_is_new && ascends {
        None
    } else {
        Some("its keys are not in order")
    }
}

fn size(kv: &PbKeyValue) -> usize {
    kv.key.len() + kv.value.len()
}

/// How many keys a page may hold; shared by the clones of its [`Pages`].
#[derive(Debug, Clone)]
pub(super) struct PageLimit(Arc<AtomicI64>);

impl Default for PageLimit {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(FIRST_KEYS)))
    }
}

impl PageLimit {
    fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// After a page of `limit` keys that was too long: whether there is a smaller one to try.
    fn halve(&self, limit: i64) -> bool {
        self.0.store((limit / 2).max(1), Ordering::Relaxed);
        limit > 1
    }

    /// After a page of `bytes`: twice its keys next time, if that leaves half of what may be taken for
    /// records that are longer. Where they stay long, no page is read twice.
    fn taken(&self, bytes: usize, most_bytes: usize) {
        if bytes < most_bytes / 4 {
            let doubled = self.get().saturating_mul(2).min(MOST_KEYS);
            self.0.store(doubled, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_shrinks_to_one_key_and_grows_with_short_answers() {
        let limit = PageLimit::default();
        let mut tried = Vec::new();
        loop {
            tried.push(limit.get());
            if !limit.halve(limit.get()) {
                break;
            }
        }
        assert_eq!((tried.first(), tried.last(), tried.len()), (Some(&2_000), Some(&1), 11));
        limit.taken(MOST_BYTES / 2, MOST_BYTES);
        assert_eq!(limit.get(), 1, "long records are read one by one");
        (0..20).for_each(|_| limit.taken(100, MOST_BYTES));
        assert_eq!(limit.get(), MOST_KEYS);
    }
}
