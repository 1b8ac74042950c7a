//! What an embedded registry may take.

use std::time::Duration;

/// The bounds of an embedded registry. What is beyond one is refused, in words that etcd's clients know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes that keys, values and history may take, by the registry's own count of what each costs. When they would
    /// take more, older history is compacted; if that is not enough, a put is refused with etcd's "database space
    /// exceeded". 256 MiB by default.
    pub max_bytes: usize,
    /// How many revisions stay readable for watches and reads; older ones are compacted. 10,000 by default.
    pub history: usize,
    /// How many leases there may be at a time. 100,000 by default.
    pub max_leases: usize,
    /// How many watches there may be at a time. 100,000 by default. Their keys may take an eighth of
    /// `max_bytes`.
    pub max_watches: usize,
    /// How many watches one stream may carry. 10,000 by default.
    pub max_watches_per_stream: usize,
    /// How many watch streams there may be at a time. 10,000 by default.
    pub max_watch_streams: usize,
    /// How many connections there may be at a time; further ones wait to be accepted. A host other than this one may
    /// have half of them. 10,000 by default. Each connection may have two calls under way, of which one is a stream (a
    /// watch or a keep-alive). All connections together may have `max_watch_streams` calls beyond these.
    pub max_connections: usize,
    /// How often a quiet watch is told its progress if it wants to be; a random part of up to a tenth is
    /// added. 10 minutes by default, and 100 ms at least, as in etcd.
    pub progress_interval: Duration,
    /// The URL that clients are told to reach this registry by (`etcdctl member list`). By default that of
    /// the address that it listens on.
    pub advertise: Option<String>,
    /// Names by which it may be reached over HTTP/1 (`Host`), beside IP addresses and `localhost`. None by default,
    /// since anybody could have a name of his own lead here, and a web page under that name ask for anything.
    pub hosts: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_bytes: 256 * 1024 * 1024,
            history: 10_000,
            max_leases: 100_000,
            max_watches: 100_000,
            max_watches_per_stream: 10_000,
            max_watch_streams: 10_000,
            max_connections: 10_000,
            progress_interval: Duration::from_secs(600),
            advertise: None,
            hosts: Vec::new(),
        }
    }
}
