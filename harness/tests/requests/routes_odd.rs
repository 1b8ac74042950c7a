//! What clients send that nobody expects, to routes of every kind.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use harness::{
    backend::{Backend, Recorded, Reply},
    http::{Connection, Method, Request, raw},
    stack::GatewayOptions,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Fixture, assert_own_answer};

/// Bounds the wait for what a raw connection says; the gateway keeps it open.
const WHILE: Duration = Duration::from_millis(700);

fn routes(routes: Value) -> GatewayOptions {
    GatewayOptions::without_routes().set("gateway/routes", routes)
}

/// A gateway with these routes, and a backend for the service `goods`.
async fn with(options: GatewayOptions) -> Result<(Fixture, Backend)> {
    let fixture = Fixture::start(options).await?;
    let backend = Backend::start("a", Reply::ok("goods")).await?;
    fixture.register("goods", &[&backend]).await?;
    Ok((fixture, backend))
}

impl Fixture {
    /// The statuses of the answers to raw bytes, and all that came.
    async fn raw(&self, bytes: &str) -> Result<(Vec<u16>, String)> {
        let text = raw(self.gateway.address(), bytes.as_bytes(), WHILE).await?.text();
        let heads = text.split("HTTP/1.").skip(1);
        let statuses = heads.filter_map(|head| head.split(' ').nth(1)?.parse().ok()).collect();
        Ok((statuses, text))
    }

    /// The status of the only answer.
    async fn status(&self, bytes: &str) -> Result<u16> {
        let (statuses, text) = self.raw(bytes).await?;
        assert_eq!(statuses.len(), 1, "{bytes:?}: {text:?}");
        Ok(statuses[0])
    }
}

fn get(target: &str, host: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

fn target(backend: &Backend) -> Result<String> {
    Ok(backend.last()?.target)
}

#[tokio::test]
async fn a_host_is_the_same_with_its_port_in_capitals_and_with_a_dot_at_its_end() -> Result<()> {
    let (fixture, _goods) = with(routes(json!([
        { "match": { "host": "shop.example.com" }, "service": "goods" },
        { "match": { "host": "*.shop.example.com" }, "answer": { "status": 203 } },
        { "match": { "host": "192.0.2.1" }, "answer": { "status": 202 } },
        { "match": { "path": "/" }, "answer": { "status": 404, "body": "no host" } },
    ])))
    .await?;
    for (host, expected) in [
        ("shop.example.com", 200),
        ("SHOP.Example.COM", 200),
        ("shop.example.com.", 200),
        ("shop.example.com:8080", 200),
        ("Shop.Example.Com.:80", 200),
        ("a.shop.example.com", 203),
        ("a.b.shop.example.com.:1", 203),
        ("192.0.2.1:80", 202),
        (".shop.example.com", 404),
        ("shop.example.com.evil", 404),
        ("shop.example.comx", 404),
        ("xshop.example.com", 404),
        ("shop..example.com", 404),
        ("[::1]:80", 404),
    ] {
        assert_eq!(fixture.status(&get("/", host)).await?, expected, "{host}");
    }
    // What is no host is nobody's.
    for host in ["", ":80", "shop.example.com,evil", "shop.example.com/x", "a@shop.example.com"] {
        let status = fixture.status(&get("/", host)).await?;
        assert!(matches!(status, 400 | 404), "{host:?} is answered {status}");
    }
    Ok(())
}

#[tokio::test]
async fn an_absolute_target_says_the_host_and_http_1_0_needs_none() -> Result<()> {
    let (fixture, _goods) = with(routes(json!([
        { "match": { "host": "shop.example.com" }, "service": "goods" },
        { "match": { "path": "/" }, "answer": { "status": 202 } },
    ])))
    .await?;
    let absolute = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    for (request, expected) in [
        (absolute("http://shop.example.com/x", "shop.example.com"), 200),
        (absolute("HTTP://SHOP.example.com/x", "SHOP.example.com"), 200),
        (absolute("http://shop.example.com?x", "shop.example.com"), 200),
        (absolute("http://other/x", "other"), 202),
        // Two readers would read it differently.
        (absolute("http://other/x", "shop.example.com"), 400),
        ("GET /x HTTP/1.0\r\n\r\n".to_owned(), 202),
        ("GET /x HTTP/1.0\r\nHost: shop.example.com\r\n\r\n".to_owned(), 200),
    ] {
        assert_eq!(fixture.status(&request).await?, expected, "{request:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_left_of_a_path_keeps_its_escapes_and_its_query() -> Result<()> {
    let (fixture, goods) = with(routes(json!([
        { "match": { "path": "/api" }, "service": "goods", "strip_prefix": "/api" },
        { "match": { "path": { "regex": "/v[0-9]+(/.*)?" } }, "service": "goods",
          "rewrite": { "regex": "/v([0-9]+)/?(?P<rest>.*)", "to": "/of/$1/${rest}" } },
    ])))
    .await?;
    for (asked, arrived) in [
        ("/api", "/"),
        ("/api/", "/"),
        ("/api?x=%2F&y=a+b", "/?x=%2F&y=a+b"),
        ("/api/a%2Fb", "/a%2Fb"),
        ("/api/a%2fb", "/a%2Fb"),
        ("/api/%C3%BC/%20", "/%C3%BC/%20"),
        ("/x/../api/y/./z", "/y/z"),
        ("/v2/a%2Fb%20c?d=/e/..", "/of/2/a%2Fb%20c?d=/e/.."),
        ("/v10", "/of/10/"),
    ] {
        let answer = fixture.gateway.get(asked).await?;
        assert_eq!((answer.status, target(&goods)?.as_str()), (200, arrived), "{asked}");
    }
    // Neither a host that is taken from a path nor a path above the root.
    for (asked, statuses) in [("/api//evil/x", [200, 400]), ("/api/%2E%2E/%2E%2E/x", [400, 400])] {
        let answer = fixture.gateway.get(asked).await?;
        assert!(statuses.contains(&answer.status), "{asked} {}", answer.status);
        assert!(!target(&goods)?.contains(".."), "{asked}");
    }
    Ok(())
}

#[tokio::test]
async fn a_redirect_leads_to_no_host_that_the_client_wrote_into_its_path() -> Result<()> {
    let (fixture, _goods) = with(routes(json!([
        { "match": { "path": "/to-https", "scheme": "http" }, "redirect": { "scheme": "https", "status": 308 } },
        { "match": { "path": "/strip" }, "strip_prefix": "/strip", "redirect": { "status": 302 } },
        { "match": { "path": "/away" }, "redirect": { "host": "shop.example.com", "status": 301 } },
        { "match": { "path": "/" }, "redirect": { "path": "/to-https" } },
    ])))
    .await?;
    let location = async |target: &str, host: &str| -> Result<(u16, String)> {
        let (statuses, text) = fixture.raw(&get(target, host)).await?;
        let line = text.lines().find(|line| line.to_ascii_lowercase().starts_with("location:"));
        let location = line.map_or("", |line| line["location:".len()..].trim());
        Ok((*statuses.first().context("no answer")?, location.to_owned()))
    };
    for (target, host, status, expected) in [
        ("/to-https/a%2Fb?c=d&e", "shop.example.com", 308, "https://shop.example.com/to-https/a%2Fb?c=d&e"),
        ("/to-https", "Shop.example.com:8080", 308, "https://Shop.example.com/to-https"),
        ("/away/x?y", "other", 301, "http://shop.example.com/away/x?y"),
        ("/strip/a?b", "shop.example.com", 302, "/a?b"),
        ("/other?kept", "shop.example.com", 302, "/to-https?kept"),
    ] {
        assert_eq!(location(target, host).await?, (status, expected.to_owned()), "{target}");
    }
    for (target, host) in [
        ("/strip//evil.example/x", "shop.example.com"),
        ("/strip/%2F/evil.example", "shop.example.com"),
        ("/strip/\\evil.example", "shop.example.com"),
        ("//evil.example/to-https", "shop.example.com"),
        ("/to-https", "shop.example.com@evil.example"),
        ("/to-https", "evil.example/x"),
        ("/to-https", ""),
    ] {
        let (status, location) = location(target, host).await?;
        let is_path = location.starts_with('/') && !location[1..].starts_with(['/', '\\']);
        let is_safe = is_path || location.starts_with("https://shop.example.com/");
        assert!(status == 400 || is_safe, "{target} of {host:?}: {status} {location:?}");
    }
    Ok(())
}

#[tokio::test]
async fn conditions_look_at_each_line_each_cookie_and_each_parameter() -> Result<()> {
    let (fixture, _goods) = with(routes(json!([
        { "match": { "path": "/h", "headers": { "x-canary": "1" } }, "answer": { "status": 202 } },
        { "match": { "path": "/n", "headers": { "x-debug": { "present": false } } }, "answer": { "status": 202 } },
        { "match": { "path": "/c", "cookies": { "group": "beta" } }, "answer": { "status": 202 } },
        { "match": { "path": "/q", "query": { "q": "a b&c" } }, "answer": { "status": 202 } },
        { "match": { "path": "/p", "query": { "preview": { "present": true } } }, "answer": { "status": 202 } },
        { "match": { "path": "/" }, "answer": { "status": 203 } },
    ])))
    .await?;
    for (target, fields, expected) in [
        ("/h", "X-Canary: 1", 202),
        ("/h", "x-canary: 0\r\nx-canary: 1", 202),
        ("/h", "x-canary: 0\r\nx-canary: 2", 203),
        ("/h", "x-canary: 1, 0", 203),
        ("/h", "x-canary:  1  ", 202),
        ("/n", "x-other: 1", 202),
        ("/n", "x-debug:", 203),
        ("/c", "cookie: group=beta", 202),
        ("/c", "cookie: a=b; group=beta; c=d", 202),
        ("/c", "cookie: a=b\r\ncookie: group=beta", 202),
        ("/c", "cookie: group=alpha; group=beta", 202),
        ("/c", "cookie: agroup=beta", 203),
        ("/c", "cookie: group=betas", 203),
        ("/c", "cookie: Group=beta", 203),
        ("/q?q=a+b%26c", "x: y", 202),
        ("/q?x=1&q=a%20b%26c", "x: y", 202),
        ("/q?%71=a+b%26c", "x: y", 202),
        ("/q?q=a", "x: y", 203),
        ("/p?preview", "x: y", 202),
        ("/p?a&preview=&b", "x: y", 202),
        ("/p?previews", "x: y", 203),
        ("/p?a=preview", "x: y", 203),
        ("/p?%zz&preview=%", "x: y", 202),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        assert_eq!(fixture.status(&request).await?, expected, "{target} {fields}");
    }
    Ok(())
}

/// The body is read, or the connection is closed: what follows is never taken for something else.
#[tokio::test]
async fn a_body_that_nobody_wants_does_not_spoil_the_connection() -> Result<()> {
    let (fixture, goods) = with(routes(json!([
        { "match": { "path": "/away" }, "redirect": { "path": "/goods", "status": 307 } },
        { "match": { "path": "/answer" }, "answer": { "status": 202, "body": "taken" } },
        { "path": "/goods", "service": "goods" },
    ])))
    .await?;
    let mut connection = Connection::open(fixture.gateway.address()).await?;
    for (path, status) in [("/away", 307), ("/answer", 202), ("/none", 404), ("/goods", 200)] {
        for size in [0, 5, 60_000] {
            let body = Bytes::from(vec![b'G'; size]);
            if !connection.is_open().await {
                connection = Connection::open(fixture.gateway.address()).await?;
            }
            let answer = connection.send(Request::post(path).body(body)?).await?;
            assert_eq!(answer.status, status, "{path} {size}");
        }
    }
    // The same in chunks, and what stands behind it is the next request.
    let smuggled =
        "POST /answer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\n\r\n";
    let before = goods.count();
    let (statuses, text) = fixture.raw(&format!("{smuggled}{}", get("/goods", "a"))).await?;
    assert!(statuses == [202, 200] || statuses == [202], "{text}");
    assert_eq!(goods.count() - before, statuses.len() - 1);
    Ok(())
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_each_by_its_own_route() -> Result<()> {
    let (fixture, _goods) = with(routes(json!([
        { "match": { "path": "/answer" }, "answer": { "status": 202 }, "response_headers": { "set": { "x-of": "{route}" } },
          "name": "first" },
        { "match": { "path": "/away" }, "redirect": { "path": "/x" }, "name": "second" },
        { "path": "/goods", "service": "goods", "response_headers": { "set": { "x-of": "{route}" } }, "name": "third" },
    ])))
    .await?;
    let all: String =
        ["/answer", "/goods", "/away", "/goods", "/none"].map(|target| get(target, "a")).concat();
    let (statuses, text) = fixture.raw(&all).await?;
    assert_eq!(statuses, [202, 200, 302, 200, 404], "{text}");
    assert_eq!(text.matches("x-of: first").count(), 1, "{text}");
    assert_eq!(text.matches("x-of: third").count(), 2, "{text}");
    Ok(())
}

#[tokio::test]
async fn a_head_of_an_answer_is_that_of_a_get_without_the_body() -> Result<()> {
    let (fixture, _goods) = with(routes(json!([
        { "match": { "path": "/answer" }, "answer": { "status": 200, "headers": { "x-a": "b" }, "body": "taken" } },
        { "match": { "path": "/empty" }, "answer": { "status": 204 } },
        { "match": { "path": "/away" }, "redirect": { "path": "/x" } },
    ])))
    .await?;
    let mut connection = Connection::open(fixture.gateway.address()).await?;
    for path in ["/answer", "/empty", "/away", "/none"] {
        let mut heads = Vec::new();
        for method in [Method::GET, Method::HEAD] {
            let request = Request::builder().method(&method).uri(path).body(Bytes::new())?;
            let answer = connection.send(request).await?;
            assert!(method == Method::GET || answer.body.is_empty(), "{path} has a body: {}", answer.text());
            let mut headers = answer.headers;
            for differing in ["date", "trace_id"] {
                headers.remove(differing);
            }
            heads.push((answer.status, headers));
        }
        assert_eq!(heads[0], heads[1], "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn response_headers_are_on_the_gateways_own_answers_too() -> Result<()> {
    let changes = json!({ "set": { "x-route": "{route}", "strict-transport-security": "max-age=1" }, "remove": ["retry-after"] });
    let (fixture, _goods) = with(routes(json!([
        { "name": "none", "path": "/none", "service": "nobody", "response_headers": changes },
        { "name": "away", "match": { "path": "/away" }, "redirect": { "path": "/x" }, "response_headers": changes },
        { "name": "goods", "path": "/goods", "service": "goods", "response_headers": changes },
    ])))
    .await?;
    for (path, status, route) in [("/none", 503, "none"), ("/away", 302, "away"), ("/goods", 200, "goods")] {
        let answer = fixture.gateway.get(path).await?;
        assert_eq!((answer.status, answer.header("x-route")), (status, Some(route)), "{path}");
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=1"), "{path}");
        assert_eq!(answer.header("retry-after"), None, "{path}");
    }
    assert_own_answer(&fixture.gateway.get("/none").await?, 503)
}

#[tokio::test]
async fn a_sticky_cookie_of_garbage_is_replaced() -> Result<()> {
    let (fixture, goods) = with(routes(json!([
        { "path": "/goods", "service": "goods", "sticky": { "cookie": "lw" } },
    ])))
    .await?;
    for cookie in [
        "lw=",
        "lw=x",
        "lw=\"\"",
        "lw=%00",
        "lw=../../x; lw=y",
        &format!("lw={}", "a".repeat(4_000)),
        "lw=\u{fc}",
    ] {
        let request = Request::get("/goods").header("cookie", cookie.as_bytes()).body(Bytes::new())?;
        let answer = fixture.send(request).await?;
        assert_eq!(answer.status, 200, "{cookie}");
        let set = answer.header("set-cookie").with_context(|| format!("nothing is set for {cookie}"))?;
        assert!(set.starts_with("lw=") && set.contains("HttpOnly") && set.contains("SameSite"), "{set}");
        assert!(!set.contains("127.0.0.1") && !set.contains(&goods.address().port().to_string()), "{set}");
    }
    Ok(())
}

fn forwarded(recorded: &Recorded) -> [Option<&str>; 4] {
    ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"]
        .map(|name| recorded.header(name))
}

const CLAIMS: [(&str, &str); 4] = [
    ("x-forwarded-for", "198.51.100.7"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "shop.example.com"),
    ("forwarded", "for=198.51.100.7;proto=https;host=shop.example.com"),
];

#[tokio::test]
async fn who_is_not_trusted_claims_neither_an_address_nor_a_scheme() -> Result<()> {
    for (trusted, secret, expected) in
        [(json!([]), 404, "127.0.0.1"), (json!(["127.0.0.0/8"]), 202, "198.51.100.7")]
    {
        let options = routes(json!([
            { "match": { "path": "/secret", "client": ["198.51.100.0/24"], "scheme": "https" }, "answer": { "status": 202 } },
            { "path": "/goods", "service": "goods", "request_headers": { "set": { "x-client": "{client}" } } },
        ]));
        let (fixture, goods) = with(options.set("gateway/trusted_proxies", trusted)).await?;
        let claim = |path: &str| {
            let request = CLAIMS
                .iter()
                .fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
            request.body(Bytes::new())
        };
        assert_eq!(fixture.send(claim("/secret")?).await?.status, secret);
        assert_eq!(fixture.send(claim("/goods")?).await?.status, 200);
        let arrived = goods.last()?;
        assert_eq!(arrived.header("x-client"), Some(expected));
        let [chain, proto, host, own] = forwarded(&arrived);
        if secret == 404 {
            let address = fixture.gateway.address().to_string();
            assert_eq!(own, None);
            assert_eq!((chain, proto, host), (Some("127.0.0.1"), Some("http"), Some(address.as_str())));
        } else {
            assert_eq!(chain, Some("198.51.100.7, 127.0.0.1"));
            assert_eq!((proto, host), (Some("https"), Some("shop.example.com")));
            assert_eq!(own, None, "beside the other list anybody may have written it");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_large_body_does_not_undo_an_answer_that_knows_where_it_ends() -> Result<()> {
    let (fixture, _goods) = with(routes(json!([
        { "match": { "path": "/fixed" }, "answer": { "status": 400, "body": "not like this" } },
        { "match": { "path": { "regex": "/climbs(.*)" } }, "service": "goods",
          "rewrite": { "regex": "/climbs(.*)", "to": "/..$1" } },
        { "match": { "path": "/slow" }, "answer": { "status": 408, "body": "too slow" } },
    ])))
    .await?;
    let body = Bytes::from(vec![b'x'; 8_000_000]);
    for (path, status) in [("/fixed", 400), ("/slow", 408), ("/climbs/x", 400), ("/../x", 400)] {
        // The client of the tests stops sending when it is answered.
        for _ in 0..5 {
            let length = body.len();
            let mut stream = TcpStream::connect(fixture.gateway.address()).await?;
            let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await.with_context(|| format!("{path}: sending the body"))?;
            let mut answer = String::new();
            stream.shutdown().await?;
            stream.read_to_string(&mut answer).await.with_context(|| format!("{path}: reading"))?;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_target_that_would_become_too_long_is_the_clients_fault() -> Result<()> {
    let (fixture, goods) = with(routes(json!([
        { "match": { "path": "/short" }, "service": "goods",
          "rewrite": { "regex": "/short(.*)", "to": format!("/{}$1", "l".repeat(100)) } },
        { "match": { "path": "/moved" }, "strip_prefix": "/moved", "redirect": { "status": 302 } },
    ])))
    .await?;
    let query = |length| "q".repeat(length);
    let fits = 65_534 - 101 - "/x?".len();
    let status = fixture.status(&get(&format!("/short/x?{}", query(fits)), "a")).await?;
    assert_eq!((status, target(&goods)?.len()), (200, 65_534));
    let (statuses, text) = fixture.raw(&get(&format!("/short/x?{}", query(fits + 1)), "a")).await?;
    assert_eq!(statuses, [400]);
    assert!(text.contains("too long with its query"), "{text}");
    let status = fixture.status(&get(&format!("/moved/{}", "\"".repeat(60_000)), "a")).await?;
    assert_eq!(status, 400, "three times that would be its Location");
    let lines = fixture.gateway.process().lines();
    assert!(!lines.iter().any(|line| line.contains("qqqqqqqq")), "no query is in the log");
    Ok(())
}
