//! What somebody wrote in a record or a request can neither begin a line of the log nor act on who reads it.

use std::time::Duration;

use anyhow::{Context, Result};
use harness::{
    backend::{Backend, Reply},
    etcd::key,
    stack::GatewayOptions,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::Fixture;

const PATIENCE: Duration = Duration::from_secs(30);
/// A line of its own, a red one, text from right to left, and what a terminal of eight bits takes for an escape.
const NASTY: &str =
    "a\n2026-01-01T00:00:00Z ERROR FORGED\r\u{1b}[31m\u{202e}\u{2066}\u{200f}\u{61c}\u{2028}\u{9b}\u{7f}";
/// A name that may be registered.
const BIDI: &str = "a\u{202e}\u{2066}b";

fn acts(c: char) -> bool {
    c.is_control() || NASTY.contains(c) && !c.is_ascii()
}

async fn nothing_acts(log: &str) -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default().set("gateway/log", log)).await?;
    let backend = Backend::start("a", Reply::ok("")).await?;
    // Those with control characters are skipped, for their names or their values; the last one is taken.
    fixture.etcd.put(&key("goods", NASTY), "10.0.0.1:80").await?;
    fixture.etcd.put(&key("goods", "value"), format!("{{\"address\":\"{NASTY}\"}}")).await?;
    fixture.etcd.put(&key("goods", "name"), NASTY).await?;
    fixture.etcd.put(&key(NASTY, "other"), "10.0.0.1:80").await?;
    fixture.etcd.put(&key("goods", &format!("{NASTY}/b")), "10.0.0.1:80").await?;
    fixture.etcd.put(&key("goods", BIDI), backend.address().to_string()).await?;
    fixture.gateway.wait_instances("goods", &[BIDI]).await?;
    assert_eq!(fixture.gateway.get("/goods").await?.status, 200);
    // What HTTP permits in a path, and some that it does not.
    for path in
        ["/goods/\u{202e}\u{2066}", "/goods/\u{9b}", "/goods\u{1b}[31m", "/goods\rFORGED", "/%0aFORGED"]
    {
        let mut stream = TcpStream::connect(fixture.gateway.address()).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\u{202e}\r\nX-Forwarded-For: \u{202e}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.shutdown().await?;
        // Whatever the answer is, and if it is none: it comes after the line.
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await?;
    }
    fixture.etcd.delete(&key("goods", BIDI)).await?;
    let process = fixture.gateway.process();
    process.wait_for_line(|line| line.contains("endpoint suspect"), PATIENCE).await?;
    process.wait_for_line(|line| line.contains("FORGED"), PATIENCE).await?;
    process.wait_for_line(|line| line.contains("202e"), PATIENCE).await?;
    for line in process.lines() {
        assert!(!line.starts_with("2026-01-01T00:00:00Z"), "forged: {line:?}");
        assert!(!line.contains(acts), "it acts: {line:?}");
        if log == "json" {
            serde_json::from_str::<serde_json::Value>(&line)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn nobody_can_forge_a_line_of_a_log_for_people() -> Result<()> {
    nothing_acts("text").await
}

#[tokio::test]
async fn nobody_can_forge_a_line_of_a_log_in_json() -> Result<()> {
    nothing_acts("json").await
}

/// A path of 30 KB, of characters that are escaped in part, and what Pingora and the registry say of as much.
async fn nothing_is_long(log: &str) -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default().set("gateway/log", log)).await?;
    let backend = Backend::start("a", Reply::ok("")).await?;
    let long = "/\u{e9}x\u{202e}".repeat(4_000);
    fixture.etcd.put(&key("goods", &long), "10.0.0.1:80").await?;
    fixture.etcd.put(&key("goods", "value"), format!("{{\"address\":\"{long}\"}}")).await?;
    fixture.register("goods", &[&backend]).await?;
    let process = fixture.gateway.process();
    // The last one's line comes last.
    for begin in ["GET /goods", "G\u{e9}T /goods", "GET /goods/../..", "GET /nowhere"] {
        let mut stream = TcpStream::connect(fixture.gateway.address()).await?;
        stream.write_all(format!("{begin}{long} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await?;
        stream.shutdown().await?;
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await?;
    }
    let status = if log == "json" { "\"status\":404" } else { "\" 404 " };
    let line = process.wait_for_line(|line| line.contains(status), PATIENCE).await?;
    assert!(line.contains("trace_id") && line.contains("127.0.0.1") && line.contains('\u{2026}'), "{line}");
    assert!(line.contains("/nowhere/\u{e9}x\\u"), "{line}");
    let number =
        |line: &str| line.rsplit_once("cut\":").or(line.rsplit_once("cut=")).map(|(_, n)| n.to_owned());
    let missing = number(&line).with_context(|| format!("not told: {line}"))?;
    let missing: usize = missing.trim_end_matches('}').parse()?;
    assert!(missing > 30_000, "{line}");
    let lines = process.lines();
    assert!(lines.iter().filter(|line| number(line).is_some()).count() >= 3, "{lines:?}");
    for line in lines {
        assert!(line.len() <= 2_600, "{} bytes: {line}", line.len());
        if log == "json" {
            serde_json::from_str::<serde_json::Value>(&line)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn nobody_can_make_a_line_of_a_log_for_people_long() -> Result<()> {
    nothing_is_long("text").await
}

#[tokio::test]
async fn nobody_can_make_a_line_of_a_log_in_json_long() -> Result<()> {
    nothing_is_long("json").await
}
