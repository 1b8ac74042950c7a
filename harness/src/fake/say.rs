//! etcd's messages, with what a test has no wish for filled in. What differs is set on the result:
//! `PbWatchResponse { watch_id: 9, ..say::created(10) }`.

use etcd_client::proto::{
    PbEvent, PbKeyValue, PbLeaseGrantResponse, PbLeaseKeepAliveResponse, PbLeaseRevokeResponse,
    PbRangeResponse, PbResponseHeader, PbResponseOp, PbTxnOpResponse, PbTxnResponse, PbWatchResponse,
};

use crate::etcd::PREFIX;

/// The cluster that every header names.
pub const CLUSTER: u64 = 0xc0de;
/// The lease that every record is under.
pub const LEASE: i64 = 7;
/// The watch that every message is of.
pub const WATCH: i64 = 1;
/// etcd's id for what speaks for a stream rather than for one of its watches.
pub const NO_WATCH: i64 = -1;

/// A header at a revision.
pub fn header(revision: i64) -> Option<PbResponseHeader> {
    Some(PbResponseHeader { cluster_id: CLUSTER, revision, ..Default::default() })
}

/// A record of `service/instance`, last written at a revision.
pub fn kv(instance: &str, value: impl Into<Vec<u8>>, revision: i64) -> PbKeyValue {
    PbKeyValue {
        key: format!("{PREFIX}{instance}").into_bytes(),
        value: value.into(),
        create_revision: revision,
        mod_revision: revision,
        version: 1,
        lease: LEASE,
    }
}

/// A whole list.
pub fn listed(revision: i64, kvs: impl IntoIterator<Item = PbKeyValue>) -> PbRangeResponse {
    let kvs: Vec<_> = kvs.into_iter().collect();
    let count = i64::try_from(kvs.len()).unwrap_or(i64::MAX);
    PbRangeResponse { header: header(revision), kvs, more: false, count }
}

/// A page of a list, after which more follows.
pub fn page(revision: i64, kvs: impl IntoIterator<Item = PbKeyValue>) -> PbRangeResponse {
    PbRangeResponse { more: true, ..listed(revision, kvs) }
}

/// The event of a put.
pub fn put(instance: &str, value: impl Into<Vec<u8>>, revision: i64) -> PbEvent {
    PbEvent { kv: Some(kv(instance, value, revision)), ..Default::default() }
}

/// The event of a delete, or of the end of a lease.
pub fn delete(instance: &str, revision: i64) -> PbEvent {
    const DELETE: i32 = 1;
    let kv = PbKeyValue { key: kv(instance, "", 0).key, mod_revision: revision, ..Default::default() };
    PbEvent { r#type: DELETE, kv: Some(kv), ..Default::default() }
}

/// The watch is registered; `revision` is what the registry is at.
pub fn created(revision: i64) -> PbWatchResponse {
    PbWatchResponse { created: true, ..progress(revision) }
}

/// Events; `revision` is what the registry is at.
pub fn events(revision: i64, events: impl IntoIterator<Item = PbEvent>) -> PbWatchResponse {
    PbWatchResponse { events: events.into_iter().collect(), ..progress(revision) }
}

/// Events of a revision of which more follow.
pub fn fragment(revision: i64, some: impl IntoIterator<Item = PbEvent>) -> PbWatchResponse {
    PbWatchResponse { fragment: true, ..events(revision, some) }
}

/// The watch has delivered everything up to a revision.
pub fn progress(revision: i64) -> PbWatchResponse {
    PbWatchResponse { header: header(revision), watch_id: WATCH, ..Default::default() }
}

/// The stream is alive, and the registry is at a revision: nothing about the watch.
pub fn alive(revision: i64) -> PbWatchResponse {
    PbWatchResponse { watch_id: NO_WATCH, ..progress(revision) }
}

/// The watch has ended.
pub fn cancelled(reason: &str) -> PbWatchResponse {
    PbWatchResponse { canceled: true, cancel_reason: reason.to_owned(), ..progress(0) }
}

/// The watch has ended, since the history before a revision is gone.
pub fn compacted(revision: i64) -> PbWatchResponse {
    let reason = "etcdserver: mvcc: required revision has been compacted";
    PbWatchResponse { compact_revision: revision, ..cancelled(reason) }
}

/// A lease for a time in seconds.
pub fn granted(lease: i64, ttl: i64) -> PbLeaseGrantResponse {
    PbLeaseGrantResponse { header: header(1), id: lease, ttl, error: String::new() }
}

/// A lease lasts for so many seconds more; 0: it is gone.
pub fn kept_alive(lease: i64, ttl: i64) -> PbLeaseKeepAliveResponse {
    PbLeaseKeepAliveResponse { header: header(1), id: lease, ttl }
}

/// A lease was revoked.
pub fn revoked() -> PbLeaseRevokeResponse {
    PbLeaseRevokeResponse { header: header(1) }
}

/// A transaction whose comparisons held, and what it then read.
pub fn held(revision: i64, read: impl IntoIterator<Item = PbKeyValue>) -> PbTxnResponse {
    let read = PbTxnOpResponse::ResponseRange(listed(revision, read));
    let responses = vec![PbResponseOp { response: Some(read) }];
    PbTxnResponse { header: header(revision), succeeded: true, responses }
}

/// A transaction whose comparisons did not hold: its other half was done.
pub fn not_held(revision: i64) -> PbTxnResponse {
    PbTxnResponse { header: header(revision), succeeded: false, responses: Vec::new() }
}
