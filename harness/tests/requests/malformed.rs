//! Requests that could mean two things: 400, one answer, and the backend sees nothing.

use std::time::Duration;

use anyhow::Result;
use harness::http::raw;

use super::Fixture;

/// Bounds the wait for the gateway to close.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What would be smuggled in behind a request whose end is misread.
const SMUGGLED: &str = "GET /goods/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

async fn refuses(fixture: &Fixture, what: &str, request: &str) -> Result<()> {
    let answer = raw(fixture.gateway.address(), request.as_bytes(), PATIENCE).await?;
    let text = answer.text();
    assert_eq!(answer.status(), Some(400), "{what}: {text}");
    assert_eq!(answer.answers(), 1, "{what}: {text}");
    assert!(answer.closed, "{what}: the connection stays open: {text}");
    Ok(())
}

#[tokio::test]
async fn a_length_beside_a_transfer_encoding_is_refused() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    let head = "POST /goods HTTP/1.1\r\nHost: a\r\n";
    for (what, lengths) in [
        ("CL, then TE", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        ("TE, then CL", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        ("CL 0 with TE", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
    ] {
        refuses(&fixture, what, &format!("{head}{lengths}\r\n0\r\n\r\n{SMUGGLED}")).await?;
    }
    assert_eq!(backend.count(), 0);
    Ok(())
}

#[tokio::test]
async fn several_or_bad_lengths_are_refused() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    for lengths in [
        "Content-Length: 5\r\nContent-Length: 0\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: five\r\n",
        "Content-Length:\r\n",
        "Content-Length: 99999999999999999999\r\n",
    ] {
        let request = format!("POST /goods HTTP/1.1\r\nHost: a\r\n{lengths}\r\nhello{SMUGGLED}");
        refuses(&fixture, lengths, &request).await?;
    }
    assert_eq!(backend.count(), 0);
    Ok(())
}

#[tokio::test]
async fn a_request_without_a_host_is_refused() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    refuses(&fixture, "no Host", "GET /goods HTTP/1.1\r\nAccept: */*\r\n\r\n").await?;
    assert_eq!(backend.count(), 0);

    let old = raw(fixture.gateway.address(), b"GET /goods HTTP/1.0\r\n\r\n", PATIENCE).await?;
    assert_eq!((old.status(), backend.count()), (Some(200), 1), "HTTP/1.0 has no Host: {}", old.text());
    Ok(())
}

#[tokio::test]
async fn a_target_that_is_neither_a_path_nor_a_url_is_refused() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    for target in ["goods", "goods/admin", "?x", "ftp://a/goods", "myproto:goods", "\\goods"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        refuses(&fixture, target, &request).await?;
    }
    assert_eq!(backend.count(), 0);
    Ok(())
}

#[tokio::test]
async fn bare_line_feeds_are_refused() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    for request in [
        "GET /goods HTTP/1.1\nHost: a\n\n",
        "GET /goods HTTP/1.1\r\nHost: a\nAccept: */*\r\n\r\n",
        "GET /goods HTTP/1.1\nHost: a\r\n\r\n",
        "GET /goods HTTP/1.1\r\nHost: a\r\nAccept: */*\n\r\n",
    ] {
        refuses(&fixture, request, request).await?;
    }
    assert_eq!(backend.count(), 0);
    Ok(())
}

#[tokio::test]
async fn what_is_not_http_is_refused_or_cut_off() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"hello\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
    ] {
        // Half of them look like the beginning of a long line: the gateway may wait for its end.
        let answer = raw(fixture.gateway.address(), bytes, Duration::from_secs(1)).await?;
        assert!(matches!(answer.status(), None | Some(400)), "{bytes:?}: {}", answer.text());
    }
    assert_eq!(backend.count(), 0);
    assert_eq!(fixture.gateway.get("/goods").await?.status, 200, "it still serves");
    let text = fixture.gateway.process().lines().join("\n");
    assert!(!text.contains("panicked"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_refused_request_does_not_spoil_the_next_client() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    for _ in 0..20 {
        let request = format!("POST /goods HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n{SMUGGLED}");
        refuses(&fixture, "bad length", &request).await?;
        assert_eq!(fixture.gateway.get("/goods/clean").await?.status, 200);
    }
    assert!(backend.requests().iter().all(|request| request.target == "/goods/clean"));
    Ok(())
}
