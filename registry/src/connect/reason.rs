//! Why the registry refused a call or cancelled a watch, as far as it decides what comes next.
//!
//! etcd has one gRPC status for several of these reasons, so that its words alone tell them apart. This is the only
//! place that looks at them, and its tests have a real etcd say each. The texts are etcd's own, the same in 3.4, 3.5
//! and 3.6: `api/v3rpc/rpctypes/error.go`, and `server/etcdserver/api/v3rpc/watch.go` for those that cancel a watch.
//! etcd wraps them, as in `rpc error: code = PermissionDenied desc = etcdserver: permission denied`, so they are
//! looked for within the text. A watch that is cancelled because of a compaction has no text, but a compact revision.

/// Why the registry refused a call or cancelled a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The history that was asked for is gone.
    Compacted,
    /// The token of an earlier login is no longer valid: another login helps.
    TokenRejected,
    /// The user may not read the registrations.
    PermissionDenied,
    /// The registry has users, and the call named none.
    UserMissing,
    /// The user's name or password is wrong.
    LoginFailed,
    /// The registry has no users, so that none can log in.
    AuthenticationOff,
    /// The lease has ended, or never was.
    LeaseGone,
    /// The key that was to be written again is not there.
    KeyMissing,
    /// The member has lost its leader: another may have one.
    NoLeader,
    /// The answer is longer than what the client takes.
    TooLong,
    /// The server was stopped in an orderly way, as for a restart.
    Stopped,
    /// Anything else: a member that is down, a deadline, a text that is not known.
    Other,
}

/// Each text, and what it means.
const TEXTS: [(&str, Reason); 14] = [
    ("etcdserver: mvcc: required revision has been compacted", Reason::Compacted),
    ("etcdserver: invalid auth token", Reason::TokenRejected),
    ("etcdserver: revision of auth store is old", Reason::TokenRejected),
    ("etcdserver: permission denied", Reason::PermissionDenied),
    ("etcdserver: user name is empty", Reason::UserMissing),
    ("etcdserver: authentication failed, invalid user ID or password", Reason::LoginFailed),
    ("etcdserver: authentication is not enabled", Reason::AuthenticationOff),
    ("etcdserver: requested lease not found", Reason::LeaseGone),
    ("etcdserver: key not found", Reason::KeyMissing),
    ("etcdserver: no leader", Reason::NoLeader),
    ("etcdserver: server stopped", Reason::Stopped),
    // etcd-client's, where a keep-alive is answered with a TTL of 0.
    ("lease not found", Reason::LeaseGone),
    // Of the gRPC library here (tonic's codec/decode.rs) and there (grpc-go's stream.go).
    ("decoded message length too large", Reason::TooLong),
    ("trying to send message larger than max", Reason::TooLong),
];

impl Reason {
    /// The reason in an error's or a cancellation's text.
    pub(crate) fn in_text(text: &str) -> Self {
        let known = TEXTS.iter().find(|(known, _)| text.contains(known));
        known.map_or(Self::Other, |(_, reason)| *reason)
    }

    /// Whether another login might help.
    pub(crate) fn is_about_login(self) -> bool {
        matches!(self, Self::TokenRejected | Self::PermissionDenied | Self::UserMissing | Self::LoginFailed)
    }

    /// What a person has to do where waiting does not help. `right`: what the user needs, as etcdctl calls it;
    /// `keys`: how the keys begin on which it is needed.
    pub(crate) fn advice(self, right: &str, keys: &str) -> Option<String> {
        match self {
            Self::PermissionDenied => Some(format!(
                "grant the user's role this part of the key space, as with \
                 `etcdctl role grant-permission ROLE {right} {keys} --prefix=true`"
            )),
            Self::UserMissing => {
                let may = if right == "read" { "read" } else { "read and write" };
                Some(format!("configure a user who may {may} {keys}"))
            }
            Self::LoginFailed => Some("correct the user's name or the password file".to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
