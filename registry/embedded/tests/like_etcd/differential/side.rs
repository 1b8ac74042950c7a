//! One of the two: operations as its messages, and its answers without what is its own.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use etcd_client::{
    Client, DeleteOptions, Txn, TxnOp, WatchFilterType, WatchOptions, WatchResponse, WatchStream,
    proto::{
        PbCompactionRequest, PbCompactionResponse, PbCompare, PbDeleteRequest, PbDeleteResponse, PbEvent,
        PbKeyValue, PbLeaseGrantRequest, PbLeaseGrantResponse, PbLeaseRevokeRequest, PbLeaseRevokeResponse,
        PbLeaseTimeToLiveRequest, PbLeaseTimeToLiveResponse, PbPutRequest, PbPutResponse, PbRangeRequest,
        PbRangeResponse, PbResponseHeader, PbTargetUnion, PbTxnOpRequest, PbTxnOpResponse, PbTxnRequest,
        PbTxnRequestOp, PbTxnResponse,
    },
};
use prost::Message;
use tokio::time::timeout;
use tonic::{Code, transport::Channel};

use super::operation::{Compare, Delete, KEYS, LEASES, Operation, Part, Put, Range, Span, Target, Watch};
use crate::{
    raw,
    subject::{Release, Subject},
};

/// Bounds a wait for one answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A registry, and the connections to it.
pub struct Line {
    client: Client,
    channel: Channel,
    _subject: Subject,
}

impl Line {
    pub async fn to(release: Release) -> Result<Self> {
        let subject = Subject::start(release).await?;
        Ok(Self { client: subject.client().await?, channel: subject.channel().await?, _subject: subject })
    }
}

/// One sequence.
pub struct Side {
    client: Client,
    channel: Channel,
    stream: WatchStream,
    prefix: String,
    first_lease: i64,
    /// The newest revision when the sequence began: what is told counts from here.
    base: i64,
    newest: i64,
    heard: BTreeMap<i64, Heard>,
}

/// What a watch has heard.
#[derive(Debug, Default, PartialEq)]
pub struct Heard {
    events: Vec<PbEvent>,
}

/// What a stream says of a watch beside events.
#[derive(Debug, PartialEq, Eq)]
pub struct Control {
    pub id: i64,
    pub is_created: bool,
    pub is_cancelled: bool,
    reason: String,
    compacted: i64,
    revision: i64,
}

/// An answer without what is its registry's own, or a refusal.
pub type Answer = Result<String, (Code, String)>;

impl Side {
    pub async fn open(line: &Line, sequence: u32) -> Result<Self> {
        let (mut client, channel) = (line.client.clone(), line.channel.clone());
        let newest = client.get("none", None).await?.header().context("no header")?.revision();
        // The client opens a stream with a watch: one that hears nothing, and takes no id that is counted.
        let first = WatchOptions::new().with_watch_id(1_000);
        let mut stream = client.watch("none", Some(first)).await?;
        ensure!(stream.message().await?.is_some_and(|answer| answer.created()), "no watch");
        Ok(Self {
            client,
            channel,
            stream,
            prefix: format!("s{sequence:08}/"),
            first_lease: 1_000_000 + 16 * i64::from(sequence),
            base: newest,
            newest,
            heard: BTreeMap::new(),
        })
    }

    pub fn newest(&self) -> i64 {
        self.newest
    }

    pub fn heard(&self) -> &BTreeMap<i64, Heard> {
        &self.heard
    }

    pub async fn perform(&mut self, operation: &Operation) -> Result<Answer> {
        match operation {
            Operation::Range(range) => {
                let request = self.range(range);
                self.call("KV/Range", request, |side, answer: &mut PbRangeResponse| side.plain_range(answer))
                    .await
            }
            Operation::Put(put) => {
                let request = self.put(put);
                self.call("KV/Put", request, Self::plain_put).await
            }
            Operation::Delete(delete) => {
                let request = self.delete(delete);
                self.call("KV/DeleteRange", request, Self::plain_delete).await
            }
            Operation::Txn(txn) => {
                let request = self.txn(txn);
                self.call("KV/Txn", request, Self::plain_txn).await
            }
            Operation::Compact { revision } => {
                let request = PbCompactionRequest { revision: self.newest + revision, physical: true };
                self.call("KV/Compact", request, |side, answer: &mut PbCompactionResponse| {
                    side.plain_header(&mut answer.header);
                })
                .await
            }
            Operation::Grant { lease, ttl } => {
                let request = PbLeaseGrantRequest { id: self.lease(Some(*lease)), ttl: *ttl };
                self.call("Lease/LeaseGrant", request, |side, answer: &mut PbLeaseGrantResponse| {
                    side.plain_header(&mut answer.header);
                })
                .await
            }
            Operation::Revoke { lease } => {
                let request = PbLeaseRevokeRequest { id: self.lease(Some(*lease)) };
                self.call("Lease/LeaseRevoke", request, |side, answer: &mut PbLeaseRevokeResponse| {
                    side.plain_header(&mut answer.header);
                })
                .await
            }
            Operation::TimeToLive { lease } => {
                let request = PbLeaseTimeToLiveRequest { id: self.lease(Some(*lease)), keys: true };
                self.call("Lease/LeaseTimeToLive", request, |side, answer: &mut PbLeaseTimeToLiveResponse| {
                    side.plain_header(&mut answer.header);
                    answer.ttl = answer.ttl.signum();
                    answer.keys.sort(); // etcd's order is random
                })
                .await
            }
            Operation::KeepAlive { lease } => {
                let kept = self.client.lease_keep_alive(self.lease(Some(*lease))).await;
                Ok(Ok(format!("{:?}", kept.map(|(keeper, _)| keeper.id() - self.first_lease))))
            }
            Operation::Leases => self.leases().await,
            Operation::Watch(_) | Operation::Cancel { .. } => bail!("a stream's part"),
        }
    }

    /// Those of this side's own.
    async fn leases(&mut self) -> Result<Answer> {
        let own = self.first_lease..self.first_lease + i64::from(LEASES);
        let leases = self.client.leases().await?;
        let leases = leases.leases().iter().map(|lease| lease.id()).filter(|id| own.contains(id));
        let mut leases: Vec<_> = leases.map(|id| id - self.first_lease).collect();
        leases.sort_unstable();
        Ok(Ok(format!("{leases:?}")))
    }

    pub async fn watch(&mut self, watch: &Watch) -> Result<Control> {
        let (key, end) = self.span(watch.span);
        let mut filters = Vec::new();
        if watch.without_puts {
            filters.push(WatchFilterType::NoPut);
        }
        if watch.without_deletes {
            filters.push(WatchFilterType::NoDelete);
        }
        let mut options = WatchOptions::new().with_watch_id(watch.id).with_filters(filters);
        if end == [0] {
            options = options.with_from_key();
        } else {
            options = options.with_range(end);
        }
        if let Some(start) = watch.start {
            options = options.with_start_revision(self.newest + start);
        }
        if watch.previous {
            options = options.with_prev_key();
        }
        if watch.fragments {
            options = options.with_fragment();
        }
        self.stream.watch(key, Some(options)).await?;
        self.control().await
    }

    pub async fn cancel(&mut self, id: i64) -> Result<()> {
        Ok(self.stream.cancel(id).await?)
    }

    /// The next answer that is not of events.
    pub async fn control(&mut self) -> Result<Control> {
        loop {
            let answer = self.next().await?;
            if answer.created() || answer.canceled() {
                let revision = answer.header().context("no header")?.revision();
                return Ok(Control {
                    id: answer.watch_id(),
                    is_created: answer.created(),
                    is_cancelled: answer.canceled(),
                    reason: answer.cancel_reason().to_owned(),
                    compacted: self.plain(answer.compact_revision()),
                    revision: self.plain(revision),
                });
            }
            self.hear(answer);
        }
    }

    /// Listens until a watch has heard of a revision.
    pub async fn hear_through(&mut self, id: i64, revision: i64) -> Result<()> {
        let last =
            |heard: &Heard| heard.events.last().and_then(|event| Some(event.kv.as_ref()?.mod_revision));
        while self.heard.get(&id).and_then(last).is_none_or(|last| last < revision - self.base) {
            let answer = self.next().await?;
            ensure!(!answer.canceled(), "a watch ended: {answer:?}");
            self.hear(answer);
        }
        Ok(())
    }

    pub async fn put_all(&mut self) -> Result<()> {
        let puts: Vec<_> = (0..KEYS).map(|key| TxnOp::put(self.key(key), "settled", None)).collect();
        let answer = self.client.txn(Txn::new().and_then(puts)).await?;
        self.newest = answer.header().context("no header")?.revision();
        Ok(())
    }

    pub async fn delete_all(&mut self) -> Result<()> {
        let all = DeleteOptions::new().with_prefix();
        let answer = self.client.delete(self.prefix.clone(), Some(all)).await?;
        self.newest = answer.header().context("no header")?.revision();
        Ok(())
    }

    /// Leaves nothing behind.
    pub async fn close(&mut self) -> Result<()> {
        for lease in 0..LEASES {
            let _ = self.client.lease_revoke(self.lease(Some(lease))).await; // it may be gone
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<WatchResponse> {
        let answer = timeout(PATIENCE, self.stream.message()).await;
        answer.context("the stream is silent")??.context("the stream ended")
    }

    fn hear(&mut self, answer: WatchResponse) {
        let base = self.base;
        let heard = self.heard.entry(answer.watch_id()).or_default();
        heard.events.extend(answer.0.events.into_iter().map(|mut event| {
            event.kv.iter_mut().chain(&mut event.prev_kv).for_each(|kv| plain_kv(kv, base));
            event
        }));
    }

    async fn call<Q, A>(
        &mut self,
        method: &str,
        request: Q,
        plain: impl FnOnce(&mut Self, &mut A),
    ) -> Result<Answer>
    where
        Q: Message + 'static,
        A: Message + Default + std::fmt::Debug + 'static,
    {
        Ok(match raw::call::<Q, A>(&self.channel, method, request).await {
            Ok(mut answer) => {
                plain(self, &mut answer);
                Ok(format!("{answer:#?}"))
            }
            Err(status) => Err(raw::refusal(&status)),
        })
    }

    fn key(&self, key: u8) -> Vec<u8> {
        format!("{}{}", self.prefix, char::from(b'a' + key)).into_bytes()
    }

    fn lease(&self, lease: Option<u8>) -> i64 {
        lease.map_or(0, |lease| self.first_lease + i64::from(lease))
    }

    fn span(&self, span: Span) -> (Vec<u8>, Vec<u8>) {
        match span {
            Span::Key(key) => (self.key(key), Vec::new()),
            Span::Between(start, end) => (self.key(start), self.key(end)),
            Span::From(start) => (self.key(start), vec![0]),
        }
    }

    fn range(&self, range: &Range) -> PbRangeRequest {
        let (key, range_end) = self.span(range.span);
        let at = |revision: Option<i64>| revision.map_or(0, |revision| self.newest + revision);
        let [min_mod, max_mod, min_create, max_create] = range.filters.map(at);
        PbRangeRequest {
            key,
            range_end,
            limit: range.limit,
            revision: at(range.revision),
            sort_order: range.sort.0,
            sort_target: range.sort.1,
            serializable: false,
            keys_only: range.keys_only,
            count_only: range.count_only,
            min_mod_revision: min_mod,
            max_mod_revision: max_mod,
            min_create_revision: min_create,
            max_create_revision: max_create,
        }
    }

    fn put(&self, put: &Put) -> PbPutRequest {
        PbPutRequest {
            key: self.key(put.key),
            value: if put.ignore_value { Vec::new() } else { vec![put.value] },
            lease: self.lease(put.lease.filter(|_| !put.ignore_lease)),
            prev_kv: put.previous,
            ignore_value: put.ignore_value,
            ignore_lease: put.ignore_lease,
        }
    }

    fn delete(&self, delete: &Delete) -> PbDeleteRequest {
        let (key, range_end) = self.span(delete.span);
        PbDeleteRequest { key, range_end, prev_kv: delete.previous }
    }

    fn txn(&self, txn: &super::operation::Txn) -> PbTxnRequest {
        let side = |parts: &[Part]| parts.iter().map(|part| self.part(part)).collect();
        PbTxnRequest {
            compare: txn.compares.iter().map(|compare| self.compare(compare)).collect(),
            success: side(&txn.success),
            failure: side(&txn.failure),
        }
    }

    fn part(&self, part: &Part) -> PbTxnRequestOp {
        PbTxnRequestOp {
            request: Some(match part {
                Part::Range(range) => PbTxnOpRequest::RequestRange(self.range(range)),
                Part::Put(put) => PbTxnOpRequest::RequestPut(self.put(put)),
                Part::Delete(delete) => PbTxnOpRequest::RequestDeleteRange(self.delete(delete)),
                Part::Txn(txn) => PbTxnOpRequest::RequestTxn(self.txn(txn)),
            }),
        }
    }

    fn compare(&self, compare: &Compare) -> PbCompare {
        let (key, range_end) = self.span(compare.span);
        let (target, union) = match &compare.target {
            Target::Version(version) => (0, PbTargetUnion::Version(*version)),
            Target::Create(revision) => (1, PbTargetUnion::CreateRevision(self.newest + revision)),
            Target::Mod(revision) => (2, PbTargetUnion::ModRevision(self.newest + revision)),
            Target::Value(value) => (3, PbTargetUnion::Value(vec![*value])),
            Target::Lease(lease) => (4, PbTargetUnion::Lease(self.lease(*lease))),
        };
        PbCompare { result: compare.result, target, key, range_end, target_union: Some(union) }
    }

    fn plain(&self, revision: i64) -> i64 {
        plain(revision, self.base)
    }

    /// The header of an answer also says what the newest revision is.
    fn plain_header(&mut self, header: &mut Option<PbResponseHeader>) {
        if let Some(header) = header {
            self.newest = self.newest.max(header.revision);
            let revision = self.plain(header.revision);
            *header = PbResponseHeader { revision, ..PbResponseHeader::default() };
        }
    }

    fn plain_range(&mut self, answer: &mut PbRangeResponse) {
        self.plain_header(&mut answer.header);
        answer.kvs.iter_mut().for_each(|kv| plain_kv(kv, self.base));
    }

    fn plain_put(&mut self, answer: &mut PbPutResponse) {
        self.plain_header(&mut answer.header);
        answer.prev_kv.iter_mut().for_each(|kv| plain_kv(kv, self.base));
    }

    fn plain_delete(&mut self, answer: &mut PbDeleteResponse) {
        self.plain_header(&mut answer.header);
        answer.prev_kvs.iter_mut().for_each(|kv| plain_kv(kv, self.base));
    }

    fn plain_txn(&mut self, answer: &mut PbTxnResponse) {
        self.plain_header(&mut answer.header);
        for part in &mut answer.responses {
            match &mut part.response {
                Some(PbTxnOpResponse::ResponseRange(part)) => self.plain_range(part),
                Some(PbTxnOpResponse::ResponsePut(part)) => self.plain_put(part),
                Some(PbTxnOpResponse::ResponseDeleteRange(part)) => self.plain_delete(part),
                Some(PbTxnOpResponse::ResponseTxn(part)) => self.plain_txn(part),
                None => {}
            }
        }
    }
}

/// From the start of the sequence on; none stays none.
fn plain(revision: i64, base: i64) -> i64 {
    if revision == 0 { 0 } else { revision - base }
}

fn plain_kv(kv: &mut PbKeyValue, base: i64) {
    kv.create_revision = plain(kv.create_revision, base);
    kv.mod_revision = plain(kv.mod_revision, base);
}
