//! The harness's relay does to connections what it was told.

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use harness::{
    relay::{Mode, Relay, Way},
    wait::eventually,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for a byte over loopback, had it not been held back.
const SILENCE: Duration = Duration::from_millis(300);

/// A relay before a server that sends back what it gets, and a connection through it.
async fn echo() -> Result<(Relay, TcpStream)> {
    let relay = Relay::start(start_echo().await?).await?;
    let connection = TcpStream::connect(relay.address()).await?;
    connection.set_nodelay(true)?;
    Ok((relay, connection))
}

async fn start_echo() -> Result<std::net::SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
                let _ = writer.shutdown().await;
            });
        }
    });
    Ok(address)
}

async fn exchange(connection: &mut TcpStream, text: &str) -> Result<()> {
    connection.write_all(text.as_bytes()).await?;
    expect(connection, text).await
}

async fn expect(connection: &mut TcpStream, text: &str) -> Result<()> {
    let mut answer = vec![0; text.len()];
    timeout(PATIENCE, connection.read_exact(&mut answer)).await??;
    ensure!(answer == text.as_bytes(), "got {:?}", String::from_utf8_lossy(&answer));
    Ok(())
}

async fn is_silent(connection: &mut TcpStream) -> bool {
    timeout(SILENCE, connection.read_u8()).await.is_err()
}

async fn end(connection: &mut TcpStream) -> Result<Option<ErrorKind>> {
    let mut rest = Vec::new();
    Ok(timeout(PATIENCE, connection.read_to_end(&mut rest)).await?.err().map(|error| error.kind()))
}

#[tokio::test]
async fn bytes_and_ends_pass_both_ways() -> Result<()> {
    let (relay, mut connection) = echo().await?;
    exchange(&mut connection, "one").await?;
    let long = "0123456789".repeat(100_000);
    let (mut reader, mut writer) = connection.split();
    let mut answer = vec![0; long.len()];
    tokio::try_join!(writer.write_all(long.as_bytes()), reader.read_exact(&mut answer))?;
    assert!(answer == long.as_bytes());
    connection.shutdown().await?;
    assert_eq!(end(&mut connection).await?, None, "a clean end");
    assert_eq!(relay.accepted(), 1);
    eventually("none is open", PATIENCE, async || {
        ensure!(relay.open() == 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_cut_resets_what_is_open_and_what_comes() -> Result<()> {
    let (relay, mut connection) = echo().await?;
    exchange(&mut connection, "one").await?;
    assert_eq!(relay.open(), 1);
    relay.set(Mode::Cut);
    assert_eq!(end(&mut connection).await?, Some(ErrorKind::ConnectionReset));
    // The reset may come before connect returns.
    if let Ok(mut next) = TcpStream::connect(relay.address()).await {
        assert_eq!(end(&mut next).await?, Some(ErrorKind::ConnectionReset));
    }
    relay.set(Mode::Pass);
    exchange(&mut TcpStream::connect(relay.address()).await?, "two").await?;
    assert_eq!(relay.accepted(), 3);
    Ok(())
}

#[tokio::test]
async fn a_cut_that_is_over_at_once_has_cut_all_the_same() -> Result<()> {
    let (relay, mut connection) = echo().await?;
    exchange(&mut connection, "one").await?;
    relay.set(Mode::Cut);
    relay.set(Mode::Pass);
    assert_eq!(end(&mut connection).await?, Some(ErrorKind::ConnectionReset));

    let mut next = TcpStream::connect(relay.address()).await?;
    exchange(&mut next, "two").await?;
    relay.reset();
    assert_eq!(end(&mut next).await?, Some(ErrorKind::ConnectionReset));
    exchange(&mut TcpStream::connect(relay.address()).await?, "three").await
}

#[tokio::test]
async fn a_black_hole_keeps_connections_open_and_silent_until_it_ends() -> Result<()> {
    let (relay, mut connection) = echo().await?;
    exchange(&mut connection, "one").await?;
    relay.set(Mode::BlackHole);
    connection.write_all(b"two").await?;
    let mut new = TcpStream::connect(relay.address()).await?;
    new.write_all(b"new").await?;
    assert!(is_silent(&mut connection).await && is_silent(&mut new).await);
    relay.set(Mode::Pass);
    expect(&mut connection, "two").await?;
    expect(&mut new, "new").await
}

#[tokio::test]
async fn the_end_of_a_connection_is_held_back_too() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let relay = Relay::start(listener.local_addr()?).await?;
    let mut connection = TcpStream::connect(relay.address()).await?;
    let (mut server, _) = timeout(PATIENCE, listener.accept()).await??;
    connection.write_all(b"x").await?;
    assert_eq!(server.read_u8().await?, b'x');
    relay.set(Mode::BlackHole);
    connection.set_zero_linger()?;
    drop(connection);
    assert!(is_silent(&mut server).await);
    relay.set(Mode::Pass);
    assert_eq!(end(&mut server).await?, Some(ErrorKind::ConnectionReset));
    Ok(())
}

#[tokio::test]
async fn a_half_open_connection_passes_one_way_alone() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let relay = Relay::start(listener.local_addr()?).await?;
    let mut client = TcpStream::connect(relay.address()).await?;
    let (mut server, _) = timeout(PATIENCE, listener.accept()).await??;

    relay.set(Mode::HalfOpen(Way::ToTarget));
    client.write_all(b"question").await?;
    expect(&mut server, "question").await?;
    server.write_all(b"answer").await?;
    assert!(is_silent(&mut client).await);

    relay.set(Mode::HalfOpen(Way::ToClient));
    expect(&mut client, "answer").await?;
    client.write_all(b"another").await?;
    assert!(is_silent(&mut server).await);
    relay.set(Mode::Pass);
    expect(&mut server, "another").await
}

#[tokio::test]
async fn a_delay_delays_every_piece_and_keeps_their_order() -> Result<()> {
    let (relay, mut connection) = echo().await?;
    exchange(&mut connection, "one").await?;
    let (fixed, jitter) = (Duration::from_millis(100), Duration::from_millis(50));
    relay.set(Mode::Delay { fixed, jitter });
    let begun = Instant::now();
    for _ in 0..20 {
        connection.write_all(b"0123456789").await?;
        tokio::task::yield_now().await;
    }
    expect(&mut connection, &"0123456789".repeat(20)).await?;
    let took = begun.elapsed();
    // Both ways; and the pieces wait side by side, not one after the other.
    assert!(took >= 2 * fixed, "{took:?}");
    assert!(took < 20 * fixed, "{took:?}");
    Ok(())
}

#[tokio::test]
async fn a_throttle_lets_so_many_bytes_a_second_through() -> Result<()> {
    let (relay, mut connection) = echo().await?;
    relay.set(Mode::Throttle { rate: 10_000 });
    let begun = Instant::now();
    exchange(&mut connection, &"x".repeat(5_000)).await?;
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(450), "5,000 bytes took {took:?}");
    Ok(())
}

#[tokio::test]
async fn a_target_that_is_not_there_is_a_reset() -> Result<()> {
    let relay = Relay::start(harness::ports::free_address()?).await?;
    let mut connection = TcpStream::connect(relay.address()).await?;
    assert_eq!(end(&mut connection).await?, Some(ErrorKind::ConnectionReset));
    Ok(())
}

#[tokio::test]
async fn a_dropped_relay_resets_its_connections_and_frees_its_port() -> Result<()> {
    let (relay, mut connection) = echo().await?;
    exchange(&mut connection, "one").await?;
    let address = relay.address();
    drop(relay);
    assert_eq!(end(&mut connection).await?, Some(ErrorKind::ConnectionReset));
    eventually("the port is free", PATIENCE, async || Ok(std::net::TcpListener::bind(address).map(drop)?))
        .await
}
