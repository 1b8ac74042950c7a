//! A request's head: how long it may take, and how large it may be.

use std::{iter, net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use harness::{
    stack::GatewayOptions,
    wire::{Instance, Wire},
};

use super::{Fixture, answered};

/// Between two pieces of a head that has no end.
const PAUSE: Duration = Duration::from_millis(100);

/// Sends one piece after the other until the connection ends, and returns how many it were and what came back.
async fn drip(mut wire: Wire, piece: &str) -> Result<(u32, String)> {
    let mut sent = 0;
    while wire.is_silent_for(PAUSE).await {
        sent += 1;
        ensure!(sent < 100, "the gateway still waits after ten times the time");
        if wire.send(piece).await.is_err() {
            break;
        }
    }
    let (rest, _) = wire.rest().await?;
    Ok((sent, String::from_utf8_lossy(&rest).into_owned()))
}

#[tokio::test]
async fn a_head_has_its_time_in_all_and_empty_lines_count() -> Result<()> {
    let instance = Instance::recording(answered).await?;
    let options = GatewayOptions::default().set("gateway/timeouts/head", "1s");
    let fixture = Fixture::over(&instance, options).await?;
    let begin = "GET /goods HTTP/1.1\r\nHost: a\r\n";
    let cases = [
        ("a method", "G", "E"),
        ("a target", "GET /goods", "x"),
        ("a field's value", "GET /goods HTTP/1.1\r\nHost: a\r\nX-Long: ", "x"),
        ("one field after the other", begin, "X: y\r\n"),
        ("empty lines, slowly", "\r\n", ""),
    ];
    let cut = |(what, begin, piece): (&'static str, &'static str, &'static str), earlier: bool| {
        let address = fixture.gateway.address();
        async move {
            let mut wire = Wire::connect(address).await?;
            if earlier {
                ensure!(wire.get("/goods", "").await?.head.status() == 200, "the first request is served");
            }
            wire.send(begin).await?;
            let (sent, rest) = drip(wire, piece).await?;
            let is_told = rest.is_empty() || rest.starts_with("HTTP/1.1 408 ");
            ensure!(is_told, "{what}, earlier: {earlier}: {rest}");
            ensure!(sent > 1, "{what}, earlier: {earlier}: it was not given its time");
            anyhow::Ok(())
        }
    };
    try_join_all(cases.into_iter().flat_map(|case| [cut(case, false), cut(case, true)])).await?;
    assert_eq!(instance.requests().len(), cases.len(), "only those that came whole arrived");
    Ok(())
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_served() -> Result<()> {
    let instance = Instance::recording(answered).await?;
    let fixture = Fixture::over(&instance, GatewayOptions::default()).await?;
    let mut wire = Wire::connect(fixture.gateway.address()).await?;
    for _ in 0..2 {
        for byte in b"\r\nGET /goods/slow HTTP/1.1\r\nHost: a\r\nX-Name: value\r\n\r\n" {
            wire.send([*byte]).await?;
            tokio::task::yield_now().await;
        }
        assert_eq!(wire.answer("GET").await?.head.status(), 200);
        let arrived = instance.last()?;
        assert_eq!((arrived.head.target(), arrived.head.get("x-name")), ("/goods/slow", Some("value")));
    }
    Ok(())
}

/// A request with so many fields, one of them `Host`.
fn with_fields(count: usize) -> String {
    let others: String = (1..count).map(|number| format!("X-{number}: y\r\n")).collect();
    format!("GET /goods HTTP/1.1\r\nHost: a\r\n{others}\r\n")
}

fn with_field_of(length: usize) -> String {
    format!("GET /goods HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(length))
}

fn with_target_of(length: usize) -> String {
    format!("GET /goods?{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(length))
}

/// The status of the only answer to these bytes, and whether the connection ends behind it.
async fn status(gateway: SocketAddr, request: &str) -> Result<(u16, bool)> {
    let mut wire = Wire::connect(gateway).await?;
    // It may be refused before it was sent whole.
    let _ = wire.send(request).await;
    let answer = wire.answer("GET").await?;
    let ends = answer.head.fields.lists("connection", "close");
    if ends {
        let (rest, _) = wire.rest().await?;
        ensure!(rest.is_empty(), "more than one answer: {}", rest.escape_ascii());
    }
    Ok((answer.head.status(), ends))
}

#[tokio::test]
async fn a_head_is_bounded_in_bytes_and_in_fields_and_says_which_it_was() -> Result<()> {
    let instance = Instance::recording(answered).await?;
    let fixture = Fixture::over(&instance, GatewayOptions::default()).await?;
    for (what, request, expected) in [
        ("100 fields", with_fields(100), 200),
        ("101 fields", with_fields(101), 431),
        ("a field of 60,000 bytes", with_field_of(60_000), 200),
        ("a field of 66,000 bytes", with_field_of(66_000), 431),
        ("a target of 60,000 bytes", with_target_of(60_000), 200),
        ("a target of 66,000 bytes", with_target_of(66_000), 414),
    ] {
        let before = instance.requests().len();
        let (status, ends) = status(fixture.gateway.address(), &request).await?;
        assert_eq!((status, ends), (expected, expected != 200), "{what}");
        assert_eq!(instance.requests().len() - before, usize::from(expected == 200), "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn nobody_gets_a_megabyte_of_head_read() -> Result<()> {
    let instance = Instance::recording(answered).await?;
    let fixture = Fixture::over(&instance, GatewayOptions::default()).await?;
    let lines: String = iter::repeat_n("X-Name: value\r\n", 70_000).collect();
    for begin in ["GET /goods HTTP/1.1\r\nHost: a\r\n", "\r\n", ""] {
        let mut wire = Wire::connect(fixture.gateway.address()).await?;
        let _ = wire.send(format!("{begin}{lines}")).await;
        // It may be broken off while it still sends, before it reads why.
        let (rest, _) = wire.rest().await?;
        let rest = String::from_utf8_lossy(&rest);
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 4"), "{rest}");
    }
    assert_eq!(instance.requests().len(), 0);
    assert_eq!(fixture.gateway.get("/goods").await?.status, 200, "it still serves");
    Ok(())
}
