//! Connections that were upgraded, such as WebSockets.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use harness::etcd::{Etcd, key};
use harness::process::Signal;
use harness::stack::{Gateway, GatewayOptions};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(30);
const ASK: &str = "GET /goods HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
const AGREE: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// Agrees to every upgrade and sends back what comes.
async fn start_echo() -> Result<SocketAddr> {
    serve(|mut stream| async move {
        stream.write_all(AGREE.as_bytes()).await?;
        let (mut from, mut to) = stream.split();
        tokio::io::copy(&mut from, &mut to).await?;
        Ok(())
    })
    .await
}

/// Does this with each connection after its request's head. What goes wrong there shows at the client.
async fn serve<F>(upgrade: impl Fn(TcpStream) -> F + Send + 'static) -> Result<SocketAddr>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if read_head(&mut stream).await.is_ok() {
                tokio::spawn(upgrade(stream));
            }
        }
    });
    Ok(address)
}

/// To the last byte of the head, and not one further.
async fn read_head(stream: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.context("the stream ended in its head")?);
    }
    Ok(String::from_utf8(head)?)
}

/// A gateway over one instance.
async fn gateway_to(instance: SocketAddr, options: GatewayOptions) -> Result<(Gateway, Etcd)> {
    let etcd = Etcd::start().await?;
    etcd.put(&key("goods", "tunnel"), instance.to_string()).await?;
    let gateway = Gateway::start(&etcd.endpoint(), options).await?;
    gateway.wait_instances("goods", &["tunnel"]).await?;
    Ok((gateway, etcd))
}

/// A connection that the gateway has upgraded.
async fn upgrade(gateway: SocketAddr) -> Result<TcpStream> {
    let mut client = TcpStream::connect(gateway).await?;
    client.write_all(ASK.as_bytes()).await?;
    let head = timeout(PATIENCE, read_head(&mut client)).await??;
    ensure!(head.starts_with("HTTP/1.1 101 "), "{head}");
    Ok(client)
}

async fn ping(client: &mut TcpStream) -> Result<()> {
    client.write_all(b"ping").await?;
    let mut echo = [0; 4];
    timeout(PATIENCE, client.read_exact(&mut echo)).await??;
    ensure!(&echo == b"ping", "{echo:?}");
    Ok(())
}

#[tokio::test]
async fn a_tunnel_outlasts_a_reload_that_takes_its_route_and_its_time_away() -> Result<()> {
    let (gateway, _etcd) = gateway_to(start_echo().await?, GatewayOptions::default()).await?;
    let mut client = upgrade(gateway.address()).await?;
    ping(&mut client).await?;
    let otherwise = GatewayOptions::without_routes().route("/other", "other");
    gateway.reload(&otherwise.set("gateway/timeouts", json!({ "tunnel": "500ms" }))).await?;
    sleep(Duration::from_millis(1_500)).await;
    ping(&mut client).await?;
    assert_eq!(gateway.get("/goods").await?.status, 404);
    Ok(())
}

#[tokio::test]
async fn an_upgraded_connection_outlives_the_silence_that_ends_a_request() -> Result<()> {
    let options = GatewayOptions::default()
        .set("gateway/timeouts/idle", "200ms")
        .set("gateway/timeouts/body", "100ms")
        .set("gateway/timeouts/tunnel", "30s");
    let (gateway, _etcd) = gateway_to(start_echo().await?, options).await?;
    let mut client = upgrade(gateway.address()).await?;
    for _ in 0..2 {
        ping(&mut client).await?;
        // Five times the silence that would end a request.
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

#[tokio::test]
async fn an_upgraded_connection_outlives_the_time_of_a_request_as_a_whole() -> Result<()> {
    let options = GatewayOptions::default()
        .set("gateway/timeouts/connect", "100ms")
        .set("gateway/timeouts/total", "500ms");
    let (gateway, _etcd) = gateway_to(start_echo().await?, options).await?;
    let mut client = upgrade(gateway.address()).await?;
    for _ in 0..4 {
        ping(&mut client).await?;
        // Silent for longer than that, and busy after it.
        sleep(Duration::from_millis(700)).await;
    }
    ping(&mut client).await
}

#[tokio::test]
async fn the_time_of_a_request_as_a_whole_ends_the_wait_for_its_upgrade() -> Result<()> {
    let silent = serve(|stream| async move {
        let _open = stream;
        std::future::pending().await
    });
    let options = GatewayOptions::default()
        .set("gateway/timeouts/connect", "100ms")
        .set("gateway/timeouts/total", "500ms");
    let (gateway, _etcd) = gateway_to(silent.await?, options).await?;
    let mut client = TcpStream::connect(gateway.address()).await?;
    client.write_all(ASK.as_bytes()).await?;
    let head = timeout(PATIENCE, read_head(&mut client)).await??;
    assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
    Ok(())
}

#[tokio::test]
async fn an_upgraded_connection_ends_with_its_own_silence() -> Result<()> {
    let options = GatewayOptions::default().set("gateway/timeouts/tunnel", "500ms");
    let (gateway, _etcd) = gateway_to(start_echo().await?, options).await?;
    let mut client = upgrade(gateway.address()).await?;
    ping(&mut client).await?;
    let rest = timeout(PATIENCE, client.read(&mut [0; 1])).await.context("it was not ended")?;
    assert!(!matches!(rest, Ok(1..)), "{rest:?}");
    Ok(())
}

#[tokio::test]
async fn a_tunnel_is_given_the_time_that_requests_have_when_the_gateway_stops() -> Result<()> {
    let options = GatewayOptions::default().set("gateway/timeouts/drain", "1s");
    let (mut gateway, _etcd) = gateway_to(start_echo().await?, options).await?;
    let mut client = upgrade(gateway.address()).await?;
    gateway.process().signal(Signal::SIGTERM)?;
    gateway.process().wait_for_line(|line| line.contains("stopping"), PATIENCE).await?;
    ping(&mut client).await?;
    assert_eq!(gateway.wait_exit(PATIENCE).await?.code(), Some(0));
    let rest = timeout(PATIENCE, client.read(&mut [0; 1])).await.context("it was not ended")?;
    assert!(!matches!(rest, Ok(1..)), "{rest:?}");
    Ok(())
}

/// The instance agrees and says all it has to say at once, in one piece with its agreement or after it, and
/// closes, or waits for the client to.
#[tokio::test]
async fn what_follows_an_upgrade_at_once_arrives_whole_however_it_ends() -> Result<()> {
    const TUNNELS: usize = 200;
    for (size, is_one_piece, closes) in
        [(5, true, true), (5, false, true), (100_000, true, true), (100_000, false, true), (5, true, false)]
    {
        let said = Bytes::from_iter((0..size).map(|n| (n % 251) as u8));
        let expected = said.clone();
        let instance = serve(move |mut stream| {
            let said = said.clone();
            async move {
                if is_one_piece {
                    stream.write_all(&[AGREE.as_bytes(), &said].concat()).await?;
                } else {
                    stream.write_all(AGREE.as_bytes()).await?;
                    stream.write_all(&said).await?;
                }
                if !closes {
                    stream.read_to_end(&mut Vec::new()).await?;
                }
                Ok(())
            }
        });
        let (gateway, _etcd) = gateway_to(instance.await?, GatewayOptions::default()).await?;
        let mut tunnels = JoinSet::new();
        for number in 0..TUNNELS {
            let (address, expected) = (gateway.address(), expected.clone());
            tunnels.spawn(async move {
                let mut client = upgrade(address).await?;
                let mut heard = vec![0; expected.len()];
                timeout(PATIENCE, client.read_exact(&mut heard)).await??;
                ensure!(heard == expected, "it heard something else");
                if closes {
                    let more =
                        timeout(PATIENCE, client.read(&mut [0; 1])).await.context("it was not ended")?;
                    ensure!(matches!(more, Ok(0)), "it ended with {more:?}");
                }
                anyhow::Ok(())
            });
            if number % 8 == 7 {
                while let Some(tunnel) = tunnels.join_next().await {
                    tunnel?.with_context(|| {
                        format!("{size} bytes, one piece: {is_one_piece}, closes: {closes}")
                    })?;
                }
            }
        }
    }
    Ok(())
}

/// The client says something as soon as it reads the agreement, and the instance hears it.
#[tokio::test]
async fn what_a_client_says_at_once_reaches_the_instance() -> Result<()> {
    let (gateway, _etcd) = gateway_to(start_echo().await?, GatewayOptions::default()).await?;
    for _ in 0..50 {
        let mut tunnels = JoinSet::new();
        for _ in 0..8 {
            let address = gateway.address();
            tunnels.spawn(async move { ping(&mut upgrade(address).await?).await });
        }
        while let Some(tunnel) = tunnels.join_next().await {
            tunnel??;
        }
    }
    Ok(())
}

/// Answers each request with whether a protocol to upgrade to was asked for.
async fn start_teller() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let Ok(head) = read_head(&mut stream).await else { continue };
            let asked = if head.to_lowercase().contains("\r\nupgrade:") { "asked for" } else { "not asked" };
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{asked}");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    Ok(address)
}

#[tokio::test]
async fn what_a_route_does_not_permit_is_not_asked_of_the_instance() -> Result<()> {
    let routes = json!([
        { "path": "/goods", "service": "goods" },
        { "path": "/none", "service": "goods", "upgrades": [] },
    ]);
    let (gateway, _etcd) =
        gateway_to(start_teller().await?, GatewayOptions::default().set("gateway/routes", routes)).await?;
    let unnamed = ASK.replace("Connection: Upgrade\r\n", "");
    for (ask, expected) in [
        (ASK, "asked for"),
        (&ASK.replace("/goods", "/none"), "not asked"),
        (&ASK.replace("websocket", "h2c"), "not asked"),
        (&ASK.replace("websocket", "h2c, websocket"), "not asked"),
        (&unnamed, "not asked"),
    ] {
        let mut client = TcpStream::connect(gateway.address()).await?;
        client.write_all(ask.as_bytes()).await?;
        let head = timeout(PATIENCE, read_head(&mut client)).await??;
        let mut body = [0; 9];
        timeout(PATIENCE, client.read_exact(&mut body)).await??;
        ensure!(body == expected.as_bytes(), "{ask}{head}{}", String::from_utf8_lossy(&body));
    }
    Ok(())
}
