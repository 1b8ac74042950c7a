//! The process: which build it is, what it is doing and what went wrong in it.

use prometheus::{IntCounter, IntGauge};

use super::maker::Maker;

#[derive(Debug)]
pub(super) struct ProcessMetrics {
    pub(super) in_flight: IntGauge,
    pub(super) panics: IntCounter,
    pub(super) lines_dropped: IntCounter,
}

impl ProcessMetrics {
    pub(super) fn new(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        show_build(make)?;
        Ok(Self {
            in_flight: make.gauge("requests_in_flight", "Requests being served.")?,
            panics: make.counter("panics_total", "Requests that a panic ended.")?,
            lines_dropped: make
                .counter("log_lines_dropped_total", "Log lines dropped because nobody took them.")?,
        })
    }
}

/// Always 1: its labels say which build this is.
fn show_build(make: &Maker<'_>) -> Result<(), prometheus::Error> {
    let opts = make
        .opts("build_info", "1; the labels say which build this is.")
        .const_label("version", env!("CARGO_PKG_VERSION"))
        .const_label("profile", if cfg!(debug_assertions) { "debug" } else { "release" })
        .const_label("arch", std::env::consts::ARCH);
    make.register(IntGauge::with_opts(opts))?.set(1);
    Ok(())
}
