//! What etcd's messages look like in JSON: the fields of each, as `rpc.proto` and `kv.proto` of etcd 3.5 name and
//! number them.
//!
//! A test compares the tables with the messages that prost made of the same files.

use FieldKind::{Bool, Bytes, Enum, Int64, Of, Text, Uint64};

/// A message: its fields, in the order in which JSON has them.
#[derive(Debug)]
pub(super) struct MessageType(pub &'static [Field]);

#[derive(Debug)]
pub(super) struct Field {
    pub tag: u32,
    /// As etcd's own files and answers spell it. Requests may also spell it in camel case.
    pub name: &'static str,
    pub kind: FieldKind,
    /// A list of these.
    pub is_many: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum FieldKind {
    Bool,
    Int64,
    Uint64,
    Bytes,
    Text,
    /// The names of its numbers, from 0 on.
    Enum(&'static [&'static str]),
    Of(&'static MessageType),
}

impl MessageType {
    pub(super) fn by_tag(&self, tag: u32) -> Option<&'static Field> {
        self.0.iter().find(|field| field.tag == tag)
    }

    /// The place of the field that a request calls so.
    pub(super) fn place_of(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|field| field.name == name || camel_case(field.name).eq(name.chars()))
    }
}

/// A letter behind an underscore is a capital, and underscores go.
fn camel_case(name: &str) -> impl Iterator<Item = char> {
    let mut is_behind = false;
    name.chars().filter_map(move |letter| {
        let capital = std::mem::replace(&mut is_behind, letter == '_');
        match letter {
            '_' => None,
            letter if capital => Some(letter.to_ascii_uppercase()),
            letter => Some(letter),
        }
    })
}

const fn one(tag: u32, name: &'static str, kind: FieldKind) -> Field {
    Field { tag, name, kind, is_many: false }
}

const fn many(tag: u32, name: &'static str, kind: FieldKind) -> Field {
    Field { tag, name, kind, is_many: true }
}

/// Every answer begins with it.
const HEADER: Field = one(1, "header", Of(&RESPONSE_HEADER));

pub(super) static EMPTY: MessageType = MessageType(&[]);
pub(super) static HEADER_ALONE: MessageType = MessageType(&[HEADER]);

static RESPONSE_HEADER: MessageType = MessageType(&[
    one(1, "cluster_id", Uint64),
    one(2, "member_id", Uint64),
    one(3, "revision", Int64),
    one(4, "raft_term", Uint64),
]);

static KEY_VALUE: MessageType = MessageType(&[
    one(1, "key", Bytes),
    one(2, "create_revision", Int64),
    one(3, "mod_revision", Int64),
    one(4, "version", Int64),
    one(5, "value", Bytes),
    one(6, "lease", Int64),
]);

// ---- KV

pub(super) static RANGE_REQUEST: MessageType = MessageType(&[
    one(1, "key", Bytes),
    one(2, "range_end", Bytes),
    one(3, "limit", Int64),
    one(4, "revision", Int64),
    one(5, "sort_order", Enum(&["NONE", "ASCEND", "DESCEND"])),
    one(6, "sort_target", Enum(&["KEY", "VERSION", "CREATE", "MOD", "VALUE"])),
    one(7, "serializable", Bool),
    one(8, "keys_only", Bool),
    one(9, "count_only", Bool),
    one(10, "min_mod_revision", Int64),
    one(11, "max_mod_revision", Int64),
    one(12, "min_create_revision", Int64),
    one(13, "max_create_revision", Int64),
]);
pub(super) static RANGE_RESPONSE: MessageType =
    MessageType(&[HEADER, many(2, "kvs", Of(&KEY_VALUE)), one(3, "more", Bool), one(4, "count", Int64)]);

pub(super) static PUT_REQUEST: MessageType = MessageType(&[
    one(1, "key", Bytes),
    one(2, "value", Bytes),
    one(3, "lease", Int64),
    one(4, "prev_kv", Bool),
    one(5, "ignore_value", Bool),
    one(6, "ignore_lease", Bool),
]);
pub(super) static PUT_RESPONSE: MessageType = MessageType(&[HEADER, one(2, "prev_kv", Of(&KEY_VALUE))]);

pub(super) static DELETE_REQUEST: MessageType =
    MessageType(&[one(1, "key", Bytes), one(2, "range_end", Bytes), one(3, "prev_kv", Bool)]);
pub(super) static DELETE_RESPONSE: MessageType =
    MessageType(&[HEADER, one(2, "deleted", Int64), many(3, "prev_kvs", Of(&KEY_VALUE))]);

pub(super) static TXN_REQUEST: MessageType = MessageType(&[
    many(1, "compare", Of(&COMPARE)),
    many(2, "success", Of(&REQUEST_OP)),
    many(3, "failure", Of(&REQUEST_OP)),
]);
static COMPARE: MessageType = MessageType(&[
    one(1, "result", Enum(&["EQUAL", "GREATER", "LESS", "NOT_EQUAL"])),
    one(2, "target", Enum(&["VERSION", "CREATE", "MOD", "VALUE", "LEASE"])),
    one(3, "key", Bytes),
    one(4, "version", Int64),
    one(5, "create_revision", Int64),
    one(6, "mod_revision", Int64),
    one(7, "value", Bytes),
    one(8, "lease", Int64),
    one(64, "range_end", Bytes),
]);
static REQUEST_OP: MessageType = MessageType(&[
    one(1, "request_range", Of(&RANGE_REQUEST)),
    one(2, "request_put", Of(&PUT_REQUEST)),
    one(3, "request_delete_range", Of(&DELETE_REQUEST)),
    one(4, "request_txn", Of(&TXN_REQUEST)),
]);
pub(super) static TXN_RESPONSE: MessageType =
    MessageType(&[HEADER, one(2, "succeeded", Bool), many(3, "responses", Of(&RESPONSE_OP))]);
static RESPONSE_OP: MessageType = MessageType(&[
    one(1, "response_range", Of(&RANGE_RESPONSE)),
    one(2, "response_put", Of(&PUT_RESPONSE)),
    one(3, "response_delete_range", Of(&DELETE_RESPONSE)),
    one(4, "response_txn", Of(&TXN_RESPONSE)),
]);

pub(super) static COMPACTION_REQUEST: MessageType =
    MessageType(&[one(1, "revision", Int64), one(2, "physical", Bool)]);

// ---- Lease

pub(super) static LEASE_ID: MessageType = MessageType(&[one(1, "ID", Int64)]);
pub(super) static GRANT_REQUEST: MessageType = MessageType(&[one(1, "TTL", Int64), one(2, "ID", Int64)]);
pub(super) static GRANT_RESPONSE: MessageType =
    MessageType(&[HEADER, one(2, "ID", Int64), one(3, "TTL", Int64), one(4, "error", Text)]);
pub(super) static KEEP_ALIVE_RESPONSE: MessageType =
    MessageType(&[HEADER, one(2, "ID", Int64), one(3, "TTL", Int64)]);
pub(super) static TIME_TO_LIVE_REQUEST: MessageType =
    MessageType(&[one(1, "ID", Int64), one(2, "keys", Bool)]);
pub(super) static TIME_TO_LIVE_RESPONSE: MessageType = MessageType(&[
    HEADER,
    one(2, "ID", Int64),
    one(3, "TTL", Int64),
    one(4, "grantedTTL", Int64),
    many(5, "keys", Bytes),
]);
pub(super) static LEASES_RESPONSE: MessageType = MessageType(&[HEADER, many(2, "leases", Of(&LEASE_ID))]);

// ---- Watch

pub(super) static WATCH_REQUEST: MessageType = MessageType(&[
    one(1, "create_request", Of(&WATCH_CREATE)),
    one(2, "cancel_request", Of(&WATCH_CANCEL)),
    one(3, "progress_request", Of(&EMPTY)),
]);
static WATCH_CREATE: MessageType = MessageType(&[
    one(1, "key", Bytes),
    one(2, "range_end", Bytes),
    one(3, "start_revision", Int64),
    one(4, "progress_notify", Bool),
    many(5, "filters", Enum(&["NOPUT", "NODELETE"])),
    one(6, "prev_kv", Bool),
    one(7, "watch_id", Int64),
    one(8, "fragment", Bool),
]);
static WATCH_CANCEL: MessageType = MessageType(&[one(1, "watch_id", Int64)]);
pub(super) static WATCH_RESPONSE: MessageType = MessageType(&[
    HEADER,
    one(2, "watch_id", Int64),
    one(3, "created", Bool),
    one(4, "canceled", Bool),
    one(5, "compact_revision", Int64),
    one(6, "cancel_reason", Text),
    one(7, "fragment", Bool),
    many(11, "events", Of(&EVENT)),
]);
static EVENT: MessageType = MessageType(&[
    one(1, "type", Enum(&["PUT", "DELETE"])),
    one(2, "kv", Of(&KEY_VALUE)),
    one(3, "prev_kv", Of(&KEY_VALUE)),
]);

// ---- Cluster, Maintenance, Auth

pub(super) static MEMBERS_RESPONSE: MessageType = MessageType(&[HEADER, many(2, "members", Of(&MEMBER))]);
static MEMBER: MessageType = MessageType(&[
    one(1, "ID", Uint64),
    one(2, "name", Text),
    many(3, "peerURLs", Text),
    many(4, "clientURLs", Text),
    one(5, "isLearner", Bool),
]);

pub(super) static STATUS_RESPONSE: MessageType = MessageType(&[
    HEADER,
    one(2, "version", Text),
    one(3, "dbSize", Int64),
    one(4, "leader", Uint64),
    one(5, "raftIndex", Uint64),
    one(6, "raftTerm", Uint64),
    one(7, "raftAppliedIndex", Uint64),
    many(8, "errors", Text),
    one(9, "dbSizeInUse", Int64),
    one(10, "isLearner", Bool),
]);

const ALARM: FieldKind = Enum(&["NONE", "NOSPACE", "CORRUPT"]);
pub(super) static ALARM_REQUEST: MessageType = MessageType(&[
    one(1, "action", Enum(&["GET", "ACTIVATE", "DEACTIVATE"])),
    one(2, "memberID", Uint64),
    one(3, "alarm", ALARM),
]);
pub(super) static ALARM_RESPONSE: MessageType = MessageType(&[HEADER, many(2, "alarms", Of(&ALARM_MEMBER))]);
static ALARM_MEMBER: MessageType = MessageType(&[one(1, "memberID", Uint64), one(2, "alarm", ALARM)]);

pub(super) static AUTHENTICATE_REQUEST: MessageType =
    MessageType(&[one(1, "name", Text), one(2, "password", Text)]);
pub(super) static AUTH_STATUS_RESPONSE: MessageType =
    MessageType(&[HEADER, one(2, "enabled", Bool), one(3, "authRevision", Uint64)]);
