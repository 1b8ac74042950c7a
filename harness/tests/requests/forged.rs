//! What a client says of itself in a proxy's words does not reach an instance, however it spells it.

use anyhow::Result;
use bytes::Bytes;
use harness::{
    backend::{Backend, Recorded, Reply},
    http::{self, Request},
    stack::GatewayOptions,
};

use super::{Fixture, malformed::PATIENCE};

const FORGED: &str = "6.6.6.6";

/// What proxies tell those behind them, and what servers read of it.
const TOLD_BY_PROXIES: [&str; 24] = [
    "Forwarded",
    "X-Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Server",
    "X-Forwarded-Scheme",
    "X-Forwarded-Ssl",
    "X-Forwarded-User",
    "X-Forwarded-Client-Cert",
    "X-Real-IP",
    "X-Client-IP",
    "Client-IP",
    "True-Client-IP",
    "X-Cluster-Client-IP",
    "CF-Connecting-IP",
    "X-Original-URL",
    "X-Original-Forwarded-For",
    "X-Rewrite-URL",
    "X-Scheme",
    "Front-End-Https",
    "Proxy",
];

/// What the gateway sets or strips itself, so that nobody else's spelling of it may stand beside.
const OF_THE_GATEWAY: [&str; 6] =
    ["trace_id", "CDN-Loop", "Content-Length", "Transfer-Encoding", "Proxy-Authorization", "Keep-Alive"];

/// The name that CGI, and what took after it, knows a header by.
fn folded(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

/// The header in other spellings, each of which some server takes for it.
fn spellings(name: &str) -> Vec<String> {
    let with = |separator: &str| name.replace(['-', '_'], separator);
    let mut spellings: Vec<_> = ["-", "_", ".", "!", "~"].map(with).into();
    spellings.push(name.replacen('-', "_", 1));
    spellings.push(with("_").to_uppercase());
    spellings.retain(|spelling| !spelling.eq_ignore_ascii_case(name));
    spellings.sort();
    spellings.dedup();
    spellings
}

/// Sends a GET with this header.
async fn send(fixture: &Fixture, name: &str) -> Result<()> {
    let request = Request::get("/goods").header(name, FORGED).body(Bytes::new())?;
    assert_eq!(fixture.send(request).await?.status, 200, "{name}");
    Ok(())
}

/// Nothing that arrived is what the client forged.
fn assert_unforged(arrived: &Recorded, name: &str) {
    for (arrived, value) in &arrived.headers {
        assert_ne!(value, FORGED, "{name} arrived as {arrived}");
    }
}

#[tokio::test]
async fn what_proxies_tell_is_not_believed_from_a_client_in_any_spelling() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    for name in TOLD_BY_PROXIES {
        for spelling in spellings(name).into_iter().chain([name.to_owned()]) {
            send(&fixture, &spelling).await?;
            assert_unforged(&backend.last()?, &spelling);
        }
    }
    // The last one was the client's, and all of these are the gateway's.
    let arrived = backend.last()?;
    for (name, value) in [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "http")] {
        assert_eq!(arrived.header(name), Some(value));
    }
    Ok(())
}

#[tokio::test]
async fn what_the_gateway_sets_arrives_once_however_a_server_folds_its_name() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    for name in OF_THE_GATEWAY {
        for spelling in spellings(name) {
            send(&fixture, &spelling).await?;
            let arrived = backend.last()?;
            assert_unforged(&arrived, &spelling);
            let mut folded: Vec<_> = arrived.headers.iter().map(|(name, _)| folded(name.as_str())).collect();
            let all = folded.len();
            folded.sort();
            folded.dedup();
            assert_eq!(folded.len(), all, "{spelling} leads to two of one name");
        }
    }
    Ok(())
}

#[tokio::test]
async fn another_trace_header_is_as_safe() -> Result<()> {
    let options = GatewayOptions::default().set("gateway/trace_header", "X-Request-Id");
    let fixture = Fixture::start(options).await?;
    let backend = Backend::start("a", Reply::ok("")).await?;
    fixture.register("goods", &[&backend]).await?;
    for spelling in ["X-Request-Id", "X_Request_Id", "x.request-id"] {
        send(&fixture, spelling).await?;
        assert_unforged(&backend.last()?, spelling);
    }
    send(&fixture, "trace-id").await?;
    assert_eq!(backend.last()?.header("trace-id"), Some(FORGED), "it means nothing here");
    Ok(())
}

#[tokio::test]
async fn a_header_that_only_resembles_one_of_them_arrives() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    for name in
        ["x-forward", "x-real-ips", "forwardeds", "xforwardedfor", "trace_ids", "client_id", "x-request-id"]
    {
        send(&fixture, name).await?;
        assert_eq!(backend.last()?.header(name), Some(FORGED), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn who_names_a_header_of_the_gateway_hop_by_hop_does_not_take_it_away() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    let mut refused = Vec::new();
    for name in
        ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "trace_id", "traceparent", "cdn-loop"]
    {
        let request = Request::get("/goods").header("connection", name).header("host", "shop.example");
        let before = backend.count();
        let answer = fixture.send(request.body(Bytes::new())?).await?;
        if answer.status == 400 {
            assert_eq!(backend.count(), before);
            refused.push(name);
            continue;
        }
        assert_eq!(answer.status, 200, "{name}");
        assert_eq!(backend.last()?.headers.get_all(name).iter().count(), 1, "{name}");
    }
    assert_eq!(refused, ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]);
    Ok(())
}

#[tokio::test]
async fn a_trailer_tells_an_instance_nothing() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    let request = "POST /goods HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTrailer: X-Forwarded-For\r\n\
                   Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\n\
                   X_Real_IP: 6.6.6.6\r\n\r\n";
    let answer = http::raw(fixture.gateway.address(), request.as_bytes(), PATIENCE).await?;
    assert_eq!(answer.status(), Some(200));
    let arrived = backend.last()?;
    assert_eq!(arrived.body, "hello");
    assert_unforged(&arrived, "a trailer");
    assert_eq!(arrived.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(arrived.header("trailer"), None);
    Ok(())
}
