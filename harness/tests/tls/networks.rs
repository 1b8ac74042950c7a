//! Who may connect at all.

use std::net::Ipv4Addr;

use anyhow::Result;
use harness::{http::Connection, stack::Gateway};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpSocket};

use super::{FAILURES, Place, REFUSED, get, tls, wait_metric_that};

const FRIEND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
const FRONT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

impl Place {
    async fn is_served(&self, from: Ipv4Addr, is_tls: bool) -> Result<bool> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let Ok(stream) = socket.connect(self.door).await else { return Ok(false) };
        let asked = async {
            let link = if is_tls { self.client()?.over(stream).await? } else { stream.into() };
            get(&mut Connection::over(link, self.door).await?).await
        };
        Ok(asked.await.is_ok_and(|answer| answer.status == 200))
    }
}

#[tokio::test]
async fn a_listener_takes_those_alone_that_it_allows_and_does_not_deny() -> Result<()> {
    for is_tls in [false, true] {
        for (keys, friend, stranger) in [
            (json!({ "allow": [FRIEND] }), true, false),
            (json!({ "deny": [STRANGER] }), true, false),
            (json!({ "allow": ["127.0.0.0/8"], "deny": ["127.0.0.6/31"] }), true, false),
            (json!({ "allow": ["127.0.0.0/8"] }), true, true),
            (json!({ "deny": ["127.0.0.0/8"], "allow": [FRIEND] }), false, false),
        ] {
            let place = Place::new().await?;
            let mut listener: Value = if is_tls { tls(&[&place.shop()?]) } else { json!({}) };
            for (key, value) in keys.as_object().into_iter().flatten() {
                listener[key] = value.clone();
            }
            let gateway = place.gateway(listener).await?;
            assert_eq!(place.is_served(FRIEND, is_tls).await?, friend, "{keys}");
            assert_eq!(place.is_served(STRANGER, is_tls).await?, stranger, "{keys}");
            let turned_away = f64::from(u8::from(!friend) + u8::from(!stranger));
            let labels = ["reason=\"network\""];
            wait_metric_that(&gateway, REFUSED, &labels, |value| value == turned_away).await?;
            assert_eq!(gateway.metric(FAILURES, &[]).await?, 0.0, "no handshake has begun");
            // The other listener says nothing of networks.
            assert_eq!(
                get(&mut Connection::open_from(STRANGER, gateway.address()).await?).await?.status,
                200
            );
        }
    }
    Ok(())
}

/// Behind a balancer that is the client whom it names.
#[tokio::test]
async fn of_a_client_behind_a_balancer_its_own_address_counts() -> Result<()> {
    let place = Place::new().await?;
    let listener = json!({ "proxy_protocol": { "from": [FRONT] }, "deny": ["192.0.2.0/24"] });
    let _gateway: Gateway = place.gateway(listener).await?;
    for (client, is_served) in [("192.0.2.7", false), ("198.51.100.7", true)] {
        let socket = TcpSocket::new_v4()?;
        socket.bind((FRONT, 0).into())?;
        let mut stream = socket.connect(place.door).await?;
        stream.write_all(format!("PROXY TCP4 {client} 198.51.100.1 4711 443\r\n").as_bytes()).await?;
        let asked = async { get(&mut Connection::over(stream, place.door).await?).await };
        assert_eq!(asked.await.is_ok_and(|answer| answer.status == 200), is_served, "{client}");
    }
    Ok(())
}
