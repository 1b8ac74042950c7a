//! One line per request.

use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::logging::{Form, Output};

/// What a line says. Times are in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    pub timestamp: String,
    pub level: &'static str,
    pub message: &'static str,
    pub trace_id: &'a str,
    pub client: Option<IpAddr>,
    pub method: &'a str,
    pub path: &'a str,
    pub status: u16,
    pub service: Option<&'a str>,
    pub instance: Option<&'a str>,
    pub address: Option<String>,
    /// Endpoints tried.
    pub attempts: u8,
    /// Body bytes to the client.
    pub sent: usize,
    /// From the request's head to the end of its answer.
    pub duration_ms: f64,
    /// From the last endpoint's choice to the head of its answer.
    pub endpoint_ms: Option<f64>,
    /// What went wrong, if something did.
    pub error: Option<String>,
}

impl Line<'_> {
    pub fn now() -> String {
        humantime::format_rfc3339_micros(SystemTime::now()).to_string()
    }

    pub fn write(&self, output: &Output) {
        let mut line = Vec::with_capacity(512);
        let written = match output.form() {
            Form::Json => serde_json::to_writer(&mut line, self).map_err(Into::into),
            Form::Text => self.write_text(&mut line),
        };
        if written.is_ok() {
            line.push(b'\n');
            output.line(&line);
        }
    }

    fn write_text(&self, line: &mut Vec<u8>) -> std::io::Result<()> {
        let Line { timestamp, level, method, status, trace_id, attempts, duration_ms, .. } = self;
        // A path may hold any byte that is not a control character; as JSON it cannot forge a line.
        let path = serde_json::Value::from(self.path);
        write!(
            line,
            "{timestamp} {level:>5} {method} {path} {status} {duration_ms:.3}ms trace_id={trace_id}"
        )?;
        if let (Some(service), Some(instance), Some(address)) = (self.service, self.instance, &self.address) {
            write!(line, " service={service} instance={instance} address={address} attempts={attempts}")?;
        }
        if let Some(error) = &self.error {
            write!(line, " error={error:?}")?;
        }
        Ok(())
    }
}

/// To milliseconds, at microseconds' precision.
pub(super) fn millis(duration: Duration) -> f64 {
    (duration.as_micros() as f64) / 1000.0
}
