//! What one client over HTTP/1 may take, and that no place is lost by it.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use embedded_registry::Settings;
use harness::wait::eventually;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::post;
use crate::subject::{Embedded, PATIENCE};

const WATCH: &str = "POST /v3/watch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
    Content-Length: 35\r\n\r\n{\"create_request\": {\"key\":\"a2V5\"}}\n";

/// What is answered to these bytes until the connection is closed.
pub async fn raw(address: SocketAddr, bytes: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(bytes.as_bytes()).await?;
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.context("it is not closed")??;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A watch that was answered.
async fn watch(address: SocketAddr) -> Result<BufReader<TcpStream>> {
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    stream.write_all(WATCH.as_bytes()).await?;
    let created = hear(&mut stream, "result").await?;
    ensure!(created.contains(r#""created":true"#), "{created}");
    Ok(stream)
}

/// The next line that has this.
async fn hear(stream: &mut BufReader<TcpStream>, what: &str) -> Result<String> {
    let mut line = String::new();
    let listening = async {
        while !line.contains(what) {
            line.clear();
            ensure!(stream.read_line(&mut line).await? > 0, "the connection ended");
        }
        Ok(())
    };
    timeout(PATIENCE, listening).await.with_context(|| format!("never heard {what}"))??;
    Ok(line)
}

#[tokio::test]
async fn a_body_is_as_large_as_the_largest_write_needs() -> Result<()> {
    let registry = Embedded::start(Settings::default())?;
    // 1.5 MiB are 2 MiB in base64.
    let body = |letters: usize| format!(r#"{{"key":"a2V5","value":"{}"}}"#, "AAAA".repeat(letters / 4));
    let written = post(registry.address, "/v3/kv/put", body(2_097_152 - 400)).await?;
    assert_eq!(written.status, 200, "{}", written.text());
    let refused = post(registry.address, "/v3/kv/put", body(2_097_152)).await?;
    assert_eq!(
        (refused.status, refused.json()?["error"].as_str()),
        (400, Some("etcdserver: request is too large"))
    );
    // Beyond 2 MiB of message, as on the gRPC side.
    let refused = post(registry.address, "/v3/kv/put", body(3_000_000)).await?;
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert!(refused.text().contains("grpc: received message larger than max"), "{}", refused.text());

    // Who asks before he sends is told at once, and who does not say how much is stopped.
    let head = "POST /v3/kv/put HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let asked = format!("{head}Content-Length: 3145729\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n");
    let answer = raw(registry.address, &asked).await?;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains(r#"{"error":"the body is larger than 3145728 bytes","code":8"#), "{answer}");
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n300001\r\n{}", " ".repeat(0x30_0001));
    let answer = raw(registry.address, &chunked).await?;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    Ok(())
}

#[tokio::test]
async fn a_watch_whose_client_is_gone_gives_its_place_back() -> Result<()> {
    let registry = Embedded::start(Settings { max_watch_streams: 2, ..Settings::default() })?;
    let (first, second) = (watch(registry.address).await?, watch(registry.address).await?);
    let third = WATCH.replace("\r\nContent-L", "\r\nConnection: close\r\nContent-L");
    let refused = raw(registry.address, &third).await?;
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    let last = r#"{"error":{"grpc_code":8,"http_code":429,"message":"etcdserver: too many requests","http_status":"Too Many Requests"}}"#;
    assert!(refused.trim_end().ends_with(last), "{refused}");
    drop(first);
    let again =
        eventually("a place comes back", PATIENCE, async || Ok(watch(registry.address).await.is_ok()));
    assert!(again.await?);
    drop(second);
    Ok(())
}

#[tokio::test]
async fn a_watch_hears_what_comes_and_is_told_that_the_server_stops() -> Result<()> {
    let registry = Embedded::start(Settings::default())?;
    let address = registry.address;
    let mut watching = watch(address).await?;
    registry.client().await?.put("key", "value", None).await?;
    let event = hear(&mut watching, "events").await?;
    assert!(event.contains(r#""key":"a2V5""#) && event.contains(r#""value":"dmFsdWU=""#), "{event}");
    registry.stop().await?;
    let last = hear(&mut watching, "error").await?;
    assert_eq!(
        last.trim(),
        r#"{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: server stopped","http_status":"Service Unavailable"}}"#
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_is_not_waited_for_for_ever() -> Result<()> {
    let registry = Embedded::start(Settings { max_connections: 1, ..Settings::default() })?;
    // With the clock paused, time passes as soon as everybody waits: an hour is no more than that.
    for silent in [
        "",
        "P",
        "PRI * HTTP/2.0\r\n",
        "POST /v3/kv/put HTTP/1.1\r\nHost: localhost\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /v3/kv/put HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
    ] {
        let answer = raw_for_an_hour(registry.address, silent).await;
        assert!(answer.is_ok(), "{silent:?}: {answer:?}");
    }
    Ok(())
}

async fn raw_for_an_hour(address: SocketAddr, bytes: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(bytes.as_bytes()).await?;
    let mut answer = Vec::new();
    // It may be broken off as well as closed.
    let _ = timeout(PATIENCE * 120, stream.read_to_end(&mut answer)).await.context("it is not closed")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_kept_between_requests_for_two_minutes() -> Result<()> {
    let registry = Embedded::start(Settings::default())?;
    let mut stream = TcpStream::connect(registry.address).await?;
    let mut answer = [0; 1024];
    for _ in 0..3 {
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
        ensure!(stream.read(&mut answer).await? > 0, "it is closed");
        tokio::time::sleep(std::time::Duration::from_secs(100)).await;
    }
    tokio::time::sleep(std::time::Duration::from_secs(30)).await;
    assert_eq!(stream.read(&mut answer).await?, 0, "it is kept");
    Ok(())
}
