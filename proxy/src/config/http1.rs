//! How HTTP/1 is carried: `gateway.http1`, `gateway.client_abort` and `gateway.paths`.

use config_reader::kind::words;
use config_reader::{Place, key};

use super::Section;
use super::keys::Visit;

/// By which code HTTP/1 is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Http1Carrier {
    /// The gateway's own.
    #[default]
    Ours,
    /// That of Pingora's `ProxyHttp`.
    Pingora,
}

/// By what a client shows that it does not wait for its answer any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ClientAbort {
    /// Its connection breaks. One that has only closed its own side, after a whole request, gets its answer.
    #[default]
    OnReset,
    /// It has closed its side, too.
    OnFin,
}

/// Which paths are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Paths {
    /// All that have a normal form by RFC 3986.
    #[default]
    Standard,
    /// Those of them that nginx reads alike.
    Strict,
}

/// How HTTP/1 is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Http1 {
    pub(crate) carrier: Http1Carrier,
    pub(crate) client_abort: ClientAbort,
    pub(crate) paths: Paths,
}

impl Http1 {
    pub(super) fn keys<V: Visit>(&mut self, v: &mut V) {
        let carrier = key(
            "http1",
            "whose code carries HTTP/1: the gateway's own, or Pingora's; [what differs](http1.md#what-differs)",
        );
        let carriers = words([("ours", Http1Carrier::Ours), ("pingora", Http1Carrier::Pingora)]);
        v.key(carrier, carriers, &mut self.carrier);
        let abort = key(
            "client_abort",
            "when a client that waits for its answer [has left](http1.md#clients-that-leave): when its connection breaks, \
             or already when it closes its own side of it",
        );
        let aborts = words([("on_reset", ClientAbort::OnReset), ("on_fin", ClientAbort::OnFin)]);
        v.key(abort, aborts, &mut self.client_abort);
        let paths = key(
            "paths",
            "which paths are let through: all that have a normal form, or only those that \
             [nginx reads alike](requests.md#paths-that-others-read-differently)",
        );
        v.key(paths, words([("standard", Paths::Standard), ("strict", Paths::Strict)]), &mut self.paths);
    }

    /// Of keys that are set, and to which this carrier does not listen. `tunnel_drain`: where that is, if it is set.
    pub(super) fn remark_on_others(&self, section: &Section<'_>, tunnel_drain: Option<&Place>) {
        if self.carrier == Http1Carrier::Ours {
            return;
        }
        if self.client_abort == ClientAbort::OnReset && section.has("client_abort") {
            section
                .remark("client_abort", "does nothing with `http1: pingora`, by which it is always on_fin");
        }
        if let Some(place) = tunnel_drain {
            section.remark_at(
                place,
                "does nothing with `http1: pingora`, by which tunnels go on when their instance has left",
            );
        }
    }
}
