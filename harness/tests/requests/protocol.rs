//! Corners of HTTP/1 that clients and backends do use.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::backend::{Backend, Reply};
use harness::etcd::key;
use harness::http::raw;
use harness::stack::GatewayOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Fixture;

const PATIENCE: Duration = Duration::from_secs(30);

/// Takes one request, answers with these bytes and closes. Tells the request's head.
async fn start_one_shot(answer: &'static str) -> Result<(SocketAddr, oneshot::Receiver<String>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            ensure!(stream.read_buf(&mut head).await? > 0, "the stream ended in its head");
        }
        stream.write_all(answer.as_bytes()).await?;
        let _ = tell.send(String::from_utf8(head)?);
        Ok(())
    });
    Ok((address, told))
}

async fn fixture_of(backend: SocketAddr) -> Result<Fixture> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    fixture.etcd.put(&key("goods", "one"), backend.to_string()).await?;
    fixture.gateway.wait_instances("goods", &["one"]).await?;
    Ok(fixture)
}

#[tokio::test]
async fn a_request_that_is_sent_early_waits_its_turn() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    let slow = Reply::After(Duration::from_millis(500), Box::new(Reply::ok("late")));
    let backend = Backend::start("a", slow).await?;
    fixture.register("goods", &[&backend]).await?;

    let mut client = TcpStream::connect(fixture.gateway.address()).await?;
    client.write_all(b"GET /goods/1 HTTP/1.1\r\nHost: a\r\n\r\n").await?;
    backend.wait_count(1, PATIENCE).await?;
    client.write_all(b"GET /goods/2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await?;
    let mut answers = String::new();
    timeout(PATIENCE, client.read_to_string(&mut answers)).await??;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
    assert_eq!(answers.matches("late").count(), 2, "{answers}");
    Ok(())
}

#[tokio::test]
async fn an_http_1_0_client_is_understood_and_gets_no_chunks() -> Result<()> {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let (backend, told) = start_one_shot(chunked).await?;
    let fixture = fixture_of(backend).await?;
    let answer = raw(fixture.gateway.address(), b"GET /goods HTTP/1.0\r\n\r\n", PATIENCE).await?.text();
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert!(!answer.to_lowercase().contains("transfer-encoding"), "{answer}");
    let head = told.await?.to_lowercase();
    assert!(head.contains(&format!("host: {backend}")), "{head}");
    Ok(())
}

#[tokio::test]
async fn after_a_100_the_client_still_gets_its_answer() -> Result<()> {
    let (backend, _told) = start_one_shot("HTTP/1.1 100 Continue\r\n\r\n").await?;
    let fixture = fixture_of(backend).await?;
    let post = b"POST /goods HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let answer = raw(fixture.gateway.address(), post, PATIENCE).await?.text();
    assert!(answer.contains("HTTP/1.1 502"), "{answer}");
    Ok(())
}
