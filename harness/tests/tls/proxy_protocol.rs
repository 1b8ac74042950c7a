//! The PROXY protocol: whose word a balancer passes on, and who may not.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use harness::{
    http::Connection,
    link::Link,
    stack::Gateway,
    wire::{Message, Wire},
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use super::{Place, get, tls, wait_metric_that};

const FAILURES: &str = "leaseway_proxy_protocol_failures_total";
/// A balancer.
const FRONT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
/// And somebody who is none.
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2: its command, its family, and what follows.
pub(super) fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap_or(u16::MAX);
    with_length(command, family, length, rest)
}

/// The same that says another length.
fn with_length(command: u8, family: u8, length: u16, rest: &[u8]) -> Vec<u8> {
    [&SIGNATURE[..], &[command, family], &length.to_be_bytes(), rest].concat()
}

/// 192.0.2.7:4711 to 198.51.100.1:443.
pub(super) const IPV4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xbb];
/// A TLV of a kind that nobody knows (0xea), with three bytes, and one that is a checksum of no use here (NOOP, 0x04).
const TLVS: [u8; 11] = [0xea, 0, 3, b'a', b'b', b'c', 0x04, 0, 2, 0, 0];

const PROXY: u8 = 0x21;
const LOCAL: u8 = 0x20;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

pub(super) const VERSION_1: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";

fn ipv6() -> Vec<u8> {
    let from = "2001:db8::7".parse::<std::net::Ipv6Addr>().map(|ip| ip.octets()).unwrap_or_default();
    [&from[..], &[0; 16], &[0x12, 0x67, 0x01, 0xbb]].concat()
}

async fn connect(from: Ipv4Addr, to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    Ok(socket.connect(to).await?)
}

impl Place {
    /// A gateway whose door takes the headers of the balancer's.
    async fn behind_a_balancer(&self, is_tls: bool) -> Result<Gateway> {
        let mut listener = if is_tls { tls(&[&self.shop()?]) } else { json!({}) };
        listener["proxy_protocol"] = json!({ "from": [FRONT] });
        self.gateway(listener).await
    }

    /// What is answered to a request behind this header.
    async fn announced(&self, from: Ipv4Addr, header: &[u8], is_tls: bool) -> Result<harness::http::Answer> {
        let mut stream = connect(from, self.door).await?;
        stream.write_all(header).await?;
        let link = if is_tls { self.client()?.over(stream).await? } else { Link::from(stream) };
        get(&mut Connection::over(link, self.door).await?).await
    }
}

#[tokio::test]
async fn the_client_is_the_one_that_the_balancer_names_with_and_without_tls() -> Result<()> {
    for is_tls in [false, true] {
        let place = Place::new().await?;
        let _gateway = place.behind_a_balancer(is_tls).await?;
        for (header, client) in [
            (VERSION_1.into(), "192.0.2.7"),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n".to_vec(), "2001:db8::7"),
            (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.9"),
            (b"PROXY UNKNOWN ffff:f...f:ffff 65535\r\n".to_vec(), "127.0.0.9"),
            (version_2(PROXY, TCP4, &IPV4), "192.0.2.7"),
            (version_2(PROXY, TCP4, &[&IPV4[..], &TLVS].concat()), "192.0.2.7"),
            (version_2(PROXY, TCP6, &ipv6()), "2001:db8::7"),
            // Checks of the balancer's own.
            (version_2(LOCAL, 0, &[]), "127.0.0.9"),
            (version_2(LOCAL, TCP4, &IPV4), "127.0.0.9"),
        ] {
            let shown = header.escape_ascii();
            let answer = place.announced(FRONT, &header, is_tls).await.with_context(|| format!("{shown}"))?;
            assert_eq!(answer.status, 200, "{shown}");
            let arrived = place.backend.last()?;
            assert_eq!(arrived.header("x-forwarded-for"), Some(client), "{shown}");
            assert_eq!(arrived.header("x-forwarded-proto"), Some(if is_tls { "https" } else { "http" }));
        }
    }
    Ok(())
}

#[tokio::test]
async fn each_request_of_a_connection_is_the_same_clients() -> Result<()> {
    let place = Place::new().await?;
    let gateway = place.behind_a_balancer(false).await?;
    let mut wire = Wire::over(connect(FRONT, place.door).await?)?;
    // Both in one packet: what follows the header is the first request.
    wire.send([VERSION_1.as_bytes(), b"GET /goods HTTP/1.1\r\nHost: a\r\n\r\n"].concat()).await?;
    assert_eq!(wire.answer("GET").await?.head.status(), 200);
    for _ in 0..3 {
        assert_eq!(wire.get("/goods", "").await?.head.status(), 200);
        assert_eq!(place.backend.last()?.header("x-forwarded-for"), Some("192.0.2.7"));
    }
    let names_it = |line: &str| line.contains("192.0.2.7") && line.contains("/goods");
    gateway.process().wait_for_line(names_it, super::PATIENCE).await?;
    // A second header is no request.
    wire.send(VERSION_1).await?;
    let answer: Message = wire.answer("GET").await?;
    assert_eq!(answer.head.status(), 400);
    Ok(())
}

#[tokio::test]
async fn a_route_goes_by_the_client_that_the_balancer_names() -> Result<()> {
    let place = Place::new().await?;
    let routes = json!([
        { "match": { "path": "/goods", "client": ["192.0.2.0/24"] }, "service": "goods" },
        { "path": "/goods", "answer": { "status": 403 } },
    ]);
    let options =
        place.options(json!({ "proxy_protocol": { "from": [FRONT] } })).set("gateway/routes", routes);
    let _gateway = Gateway::start_with_registry(options).await?;
    assert_eq!(place.announced(FRONT, VERSION_1.as_bytes(), false).await?.status, 200);
    let other = b"PROXY TCP4 198.51.100.7 198.51.100.1 4711 443\r\n";
    assert_eq!(place.announced(FRONT, other, false).await?.status, 403);
    Ok(())
}

/// Whoever is not in the networks cannot say who he is; whoever is must.
#[tokio::test]
async fn others_may_not_send_a_header_and_the_balancer_must() -> Result<()> {
    for is_tls in [false, true] {
        let place = Place::new().await?;
        let gateway = place.behind_a_balancer(is_tls).await?;
        for header in [VERSION_1.as_bytes().to_vec(), version_2(PROXY, TCP4, &IPV4)] {
            let answer = place.announced(STRANGER, &header, is_tls).await;
            ensure!(!answer.as_ref().is_ok_and(|answer| answer.status == 200), "{answer:?}");
        }
        assert_eq!(place.backend.count(), 0);
        assert_eq!(place.announced(STRANGER, b"", is_tls).await?.status, 200, "without one he is served");
        assert_eq!(place.backend.last()?.header("x-forwarded-for"), Some("127.0.0.5"));

        let before = gateway.metric(FAILURES, &[]).await?;
        let answer = place.announced(FRONT, b"", is_tls).await;
        ensure!(!answer.as_ref().is_ok_and(|answer| answer.status == 200), "{answer:?}");
        wait_metric_that(&gateway, FAILURES, &[], |value| value > before).await?;
        assert_eq!(place.backend.count(), 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_header_that_is_not_valid_is_refused_and_counted() -> Result<()> {
    let place = Place::new().await?;
    let gateway = place.behind_a_balancer(false).await?;
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
    let headers: Vec<Vec<u8>> = vec![
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443 \r\n".to_vec(),
        b"PROXY TCP4 192.0.2.07 198.51.100.1 4711 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n".to_vec(),
        b"PROXY TCP4 2001:db8::7 2001:db8::1 4711 443\r\n".to_vec(),
        b"PROXY TCP5 192.0.2.7 198.51.100.1 4711 443\r\n".to_vec(),
        b"proxy TCP4 192.0.2.7 198.51.100.1 4711 443\r\n".to_vec(),
        long.into_bytes(),
        // Of version 2, the length lies: less than the addresses take, nothing, all that there can be.
        with_length(PROXY, TCP4, 11, &IPV4),
        with_length(PROXY, TCP4, 0, &IPV4),
        with_length(PROXY, TCP6, 12, &IPV4),
        version_2(PROXY, TCP4, &vec![0; 65_535]),
        version_2(0x31, TCP4, &IPV4),
        version_2(0x22, TCP4, &IPV4),
        version_2(PROXY, 0x41, &IPV4),
        // A datagram's.
        version_2(PROXY, 0x12, &IPV4),
    ];
    for (count, header) in headers.into_iter().enumerate() {
        let shown = header[..header.len().min(60)].escape_ascii().to_string();
        let mut wire = Wire::over(connect(FRONT, place.door).await?)?;
        // The gateway may close before it has all of it.
        let _ = wire.send([&header[..], b"GET /goods HTTP/1.1\r\nHost: a\r\n\r\n"].concat()).await;
        let (bytes, _) = wire.rest().await.with_context(|| format!("after {shown}"))?;
        assert!(!bytes.starts_with(b"HTTP/1.1 200"), "{shown}: {}", bytes.escape_ascii());
        wait_metric_that(&gateway, FAILURES, &[], |value| value >= count as f64 + 1.0)
            .await
            .with_context(|| format!("after {shown}"))?;
    }
    assert_eq!(place.backend.count(), 0);
    assert_eq!(place.announced(FRONT, VERSION_1.as_bytes(), false).await?.status, 200);
    Ok(())
}

/// It may come in as many pieces as it likes.
#[tokio::test]
async fn a_header_that_comes_byte_by_byte_is_read() -> Result<()> {
    let place = Place::new().await?;
    let _gateway = place.behind_a_balancer(false).await?;
    for header in [VERSION_1.as_bytes().to_vec(), version_2(PROXY, TCP4, &[&IPV4[..], &TLVS].concat())] {
        let mut wire = Wire::over(connect(FRONT, place.door).await?)?;
        for byte in header {
            wire.send([byte]).await?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(wire.get("/goods", "").await?.head.status(), 200);
        assert_eq!(place.backend.last()?.header("x-forwarded-for"), Some("192.0.2.7"));
    }
    Ok(())
}

/// It is waited for, and what follows is not taken for a request.
#[tokio::test]
async fn a_header_that_says_it_is_longer_swallows_what_follows() -> Result<()> {
    let place = Place::new().await?;
    let gateway = place.behind_a_balancer(false).await?;
    let mut wire = Wire::over(connect(FRONT, place.door).await?)?;
    wire.send(with_length(PROXY, TCP4, 12 + 1_000, &IPV4)).await?;
    wire.send("GET /goods HTTP/1.1\r\nHost: a\r\n\r\n").await?;
    wire.finish().await?;
    let (bytes, _) = wire.rest().await?;
    assert!(bytes.is_empty(), "{}", bytes.escape_ascii());
    wait_metric_that(&gateway, FAILURES, &["reason=\"cut\""], |value| value == 1.0).await?;
    assert_eq!(place.backend.count(), 0);
    Ok(())
}

/// And not of the balancer, whose connections are those of many.
#[tokio::test]
async fn the_limits_are_those_of_the_client_that_is_named() -> Result<()> {
    let place = Place::new().await?;
    let options = place
        .options(json!({ "proxy_protocol": { "from": [FRONT] } }))
        .set("gateway/connections/per_address", 1);
    let gateway = Gateway::start_with_registry(options).await?;
    let header = |client: &str| match client.contains(':') {
        true => format!("PROXY TCP6 {client} 2001:db8:ffff::1 4711 443\r\n"),
        false => format!("PROXY TCP4 {client} 198.51.100.1 4711 443\r\n"),
    };
    let mut kept = Vec::new();
    // Of IPv6 a client has 64 bits to choose from.
    for client in ["192.0.2.7", "192.0.2.8", "2001:db8::7", "2001:db8:0:1::7"] {
        let mut wire = Wire::over(connect(FRONT, place.door).await?)?;
        wire.send(header(client)).await?;
        assert_eq!(wire.get("/goods", "").await?.head.status(), 200, "{client}");
        kept.push(wire);
    }
    for (count, client) in ["192.0.2.7", "2001:db8::8", "2001:db8:0:1:ffff::7"].into_iter().enumerate() {
        let mut wire = Wire::over(connect(FRONT, place.door).await?)?;
        wire.send(header(client)).await?;
        let (bytes, _) = wire.rest().await?;
        assert!(bytes.starts_with(b"HTTP/1.1 503 "), "{client}: {}", bytes.escape_ascii());
        let refused = gateway.metric(super::REFUSED, &["reason=\"per_address\""]).await?;
        assert_eq!(refused, count as f64 + 1.0, "{client}");
    }
    Ok(())
}

/// Trust in a proxy is another thing.
#[tokio::test]
async fn what_a_client_behind_a_balancer_writes_itself_is_not_believed() -> Result<()> {
    let place = Place::new().await?;
    let options: Value = json!({ "proxy_protocol": { "from": [FRONT] } });
    let _gateway = place.gateway(options).await?;
    let mut stream = connect(FRONT, place.door).await?;
    stream.write_all(VERSION_1.as_bytes()).await?;
    let mut connection = Connection::over(stream, place.door).await?;
    let lies = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "https")];
    assert_eq!(super::get_with(&mut connection, &lies).await?.status, 200);
    let arrived = place.backend.last()?;
    assert_eq!(arrived.header("x-forwarded-for"), Some("192.0.2.7"));
    assert_eq!(arrived.header("x-forwarded-proto"), Some("http"));
    Ok(())
}
