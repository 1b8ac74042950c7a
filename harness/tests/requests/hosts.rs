//! For whom a request is, and what it asks for: `Host` and the target.

use anyhow::Result;
use harness::{
    stack::GatewayOptions,
    wire::{Instance, Wire},
};

use super::{Fixture, answered, refused};

/// Every path leads to the instance.
async fn fixture() -> Result<(Fixture, Instance)> {
    let instance = Instance::recording(answered).await?;
    let options = GatewayOptions::without_routes().route("/", "goods");
    Ok((Fixture::over(&instance, options).await?, instance))
}

#[tokio::test]
async fn a_host_that_is_none_is_refused() -> Result<()> {
    let (fixture, instance) = fixture().await?;
    for host in [
        &b""[..],
        b"a b",
        b"a\tb",
        b"a/b",
        b"a:x",
        b"a:80:80",
        b"a, b",
        b"[::1",
        b"::1",
        b"[::1]x",
        b"[1]",
        b"a@b",
        b"a?b",
        b"a#b",
        b"a\\b",
        b"%zz",
        b"\xc3\xa9",
        b"\x80",
    ] {
        let request = [b"GET / HTTP/1.1\r\nHost: ", host, b"\r\n\r\n"].concat();
        refused(&fixture, &request, 400).await?;
    }
    refused(&fixture, b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400).await?;
    assert_eq!(instance.requests().len(), 0);
    Ok(())
}

#[tokio::test]
async fn a_host_reaches_the_instance_as_it_was_written() -> Result<()> {
    let (fixture, instance) = fixture().await?;
    let mut wire = Wire::connect(fixture.gateway.address()).await?;
    for host in [
        "a",
        "A.Example",
        "a.example.",
        "a:80",
        "a:",
        "1.2.3.4:8080",
        "[::1]",
        "[2001:db8::1]:443",
        "a_b",
        "a%41",
    ] {
        wire.send(format!("GET / HTTP/1.1\r\nHost:  {host}\t\r\n\r\n")).await?;
        assert_eq!(wire.answer("GET").await?.head.status(), 200, "{host}");
        assert_eq!(instance.last()?.head.get("host"), Some(host));
    }
    Ok(())
}

#[tokio::test]
async fn a_target_with_a_space_or_a_control_byte_is_refused() -> Result<()> {
    let (fixture, instance) = fixture().await?;
    for target in ["/a b", "/a\tb", "/a\u{1}", "/\0", "/a\u{7f}", "/a\u{1b}[31m", "/a\rb", " /", "/ "] {
        refused(&fixture, format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), 400).await?;
    }
    assert_eq!(instance.requests().len(), 0);
    Ok(())
}

#[tokio::test]
async fn a_url_goes_on_as_a_path_and_a_host() -> Result<()> {
    let (fixture, instance) = fixture().await?;
    let mut wire = Wire::connect(fixture.gateway.address()).await?;
    for (url, host, target) in [
        ("http://a/x", "a", "/x"),
        ("http://A/x", "a", "/x"),
        ("http://a/x", "A", "/x"),
        ("HTTP://a/x", "a", "/x"),
        ("http://a:80/x", "a", "/x"),
        ("http://a/x", "a:80", "/x"),
        ("http://a", "a", "/"),
        ("http://a?x=y", "a", "/?x=y"),
        ("http://a/x?y=http://b/", "a", "/x?y=http://b/"),
        ("http://[::1]:8080/x", "[::1]:8080", "/x"),
    ] {
        wire.send(format!("GET {url} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await?;
        assert_eq!(wire.answer("GET").await?.head.status(), 200, "{url} of {host}");
        let arrived = instance.last()?.head;
        let named = arrived.get("host").unwrap_or_default();
        let is_it = [host, host.trim_end_matches(":80")].iter().any(|host| named.eq_ignore_ascii_case(host));
        assert!(is_it || named == "a:80", "{url} of {host}: {named}");
        assert_eq!(arrived.target(), target, "{url} of {host}");
    }
    Ok(())
}

#[tokio::test]
async fn a_url_of_another_host_or_of_none_is_refused() -> Result<()> {
    let (fixture, instance) = fixture().await?;
    for url in [
        "http://b/",
        "http://a:81/",
        "http:///x",
        "http://",
        "http://a:b/",
        "http://[::1/",
        "https://a:80/",
        "ftp://a/",
    ] {
        refused(&fixture, format!("GET {url} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), 400).await?;
    }
    assert_eq!(instance.requests().len(), 0);
    Ok(())
}

#[tokio::test]
async fn what_is_asked_of_the_server_itself_is_answered_by_the_gateway() -> Result<()> {
    let (fixture, instance) = fixture().await?;
    let mut wire = Wire::connect(fixture.gateway.address()).await?;
    for target in ["*", "http://a"] {
        wire.send(format!("OPTIONS {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await?;
        let answer = wire.answer("OPTIONS").await?;
        assert!((200..300).contains(&answer.head.status()), "{answer:?}");
    }
    assert_eq!(instance.requests().len(), 0);
    assert_eq!(wire.get("/", "").await?.head.status(), 200, "the connection goes on");
    wire.send("OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n").await?;
    assert_eq!(wire.answer("OPTIONS").await?.head.status(), 200);
    assert_eq!(instance.last()?.head.method(), "OPTIONS", "a path's options are its instance's to tell");
    refused(&fixture, b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400).await
}
