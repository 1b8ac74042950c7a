//! One line per request.

use std::fmt::Display;
use std::io::Write;
use std::time::{Duration, SystemTime};

use crate::directory::Endpoint;
use crate::logging::{Form, Output};

/// What a line says.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub trace_id: &'a str,
    pub client: &'a str,
    pub method: &'a str,
    pub path: &'a str,
    /// 0: the client left before it was answered.
    pub status: u16,
    pub service: Option<&'a str>,
    pub endpoint: Option<&'a Endpoint>,
    /// Endpoints tried.
    pub attempts: u8,
    /// Body bytes to the client.
    pub sent: usize,
    /// From the request's head to the end of its answer.
    pub took: Duration,
    /// From the last endpoint's choice to the head of its answer.
    pub endpoint_took: Option<Duration>,
    /// What went wrong, if something did.
    pub error: Option<&'a str>,
}

impl Line<'_> {
    /// Writes the line. By hand: every request pays for it, and of its strings only three can hold
    /// anything that JSON must escape.
    pub fn write(&self, output: &Output) {
        let mut line = Vec::with_capacity(640);
        match output.form() {
            Form::Json => self.write_json(&mut line),
            Form::Text => self.write_text(&mut line),
        }
        line.push(b'\n');
        output.line(&line);
    }

    fn level(&self) -> &'static str {
        if self.error.is_some() { "WARN" } else { "INFO" }
    }

    fn write_json(&self, line: &mut Vec<u8>) {
        let mut object = Object(line);
        object.0.extend_from_slice(b"{\"timestamp\":\"");
        object.show(humantime::format_rfc3339_micros(SystemTime::now()));
        object.0.push(b'"');
        object.plain("level", self.level());
        object.plain("message", "request");
        object.plain("trace_id", self.trace_id);
        object.plain("client", self.client);
        object.plain("method", self.method);
        object.escaped("path", self.path);
        object.number("status", self.status);
        if let Some(service) = self.service {
            object.escaped("service", service);
        }
        if let Some(endpoint) = self.endpoint {
            object.escaped("instance", &endpoint.instance);
            object.quoted("address", endpoint.address);
        }
        object.number("attempts", self.attempts);
        object.number("sent", self.sent);
        object.number("duration_ms", Millis(self.took));
        if let Some(took) = self.endpoint_took {
            object.number("endpoint_ms", Millis(took));
        }
        if let Some(error) = self.error {
            object.escaped("error", error);
        }
        object.0.push(b'}');
    }

    fn write_text(&self, line: &mut Vec<u8>) {
        let mut text = Object(line);
        let (time, level) = (humantime::format_rfc3339_micros(SystemTime::now()), self.level());
        let Self { method, status, trace_id, attempts, .. } = self;
        text.show(format_args!("{time} {level:>5} {method} {:?} {status}", self.path));
        text.show(format_args!(" {}ms trace_id={trace_id} client={}", Millis(self.took), self.client));
        if let (Some(service), Some(Endpoint { instance, address, .. })) = (self.service, self.endpoint) {
            let endpoint = format_args!("instance={instance} address={address} attempts={attempts}");
            text.show(format_args!(" service={service} {endpoint}"));
        }
        if let Some(error) = self.error {
            text.show(format_args!(" error={error:?}"));
        }
    }
}

/// A JSON object being written. Writing to memory cannot fail, so results are dropped.
struct Object<'l>(&'l mut Vec<u8>);

impl Object<'_> {
    fn key(&mut self, key: &str) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn show(&mut self, value: impl Display) {
        let _ = write!(self.0, "{value}");
    }

    fn number(&mut self, key: &str, value: impl Display) {
        self.key(key);
        self.show(value);
    }

    /// A string that holds nothing to escape: hex digits, an address, a method (RFC 9110: a token).
    fn plain(&mut self, key: &str, value: &str) {
        self.key(key);
        self.0.push(b'"');
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'"');
    }

    fn quoted(&mut self, key: &str, value: impl Display) {
        self.key(key);
        self.0.push(b'"');
        self.show(value);
        self.0.push(b'"');
    }

    fn escaped(&mut self, key: &str, value: &str) {
        self.key(key);
        let _ = serde_json::to_writer(&mut *self.0, value);
    }
}

/// Milliseconds at microseconds' precision.
struct Millis(Duration);

impl Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1000, micros % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn line<'a>(path: &'a str, endpoint: Option<&'a Endpoint>, error: Option<&'a str>) -> Line<'a> {
        Line {
            trace_id: "0af7651916cd43dd8448eb211c80319c",
            client: "127.0.0.1",
            method: "GET",
            path,
            status: 200,
            service: endpoint.map(|_| "goods"),
            endpoint,
            attempts: 1,
            sent: 91,
            took: Duration::from_micros(12_034),
            endpoint_took: endpoint.map(|_| Duration::from_micros(7)),
            error,
        }
    }

    fn endpoint(instance: &str) -> Endpoint {
        Endpoint {
            id: 1,
            service: "goods".into(),
            instance: instance.into(),
            address: "[2001:db8::1]:80".parse().unwrap(),
        }
    }

    #[test]
    fn a_line_is_one_json_object_whatever_the_request_says() {
        let endpoint = endpoint("a\"b");
        let mut text = Vec::new();
        line("/\"\n\\\u{7f}", Some(&endpoint), Some("a \"b\"")).write_json(&mut text);
        let mut value: Value = serde_json::from_slice(&text).unwrap();
        assert!(value["timestamp"].take().as_str().unwrap().ends_with('Z'));
        let expected = json!({
            "timestamp": null, "level": "WARN", "message": "request",
            "trace_id": "0af7651916cd43dd8448eb211c80319c", "client": "127.0.0.1", "method": "GET",
            "path": "/\"\n\\\u{7f}", "status": 200, "service": "goods", "instance": "a\"b",
            "address": "[2001:db8::1]:80", "attempts": 1, "sent": 91, "duration_ms": 12.034,
            "endpoint_ms": 0.007, "error": "a \"b\"",
        });
        assert_eq!(value, expected);
        assert!(!text.contains(&b'\n'));
    }

    #[test]
    fn a_line_for_people_is_one_line() {
        let mut text = Vec::new();
        line("/a\nb", None, None).write_text(&mut text);
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("INFO GET \"/a\\nb\" 200 12.034ms"), "{text}");
    }
}
