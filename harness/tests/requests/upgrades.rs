//! Connections that become something else than HTTP, and how they end.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{
    etcd::key,
    load::Load,
    stack::{Carrier, GatewayOptions},
    wire::{End, Instance, Wire},
};
use serde_json::json;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use super::{Fixture, malformed::PATIENCE};

fn ask(protocol: &str) -> String {
    format!("GET /goods HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n")
}

/// Agrees to every protocol that it is asked for, and does this then; answers others.
async fn agreeing<F>(then: impl Fn(Wire) -> F + Clone + Send + Sync + 'static) -> Result<Instance>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    Instance::start(move |mut wire| {
        let then = then.clone();
        async move {
            while let Some(request) = wire.next_request().await? {
                let Some(protocol) = request.head.get("upgrade") else {
                    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await?;
                    continue;
                };
                let fields = format!("Connection: Upgrade\r\nUpgrade: {protocol}\r\n");
                wire.send(format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n")).await?;
                return then(wire).await;
            }
            Ok(())
        }
    })
    .await
}

/// Sends four bytes back at a time, until its client's side ends.
async fn echo(mut wire: Wire) -> Result<()> {
    while let Ok(bytes) = wire.bytes(4).await {
        wire.send(bytes).await?;
    }
    Ok(())
}

/// A connection that was upgraded.
async fn upgraded(fixture: &Fixture, protocol: &str) -> Result<Wire> {
    let mut wire = Wire::connect(fixture.gateway.address()).await?;
    wire.send(ask(protocol)).await?;
    let head = wire.answer_head().await?;
    ensure!(head.status() == 101 && head.get("upgrade") == Some(protocol), "{head:?}");
    Ok(wire)
}

async fn ping(wire: &mut Wire) -> Result<()> {
    wire.send("ping").await?;
    ensure!(wire.bytes(4).await? == b"ping", "another echo");
    Ok(())
}

/// Lets its client say all first, or says all itself first, as that asks for. Tells what it heard at last.
async fn says_all(mut wire: Wire, tell: mpsc::UnboundedSender<Vec<u8>>) -> Result<()> {
    let is_first = wire.bytes(5).await? == b"hello";
    if is_first {
        wire.send("that was all").await?;
        wire.finish().await?;
    }
    let (rest, end) = wire.rest().await?;
    ensure!(is_first || end == End::Closed, "{} {end:?}", rest.escape_ascii());
    tell.send(rest)?;
    if is_first { Ok(()) } else { wire.send("heard").await }
}

#[tokio::test]
async fn when_one_side_has_said_all_the_other_may_go_on() -> Result<()> {
    if Carrier::tested() == Carrier::Pingora {
        // It ends a tunnel when either side does.
        return Ok(());
    }
    let (tell, mut told) = mpsc::unbounded_channel();
    let instance = agreeing(move |wire| says_all(wire, tell.clone())).await?;
    let fixture = Fixture::over(&instance, GatewayOptions::default()).await?;
    let mut client_first = upgraded(&fixture, "websocket").await?;
    client_first.send("first and last").await?;
    client_first.finish().await?;
    assert_eq!(client_first.rest().await?, (b"heard".to_vec(), End::Closed));

    let mut instance_first = upgraded(&fixture, "websocket").await?;
    instance_first.send("hello").await?;
    assert_eq!(instance_first.rest().await?, (b"that was all".to_vec(), End::Closed));
    instance_first.send(" after it").await?;
    instance_first.finish().await?;
    for expected in [" and last", " after it"] {
        assert_eq!(timeout(PATIENCE, told.recv()).await?.as_deref(), Some(expected.as_bytes()));
    }
    assert_eq!(instance.failures(), [""; 0]);
    Ok(())
}
/// A worker thread that is put aside right after the 101, as on a busy machine, finds much to do at once.
#[tokio::test]
async fn no_tunnel_is_torn_after_its_101_however_busy_the_gateway_is() -> Result<()> {
    let instance = agreeing(echo).await?;
    let fixture = Fixture::over(&instance, GatewayOptions::default()).await?;
    let load = Load::get(fixture.gateway.address(), "/goods").connections(8).rate(2_000).start();
    let mut torn = 0;
    for _ in 0..50 {
        let mut tunnels = JoinSet::new();
        for number in 0..8 {
            let address = fixture.gateway.address();
            tunnels.spawn(async move {
                let mut wire = Wire::connect(address).await?;
                wire.send(ask("websocket")).await?;
                ensure!(wire.answer_head().await?.status() == 101, "not upgraded");
                // Some say something at once, some say nothing at first.
                tokio::time::sleep(Duration::from_millis(number * 2)).await;
                ping(&mut wire).await
            });
        }
        while let Some(tunnel) = tunnels.join_next().await {
            torn += u32::from(tunnel?.is_err());
        }
    }
    let outcome = load.stop().await;
    // pingora#946.
    assert_eq!(torn, Carrier::either(0, torn));
    assert_eq!(outcome.failed, 0, "{:?}", outcome.errors);
    Ok(())
}

#[tokio::test]
async fn a_protocol_passes_if_its_route_permits_it_and_is_not_http() -> Result<()> {
    let instance = agreeing(echo).await?;
    let route = json!({ "path": "/goods", "service": "goods", "upgrades": ["websocket", "irc/2"] });
    let fixture =
        Fixture::over(&instance, GatewayOptions::default().set("gateway/routes", json!([route]))).await?;
    ping(&mut upgraded(&fixture, "websocket").await?).await?;
    if Carrier::tested() == Carrier::Ours {
        // Pingora passes on WebSocket alone.
        ping(&mut upgraded(&fixture, "irc/2").await?).await?;
    }
    for protocol in ["other", "h2c", "websocket, other"] {
        let mut wire = Wire::connect(fixture.gateway.address()).await?;
        wire.send(ask(protocol)).await?;
        assert_eq!(wire.answer("GET").await?.text(), "ok", "{protocol}");
        // The connection is HTTP's still.
        assert_eq!(wire.get("/goods", "").await?.text(), "ok", "{protocol}");
    }
    let none = json!({ "path": "/goods", "service": "goods", "upgrades": [] });
    fixture.gateway.reload(&GatewayOptions::default().set("gateway/routes", json!([none]))).await?;
    let mut wire = Wire::connect(fixture.gateway.address()).await?;
    wire.send(ask("websocket")).await?;
    assert_eq!(wire.answer("GET").await?.text(), "ok");
    Ok(())
}

#[tokio::test]
async fn a_tunnel_is_counted_and_what_ended_it() -> Result<()> {
    let instance = agreeing(echo).await?;
    let fixture = Fixture::over(&instance, GatewayOptions::default()).await?;
    let mut wire = upgraded(&fixture, "websocket").await?;
    ping(&mut wire).await?;
    assert_eq!(fixture.gateway.metric("leaseway_tunnels", &[]).await?, 1.0);
    wire.finish().await?;
    wire.rest().await?;
    // Pingora does not tell which side it was.
    let reason = Carrier::either("client", "either");
    let says = format!("\"tunnel\":\"{reason}\"");
    fixture.gateway.process().wait_for_line(|line| line.contains(&says), PATIENCE).await?;
    let reason = format!("reason=\"{reason}\"");
    assert_eq!(fixture.gateway.metric("leaseway_tunnels_ended_total", &[&reason]).await?, 1.0);
    assert_eq!(fixture.gateway.metric("leaseway_tunnels", &[]).await?, 0.0);
    Ok(())
}

#[tokio::test]
async fn who_has_to_upgrade_is_told_to_what() -> Result<()> {
    let instance = Instance::start(|mut wire| async move {
        while wire.next_request().await?.is_some() {
            let fields = "Connection: upgrade\r\nUpgrade: irc/2\r\nContent-Length: 0\r\n";
            wire.send(format!("HTTP/1.1 426 Upgrade Required\r\n{fields}\r\n")).await?;
        }
        Ok(())
    })
    .await?;
    let own = json!({ "path": "/own", "answer": { "status": 426, "headers": { "upgrade": "websocket" } } });
    let routes = json!([{ "path": "/goods", "service": "goods" }, own]);
    let fixture = Fixture::over(&instance, GatewayOptions::default().set("gateway/routes", routes)).await?;
    for (path, protocol) in [("/goods", "irc/2"), ("/own", "websocket")] {
        let mut wire = Wire::connect(fixture.gateway.address()).await?;
        for _ in 0..2 {
            let head = wire.get(path, "").await?.head;
            assert_eq!((head.status(), head.get("upgrade")), (426, Some(protocol)), "{path}: {head:?}");
            // Pingora says of the connection what it wants.
            let is_named = head.fields.lists("connection", "upgrade");
            assert_eq!(is_named, Carrier::either(true, false), "{path}: {head:?}");
        }
    }
    Ok(())
}

/// What a client sends without waiting is the tunnel's, and nothing else's.
#[tokio::test]
async fn what_stands_behind_the_asking_goes_through_the_tunnel_or_is_the_next_request() -> Result<()> {
    let instance = agreeing(echo).await?;
    let fixture = Fixture::over(&instance, GatewayOptions::default()).await?;
    let mut wire = Wire::connect(fixture.gateway.address()).await?;
    wire.send(format!("{}ping", ask("websocket"))).await?;
    assert_eq!(wire.answer_head().await?.status(), 101);
    assert_eq!(wire.bytes(4).await?, b"ping");

    let mut refused = Wire::connect(fixture.gateway.address()).await?;
    refused.send(format!("{}GET /goods HTTP/1.1\r\nHost: a\r\n\r\n", ask("other"))).await?;
    for _ in 0..2 {
        assert_eq!(refused.answer("GET").await?.text(), "ok");
    }
    Ok(())
}

#[tokio::test]
async fn tunnels_to_an_instance_that_has_left_end_one_after_the_other() -> Result<()> {
    if Carrier::tested() == Carrier::Pingora {
        // Nothing reaches a tunnel within it.
        return Ok(());
    }
    let instance = agreeing(echo).await?;
    let options = GatewayOptions::default()
        .set("gateway/timeouts/tunnel_drain", "1s")
        .set("gateway/registry/guard", json!({ "share": 1 }));
    let fixture = Fixture::over(&instance, options).await?;
    let mut tunnels = JoinSet::new();
    for _ in 0..10 {
        let mut wire = upgraded(&fixture, "websocket").await?;
        ping(&mut wire).await?;
        tunnels.spawn(async move { wire.rest().await });
    }
    // A change of others touches none.
    fixture.etcd.put(&key("others", "one"), "127.0.0.1:9").await?;
    ensure!(timeout(Duration::from_millis(300), tunnels.join_next()).await.is_err(), "one ended for nothing");
    assert_eq!(fixture.gateway.metric("leaseway_tunnels", &[]).await?, 10.0);
    fixture.etcd.delete(&key("goods", "one")).await?;
    while let Some(tunnel) = timeout(PATIENCE, tunnels.join_next()).await.context("they do not end")? {
        tunnel??;
    }
    Ok(())
}
