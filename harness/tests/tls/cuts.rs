//! Clients that stop within a handshake or a header of the PROXY protocol, after every byte of it: they are closed, and cost
//! nobody anything.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use harness::{
    certificates::{Authority, Wanted},
    link::TlsClient,
    stack::Gateway,
    wait::eventually,
    wire::Wire,
};
use openssl::ssl::SslVersion;
use serde_json::json;
use tokio::{
    io::{self, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

use super::{
    FAILURES, PATIENCE, Place,
    proxy_protocol::{IPV4, VERSION_1, version_2},
    tls, wait_metric, wait_metric_that,
};

/// A balancer, from which headers come.
const FRONT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
/// Between two bytes: so each goes by itself.
const BETWEEN: Duration = Duration::from_millis(1);
/// As many connections at a time.
const AT_ONCE: usize = 200;
/// How long a handshake may take here. It is short, as each silent client waits for it.
const HANDSHAKE: &str = "500ms";

/// From one point of a whole handshake to the next, where not each byte is one.
const SOME: usize = 53;

/// By so many bytes one handshake may be shorter than another: a signature is two numbers without their leading zeros.
const DIFFERENCE: u64 = 16;

/// At how many points of its hello a client stops at least, and that it stops at each of a whole handshake: `make test-full` has
/// 10,000.
const POINTS: &str = "LEASEWAY_TEST_CUTS";

fn points() -> Result<usize> {
    let Ok(points) = env::var(POINTS) else { return Ok(0) };
    points.parse().with_context(|| format!("{POINTS} is {points:?}"))
}

/// How a client stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// It says that it sends no more.
    Fin,
    /// It says nothing more.
    Silence,
}

/// Sends the beginning of something, stops, and waits for the end.
async fn stop_within(door: SocketAddr, from: Ipv4Addr, begin: &[u8], how: Stop) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut wire = Wire::over(socket.connect(door).await?)?;
    wire.send(begin).await?;
    if how == Stop::Fin {
        wire.finish().await?;
    }
    let ended = wire.rest().await;
    let (bytes, _) = ended.with_context(|| format!("{} bytes, then {how:?}", begin.len()))?;
    ensure!(!bytes.starts_with(b"HTTP/1.1 2"), "{} bytes are answered", begin.len());
    Ok(())
}

/// Does it after each byte, and after none.
async fn stop_everywhere(door: SocketAddr, from: Ipv4Addr, whole: &[u8], how: Stop) -> Result<usize> {
    let cuts: Vec<_> = (0..whole.len()).collect();
    for some in cuts.chunks(AT_ONCE) {
        try_join_all(some.iter().map(|&cut| stop_within(door, from, &whole[..cut], how))).await?;
    }
    Ok(cuts.len())
}

/// Nobody is left, and whoever comes is served.
async fn assert_well(place: &Place, gateway: &Gateway) -> Result<()> {
    wait_metric(gateway, "leaseway_client_connections", &[], 0.0).await?;
    assert_eq!(place.backend.count(), 0);
    assert_eq!(gateway.get("/goods").await?.status, 200);
    assert_eq!(gateway.metric("leaseway_panics_total", &[]).await?, 0.0);
    Ok(())
}

#[tokio::test]
async fn a_client_that_stops_at_any_byte_of_its_hello_is_closed() -> Result<()> {
    for how in [Stop::Fin, Stop::Silence] {
        let place = Place::new().await?;
        let options = place.options(tls(&[&place.shop()?])).set("gateway/timeouts/handshake", HANDSHAKE);
        let gateway = Gateway::start_with_registry(options).await?;
        let (anybody, mut count) = (TlsClient::new(place.authority.pem())?, 0);
        for length in (1..=60).cycle() {
            // Each time with another name, and so with another hello.
            let hello = anybody.naming(&format!("{}.example", "x".repeat(length))).hello()?;
            ensure!(hello.len() > 100, "a short hello: {}", hello.escape_ascii());
            count += stop_everywhere(place.door, Ipv4Addr::LOCALHOST, &hello, how).await?;
            if count >= points()? {
                break;
            }
        }
        // Whoever leaves before the first byte has not begun a handshake, and may be counted or not.
        wait_metric_that(&gateway, FAILURES, &[], |value| value >= 0.99 * count as f64).await?;
        assert_well(&place, &gateway).await?;
        assert_eq!(place.ask(&place.client()?).await?.status, 200, "{how:?}");
    }
    Ok(())
}

/// A client that is silent after the server has spoken: its second flight does not come.
#[tokio::test]
async fn a_client_that_stops_after_its_hello_is_closed() -> Result<()> {
    for how in [Stop::Fin, Stop::Silence] {
        let place = Place::new().await?;
        let options = place.options(tls(&[&place.shop()?])).set("gateway/timeouts/handshake", HANDSHAKE);
        let gateway = Gateway::start_with_registry(options).await?;
        let hello = place.client()?.hello()?;
        stop_within(place.door, Ipv4Addr::LOCALHOST, &hello, how).await?;
        wait_metric_that(&gateway, FAILURES, &[], |value| value >= 1.0).await?;
        assert_well(&place, &gateway).await?;
    }
    Ok(())
}

/// Lets so many bytes of a client's handshake pass, then the client stops, and the door closes. How many have passed.
async fn cut_handshake(client: &TlsClient, door: SocketAddr, most: u64, how: Stop) -> Result<u64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let passing = async {
        let (mut client, _) = listener.accept().await?;
        let mut door = TcpStream::connect(door).await?;
        let ((from_client, mut to_client), (mut from_door, mut to_door)) = (client.split(), door.split());
        let up = async {
            let passed = io::copy(&mut from_client.take(most), &mut to_door).await?;
            if how == Stop::Fin {
                to_door.shutdown().await?;
            }
            anyhow::Ok(passed)
        };
        let down = async {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = from_door.read(&mut bytes).await {
                // The client may have seen enough.
                let _ = to_client.write_all(&bytes[..count]).await;
            }
            anyhow::Ok(())
        };
        anyhow::Ok(tokio::try_join!(up, down)?.0)
    };
    // With TLS 1.3 a client is done before the server has its last bytes. It holds the connection until the door closes; one that
    // is not cut ends it.
    let shaken = async { client.connect(address).await.ok().filter(|_| most < u64::MAX) };
    let both = async { tokio::join!(shaken, passing) };
    let (_link, passed) =
        timeout(PATIENCE, both).await.with_context(|| format!("{most} bytes, then {how:?}"))?;
    passed
}

/// Not only its hello: what follows the server's, too, with a certificate of its own in it.
#[tokio::test]
async fn a_client_that_stops_at_any_byte_of_its_handshake_is_closed() -> Result<()> {
    let place = Place::new().await?;
    let clients = Authority::new("Clients")?;
    let mut listener = tls(&[&place.shop()?]);
    let ca = place.file("clients.pem", clients.pem())?;
    listener["tls"]["client"] = json!({ "ca": ca, "mode": "required" });
    let options = place.options(listener).set("gateway/timeouts/handshake", HANDSHAKE);
    let gateway = Gateway::start_with_registry(options).await?;
    let alice = clients.sign(&Wanted::subject("alice"))?;
    let mut count = 0;
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let client = TlsClient::showing(place.authority.pem(), &alice)?.asking_for(super::SHOP);
        let client = client.speaking(version);
        let whole = cut_handshake(&client, place.door, u64::MAX, Stop::Fin).await?;
        ensure!(whole > 600, "a short handshake: {whole} bytes");
        let step = if points()? == 0 { SOME } else { 1 };
        let cuts: Vec<_> = (0..whole - DIFFERENCE).step_by(step).collect();
        for how in [Stop::Fin, Stop::Silence] {
            for some in cuts.chunks(AT_ONCE) {
                try_join_all(some.iter().map(|&cut| cut_handshake(&client, place.door, cut, how))).await?;
            }
            count += cuts.len();
        }
    }
    wait_metric_that(&gateway, FAILURES, &[], |value| value >= 0.9 * count as f64).await?;
    assert_well(&place, &gateway).await
}

#[tokio::test]
async fn a_hello_that_comes_byte_by_byte_is_read() -> Result<()> {
    let place = Place::new().await?;
    let (_gateway, _files) = place.serving().await?;
    // Some hundred bytes: without the groups that take a thousand.
    let client = TlsClient::with(place.authority.pem(), |builder| builder.set_groups_list("X25519:P-256"))?;
    let mut wire = Wire::connect(place.door).await?;
    for byte in client.naming(super::SHOP).hello()? {
        wire.send([byte]).await?;
        tokio::time::sleep(BETWEEN).await;
    }
    // A record with a handshake: the server's hello (RFC 8446, 5.1).
    assert_eq!(wire.bytes(1).await?, [0x16]);
    Ok(())
}

#[tokio::test]
async fn a_balancer_that_stops_at_any_byte_of_its_header_is_closed() -> Result<()> {
    let tlvs = [&IPV4[..], &[0xea, 0, 3, 1, 2, 3]].concat();
    for header in [
        VERSION_1.as_bytes().to_vec(),
        b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        version_2(0x21, 0x11, &tlvs),
        version_2(0x21, 0x21, &[0; 36]),
        version_2(0x20, 0, &[]),
    ] {
        for is_tls in [false, true] {
            for how in [Stop::Fin, Stop::Silence] {
                let place = Place::new().await?;
                let mut listener = if is_tls { tls(&[&place.shop()?]) } else { json!({}) };
                listener["proxy_protocol"] = json!({ "from": [FRONT] });
                let options = place.options(listener).set("gateway/timeouts/handshake", HANDSHAKE);
                let gateway = Gateway::start_with_registry(options).await?;
                stop_everywhere(place.door, FRONT, &header, how).await?;
                if is_tls {
                    // The handshake behind it has its time, too.
                    stop_within(place.door, FRONT, &header, how).await?;
                }
                assert_well(&place, &gateway).await?;
            }
        }
    }
    Ok(())
}

/// Both have one time together: whoever takes long for the one has less for the other.
#[tokio::test]
async fn a_slow_client_has_no_more_time_than_a_silent_one() -> Result<()> {
    let place = Place::new().await?;
    let options = place.options(tls(&[&place.shop()?])).set("gateway/timeouts/handshake", "1s");
    let gateway = Gateway::start_with_registry(options).await?;
    let hello = place.client()?.hello()?;
    let mut wire = Wire::connect(place.door).await?;
    let mut bytes = hello.iter();
    eventually("it is closed within its hello", PATIENCE, async || {
        let byte = bytes.next().context("all of it was read")?;
        if wire.send([*byte]).await.is_err() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        ensure!(!wire.is_silent_for(Duration::from_millis(1)).await, "it is open");
        Ok(())
    })
    .await?;
    ensure!(bytes.len() > 0, "the whole hello was taken");
    assert_well(&place, &gateway).await
}
