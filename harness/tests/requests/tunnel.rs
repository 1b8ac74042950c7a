//! Connections that were upgraded, such as WebSockets.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::etcd::{Etcd, key};
use harness::stack::{Gateway, GatewayOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// Takes one connection, agrees to the upgrade, and sends back what comes.
async fn start_echo() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        read_head(&mut stream).await?;
        let agree = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(agree.as_bytes()).await?;
        let (mut from, mut to) = stream.split();
        tokio::io::copy(&mut from, &mut to).await?;
        anyhow::Ok(())
    });
    Ok(address)
}

async fn read_head(stream: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(stream.read_buf(&mut head).await? > 0, "the stream ended in its head");
    }
    Ok(String::from_utf8(head)?)
}

#[tokio::test]
async fn an_upgraded_connection_outlives_the_silence_that_ends_a_request() -> Result<()> {
    let etcd = Etcd::start().await?;
    etcd.put(&key("goods", "echo"), start_echo().await?.to_string()).await?;
    let options = GatewayOptions::default()
        .set("gateway/timeouts/idle", "200ms")
        .set("gateway/timeouts/body", "100ms")
        .set("gateway/timeouts/tunnel", "30s");
    let gateway = Gateway::start(&etcd.endpoint(), options).await?;
    gateway.wait_instances("goods", &["echo"]).await?;

    let mut client = TcpStream::connect(gateway.address()).await?;
    let ask = "GET /goods HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    client.write_all(ask.as_bytes()).await?;
    let head = timeout(PATIENCE, read_head(&mut client)).await??;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    for _ in 0..2 {
        client.write_all(b"ping").await?;
        let mut echo = [0; 4];
        timeout(PATIENCE, client.read_exact(&mut echo)).await??;
        assert_eq!(&echo, b"ping");
        // Five times the silence that would end a request.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
