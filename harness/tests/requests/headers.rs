//! What passes unchanged, and what does not.

use anyhow::{Context, Result};
use bytes::Bytes;
use harness::{
    backend::{Backend, Reply},
    http::{self, Connection, Request},
    stack::GatewayOptions,
};

use super::Fixture;

#[tokio::test]
async fn method_path_query_headers_and_body_pass_unchanged() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    let backend = Backend::start("a", Reply::Echo).await?;
    fixture.register("goods", &[&backend]).await?;
    let target = "/goods/a%20b/%E5%95%86?x=1&y=%2F..%2F&&z";
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let body = if method == "GET" { "" } else { "the body" };
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header("accept", "one")
            .header("accept", "two")
            .header("authorization", "Bearer x")
            .header("cookie", "a=1; b=2")
            .header("x-empty", "")
            .header("x-bytes", &b"\xc3\xa9"[..])
            .body(Bytes::from(body))?;
        let answer = fixture.send(request).await?;
        assert_eq!((answer.status, answer.text().as_str()), (200, body), "{method}");
        let arrived = backend.last()?;
        assert_eq!((arrived.method.as_str(), arrived.target.as_str()), (method, target));
        assert_eq!(arrived.headers.get_all("accept").iter().collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(arrived.header("authorization"), Some("Bearer x"));
        assert_eq!(arrived.header("cookie"), Some("a=1; b=2"));
        assert_eq!(arrived.header("x-empty"), Some(""));
        assert_eq!(arrived.headers.get("x-bytes").map(|value| value.as_bytes()), Some(&b"\xc3\xa9"[..]));
    }
    Ok(())
}

#[tokio::test]
async fn status_headers_and_body_come_back_unchanged() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    let headers = vec![
        ("set-cookie", "a=1; Path=/".to_owned()),
        ("set-cookie", "b=2".to_owned()),
        ("content-type", "text/plain; charset=x".to_owned()),
        ("etag", "\"e\"".to_owned()),
    ];
    for status in [200, 201, 301, 404, 418, 500, 503] {
        backend.script([Reply::Answer(status, headers.clone(), Bytes::from("body"))]);
        let answer = fixture.gateway.get("/goods").await?;
        assert_eq!((answer.status, answer.text().as_str()), (status, "body"));
        assert_eq!(answer.headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1; Path=/", "b=2"]);
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=x"));
        assert_eq!(answer.header("etag"), Some("\"e\""));
        assert_eq!(answer.header("x-served-by"), Some("a"));
    }
    Ok(())
}

#[tokio::test]
async fn large_bodies_pass_unchanged_both_ways() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    let backend = Backend::start("a", Reply::Echo).await?;
    fixture.register("goods", &[&backend]).await?;
    let mut random = fastrand::Rng::with_seed(7);
    let body: Bytes = std::iter::repeat_with(|| random.u8(..)).take(8 << 20).collect();
    let answer = fixture.send(Request::post("/goods").body(body.clone())?).await?;
    assert_eq!(answer.status, 200);
    // assert_eq! would print 16 MiB.
    assert!(backend.last()?.body == body, "the request's body changed");
    assert!(answer.body == body, "the answer's body changed");
    Ok(())
}

#[tokio::test]
async fn a_chunked_request_arrives_whole() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    let request = "POST /goods HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    let answer = http::raw(fixture.gateway.address(), request.as_bytes(), super::malformed::PATIENCE).await?;
    assert_eq!(answer.status(), Some(200));
    assert_eq!(backend.last()?.body, "hello world");
    Ok(())
}

#[tokio::test]
async fn a_head_request_gets_the_length_and_no_body() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    let mut connection = Connection::open(fixture.gateway.address()).await?;
    let answer = connection.send(Request::head("/goods").body(Bytes::new())?).await?;
    assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (200, Some("5"), 0));
    assert_eq!(backend.last()?.method, "HEAD");
    assert_eq!(connection.send(Request::get("/goods").body(Bytes::new())?).await?.text(), "hello");
    Ok(())
}

#[tokio::test]
async fn forwarded_headers_are_overwritten() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    let request = Request::get("/goods")
        .header("host", "shop.example:8443")
        .header("x-forwarded-for", "1.2.3.4")
        .header("x-forwarded-for", "5.6.7.8")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "evil.example")
        .body(Bytes::new())?;
    fixture.send(request).await?;
    let arrived = backend.last()?;
    assert_eq!(arrived.header("host"), Some("shop.example:8443"), "Host is passed on");
    assert_eq!(arrived.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(arrived.header("x-forwarded-proto"), Some("http"));
    assert_eq!(arrived.header("x-forwarded-host"), Some("shop.example:8443"));
    Ok(())
}

#[tokio::test]
async fn hop_by_hop_headers_are_stripped_from_requests() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    let request = Request::get("/goods")
        .header("connection", "x-private, keep-alive")
        .header("x-private", "secret")
        .header("keep-alive", "timeout=5")
        .header("proxy-connection", "keep-alive")
        .header("te", "trailers")
        .header("x-public", "kept")
        .body(Bytes::new())?;
    let stripped = ["x-private", "keep-alive", "proxy-connection", "te"];
    http::send(backend.address(), request.clone()).await?;
    let direct = backend.last()?;
    assert!(stripped.iter().all(|&name| direct.headers.contains_key(name)), "the client did not send them");

    assert_eq!(fixture.send(request).await?.status, 200);
    let arrived = backend.last()?;
    for name in stripped {
        assert!(!arrived.headers.contains_key(name), "{name} reached the backend");
    }
    assert_eq!(arrived.header("x-public"), Some("kept"));
    let connection = arrived.headers.get("connection").map(|value| value.as_bytes());
    assert!(
        connection.is_none_or(|value| value == b"keep-alive"),
        "the client's Connection reached the backend"
    );
    Ok(())
}

/// Each of them makes the gateway look for all of them, so each comes alone here.
#[tokio::test]
async fn each_hop_by_hop_header_is_stripped_where_it_comes_alone() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    for (name, value) in [
        ("connection", "x-nothing"),
        ("connection", "keep-alive"),
        ("connection", "Close"),
        ("connection", "keep-alive, x-nothing"),
        ("http2-settings", "AAMAAABk"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("proxy-authorization", "Basic eA=="),
        ("proxy-connection", "keep-alive"),
        ("te", "trailers"),
        ("trailer", "x-nothing"),
        ("upgrade", "h2c"),
    ] {
        let request = Request::builder().uri("/goods").header(name, value).header("x-kept", "1");
        let answer = fixture.send(request.body(Bytes::new())?).await?;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let arrived = backend.last()?;
        assert_eq!((arrived.header(name), arrived.header("x-kept")), (None, Some("1")), "{name}: {value}");
    }
    Ok(())
}

#[tokio::test]
async fn hop_by_hop_headers_are_stripped_from_answers() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    let headers = vec![
        ("connection", "x-private".to_owned()),
        ("x-private", "secret".to_owned()),
        ("keep-alive", "timeout=1".to_owned()),
        ("proxy-connection", "close".to_owned()),
        ("x-public", "kept".to_owned()),
    ];
    backend.script(vec![Reply::Answer(200, headers, Bytes::from("x")); 2]);
    let direct = http::get(backend.address(), "/").await?;
    assert_eq!(
        (direct.header("x-private"), direct.header("keep-alive")),
        (Some("secret"), Some("timeout=1"))
    );

    let answer = fixture.gateway.get("/goods").await?;
    for name in ["x-private", "proxy-connection"] {
        assert_eq!(answer.header(name), None, "{name} reached the client");
    }
    assert_ne!(answer.header("keep-alive"), Some("timeout=1"), "the backend's Keep-Alive reached the client");
    assert!(answer.header("connection").is_none_or(|value| !value.contains("x-private")));
    assert_eq!(answer.header("x-public"), Some("kept"));
    Ok(())
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    let mut connection = Connection::open(fixture.gateway.address()).await?;
    for path in ["/goods", "/goods/x", "/nowhere", "/goods"] {
        let answer = connection.send(Request::get(path).body(Bytes::new())?).await?;
        assert!(!answer.closes(), "{path} closes the connection");
    }
    connection
        .send(Request::post("/goods").body(Bytes::from("body"))?)
        .await
        .context("after a POST's turn")?;
    let used: Vec<_> = backend.requests().iter().map(|request| request.connection).collect();
    assert_eq!(used, [0; 4], "the backend's connection is re-used");
    Ok(())
}

#[tokio::test]
async fn a_backend_that_closes_does_not_close_the_client() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    backend.script([Reply::Answer(200, vec![("connection", "close".to_owned())], Bytes::new())]);
    let mut connection = Connection::open(fixture.gateway.address()).await?;
    for _ in 0..2 {
        let answer = connection.send(Request::get("/goods").body(Bytes::new())?).await?;
        assert!(answer.status == 200 && !answer.closes());
    }
    assert_eq!(backend.last()?.connection, 1);
    Ok(())
}
