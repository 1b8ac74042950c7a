//! The gateway's own end.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use harness::{
    backend::{Backend, Reply},
    etcd::{Etcd, key},
    http::{self, Connection, Request},
    load::Load,
    process::Signal,
    stack::{Gateway, GatewayOptions},
    wait::eventually,
    wire::Wire,
};
use tokio::task::JoinSet;

use crate::{PATIENCE, stack_of};

#[tokio::test]
async fn a_stopping_gateway_fails_no_request() -> Result<()> {
    let mut stack = stack_of(2).await?;
    let target = stack.gateway.address();
    let gets = Load::get(target, "/goods/list").rate(200).start();
    let posts = Load::post(target, "/goods/list", "{}").rate(200).start();
    posts.wait_begun(200, PATIENCE).await?;
    assert_eq!(stack.gateway.stop(PATIENCE).await?.code(), Some(0));
    for outcome in [gets.stop().await, posts.stop().await] {
        assert!(outcome.status(200) > 50, "only {:?}", outcome.by_status);
        assert!(outcome.refused > 0, "the load did not see the end: nothing is shown");
        assert_eq!(outcome.failed, 0, "{:?}", outcome.errors);
    }
    Ok(())
}

/// Asks on a connection of its own each time, until it gets none. How often it was answered.
async fn ask_until_refused(address: SocketAddr) -> Result<u64> {
    let mut answered = 0;
    loop {
        let mut connection = match Connection::open(address).await {
            Ok(connection) => connection,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok(answered),
            Err(error) => bail!("connection {answered} failed: {error}"),
        };
        let request = Request::get("/goods").header("connection", "close").body(Bytes::new())?;
        let answer = connection.send(request).await.with_context(|| format!("request {answered} failed"))?;
        ensure!(answer.status == 200, "request {answered} got {}", answer.status);
        answered += 1;
    }
}

/// Not even one that connects in the last moment is reset: it is served, or refused.
#[tokio::test]
async fn who_connects_while_it_stops_is_served_or_refused() -> Result<()> {
    for _ in 0..4 {
        let (_etcd, mut gateway, backend) =
            with_slow_backend(Duration::ZERO, GatewayOptions::default()).await?;
        let clients: JoinSet<_> = (0..16).map(|_| ask_until_refused(gateway.address())).collect();
        backend.wait_count(500, PATIENCE).await?;
        assert_eq!(gateway.stop(PATIENCE).await?.code(), Some(0));
        for answered in clients.join_all().await {
            assert!(answered? > 0, "a client was refused from the beginning: nothing is shown");
        }
    }
    Ok(())
}

/// A gateway whose only backend answers after `wait`.
pub(crate) async fn with_slow_backend(
    wait: Duration,
    options: GatewayOptions,
) -> Result<(Etcd, Gateway, Backend)> {
    let etcd = Etcd::start().await?;
    let backend = Backend::start("slow", Reply::After(wait, Box::new(Reply::ok("late")))).await?;
    etcd.put(&key("goods", "slow"), backend.address().to_string()).await?;
    let gateway = Gateway::start(&etcd.endpoint(), options).await?;
    gateway.wait_instances("goods", &["slow"]).await?;
    Ok((etcd, gateway, backend))
}

#[tokio::test]
async fn what_is_in_flight_finishes_and_then_the_process_ends_at_once() -> Result<()> {
    let wait = Duration::from_secs(2);
    let (_etcd, mut gateway, backend) = with_slow_backend(wait, GatewayOptions::default()).await?;
    let address = gateway.address();
    let slow = tokio::spawn(async move { http::get(address, "/goods").await });
    backend.wait_count(1, PATIENCE).await?;
    let begin = Instant::now();
    gateway.process().signal(Signal::SIGTERM)?;
    let answer = slow.await??;
    assert_eq!((answer.status, answer.text().as_str()), (200, "late"));
    let status = gateway.wait_exit(PATIENCE).await?;
    assert_eq!(status.code(), Some(0));
    // Ten times the two seconds after the last request, and the request itself.
    assert!(begin.elapsed() < wait + Duration::from_secs(20), "{:?}", begin.elapsed());
    Ok(())
}

#[tokio::test]
async fn the_time_for_what_is_in_flight_is_bounded() -> Result<()> {
    let options = GatewayOptions::default().set("gateway/timeouts/drain", "1s");
    let (_etcd, mut gateway, backend) = with_slow_backend(Duration::from_secs(25), options).await?;
    let address = gateway.address();
    let slow = tokio::spawn(async move { http::get(address, "/goods").await });
    backend.wait_count(1, PATIENCE).await?;
    let begin = Instant::now();
    gateway.process().signal(Signal::SIGTERM)?;
    gateway.wait_exit(Duration::from_secs(20)).await?;
    assert!(begin.elapsed() >= Duration::from_millis(900), "it did not wait: {:?}", begin.elapsed());
    assert!(!slow.await?.is_ok_and(|answer| answer.status == 200));
    Ok(())
}

#[tokio::test]
async fn answers_say_close_once_it_is_stopping() -> Result<()> {
    let wait = Duration::from_secs(2);
    let (_etcd, mut gateway, backend) = with_slow_backend(wait, GatewayOptions::default()).await?;
    let mut connection = Connection::open(gateway.address()).await?;
    let exchange = tokio::spawn(async move {
        let request = Request::get("/goods").body(Bytes::new())?;
        anyhow::Ok(connection.send(request).await?)
    });
    backend.wait_count(1, PATIENCE).await?;
    gateway.process().signal(Signal::SIGTERM)?;
    let answer = exchange.await??;
    assert!(answer.status == 200 && answer.closes(), "{:?}", answer.headers);
    assert_eq!(gateway.wait_exit(PATIENCE).await?.code(), Some(0));
    Ok(())
}

/// A connection that has had a request is closed; one on which a head has begun is not.
#[tokio::test]
async fn a_head_that_has_begun_may_come_whole() -> Result<()> {
    let options = GatewayOptions::default().set("gateway/timeouts/drain", "20s");
    let (_etcd, mut gateway, _backend) = with_slow_backend(Duration::ZERO, options).await?;
    let mut idle = Wire::connect(gateway.address()).await?;
    let (mut first, mut second) =
        (Wire::connect(gateway.address()).await?, Wire::connect(gateway.address()).await?);
    for wire in [&mut idle, &mut second] {
        assert_eq!(wire.get("/goods", "").await?.head.status(), 200);
    }
    for wire in [&mut first, &mut second] {
        wire.send("GET /goods HTTP/1.1\r\nHo").await?;
        wire.wait_read().await?;
    }
    gateway.process().signal(Signal::SIGTERM)?;
    assert!(idle.rest().await?.0.is_empty());
    for wire in [&mut first, &mut second] {
        wire.send("st: a\r\n\r\n").await?;
        let answer = wire.answer("GET").await?;
        assert_eq!((answer.head.status(), answer.text().as_str()), (200, "late"));
        assert!(answer.head.fields.lists("connection", "close"), "{:?}", answer.head);
        assert!(wire.rest().await?.0.is_empty());
    }
    assert_eq!(gateway.wait_exit(PATIENCE).await?.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_lame_duck_serves_on_says_that_it_is_not_ready_and_ends_at_a_second_signal() -> Result<()> {
    let options = GatewayOptions::default().set("gateway/timeouts/lame_duck", "1h");
    let (_etcd, mut gateway, _backend) = with_slow_backend(Duration::ZERO, options).await?;
    gateway.process().signal(Signal::SIGTERM)?;
    let not_ready = eventually("it says that it is not ready", PATIENCE, async || {
        let answer = gateway.get("/").await?;
        ensure!(answer.status == 503, "it answers {}", answer.status);
        Ok(answer)
    });
    assert!(not_ready.await?.closes());
    assert_eq!(gateway.admin("/readyz").await?.status, 503);
    let served = gateway.get("/goods").await?;
    assert!(served.status == 200 && served.closes(), "{:?}", served.headers);
    assert_eq!(gateway.stop(PATIENCE).await?.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn an_idle_gateway_stops_without_waiting() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut gateway = Gateway::start(&etcd.endpoint(), GatewayOptions::default()).await?;
    let mut idle = Connection::open(gateway.address()).await?;
    idle.send(Request::get("/").body(Bytes::new())?).await?;
    let begin = Instant::now();
    assert_eq!(gateway.stop(PATIENCE).await?.code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    Ok(())
}

/// The second comes before the wait after the first one's writing is over.
#[tokio::test]
async fn what_was_registered_last_is_in_the_snapshot_when_the_process_has_ended() -> Result<()> {
    let mut gateway = Gateway::start_with_registry(GatewayOptions::default()).await?;
    let registry = format!("http://{}", gateway.registry_address()?);
    let backend = Backend::start("only", Reply::ok("")).await?;
    let mut client = harness::etcd::client(&registry).await?;
    let path = gateway.snapshot()?;
    client.put(key("goods", "first"), backend.address().to_string(), None).await?;
    eventually("the first one is written", PATIENCE, async || {
        ensure!(std::fs::read_to_string(&path)?.contains("\"first\""), "it is not");
        Ok(())
    })
    .await?;
    client.put(key("goods", "last"), backend.address().to_string(), None).await?;
    gateway.wait_instances("goods", &["first", "last"]).await?;
    assert_eq!(gateway.stop(PATIENCE).await?.code(), Some(0));
    let text = std::fs::read_to_string(&path)?;
    assert!(text.contains("\"last\""), "{text}");
    Ok(())
}
