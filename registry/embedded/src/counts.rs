//! What a registry holds, and how many requests it has refused, in numbers for its operators.

use std::{collections::BTreeMap, fmt::Write};

/// A registry in numbers, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// The newest revision.
    pub revision: i64,
    /// The oldest revision that can be read.
    pub compacted_revision: i64,
    /// Keys that there are now.
    pub keys: usize,
    /// Bytes that keys, values and history take, by the registry's own count.
    pub bytes: usize,
    /// The part of `bytes` that the keys take as they are now.
    pub live_bytes: usize,
    /// What `bytes` may be at most: [`Settings::max_bytes`](crate::Settings).
    pub max_bytes: usize,
    /// Leases that there are now.
    pub leases: usize,
    /// Leases granted since the start.
    pub leases_granted: u64,
    /// Keep-alives since the start, but for those of leases that had ended.
    pub leases_renewed: u64,
    /// Leases that their holders ended, since the start.
    pub leases_revoked: u64,
    /// Leases that ended at their time, since the start.
    pub leases_expired: u64,
    /// Watches that there are now.
    pub watches: usize,
    /// Watch streams that are open; one may have any number of watches, or none.
    pub watch_streams: usize,
    /// How many requests were refused since the start, by reason: the refusal's words without `etcdserver: `,
    /// `answer too large`, `too much at once`, `too many keys of a lease`, `too slow`, `unimplemented`,
    /// `unknown encoding`, `malformed message`, or `message too large`; `HTTP` and the status for what HTTP/1 turns
    /// away.
    pub refused: BTreeMap<String, u64>,
}

impl Counts {
    /// All of it as Prometheus text, in etcd's names where etcd counts the same.
    pub fn to_prometheus(&self) -> String {
        let mut text = Text::default();
        text.gauge("etcd_server_has_leader", "Always 1: there is one member.", 1);
        text.gauge("etcd_server_quota_backend_bytes", "What the registry may hold.", self.max_bytes);
        text.gauge("etcd_mvcc_db_total_size_in_bytes", "What keys, values and history take.", self.bytes);
        text.gauge(
            "etcd_mvcc_db_total_size_in_use_in_bytes",
            "What the keys take as they are now.",
            self.live_bytes,
        );
        text.gauge("etcd_debugging_mvcc_keys_total", "Keys that there are now.", self.keys);
        text.gauge("etcd_debugging_mvcc_current_revision", "The newest revision.", self.revision);
        text.gauge(
            "etcd_debugging_mvcc_compact_revision",
            "The oldest revision that can be read.",
            self.compacted_revision,
        );
        text.gauge("etcd_debugging_mvcc_watcher_total", "Watches that there are now.", self.watches);
        text.gauge(
            "etcd_debugging_mvcc_watch_stream_total",
            "Streams that carry watches, or may.",
            self.watch_streams,
        );
        text.counter("etcd_debugging_lease_granted_total", "Leases granted.", self.leases_granted);
        text.counter(
            "etcd_debugging_lease_renewed_total",
            "Keep-alives of leases that lived.",
            self.leases_renewed,
        );
        // etcd ends a lease that has expired by revoking it.
        let ended = self.leases_revoked.saturating_add(self.leases_expired);
        text.counter("etcd_debugging_lease_revoked_total", "Leases that ended, in whatever way.", ended);
        text.counter(
            "etcd_debugging_server_lease_expired_total",
            "Leases that ended at their time.",
            self.leases_expired,
        );
        text.gauge("leaseway_embedded_registry_leases", "Leases that there are now.", self.leases);
        text.family("leaseway_embedded_registry_refused_total", "Requests refused, by reason.", "counter");
        for (reason, count) in &self.refused {
            // Debug writes a quote and a backslash as the format wants them; reasons hold nothing else of the kind.
            text.sample(&format!("leaseway_embedded_registry_refused_total{{reason={reason:?}}}"), count);
        }
        text.0
    }
}

/// Prometheus' text format.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    fn gauge(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, help, "gauge");
        self.sample(name, value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, help, "counter");
        self.sample(name, value);
    }

    fn family(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, series: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{series} {value}");
    }
}
