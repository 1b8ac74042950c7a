//! One line per request.

use std::borrow::Cow;
use std::fmt::Arguments;
use std::io::Write;
use std::time::{Duration, SystemTime};

use super::clock::{Clock, Stamp};
use super::grpc::Name;
use super::request::{FailedAttempt, Request};
use super::text::{push_address, push_hex, push_millis, push_number};
use super::tunnel_end::TunnelEnd;
use crate::head::Head;
use serde_json::json;

use crate::directory::Endpoint;
use crate::grpc::Status;
use crate::logging::{Form, Output};
use crate::site::RouteName;
use crate::tls::Identity;

/// The begin of a member of the object, behind others; its value follows.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

/// What a line says.
#[derive(Debug)]
pub(super) struct LogLine<'a> {
    /// Hex digits.
    pub(super) trace_id: &'a [u8],
    /// An address.
    pub(super) client: &'a [u8],
    /// Whom the certificate names that the client has shown; none: it has shown none.
    pub(super) identity: Option<&'a Identity>,
    /// The method and the path; none: there was no valid request line.
    pub(super) line: Option<(&'a str, &'a str)>,
    /// 0: the client left before it was answered.
    pub(super) status: u16,
    pub(super) route: Option<&'a RouteName>,
    /// What was asked for, where no route took it.
    pub(super) asked: Option<Asked<'a>>,
    pub(super) service: Option<&'a str>,
    pub(super) endpoint: Option<&'a Endpoint>,
    /// Endpoints tried.
    pub(super) attempts: u8,
    /// Those of them that failed, in order.
    pub(super) failed: &'a [FailedAttempt],
    /// Body bytes to the client.
    pub(super) sent: usize,
    /// From the request's head to the end of its answer.
    pub(super) took: Duration,
    /// From the last endpoint's choice to the head of its answer.
    pub(super) endpoint_took: Option<Duration>,
    /// What was called, if its path says it, and how that ended, if it was a call of gRPC.
    pub(super) call: Option<(Option<Name<'a>>, Status)>,
    /// Why it has ended as a tunnel, if it was one.
    pub(super) tunnel: Option<TunnelEnd>,
    /// What went wrong, if something did.
    pub(super) error: Option<&'a str>,
}

/// What tells a request that no route takes from one that a route takes, beside its method and path.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// By which routes are found, as the client has written it. (A long one is cut with the line.)
    pub(super) host: Option<Cow<'a, str>>,
    pub(super) scheme: &'static str,
}

impl<'a> LogLine<'a> {
    /// The line of a request that was answered so, or that ended in an error.
    pub(super) fn of(
        request: &'a Request,
        head: &'a impl Head,
        (status, sent): (u16, usize),
        took: Duration,
        error: Option<&'a str>,
    ) -> Self {
        let attempt = request.attempt();
        let asked = || Asked {
            host: head.host().map(String::from_utf8_lossy),
            scheme: request.origin.scheme.as_str(),
        };
        Self {
            trace_id: request.trace.id_bytes(),
            client: request.client.as_bytes(),
            identity: request.origin.identity.as_deref(),
            line: head.has_request_line().then(|| (head.method().as_str(), head.path())),
            status,
            route: request.route().map(|route| &route.name),
            asked: request.route().is_none().then(asked),
            service: request.target().map(|target| &**target.service.name()),
            endpoint: attempt.map(|attempt| &*attempt.endpoint),
            attempts: request.attempts_begun(),
            failed: request.failures(),
            sent,
            took,
            endpoint_took: attempt.and_then(|attempt| attempt.took()),
            call: request.is_call().then(|| (Name::of(head.path()), request.grpc_status(status))),
            tunnel: request.tunnel(),
            error: error.or(request.call_fault()).or(request.error()),
        }
    }

    /// Writes the line. By hand: every request pays for it, and of its strings only three can hold
    /// anything that JSON must escape.
    pub(super) fn write(&self, output: &Output, clock: &Clock) {
        let mut line = Vec::with_capacity(640);
        let stamp = clock.stamp(SystemTime::now());
        match output.form() {
            Form::Json => self.write_json(&mut line, &stamp),
            Form::Text => self.write_text(&mut line, &stamp),
        }
        line.push(b'\n');
        output.line(&line);
    }

    fn write_json(&self, line: &mut Vec<u8>, stamp: &Stamp) {
        line.extend_from_slice(b"{\"timestamp\":\"");
        line.extend_from_slice(stamp);
        line.extend_from_slice(match self.error {
            Some(_) => b"\",\"level\":\"WARN\",\"message\":\"request\"",
            None => b"\",\"level\":\"INFO\",\"message\":\"request\"",
        });
        plain(add(line, key!("trace_id")), self.trace_id);
        plain(add(line, key!("client")), self.client);
        if let Some(identity) = self.identity {
            escaped(add(line, key!("client_cert")), &name(identity));
        }
        if let Some((method, path)) = self.line {
            plain(add(line, key!("method")), method);
            escaped(add(line, key!("path")), path);
        }
        push_number(add(line, key!("status")), self.status);
        if let Some(route) = self.route {
            add(add(line, key!("route")), route.json());
        }
        if let Some(Asked { host, scheme }) = &self.asked {
            if let Some(host) = host {
                escaped(add(line, key!("host")), host);
            }
            plain(add(line, key!("scheme")), scheme);
        }
        if let Some(service) = self.service {
            escaped(add(line, key!("service")), service);
        }
        if let Some(endpoint) = self.endpoint {
            escaped(add(line, key!("instance")), &endpoint.instance);
            add(line, key!("address")).push(b'"');
            push_address(line, endpoint.address);
            line.push(b'"');
        }
        push_number(add(line, key!("attempts")), self.attempts);
        if !self.failed.is_empty() {
            self.write_failed(add(line, key!("failed")));
        }
        push_number(add(line, key!("sent")), self.sent);
        push_millis(add(line, key!("duration_ms")), self.took);
        if let Some(took) = self.endpoint_took {
            push_millis(add(line, key!("endpoint_ms")), took);
        }
        if let Some((name, status)) = self.call {
            if let Some(Name { service, method }) = name {
                escaped(add(line, key!("grpc_service")), service);
                escaped(add(line, key!("grpc_method")), method);
            }
            plain(add(line, key!("grpc_status")), status.as_str());
        }
        if let Some(end) = self.tunnel {
            plain(add(line, key!("tunnel")), end.as_str());
        }
        if let Some(error) = self.error {
            escaped(add(line, key!("error")), error);
        }
        line.push(b'}');
    }

    /// Rare, so this need not be fast.
    fn write_failed(&self, line: &mut Vec<u8>) {
        let describe = |FailedAttempt { endpoint, cause }: &FailedAttempt| {
            let address = endpoint.address.to_string();
            json!({ "instance": &*endpoint.instance, "address": address, "reason": cause.as_str() })
        };
        let failed: Vec<_> = self.failed.iter().map(describe).collect();
        // As below: into memory.
        let _ = serde_json::to_writer(line, &failed);
    }

    fn write_text(&self, line: &mut Vec<u8>, stamp: &Stamp) {
        line.extend_from_slice(stamp);
        let Self { status, attempts, .. } = self;
        let [trace_id, client] = [self.trace_id, self.client].map(String::from_utf8_lossy);
        let level = if self.error.is_some() { " WARN" } else { " INFO" };
        show(line, format_args!(" {level} "));
        if let Some((method, path)) = self.line {
            show(line, format_args!("{method} {path:?} "));
        }
        show(line, format_args!("{status} "));
        push_millis(line, self.took);
        show(line, format_args!("ms trace_id={trace_id} client={client}"));
        if let Some(identity) = self.identity {
            show(line, format_args!(" client_cert={:?}", name(identity)));
        }
        if let Some(route) = self.route {
            show(line, format_args!(" route={}", route.json()));
        }
        if let Some(Asked { host, scheme }) = &self.asked {
            if let Some(host) = host {
                show(line, format_args!(" host={host:?}"));
            }
            show(line, format_args!(" scheme={scheme}"));
        }
        if let Some(service) = self.service {
            show(line, format_args!(" service={service}"));
        }
        if let Some(Endpoint { instance, address, .. }) = self.endpoint {
            show(line, format_args!(" instance={instance} address={address} attempts={attempts}"));
        }
        for FailedAttempt { endpoint, cause } in self.failed {
            show(line, format_args!(" failed={}:{}", endpoint.instance, cause.as_str()));
        }
        if let Some((name, status)) = self.call {
            if let Some(Name { service, method }) = name {
                show(line, format_args!(" grpc_service={service:?} grpc_method={method:?}"));
            }
            show(line, format_args!(" grpc_status={status}"));
        }
        if let Some(end) = self.tunnel {
            show(line, format_args!(" tunnel={}", end.as_str()));
        }
        if let Some(error) = self.error {
            show(line, format_args!(" error={error:?}"));
        }
    }
}

/// Its subject; if it has none, its fingerprint.
fn name(identity: &Identity) -> Cow<'_, str> {
    if !identity.subject.is_empty() {
        return Cow::Borrowed(&identity.subject);
    }
    let mut digits = Vec::with_capacity(64);
    push_hex(&mut digits, &identity.fingerprint);
    Cow::Owned(String::from_utf8_lossy(&digits).into_owned())
}

/// Writing to memory cannot fail, so the result is dropped.
fn show(line: &mut Vec<u8>, text: Arguments<'_>) {
    let _ = line.write_fmt(text);
}

fn add<'l>(line: &'l mut Vec<u8>, text: &str) -> &'l mut Vec<u8> {
    line.extend_from_slice(text.as_bytes());
    line
}

/// A string that holds nothing to escape: hex digits, an address, a method (RFC 9110: a token).
fn plain(line: &mut Vec<u8>, value: impl AsRef<[u8]>) {
    line.push(b'"');
    line.extend_from_slice(value.as_ref());
    line.push(b'"');
}

/// The bytes that JSON needs not escape: visible ones of ASCII and spaces, but for quotation marks and backslashes.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        plain[byte as usize] = byte != b'"' && byte != b'\\';
        byte += 1;
    }
    plain
};

/// Almost every string holds nothing to escape, which is seen sooner than a serialiser is set up.
fn escaped(line: &mut Vec<u8>, value: &str) {
    if value.bytes().all(|byte| PLAIN[usize::from(byte)]) {
        return plain(line, value);
    }
    // As above: into memory.
    let _ = serde_json::to_writer(line, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::cause::Cause;
    use crate::gateway::fixture::{Setup, from, with_certificate};
    use crate::gateway::grpc::End;
    use crate::gateway::origin::Arrival;
    use crate::head::tests::head;
    use http::Method;
    use serde_json::Value;
    use std::sync::Arc;

    const STAMP: &Stamp = b"1994-11-06T08:49:37.000000Z";

    fn line<'a>(
        path: &'a str,
        endpoint: Option<&'a Endpoint>,
        failed: &'a [FailedAttempt],
        error: Option<&'a str>,
    ) -> LogLine<'a> {
        LogLine {
            trace_id: b"0af7651916cd43dd8448eb211c80319c",
            client: b"127.0.0.1",
            identity: None,
            line: Some(("GET", path)),
            status: 200,
            route: None,
            asked: None,
            service: Some("goods"),
            endpoint,
            attempts: 1,
            failed,
            sent: 91,
            took: Duration::from_micros(12_034),
            endpoint_took: endpoint.map(|_| Duration::from_micros(7)),
            call: None,
            tunnel: None,
            error,
        }
    }

    fn endpoint(instance: &str) -> Endpoint {
        Endpoint::new(1, "goods".into(), instance.into(), "[2001:db8::1]:80".parse().unwrap())
    }

    #[test]
    fn a_line_is_one_json_object_whatever_the_request_says() {
        let endpoint = endpoint("a\"b");
        let failed = [FailedAttempt { endpoint: Arc::new(self::endpoint("c")), cause: Cause::Refused }];
        let (mut text, route) = (Vec::new(), RouteName::new("a \"route\"\u{2028}".into()));
        let line = line("/\"\n\\\u{7f}", Some(&endpoint), &failed, Some("a \"b\""));
        LogLine { route: Some(&route), ..line }.write_json(&mut text, STAMP);
        let mut value: Value = serde_json::from_slice(&text).unwrap();
        assert!(value["timestamp"].take().as_str().unwrap().ends_with('Z'));
        let expected = json!({
            "timestamp": null, "level": "WARN", "message": "request",
            "trace_id": "0af7651916cd43dd8448eb211c80319c", "client": "127.0.0.1", "method": "GET",
            "path": "/\"\n\\\u{7f}", "status": 200, "route": "a \"route\"\u{2028}",
            "service": "goods", "instance": "a\"b",
            "address": "[2001:db8::1]:80", "attempts": 1,
            "failed": [{"instance": "c", "address": "[2001:db8::1]:80", "reason": "refused"}], "sent": 91,
            "duration_ms": 12.034, "endpoint_ms": 0.007, "error": "a \"b\"",
        });
        assert_eq!(value, expected);
        assert!(!text.contains(&b'\n'));
    }

    #[test]
    fn the_line_of_a_request_that_no_route_takes_says_what_was_asked_for() {
        let fixture = Setup::of(1).build();
        let fields = [("host", &b"Shop\"\xff:80"[..])];
        let of = |request: &Request| {
            let head = head(Method::GET, "/x", &fields);
            let mut text = Vec::new();
            LogLine::of(request, &head, (404, 0), Duration::ZERO, None).write_json(&mut text, STAMP);
            serde_json::from_slice::<Value>(&text).unwrap()
        };
        let nobodys = of(&fixture.request());
        assert_eq!((&nobodys["host"], &nobodys["scheme"]), (&json!("Shop\"\u{fffd}:80"), &json!("http")));
        let taken = of(&fixture.sent_to(0));
        assert!(taken.get("host").is_none() && taken.get("scheme").is_none(), "its route says it");
        let asked = Some(Asked { host: Some("a\nb".into()), scheme: "https" });
        let mut text = Vec::new();
        LogLine { asked, service: None, ..line("/", None, &[], None) }.write_text(&mut text, STAMP);
        assert!(text.ends_with(br#" host="a\nb" scheme=https"#));
    }

    #[test]
    fn the_line_of_a_call_says_what_was_called_and_how_it_ended() {
        let fixture = Setup::of(1).build();
        for (path, content_type, end, expected) in [
            (
                "/shop.v1.Goods/List",
                &b"application/grpc"[..],
                End::with(Status::NotFound),
                (json!("shop.v1.Goods"), json!("List"), json!("NOT_FOUND"), None),
            ),
            (
                "/a\"b/c",
                b"application/grpc+proto",
                End::of_trailers(None),
                (json!("a\"b"), json!("c"), json!("UNKNOWN"), Some("grpc-status")),
            ),
            ("/x", b"application/grpc", End::with(Status::Ok), (Value::Null, Value::Null, json!("OK"), None)),
            ("/a/b", b"text/plain", End::with(Status::Ok), (Value::Null, Value::Null, Value::Null, None)),
        ] {
            let head = head(Method::POST, path, &[("content-type", content_type)]).over_http2();
            let mut request = fixture.sent_to(0);
            request.begin(&head, from("192.0.2.7"));
            request.call_ended(end, fixture.now);
            let line = LogLine::of(&request, &head, (200, 0), Duration::ZERO, None);
            let (mut json, mut text) = (Vec::new(), Vec::new());
            line.write_json(&mut json, STAMP);
            line.write_text(&mut text, STAMP);
            let json: Value = serde_json::from_slice(&json).unwrap();
            let of = |name: &str| json.get(name).cloned().unwrap_or_default();
            let (service, method, status, fault) = expected;
            assert_eq!(
                [of("grpc_service"), of("grpc_method"), of("grpc_status")],
                [service, method, status.clone()]
            );
            let text = String::from_utf8(text).unwrap();
            assert_eq!(text.contains(" grpc_status="), !status.is_null(), "{text}");
            let told = of("error");
            assert_eq!(told.is_null(), fault.is_none(), "{told}");
            assert!(fault.is_none_or(|fault| told.as_str().unwrap().contains(fault)), "{told}");
        }
    }

    #[test]
    fn the_line_names_whom_the_clients_certificate_does() {
        let fixture = Setup::of(1).build();
        let of = |arrival| {
            let (head, mut request) = (head(Method::GET, "/x", &[]), fixture.sent_to(0));
            request.begin(&head, arrival);
            let line = LogLine::of(&request, &head, (200, 0), Duration::ZERO, None);
            let (mut json, mut text) = (Vec::new(), Vec::new());
            line.write_json(&mut json, STAMP);
            line.write_text(&mut text, STAMP);
            let json: Value = serde_json::from_slice(&json).unwrap();
            (json.get("client_cert").cloned(), String::from_utf8(text).unwrap())
        };
        let shown = with_certificate("192.0.2.7", "a\"\n\\", "spiffe://a");
        let (json, text) = of(shown.clone());
        assert_eq!(json, Some(json!("CN=a\\22\\0A\\5C")));
        assert!(text.contains(r#" client=192.0.2.7 client_cert="CN=a\\22\\0A\\5C" route="#), "{text}");
        let nameless = Identity { subject: String::new(), ..(*shown.identity.unwrap()).clone() };
        let (json, _) = of(Arrival { identity: Some(Arc::new(nameless.clone())), ..from("192.0.2.7") });
        let digits: String = nameless.fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(json, Some(json!(digits)));
        let (json, text) = of(from("192.0.2.7"));
        assert!(json.is_none() && !text.contains("client_cert"), "{text}");
    }

    #[test]
    fn what_has_no_request_line_has_neither_method_nor_path() {
        let of_none = || LogLine { line: None, status: 400, ..line("", None, &[], Some("bad")) };
        let (mut json, mut text) = (Vec::new(), Vec::new());
        of_none().write_json(&mut json, STAMP);
        let json: Value = serde_json::from_slice(&json).unwrap();
        assert!(json.get("method").is_none() && json.get("path").is_none(), "{json}");
        assert_eq!((&json["status"], &json["error"]), (&json!(400), &json!("bad")));
        of_none().write_text(&mut text, STAMP);
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("Z  WARN 400 12.034ms "), "{text}");
    }

    #[test]
    fn a_line_for_people_is_one_line() {
        let (mut text, route) = (Vec::new(), RouteName::new("a \"route\"".into()));
        LogLine { route: Some(&route), ..line("/a\nb", None, &[], None) }.write_text(&mut text, STAMP);
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("INFO GET \"/a\\nb\" 200 12.034ms"), "{text}");
        assert!(
            text.ends_with(r#" client=127.0.0.1 route="a \"route\"" service=goods"#),
            "also where no endpoint was chosen: {text}"
        );
    }
}
