//! What the head of a request says: how it is encoded, and who asks.

use tonic::{Status, codegen::http::HeaderMap};

const ENCODING: &str = "grpc-encoding";
const ACCEPTED: &str = "grpc-accept-encoding";
const GZIP: &str = "gzip";
/// Where a client puts the token that it got by logging in.
const TOKEN: [&str; 2] = ["token", "authorization"];

/// The calls for which an etcd, authentication off, looks at a token that comes along. A watch does so too, for
/// each of its requests.
const LOOK_AT_TOKENS: &[&str] = &[
    "/etcdserverpb.KV/Range",
    "/etcdserverpb.KV/Put",
    "/etcdserverpb.KV/DeleteRange",
    "/etcdserverpb.KV/Txn",
    "/etcdserverpb.KV/Compact",
    "/etcdserverpb.Lease/LeaseGrant",
    "/etcdserverpb.Lease/LeaseRevoke",
    "/etcdserverpb.Maintenance/Alarm",
    "/etcdserverpb.Auth/AuthStatus",
];

/// Checks that the request can be decoded.
pub(super) fn check_encoding(headers: &HeaderMap) -> Result<(), Status> {
    match headers.get(ENCODING).map(|encoding| encoding.to_str().unwrap_or_default()) {
        None | Some("identity" | GZIP) => Ok(()),
        Some(other) => Err(Status::unimplemented(format!(
            "grpc: Decompressor is not installed for grpc-encoding {other:?}"
        ))),
    }
}

/// As in etcd, the answer is compressed if the request is, whatever else the client would take: many would
/// take gzip without having asked for its cost.
pub(super) fn answer_in_kind(headers: &mut HeaderMap) {
    if headers.get(ENCODING).is_none_or(|encoding| encoding != GZIP) {
        headers.remove(ACCEPTED);
    }
}

/// Whether the client says that it has logged in. Nobody has: authentication is off.
pub(super) fn has_token(headers: &HeaderMap) -> bool {
    TOKEN.iter().any(|name| headers.contains_key(*name))
}

/// Whether this call is refused with a token.
pub(super) fn looks_at_tokens(path: &str) -> bool {
    LOOK_AT_TOKENS.contains(&path)
}
