//! No page in a browser can register an endpoint, or read one: what browsers send, and what programs do.

use anyhow::Result;
use embedded_registry::Settings;
use etcd_client::{Channel, Client};
use harness::http::{self, Answer, Request};
use tonic::{codegen::http::Uri, transport::Endpoint};

use super::post;
use crate::subject::Embedded;

const PUT: &str = "/v3/kv/put";
const KEY: &str = r#"{"key":"a2V5","value":"dmFsdWU="}"#;
const JSON: (&str, &str) = ("content-type", "application/json");

/// A registry that is also known as `registry.internal`.
struct Door(Embedded);

impl Door {
    fn start() -> Result<Self> {
        let hosts = vec!["Registry.internal".to_owned()];
        Ok(Self(Embedded::start(Settings { hosts, ..Settings::default() })?))
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if method == "POST" { KEY } else { "" };
        http::send(self.0.address, request.body(body.into())?).await
    }

    async fn is_empty(&self) -> Result<bool> {
        let found = post(self.0.address, "/v3/kv/range", r#"{"key":"AA==","range_end":"AA=="}"#).await?;
        Ok(found.json()?.get("kvs").is_none())
    }
}

#[tokio::test]
async fn no_request_of_a_page_changes_anything() -> Result<()> {
    let door = Door::start()?;
    // What a page can have sent without asking first: forms, beacons, fetch without cors, with every type that
    // needs no leave, and none.
    let origin = ("origin", "http://evil.example");
    let simple = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"];
    for kind in simple.into_iter().map(|kind| ("content-type", kind)) {
        assert_eq!(door.send("POST", PUT, &[kind, origin]).await?.status, 403, "{kind:?}");
        // Should a browser leave the origin out.
        assert_eq!(door.send("POST", PUT, &[kind]).await?.status, 415, "{kind:?}");
    }
    assert_eq!(door.send("POST", PUT, &[origin]).await?.status, 403, "bytes without a type");
    assert_eq!(door.send("POST", PUT, &[]).await?.status, 415, "bytes without a type");
    // What it may send only after it asked, and so cannot: whatever is asked is refused.
    let asked = ("access-control-request-method", "POST");
    for origin in ["http://evil.example", "null", "http://127.0.0.1:8080", "http://localhost"] {
        let answer = door.send("OPTIONS", PUT, &[("origin", origin), asked]).await?;
        assert_eq!(answer.status, 403, "{origin}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
        assert_eq!(door.send("POST", PUT, &[JSON, ("origin", origin)]).await?.status, 403, "{origin}");
    }
    assert!(door.is_empty().await?);
    Ok(())
}

#[tokio::test]
async fn no_page_reads_anything() -> Result<()> {
    let door = Door::start()?;
    for path in ["/health", "/version", "/metrics", PUT, "/", "/v3/nothing"] {
        for site in ["cross-site", "same-site", "same-origin", "other"] {
            let answer = door.send("GET", path, &[("sec-fetch-site", site)]).await?;
            assert_eq!(answer.status, 403, "{path} {site}");
        }
        assert_eq!(door.send("GET", path, &[("origin", "null")]).await?.status, 403, "{path}");
        let allowed = door.send("GET", path, &[("sec-fetch-site", "none")]).await?;
        assert_ne!(allowed.status, 403, "a user may look: {path}");
        assert_eq!(allowed.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn nothing_that_came_through_a_gateway_is_let_in() -> Result<()> {
    let door = Door::start()?;
    for passed in ["leaseway", "edge.example, Leaseway;hops=1"] {
        assert_eq!(door.send("POST", PUT, &[JSON, ("cdn-loop", passed)]).await?.status, 403, "{passed}");
    }
    assert!(door.is_empty().await?);
    assert_ne!(door.send("POST", PUT, &[JSON, ("cdn-loop", "edge.example")]).await?.status, 403);
    Ok(())
}

#[tokio::test]
async fn a_name_that_leads_here_is_not_ours_unless_it_is_configured() -> Result<()> {
    let door = Door::start()?;
    for ours in [
        "127.0.0.1",
        "127.0.0.1:2379",
        "10.1.2.3:99",
        "[::1]",
        "[2001:db8::1]:2379",
        "localhost",
        "LOCALHOST:1",
        "localhost.:2379",
        "registry.internal",
        "REGISTRY.internal:2379",
        "registry.internal.",
    ] {
        assert_eq!(door.send("GET", "/health", &[("host", ours)]).await?.status, 200, "{ours}");
        assert_eq!(door.send("POST", PUT, &[JSON, ("host", ours)]).await?.status, 200, "{ours}");
    }
    for other in [
        "evil.example",
        "evil.example:2379",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "x.localhost",
        "registry",
        "other.registry.internal",
        "2130706433",
        "0x7f.1",
        "registry.internal..",
    ] {
        for (method, path) in [("GET", "/health"), ("GET", "/metrics"), ("GET", "/nothing"), ("POST", PUT)] {
            let answer = door.send(method, path, &[JSON, ("host", other)]).await?;
            assert_eq!(answer.status, 421, "{method} {path} {other}");
            let said = answer.json()?["message"].as_str().unwrap_or_default().to_owned();
            assert!(said.ends_with("add the name to registry.embedded.hosts"), "{said}");
        }
    }
    for strange in ["", "a b", "user@evil.example", "/"] {
        let status = door.send("POST", PUT, &[JSON, ("host", strange)]).await?.status;
        assert!([400, 421].contains(&status), "{strange:?}: {status}");
    }
    Ok(())
}

#[tokio::test]
async fn every_host_that_a_request_names_counts() -> Result<()> {
    let door = Door::start()?;
    let address = door.0.address;
    for (head, expected) in [
        ("GET http://evil.example/health HTTP/1.1\r\nHost: 127.0.0.1", "HTTP/1.1 421"),
        ("GET http://127.0.0.1/health HTTP/1.1\r\nHost: evil.example", "HTTP/1.1 421"),
        ("GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example", "HTTP/1.1 400"),
        ("GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: 127.0.0.1", "HTTP/1.1 400"),
        ("GET /health HTTP/1.1\r\nAccept: */*", "HTTP/1.1 400"),
        ("GET http://127.0.0.1/health HTTP/1.1\r\nHost: localhost", "HTTP/1.1 200"),
        // As some health checks ask.
        ("GET /health HTTP/1.0\r\nAccept: */*", "HTTP/1.0 200"),
    ] {
        let answer = super::bounds::raw(address, &format!("{head}\r\nConnection: close\r\n\r\n")).await?;
        assert!(answer.starts_with(expected), "{head}: {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn grpc_is_for_http2_alone() -> Result<()> {
    let door = Door::start()?;
    for kind in
        ["application/grpc", "application/grpc-web+proto", "application/grpc-web-text", "application/json"]
    {
        let answer = door.send("POST", "/etcdserverpb.KV/Put", &[("content-type", kind)]).await?;
        assert_eq!(answer.status, 404, "{kind}");
    }
    Ok(())
}

#[tokio::test]
async fn who_speaks_grpc_may_name_any_host() -> Result<()> {
    let door = Door::start()?;
    let endpoint = Endpoint::from_shared(format!("http://{}", door.0.address))?;
    let channel = endpoint.origin(Uri::from_static("http://any.example")).connect().await?;
    Client::from_channel(Channel::Tonic(channel), None).await?.put("key", "value", None).await?;
    assert!(!door.is_empty().await?);
    Ok(())
}

#[tokio::test]
async fn who_is_turned_away_is_counted() -> Result<()> {
    let door = Door::start()?;
    for _ in 0..3 {
        door.send("POST", PUT, &[JSON, ("origin", "null")]).await?;
    }
    door.send("GET", "/health", &[("host", "evil.example")]).await?;
    let metrics = door.send("GET", "/metrics", &[]).await?;
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "leaseway_embedded_registry_refused_total{reason=\"HTTP 403\"} 3",
        "leaseway_embedded_registry_refused_total{reason=\"HTTP 421\"} 1",
        "etcd_debugging_mvcc_keys_total 0",
    ] {
        assert!(metrics.text().lines().any(|found| found == line), "{line} is not in\n{}", metrics.text());
    }
    Ok(())
}

#[tokio::test]
async fn json_may_be_said_with_a_parameter_but_once() -> Result<()> {
    let door = Door::start()?;
    for kind in ["application/json", "Application/JSON; charset=utf-8", "application/json;x"] {
        assert_eq!(door.send("POST", PUT, &[("content-type", kind)]).await?.status, 200, "{kind}");
    }
    for kind in ["application/jsonx", "text/json", "application/grpc", "text/plain; application/json", ""] {
        let answer = door.send("POST", PUT, &[("content-type", kind)]).await?;
        assert_eq!(answer.status, 415, "{kind}");
        let said = "the body must be JSON: send the header Content-Type: application/json";
        assert_eq!(answer.json()?["error"], said);
    }
    assert_eq!(door.send("POST", PUT, &[JSON, ("content-type", "text/plain")]).await?.status, 415);
    Ok(())
}
