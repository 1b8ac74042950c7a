//! What does not belong on a port: clear HTTP where TLS is spoken, TLS where it is not.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{
    http,
    wait::eventually,
    wire::{End, Wire},
};

use super::{FAILURES, PATIENCE, Place, wait_metric_that};

#[tokio::test]
async fn clear_http_on_a_port_of_tls_is_answered_in_clear_with_a_400_that_says_so() -> Result<()> {
    let place = Place::new().await?;
    let (gateway, _files) = place.serving().await?;
    for (count, request) in [
        "GET /goods HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        "POST /goods HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\n\r\nhello",
        "HEAD / HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let answer = http::raw(place.door, request.as_bytes(), PATIENCE).await?;
        assert_eq!(answer.status(), Some(400), "{request:?}: {}", answer.text());
        assert!(answer.closed && answer.answers() == 1, "{}", answer.text());
        assert!(answer.text().contains("TLS") || answer.text().contains("https"), "{}", answer.text());
        let reason = ["reason=\"clear_http\""];
        wait_metric_that(&gateway, FAILURES, &reason, |value| value == count as f64 + 1.0).await?;
    }
    assert_eq!(place.backend.count(), 0);
    assert_eq!(place.ask(&place.client()?).await?.status, 200);
    Ok(())
}

/// One line says who it was, and not one for each.
#[tokio::test]
async fn the_log_names_who_did_it_and_does_not_fill_up() -> Result<()> {
    let place = Place::new().await?;
    let (gateway, _files) = place.serving().await?;
    let mut wire = Wire::connect(place.door).await?;
    let lines = gateway.process().line_count();
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await?;
    wire.rest().await?;
    let names_it = |line: &str| line.contains("127.0.0.1") && line.contains("TLS");
    gateway.process().wait_for_line_since(lines, names_it, PATIENCE).await?;
    for _ in 0..100 {
        http::raw(place.door, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", PATIENCE).await?;
    }
    wait_metric_that(&gateway, FAILURES, &[], |value| value == 101.0).await?;
    // One line in a few seconds of each kind: many fewer than those who came.
    let told = gateway.process().lines_since(lines).iter().filter(|line| names_it(line)).count();
    assert!(told < 30, "{told} lines");
    Ok(())
}

#[tokio::test]
async fn tls_on_a_clear_port_is_refused_and_counted() -> Result<()> {
    let place = Place::new().await?;
    let (gateway, _files) = place.serving().await?;
    let refused = async || {
        let heads = gateway.metric("leaseway_heads_refused_total", &[]).await?;
        anyhow::Ok(heads + gateway.metric(FAILURES, &[]).await?)
    };
    let before = refused().await?;
    let hello = place.client()?.hello()?;
    let mut wire = Wire::connect(gateway.address()).await?;
    wire.send(hello).await?;
    let (bytes, end) = wire.rest().await?;
    // A client that is not of HTTP cannot read an answer; one that is sent all the same is a refusal.
    assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 400"), "{}", bytes.escape_ascii());
    assert!(matches!(end, End::Closed | End::Reset));
    eventually("it is counted", PATIENCE, async || {
        let now = refused().await?;
        ensure!(now == before + 1.0, "{now} after {before}");
        Ok(())
    })
    .await?;
    assert!(place.client()?.connect(gateway.address()).await.is_err());
    assert_eq!(gateway.get("/goods").await?.status, 200);
    Ok(())
}

/// Neither is a request nor a handshake.
#[tokio::test]
async fn what_is_nothing_at_all_is_closed() -> Result<()> {
    let place = Place::new().await?;
    let (gateway, _files) = place.serving().await?;
    for bytes in
        [&b"\0\0\0\0\0\0\0\0"[..], b"\x16\x03\x01\xff\xff\x01", b"\x80\x2e\x01\x03\x01", b"SSH-2.0-x\r\n"]
    {
        let mut wire = Wire::connect(place.door).await?;
        wire.send(bytes).await?;
        wire.finish().await?;
        let ended = tokio::time::timeout(Duration::from_secs(60), wire.rest()).await??;
        assert!(!ended.0.starts_with(b"HTTP/1.1 2"), "{}", ended.0.escape_ascii());
    }
    wait_metric_that(&gateway, FAILURES, &[], |value| value >= 4.0).await?;
    assert_eq!(place.ask(&place.client()?).await?.status, 200);
    Ok(())
}
