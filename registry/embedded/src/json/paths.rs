//! Which path calls which method, as etcd 3.5's files say (`google.api.http` in `rpc.proto`).

use super::messages::{
    ALARM_REQUEST, ALARM_RESPONSE, AUTH_STATUS_RESPONSE, AUTHENTICATE_REQUEST, COMPACTION_REQUEST,
    DELETE_REQUEST, DELETE_RESPONSE, EMPTY, GRANT_REQUEST, GRANT_RESPONSE, HEADER_ALONE, KEEP_ALIVE_RESPONSE,
    LEASE_ID, LEASES_RESPONSE, MEMBERS_RESPONSE, MessageType, PUT_REQUEST, PUT_RESPONSE, RANGE_REQUEST,
    RANGE_RESPONSE, STATUS_RESPONSE, TIME_TO_LIVE_REQUEST, TIME_TO_LIVE_RESPONSE, TXN_REQUEST, TXN_RESPONSE,
    WATCH_REQUEST, WATCH_RESPONSE,
};

/// A method of the gRPC side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Method {
    pub path: &'static str,
    pub request: &'static MessageType,
    pub answer: &'static MessageType,
    /// Requests one after the other, and so answers.
    pub is_stream: bool,
}

/// What comes before every path. etcd 3.5 still has the second.
const PREFIXES: [&str; 2] = ["/v3/", "/v3beta/"];

/// Whether etcd would look for a method there.
pub(super) fn is_below_a_prefix(path: &str) -> bool {
    below_a_prefix(path).is_some()
}

pub(super) fn find(path: &str) -> Option<Method> {
    let path = below_a_prefix(path)?;
    ROUTES.iter().find(|(route, _)| *route == path).map(|(_, method)| *method)
}

fn below_a_prefix(path: &str) -> Option<&str> {
    PREFIXES.iter().find_map(|prefix| path.strip_prefix(prefix))
}

const fn call(path: &'static str, request: &'static MessageType, answer: &'static MessageType) -> Method {
    Method { path, request, answer, is_stream: false }
}

const fn stream(path: &'static str, request: &'static MessageType, answer: &'static MessageType) -> Method {
    Method { path, request, answer, is_stream: true }
}

/// A method that the gRPC side does not have. It is called all the same, to answer with its refusal.
const fn absent(path: &'static str) -> Method {
    call(path, &EMPTY, &EMPTY)
}

const REVOKE: Method = call("/etcdserverpb.Lease/LeaseRevoke", &LEASE_ID, &HEADER_ALONE);
const TIME_TO_LIVE: Method =
    call("/etcdserverpb.Lease/LeaseTimeToLive", &TIME_TO_LIVE_REQUEST, &TIME_TO_LIVE_RESPONSE);
const LEASES: Method = call("/etcdserverpb.Lease/LeaseLeases", &EMPTY, &LEASES_RESPONSE);

static ROUTES: &[(&str, Method)] = &[
    ("kv/range", call("/etcdserverpb.KV/Range", &RANGE_REQUEST, &RANGE_RESPONSE)),
    ("kv/put", call("/etcdserverpb.KV/Put", &PUT_REQUEST, &PUT_RESPONSE)),
    ("kv/deleterange", call("/etcdserverpb.KV/DeleteRange", &DELETE_REQUEST, &DELETE_RESPONSE)),
    ("kv/txn", call("/etcdserverpb.KV/Txn", &TXN_REQUEST, &TXN_RESPONSE)),
    ("kv/compaction", call("/etcdserverpb.KV/Compact", &COMPACTION_REQUEST, &HEADER_ALONE)),
    ("watch", stream("/etcdserverpb.Watch/Watch", &WATCH_REQUEST, &WATCH_RESPONSE)),
    ("lease/grant", call("/etcdserverpb.Lease/LeaseGrant", &GRANT_REQUEST, &GRANT_RESPONSE)),
    ("lease/keepalive", stream("/etcdserverpb.Lease/LeaseKeepAlive", &LEASE_ID, &KEEP_ALIVE_RESPONSE)),
    ("lease/revoke", REVOKE),
    ("lease/timetolive", TIME_TO_LIVE),
    ("lease/leases", LEASES),
    ("kv/lease/revoke", REVOKE),
    ("kv/lease/timetolive", TIME_TO_LIVE),
    ("kv/lease/leases", LEASES),
    ("cluster/member/list", call("/etcdserverpb.Cluster/MemberList", &EMPTY, &MEMBERS_RESPONSE)),
    ("cluster/member/add", absent("/etcdserverpb.Cluster/MemberAdd")),
    ("cluster/member/remove", absent("/etcdserverpb.Cluster/MemberRemove")),
    ("cluster/member/update", absent("/etcdserverpb.Cluster/MemberUpdate")),
    ("cluster/member/promote", absent("/etcdserverpb.Cluster/MemberPromote")),
    ("maintenance/status", call("/etcdserverpb.Maintenance/Status", &EMPTY, &STATUS_RESPONSE)),
    ("maintenance/alarm", call("/etcdserverpb.Maintenance/Alarm", &ALARM_REQUEST, &ALARM_RESPONSE)),
    ("maintenance/defragment", absent("/etcdserverpb.Maintenance/Defragment")),
    ("maintenance/hash", absent("/etcdserverpb.Maintenance/HashKV")),
    ("maintenance/snapshot", absent("/etcdserverpb.Maintenance/Snapshot")),
    ("maintenance/transfer-leadership", absent("/etcdserverpb.Maintenance/MoveLeader")),
    ("maintenance/downgrade", absent("/etcdserverpb.Maintenance/Downgrade")),
    ("auth/authenticate", call("/etcdserverpb.Auth/Authenticate", &AUTHENTICATE_REQUEST, &EMPTY)),
    ("auth/status", call("/etcdserverpb.Auth/AuthStatus", &EMPTY, &AUTH_STATUS_RESPONSE)),
    ("auth/enable", absent("/etcdserverpb.Auth/AuthEnable")),
    ("auth/disable", absent("/etcdserverpb.Auth/AuthDisable")),
    ("auth/user/add", absent("/etcdserverpb.Auth/UserAdd")),
    ("auth/user/get", absent("/etcdserverpb.Auth/UserGet")),
    ("auth/user/list", absent("/etcdserverpb.Auth/UserList")),
    ("auth/user/delete", absent("/etcdserverpb.Auth/UserDelete")),
    ("auth/user/changepw", absent("/etcdserverpb.Auth/UserChangePassword")),
    ("auth/user/grant", absent("/etcdserverpb.Auth/UserGrantRole")),
    ("auth/user/revoke", absent("/etcdserverpb.Auth/UserRevokeRole")),
    ("auth/role/add", absent("/etcdserverpb.Auth/RoleAdd")),
    ("auth/role/get", absent("/etcdserverpb.Auth/RoleGet")),
    ("auth/role/list", absent("/etcdserverpb.Auth/RoleList")),
    ("auth/role/delete", absent("/etcdserverpb.Auth/RoleDelete")),
    ("auth/role/grant", absent("/etcdserverpb.Auth/RoleGrantPermission")),
    ("auth/role/revoke", absent("/etcdserverpb.Auth/RoleRevokePermission")),
    ("election/campaign", absent("/v3electionpb.Election/Campaign")),
    ("election/proclaim", absent("/v3electionpb.Election/Proclaim")),
    ("election/leader", absent("/v3electionpb.Election/Leader")),
    ("election/observe", absent("/v3electionpb.Election/Observe")),
    ("election/resign", absent("/v3electionpb.Election/Resign")),
    ("lock/lock", absent("/v3lockpb.Lock/Lock")),
    ("lock/unlock", absent("/v3lockpb.Lock/Unlock")),
];
