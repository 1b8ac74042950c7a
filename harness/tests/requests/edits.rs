//! What a route changes of a request and of its answer, and what the gateway answers by itself as a route says.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use harness::{
    backend::{Backend, Reply},
    http::{self, Answer, Connection, Request},
    stack::GatewayOptions,
};
use serde_json::{Value, json};

use super::{Fixture, assert_own_answer};

const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway with these routes, and the service `goods` on one backend.
async fn with_routes(routes: Value) -> Result<(Fixture, Backend)> {
    with(GatewayOptions::default().set("gateway/routes", routes)).await
}

async fn with(options: GatewayOptions) -> Result<(Fixture, Backend)> {
    let fixture = Fixture::start(options).await?;
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    fixture.register("goods", &[&backend]).await?;
    Ok((fixture, backend))
}

impl Fixture {
    /// Asks for this host, with this target as it stands.
    async fn ask(&self, target: &str, host: &str) -> Result<Answer> {
        self.send(Request::get(target).header("host", host).body(Bytes::new())?).await
    }

    /// The line in the log of the request that was answered so.
    async fn line(&self, answer: &Answer) -> Result<Value> {
        let trace_id = answer.header("trace_id").context("no trace id")?.to_owned();
        let is_it = move |line: &str| line.contains(&trace_id) && line.contains("\"message\":\"request\"");
        let line = self.gateway.process().wait_for_line(is_it, PATIENCE).await?;
        Ok(serde_json::from_str(&line)?)
    }
}

#[tokio::test]
async fn a_path_is_stripped_or_rewritten_and_its_query_stays() -> Result<()> {
    let (fixture, backend) = with_routes(json!([
        {"path": "/api/v1", "service": "goods", "strip_prefix": "/api/v1"},
        {"path": "/old", "service": "goods", "rewrite": {"regex": "/old/([a-z]+)(/.*)?", "to": "/new${2}/$1"}},
        {"path": "/dots", "service": "goods", "rewrite": {"regex": "/dots/(.*)x(.*)", "to": "/$1$2/etc"}},
        {"path": "/plain", "service": "goods"},
    ]))
    .await?;
    for (sent, arrived) in [
        ("/api/v1/goods/7?x=%2F..&&y", "/goods/7?x=%2F..&&y"),
        ("/api/v1", "/"),
        ("/api/v1?", "/?"),
        ("/x/../api/v1/%67oods/a%2fb", "/goods/a%2Fb"),
        ("/api/v1//evil.example", "//evil.example"),
        ("/old/shop/a/b?q=1", "/new/a/b/shop?q=1"),
        ("/old/shop", "/new/shop"),
        ("/old/SHOP", "/old/SHOP"),
        ("/plain/./%61?x", "/plain/./%61?x"),
    ] {
        assert_eq!(fixture.gateway.get(sent).await?.status, 200, "{sent}");
        assert_eq!(backend.last()?.target, arrived, "{sent}");
    }
    let count = backend.count();
    let answer = fixture.gateway.get("/dots/.x.").await?;
    assert_own_answer(&answer, 400)?;
    let request = b"GET /api/v1/\xe9 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = http::raw(fixture.gateway.address(), request, PATIENCE).await?;
    assert_eq!(answer.status(), Some(400), "{}", answer.text());
    assert_eq!(backend.count(), count, "what is no path reached the instance");
    Ok(())
}

#[tokio::test]
async fn a_target_that_is_a_url_is_stripped_like_any_other() -> Result<()> {
    let route =
        json!([{"path": "/api", "service": "goods", "strip_prefix": "/api", "host": "goods.internal"}]);
    let (fixture, backend) = with_routes(route).await?;
    let request =
        "GET http://shop.example/api/x?y HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
    let answer = http::raw(fixture.gateway.address(), request.as_bytes(), PATIENCE).await?;
    assert_eq!(answer.status(), Some(200), "{}", answer.text());
    let arrived = backend.last()?;
    assert_eq!((arrived.target.as_str(), arrived.header("host")), ("/x?y", Some("goods.internal")));
    assert_eq!(arrived.header("x-forwarded-host"), Some("shop.example"));
    Ok(())
}

#[tokio::test]
async fn an_instance_gets_the_fields_and_the_host_that_its_route_says() -> Result<()> {
    let (fixture, backend) = with_routes(json!([{
        "name": "shop api",
        "path": "/goods",
        "service": "goods",
        "host": "goods.internal:8080",
        "request_headers": {
            "remove": ["x-internal", "accept"],
            "set": {
                "x-route": "{route} of {service}/{instance}",
                "x-asked": "{method} {scheme}://{host}{path}",
                "x-who": "{client} {trace_id}",
                "accept": "text/plain",
                "x-real-ip": "{client}",
                "x-braces": "{{}}",
            },
            "add": {"x-tag": "added"},
        },
    }]))
    .await?;
    let request = Request::get("/goods/a?b")
        .header("host", "Shop.example:8443")
        .header("x-internal", "yes")
        .header("X_Internal", "yes")
        .header("x_route", "forged")
        .header("accept", "one")
        .header("accept", "two")
        .header("x-tag", "came")
        .header("x-route", "forged")
        .header("x-real-ip", "10.0.0.1");
    let answer = fixture.send(request.body(Bytes::new())?).await?;
    let trace_id = answer.header("trace_id").context("no trace id")?;
    let arrived = backend.last()?;
    assert_eq!(arrived.header("host"), Some("goods.internal:8080"));
    assert_eq!(arrived.header("x-forwarded-host"), Some("Shop.example:8443"));
    for name in ["x-internal", "x_internal", "x_route"] {
        assert_eq!(arrived.header(name), None, "{name}");
    }
    assert_eq!(arrived.headers.get_all("accept").iter().collect::<Vec<_>>(), ["text/plain"]);
    assert_eq!(arrived.headers.get_all("x-tag").iter().collect::<Vec<_>>(), ["came", "added"]);
    assert_eq!(arrived.headers.get_all("x-route").iter().collect::<Vec<_>>(), ["shop api of goods/0"]);
    assert_eq!(arrived.header("x-asked"), Some("GET http://shop.example/goods/a"));
    assert_eq!(arrived.header("x-who"), Some(&*format!("127.0.0.1 {trace_id}")));
    assert_eq!(arrived.header("x-real-ip"), Some("127.0.0.1"), "a route may say what a client may not");
    assert_eq!(arrived.header("x-braces"), Some("{}"));
    assert_eq!(arrived.target, "/goods/a?b");
    Ok(())
}

#[tokio::test]
async fn each_attempt_tells_its_instance_its_own_name() -> Result<()> {
    let set = json!({"set": {"x-to": "{instance}"}});
    let options = GatewayOptions::default().set("gateway/services/goods/balance", "round_robin").set(
        "gateway/routes",
        json!([{"path": "/goods", "service": "goods", "request_headers": set, "response_headers": set, "retry": {"statuses": [503]}}]),
    );
    let fixture = Fixture::start(options).await?;
    let fails = Backend::start("fails", Reply::Answer(503, vec![], Bytes::new())).await?;
    let works = Backend::start("works", Reply::ok("")).await?;
    fixture.register("goods", &[&fails, &works]).await?;
    for _ in 0..2 {
        let answer = fixture.gateway.get("/goods").await?;
        assert_eq!((answer.status, answer.header("x-to")), (200, Some("1")));
    }
    assert_eq!((fails.last()?.header("x-to"), works.last()?.header("x-to")), (Some("0"), Some("1")));
    Ok(())
}

#[tokio::test]
async fn what_a_client_writes_stays_within_the_line_that_it_comes_to_stand_in() -> Result<()> {
    let set = json!({"set": {"x-path": "{path}", "x-host": "{host}"}});
    let route = json!([{"path": "/", "service": "goods", "request_headers": set, "response_headers": set}]);
    let (fixture, backend) = with_routes(route).await?;
    for (path, host, expected_path, expected_host) in [
        ("/a%0d%0ax-evil:%201", "a", "/a%0d%0ax-evil:%201", "a"),
        ("/\u{e9}\u{2028}", "a:80", "/%C3%A9%E2%80%A8", "a"),
        ("/a", "a\"b", "/a", ""),
        ("/a", "[::1]:80", "/a", "[::1]"),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = http::raw(fixture.gateway.address(), request.as_bytes(), PATIENCE).await?;
        if answer.status() == Some(400) {
            assert_eq!(expected_host, "", "{host}: {}", answer.text());
            continue;
        }
        let arrived = backend.last()?;
        assert_eq!(arrived.header("x-path"), Some(expected_path));
        assert_eq!(arrived.header("x-host"), Some(expected_host));
        assert!(answer.text().contains(&format!("x-path: {expected_path}\r\n")), "{}", answer.text());
        assert!(arrived.header("x-evil").is_none() && !answer.text().contains("\nx-evil"));
    }
    Ok(())
}

#[tokio::test]
async fn answers_get_the_fields_that_their_route_says_the_gateways_own_too() -> Result<()> {
    let response = json!({
        "remove": ["server", "x-powered-by"],
        "set": {"strict-transport-security": "max-age=31536000", "x-served-by": "{service}/{instance}"},
        "add": {"vary": "origin"},
    });
    let (fixture, backend) = with_routes(json!([
        {"path": "/goods", "service": "goods", "response_headers": response},
        {"path": "/none", "service": "none", "response_headers": response},
        {"path": "/fixed", "answer": {"headers": {"server": "x", "vary": "accept"}}, "response_headers": response},
        {"path": "/other", "service": "goods"},
    ]))
    .await?;
    let headers = ["server", "x-powered-by", "vary"].map(|name| (name, "x".to_owned())).to_vec();
    for status in [200, 404, 500] {
        backend.script([Reply::Answer(status, headers.clone(), Bytes::from("x"))]);
        let answer = fixture.gateway.get("/goods").await?;
        assert_eq!(answer.status, status);
        assert_eq!((answer.header("server"), answer.header("x-powered-by")), (None, None));
        assert_eq!(answer.headers.get_all("vary").iter().collect::<Vec<_>>(), ["x", "origin"]);
        assert_eq!(answer.headers.get_all("x-served-by").iter().collect::<Vec<_>>(), ["goods/0"]);
    }
    let own = fixture.gateway.get("/none").await?;
    assert_own_answer(&own, 503)?;
    assert_eq!(own.header("strict-transport-security"), Some("max-age=31536000"));
    assert_eq!((own.header("x-served-by"), own.header("retry-after")), (Some("none/"), Some("1")));
    let fixed = fixture.gateway.get("/fixed").await?;
    assert_eq!((fixed.status, fixed.header("server"), fixed.header("x-served-by")), (200, None, Some("/")));
    assert_eq!(fixed.headers.get_all("vary").iter().collect::<Vec<_>>(), ["accept", "origin"]);
    assert_eq!(fixture.gateway.get("/other").await?.header("strict-transport-security"), None);
    assert_eq!(fixture.gateway.get("/unknown").await?.header("strict-transport-security"), None);
    Ok(())
}

#[tokio::test]
async fn a_client_is_sent_where_its_route_says_and_keeps_its_query() -> Result<()> {
    let (fixture, backend) = with_routes(json!([
        {"match": {"host": "old.example"}, "redirect": {"scheme": "https", "host": "shop.example", "status": 308}},
        {"match": {"host": "tls.example", "scheme": "http"}, "redirect": {"scheme": "https"}},
        {"path": "/moved", "redirect": {"path": "/goods", "status": 301}},
        {"path": "/stripped", "strip_prefix": "/stripped", "redirect": {}},
        {"path": "/goods", "service": "goods"},
    ]))
    .await?;
    for (target, host, status, location) in [
        ("/a/b?c=d&e", "old.example", 308, "https://shop.example/a/b?c=d&e"),
        ("/a?", "tls.example:8080", 302, "https://tls.example/a?"),
        ("/moved/x?y=1", "a", 301, "/goods?y=1"),
        ("/stripped/x", "a", 302, "/x"),
        ("/stripped//evil.example/..", "a", 302, "/"),
        ("/stripped//evil.example", "a", 302, "/evil.example"),
        ("/stripped/%5C/evil.example", "a", 302, "/%5C/evil.example"),
        ("/stripped/\u{e9}", "a", 302, "/%C3%A9"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = http::raw(fixture.gateway.address(), request.as_bytes(), PATIENCE).await?;
        assert_eq!(answer.status(), Some(status), "{target}: {}", answer.text());
        assert!(
            answer.text().to_lowercase().contains(&format!("location: {location}\r\n").to_lowercase()),
            "{}",
            answer.text()
        );
        assert!(answer.text().ends_with("\r\n\r\n"), "it has a body: {}", answer.text());
    }
    let answer = fixture.ask("/x", "old.example").await?;
    assert_eq!((answer.header("content-length"), answer.header("content-type")), (Some("0"), None));
    let line = fixture.line(&answer).await?;
    assert_eq!((&line["route"], &line["status"]), (&json!("old.example"), &json!(308)));
    assert!(line.get("service").is_none() && line.get("error").is_none(), "{line}");
    assert_eq!(backend.count(), 0);
    Ok(())
}

#[tokio::test]
async fn a_client_that_is_where_it_would_be_sent_is_told_so_instead_of_being_sent_round() -> Result<()> {
    let (fixture, _backend) = with_routes(json!([
        {"match": {"host": "a.example"}, "redirect": {"scheme": "http", "host": "A.example:80"}},
        {"path": "/same", "redirect": {"path": "/same"}},
    ]))
    .await?;
    for (target, host) in [("/x?y", "a.example"), ("/same", "b")] {
        let answer = fixture.ask(target, host).await?;
        assert_own_answer(&answer, 508)?;
        let line = fixture.line(&answer).await?;
        assert!(line["error"].as_str().is_some_and(|error| error.contains("circles")), "{line}");
    }
    assert_eq!(fixture.ask("/same/below", "b").await?.header("location"), Some("/same"));
    Ok(())
}

#[tokio::test]
async fn a_route_answers_by_itself() -> Result<()> {
    let (fixture, backend) = with_routes(json!([
        {"path": "/healthz", "answer": {"headers": {"content-type": "text/plain", "x-own": "1"}, "body": "ok"}},
        {"path": "/gone", "answer": {"status": 410}},
        {"path": "/empty", "answer": {"status": 204}},
        {"path": "/down", "answer": {"status": 503, "body": "back soon"}},
        {"path": "/", "service": "goods"},
    ]))
    .await?;
    let mut connection = Connection::open(fixture.gateway.address()).await?;
    for (method, target, status, body, length) in [
        ("GET", "/healthz", 200, "ok", Some("2")),
        ("HEAD", "/healthz", 200, "", Some("2")),
        ("POST", "/healthz", 200, "ok", Some("2")),
        ("GET", "/gone/x?y", 410, "", Some("0")),
        ("GET", "/empty", 204, "", None),
        ("HEAD", "/empty", 204, "", None),
        ("GET", "/down", 503, "back soon", Some("9")),
        ("GET", "/healthz", 200, "ok", Some("2")),
    ] {
        let sent = if method == "POST" { "a body" } else { "" };
        let request =
            Request::builder().method(method).uri(target).header("host", "a").body(Bytes::from(sent))?;
        // On one connection: what is framed in another way than it says would be taken for the next answer.
        let answer = connection.send(request).await?;
        assert_eq!((answer.status, answer.text().as_str()), (status, body), "{method} {target}");
        assert_eq!(answer.header("content-length"), length, "{method} {target}");
        assert!(answer.header("transfer-encoding").is_none(), "{method} {target}");
        assert!(answer.header("trace_id").is_some(), "{method} {target}");
        assert_eq!((answer.header("retry-after"), answer.header("proxy-status")), (None, None));
    }
    let answer = fixture.gateway.get("/down").await?;
    let line = fixture.line(&answer).await?;
    assert_eq!((&line["route"], &line["status"]), (&json!("/down"), &json!(503)));
    assert!(line.get("service").is_none() && line.get("error").is_none(), "it was asked for: {line}");
    assert_eq!(fixture.gateway.get("/healthz").await?.header("x-own"), Some("1"));
    assert_eq!(backend.count(), 0);
    Ok(())
}

#[tokio::test]
async fn errors_of_the_gateways_own_look_as_the_configuration_says() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let page = directory.path().join("503.html");
    std::fs::write(&page, "<h1>Back soon</h1>")?;
    let routes = json!([
        {"path": "/none", "service": "none", "errors": {"503": {"file": page}}},
        {"path": "/goods", "service": "goods", "errors": {"5xx": {"json": {"title": "{message}"}}}},
        {"path": "/old", "service": "none"},
    ]);
    let gateway = json!({"4xx": {"json": {"status": "{status}", "detail": "{message}", "path": "{path}", "id": "{trace_id}", "route": "{route}"}}});
    let options = GatewayOptions::default().set("gateway/routes", routes).set("gateway/errors", gateway);
    let (fixture, backend) = with(options).await?;

    let page = fixture.gateway.get("/none").await?;
    assert_eq!((page.status, page.text().as_str()), (503, "<h1>Back soon</h1>"));
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!((page.header("retry-after"), page.header("content-length")), (Some("1"), Some("18")));
    let mut connection = Connection::open(fixture.gateway.address()).await?;
    let head = connection.send(Request::head("/none").header("host", "a").body(Bytes::new())?).await?;
    assert_eq!((head.header("content-length"), head.body.len()), (Some("18"), 0));

    let target = "/unknown\"},\"admin\":{\"\\";
    let unknown = connection.send(Request::get("/unknown/x").header("host", "a").body(Bytes::new())?).await?;
    let json = unknown.json()?;
    assert_eq!(
        (&json["status"], &json["path"], &json["route"]),
        (&json!(404), &json!("/unknown/x"), &json!(""))
    );
    assert_eq!(json["id"].as_str(), unknown.header("trace_id"));
    assert_eq!(unknown.header("content-type"), Some("application/json"));
    let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let nasty = http::raw(fixture.gateway.address(), request.as_bytes(), PATIENCE).await?;
    assert!(!nasty.text().contains("\"admin\":"), "{}", nasty.text());

    backend.script([Reply::Answer(500, vec![], Bytes::from("the instance's own"))]);
    assert_eq!(fixture.gateway.get("/goods").await?.text(), "the instance's own");
    assert_own_answer(&fixture.gateway.get("/old").await?, 503)?;
    assert_eq!(fixture.gateway.get("/").await?.text(), "gateway");
    Ok(())
}
