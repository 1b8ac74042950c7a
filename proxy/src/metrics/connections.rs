//! Connections: those of clients, what became of those that brought no request, tunnels, and those that are kept to
//! instances.

use std::sync::{Arc, OnceLock};

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::maker::{Maker, as_gauge};
use crate::traffic::kept::Sweeper;

#[derive(Debug)]
pub(super) struct ConnectionsMetrics {
    pub(super) of_clients: IntGauge,
    pub(super) declined: IntCounter,
    refused_heads: IntCounterVec,
    http2_floods: IntCounterVec,
    tunnels: IntGauge,
    tunnels_ended: IntCounterVec,
    kept: IntGauge,
    /// Counts those that are kept. None: nobody keeps any.
    pub(super) sweeper: OnceLock<Arc<Sweeper>>,
}

/// A tunnel that is open until this is dropped.
#[derive(Debug)]
#[must_use = "who drops it says that the tunnel has ended"]
pub(crate) struct OpenTunnel(IntGauge);

impl ConnectionsMetrics {
    pub(super) fn new(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            of_clients: make.gauge("client_connections", "Connections of clients that are open.")?,
            declined: make.counter(
                "connections_declined_total",
                "Connections that were answered with 503 for want of a descriptor.",
            )?,
            refused_heads: make.counters(
                "heads_refused_total",
                "What was no request's head, by the status of its answer; status 0: the client left within it.",
                &["status"],
            )?,
            http2_floods: make.counters(
                "http2_floods_total",
                "HTTP/2 connections that were closed for what their clients flooded them with, by kind.",
                &["kind"],
            )?,
            tunnels: make.gauge("tunnels", "Tunnels that are open.")?,
            tunnels_ended: make.counters(
                "tunnels_ended_total",
                "Tunnels that have ended, by what ended them.",
                &["reason"],
            )?,
            kept: make
                .gauge("kept_connections", "Connections to instances that are kept for the next requests.")?,
            sweeper: OnceLock::new(),
        })
    }

    pub(super) fn head_refused(&self, status: u16) {
        self.refused_heads.with_label_values(&[itoa::Buffer::new().format(status)]).inc();
    }

    pub(super) fn http2_flood(&self, kind: &str) {
        self.http2_floods.with_label_values(&[kind]).inc();
    }

    pub(super) fn tunnel(&self) -> OpenTunnel {
        self.tunnels.inc();
        OpenTunnel(self.tunnels.clone())
    }

    pub(super) fn tunnel_ended(&self, reason: &str) {
        self.tunnels_ended.with_label_values(&[reason]).inc();
    }

    pub(super) fn show(&self) {
        let kept = self.sweeper.get().map_or(0, |sweeper| sweeper.count());
        self.kept.set(as_gauge(kept as u64));
    }
}

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        self.0.dec();
    }
}
