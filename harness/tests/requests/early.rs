//! Instances that answer before they have the whole request.

use anyhow::Result;
use harness::{
    stack::{Carrier, GatewayOptions},
    wire::{Instance, Wire},
};
use tokio::{sync::mpsc, time::timeout};

use super::{Fixture, malformed::PATIENCE};

const LENGTH: usize = 20_000_000;
/// Sent before the answer comes.
const FIRST: usize = 50_000;

/// Refuses every body when it has the head, and tells how many bytes of it came until the end of the connection.
async fn refusing() -> Result<(Instance, mpsc::UnboundedReceiver<usize>)> {
    let (tell, told) = mpsc::unbounded_channel();
    let instance = Instance::start(move |mut wire| {
        let tell = tell.clone();
        async move {
            wire.request_head().await?;
            wire.send(
                "HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\nConnection: close\r\n\r\ntoo much",
            )
            .await?;
            let (body, _) = wire.rest().await?;
            tell.send(body.len())?;
            Ok(())
        }
    })
    .await?;
    Ok((instance, told))
}

#[tokio::test]
async fn a_client_gets_the_answer_while_it_still_sends_and_the_rest_goes_nowhere() -> Result<()> {
    let (instance, mut told) = refusing().await?;
    let options = GatewayOptions::default().set("gateway/timeouts/body", "2s");
    let fixture = Fixture::over(&instance, options).await?;
    for framing in [format!("Content-Length: {LENGTH}"), "Transfer-Encoding: chunked".to_owned()] {
        let mut wire = Wire::connect(fixture.gateway.address()).await?;
        let chunk = format!("{:x}\r\n{}\r\n", FIRST, "x".repeat(FIRST));
        let piece = if framing.contains("chunked") { chunk } else { "x".repeat(FIRST) };
        wire.send(format!("POST /goods HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{piece}")).await?;
        let answer = wire.answer("POST").await?;
        assert_eq!((answer.head.status(), answer.text().as_str()), (413, "too much"), "{framing}");
        for _ in 1..LENGTH / FIRST {
            if wire.send(&piece).await.is_err() {
                break;
            }
        }
        let (rest, _) = wire.rest().await?;
        assert!(rest.is_empty(), "{framing}: more than one answer: {}", rest.escape_ascii());
        let arrived = timeout(PATIENCE, told.recv()).await?.unwrap_or_default();
        // Pingora goes on as far as the instance takes it.
        let at_most = Carrier::either(FIRST + 100, usize::MAX);
        assert!(arrived <= at_most, "{framing}: {arrived} bytes of the body arrived");
    }
    Ok(())
}

/// Not a byte is lost of what was sent before: a client may read only when it has sent all.
#[tokio::test]
async fn a_client_that_reads_only_at_the_end_gets_the_answer_too() -> Result<()> {
    let (instance, _told) = refusing().await?;
    let fixture = Fixture::over(&instance, GatewayOptions::default()).await?;
    for length in [1, FIRST, 1_000_000] {
        let mut wire = Wire::connect(fixture.gateway.address()).await?;
        let body = "x".repeat(length);
        wire.send(format!("POST /goods HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"))
            .await?;
        assert_eq!(wire.answer("POST").await?.head.status(), 413, "{length}");
    }
    Ok(())
}

/// A client that says no more after an early answer does not keep its connection for ever.
#[tokio::test]
async fn who_stops_sending_after_an_early_answer_is_cut_off_in_time() -> Result<()> {
    let (instance, _told) = refusing().await?;
    let options = GatewayOptions::default().set("gateway/timeouts/body", "500ms");
    let fixture = Fixture::over(&instance, options).await?;
    let mut wire = Wire::connect(fixture.gateway.address()).await?;
    wire.send(format!("POST /goods HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\nx")).await?;
    assert_eq!(wire.answer("POST").await?.head.status(), 413);
    assert!(wire.rest().await?.0.is_empty());
    Ok(())
}

/// An answer may begin before the request ends, and both go on together.
#[tokio::test]
async fn an_answer_and_its_request_may_be_on_their_way_together() -> Result<()> {
    let instance = Instance::start(|mut wire| async move {
        wire.request_head().await?;
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
        for _ in 0..5 {
            let chunk = wire.bytes(b"4\r\nping\r\n".len()).await?;
            wire.send(chunk).await?;
        }
        wire.bytes(b"0\r\n\r\n".len()).await?;
        wire.send("0\r\n\r\n").await?;
        wire.rest().await?;
        Ok(())
    })
    .await?;
    let fixture = Fixture::over(&instance, GatewayOptions::default()).await?;
    let mut wire = Wire::connect(fixture.gateway.address()).await?;
    wire.send("POST /goods HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
    assert_eq!(wire.answer_head().await?.status(), 200, "it begins while the request has no body yet");
    for _ in 0..5 {
        wire.send("4\r\nping\r\n").await?;
        assert_eq!(wire.bytes(b"4\r\nping\r\n".len()).await?, b"4\r\nping\r\n");
    }
    wire.send("0\r\n\r\n").await?;
    assert_eq!(wire.bytes(b"0\r\n\r\n".len()).await?, b"0\r\n\r\n");
    assert_eq!(instance.failures(), [""; 0]);
    Ok(())
}
