//! How many connections clients may have.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use harness::{
    http::Connection,
    stack::{Gateway, GatewayOptions},
    wait::eventually,
    wire::Wire,
};
use serde_json::json;

use super::{PATIENCE, Place, REFUSED, get, tls, wait_metric, wait_metric_that};

const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
/// A proxy that is trusted.
const FRONT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

impl Place {
    fn limited(&self, key: &str, value: u32) -> Result<GatewayOptions> {
        let options = self.options(tls(&[&self.shop()?]));
        Ok(options.set(&format!("gateway/connections/{key}"), value))
    }
}

/// A connection that has had an answer.
async fn served(from: Ipv4Addr, to: SocketAddr) -> Result<Connection> {
    let mut connection = Connection::open_from(from, to).await?;
    let answer = get(&mut connection).await?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    Ok(connection)
}

async fn wait_served(from: Ipv4Addr, to: SocketAddr) -> Result<Connection> {
    eventually("a connection is served", PATIENCE, async || served(from, to).await).await
}

#[tokio::test]
async fn beyond_the_connections_in_all_nobody_is_served_until_one_ends() -> Result<()> {
    let place = Place::new().await?;
    let gateway = Gateway::start_with_registry(place.limited("max", 3)?).await?;
    // Of both listeners together.
    let mut first = served(ONE, gateway.address()).await?;
    let _second = served(OTHER, gateway.address()).await?;
    let mut third = Connection::open_tls(place.door, &place.client()?).await?;
    assert_eq!(get(&mut third).await?.status, 200);
    for count in 1..=3 {
        assert!(served(ONE, gateway.address()).await.is_err());
        wait_metric_that(&gateway, REFUSED, &["reason=\"max\""], |value| value >= f64::from(count)).await?;
    }
    assert!(place.ask(&place.client()?).await.is_err());
    assert_eq!(gateway.admin("/livez").await?.status, 200, "operators are no clients");
    assert_eq!(get(&mut first).await?.status, 200, "who is in stays in");
    drop(first);
    wait_served(ONE, gateway.address()).await?;
    Ok(())
}

#[tokio::test]
async fn one_address_has_no_more_than_its_share() -> Result<()> {
    let place = Place::new().await?;
    let options = place.limited("per_address", 2)?.set("gateway/trusted_proxies", json!([FRONT]));
    let gateway = Gateway::start_with_registry(options).await?;
    let first = served(ONE, gateway.address()).await?;
    let _second = served(ONE, gateway.address()).await?;
    assert!(served(ONE, gateway.address()).await.is_err());
    wait_metric(&gateway, REFUSED, &["reason=\"per_address\""], 1.0).await?;
    let _other = served(OTHER, gateway.address()).await?;
    // A proxy has the connections of many.
    let mut proxies = Vec::new();
    for _ in 0..5 {
        proxies.push(served(FRONT, gateway.address()).await?);
    }
    drop(first);
    wait_served(ONE, gateway.address()).await?;
    Ok(())
}

#[tokio::test]
async fn the_last_request_of_a_connection_is_told_so() -> Result<()> {
    let place = Place::new().await?;
    let gateway = Gateway::start_with_registry(place.limited("requests", 3)?).await?;
    for is_tls in [false, true] {
        let mut connection = if is_tls {
            Connection::open_tls(place.door, &place.client()?).await?
        } else {
            Connection::open(gateway.address()).await?
        };
        for is_last in [false, false, true] {
            let answer = get(&mut connection).await?;
            assert_eq!((answer.status, answer.closes()), (200, is_last));
        }
        eventually("it is closed", PATIENCE, async || {
            ensure!(!connection.is_open().await);
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// One more handshake closes the one that has waited longest for its client: so those who are quick get in.
#[tokio::test]
async fn silent_clients_keep_nobody_out() -> Result<()> {
    let place = Place::new().await?;
    let gateway = Gateway::start_with_registry(place.limited("handshakes", 3)?).await?;
    let hello = place.client()?.hello()?;
    let mut silent = Vec::new();
    for _ in 0..6 {
        let mut wire = Wire::connect(place.door).await?;
        wire.send(&hello[..50]).await?;
        silent.push(wire);
    }
    wait_metric_that(&gateway, REFUSED, &["reason=\"handshakes\""], |value| value >= 3.0).await?;
    for first in silent.iter_mut().take(3) {
        first.rest().await?;
    }
    for _ in 0..10 {
        assert_eq!(place.ask(&place.client()?).await?.status, 200);
    }
    Ok(())
}

/// And clients that shake hands are not held up by those who have: the limit is of handshakes, not of connections.
#[tokio::test]
async fn a_handshake_that_is_over_is_none_any_more() -> Result<()> {
    let place = Place::new().await?;
    let gateway = Gateway::start_with_registry(place.limited("handshakes", 1)?).await?;
    let mut kept = Vec::new();
    for _ in 0..5 {
        let mut connection = Connection::open_tls(place.door, &place.client()?).await?;
        assert_eq!(get(&mut connection).await?.status, 200);
        kept.push(connection);
    }
    for connection in &mut kept {
        assert_eq!(get(connection).await?.status, 200);
    }
    assert_eq!(gateway.metric(REFUSED, &[]).await?, 0.0);
    Ok(())
}
