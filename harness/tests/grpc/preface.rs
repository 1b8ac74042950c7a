//! What stands before HTTP/2 in clear: its preface, whole and in pieces.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::wire::Wire;
use serde_json::json;
use tokio::time::sleep;

use super::{PATIENCE, Place};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// SETTINGS of nothing.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const SETTINGS_KIND: u8 = 4;

async fn with_head(head: &str) -> Result<Place> {
    Place::with(1, |options| options.set("gateway/timeouts", json!({ "head": head, "keepalive": "60s" })))
        .await
}

/// Checks that the gateway's own SETTINGS come first.
async fn assert_begun(wire: &mut Wire) -> Result<()> {
    let head = wire.bytes(9).await?;
    ensure!(head[3] == SETTINGS_KIND && head[4] == 0, "no SETTINGS: {}", head.escape_ascii());
    Ok(())
}

#[tokio::test]
async fn a_preface_in_pieces_is_answered() -> Result<()> {
    let place = with_head("10s").await?;
    for at in [1, 2, 3, 4, 14, 16, 18, 20, 23] {
        let mut wire = Wire::connect(place.gateway.address()).await?;
        wire.send(&PREFACE[..at]).await?;
        sleep(Duration::from_millis(100)).await;
        wire.send(&PREFACE[at..]).await?;
        wire.send(SETTINGS).await?;
        assert_begun(&mut wire).await?;
    }
    let mut wire = Wire::connect(place.gateway.address()).await?;
    for byte in PREFACE {
        wire.send([*byte]).await?;
        sleep(Duration::from_millis(10)).await;
    }
    wire.send(SETTINGS).await?;
    assert_begun(&mut wire).await
}

#[tokio::test]
async fn half_a_preface_is_closed_when_its_time_is_over() -> Result<()> {
    let place = with_head("1s").await?;
    for at in [1, 3, 10, 17, 23] {
        let begun = Instant::now();
        let mut wire = Wire::connect(place.gateway.address()).await?;
        wire.send(&PREFACE[..at]).await?;
        let (rest, end) = wire.rest().await?;
        assert!(begun.elapsed() >= Duration::from_millis(900), "{at}: {:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(10), "{at}: {:?}", begun.elapsed());
        // An answer of HTTP/1 says why, if there is one.
        let is_told =
            rest.is_empty() || rest.starts_with(b"HTTP/1.1 408") || rest.starts_with(b"HTTP/1.1 400");
        assert!(is_told, "{at}: {} ({end:?})", rest.escape_ascii());
    }
    Ok(())
}

#[tokio::test]
async fn what_only_begins_as_a_preface_is_a_bad_request() -> Result<()> {
    let place = with_head("10s").await?;
    for text in
        ["PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n", "PRI * HTTP/2.1\r\n\r\n", "PRI /x HTTP/1.1\r\nHost: a\r\n\r\n"]
    {
        let mut wire = Wire::connect(place.gateway.address()).await?;
        wire.send(text).await?;
        wire.finish().await?;
        let (rest, _) = wire.rest().await?;
        assert!(!rest.starts_with(b"HTTP/1.1 2"), "{text:?}: {}", rest.escape_ascii());
    }
    assert_eq!(place.total(), 0);
    Ok(())
}

#[tokio::test]
async fn a_preface_without_settings_is_closed_as_an_idle_connection_is() -> Result<()> {
    let timeouts = json!({ "head": "1s", "keepalive": "2s" });
    let place = Place::with(1, |options| options.set("gateway/timeouts", timeouts)).await?;
    let mut wire = Wire::connect(place.gateway.address()).await?;
    wire.send(PREFACE).await?;
    let ended = tokio::time::timeout(PATIENCE, wire.rest()).await;
    assert!(matches!(ended, Ok(Ok(_))), "{ended:?}");
    Ok(())
}
