//! `Expect: 100-continue`.

use std::time::Duration;

use anyhow::Result;
use harness::{
    stack::{Carrier, GatewayOptions},
    wait::eventually,
    wire::{Instance, Wire},
};

use super::{Fixture, answered};

const ASK: &str = "POST /goods HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

#[tokio::test]
async fn who_waits_is_told_to_go_on_and_keeps_its_connection() -> Result<()> {
    let instance = Instance::recording(answered).await?;
    let fixture = Fixture::over(&instance, GatewayOptions::default()).await?;
    let mut wire = Wire::connect(fixture.gateway.address()).await?;
    for _ in 0..3 {
        wire.send(ASK).await?;
        assert_eq!(wire.answer("POST").await?.head.status(), 100);
        wire.send("hello").await?;
        assert_eq!(wire.answer("POST").await?.text(), "hello");
        if Carrier::tested() == Carrier::Pingora {
            // To it the 100 is an answer before the request's end.
            assert!(wire.rest().await?.0.is_empty());
            wire = Wire::connect(fixture.gateway.address()).await?;
        }
    }
    assert_eq!(wire.get("/goods", "").await?.head.status(), 200);
    assert_eq!(instance.last()?.head.get("expect"), None);
    assert_eq!((instance.requests().len(), instance.connections()), (4, 1));
    Ok(())
}

/// Nobody has to wait: RFC 9110, 10.1.1.
#[tokio::test]
async fn who_does_not_wait_is_answered_all_the_same() -> Result<()> {
    let instance = Instance::recording(answered).await?;
    let fixture = Fixture::over(&instance, GatewayOptions::default()).await?;
    let mut wire = Wire::connect(fixture.gateway.address()).await?;
    wire.send(format!("{ASK}hello")).await?;
    let mut answer = wire.answer("POST").await?;
    if answer.head.status() == 100 {
        answer = wire.answer("POST").await?;
    }
    assert_eq!((answer.head.status(), answer.text().as_str()), (200, "hello"));
    Ok(())
}

#[tokio::test]
async fn a_refusal_in_its_place_ends_the_connection() -> Result<()> {
    let instance = Instance::start(|mut wire| async move {
        wire.request_head().await?;
        wire.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno").await?;
        let (body, _) = wire.rest().await?;
        anyhow::ensure!(body.is_empty(), "a body arrived that nobody wanted: {}", body.escape_ascii());
        Ok(())
    })
    .await?;
    let fixture = Fixture::over(&instance, GatewayOptions::default()).await?;
    for path in ["/goods", "/nowhere"] {
        let mut wire = Wire::connect(fixture.gateway.address()).await?;
        wire.send(ASK.replace("/goods", path)).await?;
        let answer = wire.answer("POST").await?;
        assert_eq!(answer.head.status(), if path == "/goods" { 417 } else { 404 });
        // It may still send the body that it has announced, and who takes that for a request is misled.
        let _ = wire.send("GET /goods/smuggled HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let (rest, _) = wire.rest().await?;
        assert!(rest.is_empty(), "{path}: {}", rest.escape_ascii());
    }
    assert_eq!((instance.connections(), instance.failures()), (1, Vec::new()));
    Ok(())
}

/// It knows no 100, and would take it for its answer.
#[tokio::test]
async fn a_client_of_http_1_0_is_not_told_to_go_on() -> Result<()> {
    let instance = Instance::recording(answered).await?;
    let fixture = Fixture::over(&instance, GatewayOptions::default()).await?;
    let mut wire = Wire::connect(fixture.gateway.address()).await?;
    wire.send(format!("{}hello", ASK.replace("1.1", "1.0"))).await?;
    let first = wire.answer("POST").await?.head.status();
    // Pingora passes on what the instance says.
    assert_eq!(first, Carrier::either(200, first));
    // What was answered may have been a 100, and the body is on its way.
    let last = eventually("a request comes", Duration::from_secs(30), async || instance.last()).await?;
    let asked = last.head.get("expect").is_some();
    assert_eq!(asked, Carrier::either(false, asked));
    Ok(())
}
