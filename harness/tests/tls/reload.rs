//! All of it changes while the gateway runs, and who is connected stays so.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use harness::{
    certificates::{Authority, Wanted},
    http::Connection,
    link::TlsClient,
    process::Signal,
    stack::{Gateway, GatewayOptions, file},
    wait::eventually,
};
use serde_json::{Value, json};

use super::{PATIENCE, Place, SHOP, get, shown, tls};

const FRONT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// Connections that are open before a change: one in clear, one under TLS.
struct Kept([Connection; 2]);

impl Kept {
    async fn open(place: &Place, gateway: &Gateway) -> Result<Self> {
        let mut kept = Self([
            Connection::open(gateway.address()).await?,
            Connection::open_tls(place.door, &place.client()?).await?,
        ]);
        kept.assert_served().await?;
        Ok(kept)
    }

    async fn assert_served(&mut self) -> Result<()> {
        for connection in &mut self.0 {
            assert_eq!(get(connection).await?.status, 200);
        }
        Ok(())
    }
}

#[tokio::test]
async fn certificates_come_and_go() -> Result<()> {
    let place = Place::new().await?;
    let (first, second) = (place.authority.server(&[SHOP])?, place.authority.server(&["other.example"])?);
    let (shop, other) = (place.write(&first, "shop")?, place.write(&second, "other")?);
    let gateway = place.gateway(tls(&[&shop])).await?;
    let mut kept = Kept::open(&place, &gateway).await?;
    let client = TlsClient::new(place.authority.pem())?.naming("other.example");
    assert_eq!(shown(place.door, &client).await?, first.fingerprint()?);
    for (files, expected) in [(vec![&shop, &other], &second), (vec![&other], &second), (vec![&shop], &first)]
    {
        gateway.reload(&place.options(tls(&files))).await?;
        assert_eq!(shown(place.door, &client).await?, expected.fingerprint()?);
        kept.assert_served().await?;
    }
    Ok(())
}

/// As where a new Secret comes a little after the configuration that names it.
#[tokio::test]
async fn a_reload_that_was_refused_for_a_file_is_made_good_when_the_file_comes() -> Result<()> {
    let place = Place::new().await?;
    let shop = place.shop()?;
    let gateway = place.gateway(tls(&[&shop])).await?;
    let late = place.authority.server(&["other.example"])?;
    let other = place.write(&late, "other")?;
    let named = place.options(tls(&[&shop, &other]));
    std::fs::remove_file(&other.key)?;
    let lines = gateway.process().line_count();
    file::rename_into_place(&gateway.file(), &file::yaml(&gateway.configuration(&named))?)?;
    let told = |line: &str| line.contains("the configuration was not taken");
    gateway.process().wait_for_line_since(lines, told, PATIENCE).await?;
    late.write(place.directory.path(), "other")?;
    let client = TlsClient::new(place.authority.pem())?.naming("other.example");
    let expected = late.fingerprint()?;
    eventually("it is taken", PATIENCE, async || {
        let shown = shown(place.door, &client).await?;
        ensure!(shown == expected, "{shown} is shown");
        Ok(())
    })
    .await?;
    let count = gateway.process().lines_since(lines).iter().filter(|line| told(line)).count();
    assert_eq!(count, 1, "it is told once");
    Ok(())
}

#[tokio::test]
async fn what_clients_must_show_changes() -> Result<()> {
    let place = Place::new().await?;
    let (files, clients) = (place.shop()?, Authority::new("Clients")?);
    let ca = place.file("clients.pem", clients.pem())?;
    let with = |mode: Option<&str>| {
        let mut listener = tls(&[&files]);
        if let Some(mode) = mode {
            listener["tls"]["client"] = json!({ "ca": ca, "mode": mode });
        }
        place.options(listener)
    };
    let gateway = Gateway::start_with_registry(with(None)).await?;
    let mut kept = Kept::open(&place, &gateway).await?;
    let alice = clients.sign(&Wanted::subject("alice"))?;
    let alice = TlsClient::showing(place.authority.pem(), &alice)?.asking_for(SHOP);
    for (mode, is_nobody_served) in [(Some("required"), false), (Some("optional"), true), (None, true)] {
        gateway.reload(&with(mode)).await?;
        assert_eq!(place.ask(&alice).await?.status, 200, "{mode:?}");
        assert_eq!(place.ask(&place.client()?).await.is_ok(), is_nobody_served, "{mode:?}");
        kept.assert_served().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_listener_begins_and_ends_to_speak_tls() -> Result<()> {
    let place = Place::new().await?;
    let files = place.shop()?;
    let gateway = place.gateway(json!({})).await?;
    assert!(place.ask(&place.client()?).await.is_err());
    assert_eq!(harness::http::get(place.door, "/goods").await?.status, 200);
    gateway.reload(&place.options(tls(&[&files]))).await?;
    assert_eq!(place.ask(&place.client()?).await?.status, 200);
    assert_eq!(harness::http::get(place.door, "/goods").await?.status, 400);
    let mut kept = Kept::open(&place, &gateway).await?;
    gateway.reload(&place.options(json!({}))).await?;
    assert_eq!(harness::http::get(place.door, "/goods").await?.status, 200);
    kept.assert_served().await
}

#[tokio::test]
async fn networks_and_balancers_change() -> Result<()> {
    let place = Place::new().await?;
    let files = place.shop()?;
    let with = |keys: Value| {
        let mut listener = tls(&[&files]);
        for (key, value) in keys.as_object().into_iter().flatten() {
            listener[key] = value.clone();
        }
        place.options(listener)
    };
    let gateway = Gateway::start_with_registry(with(json!({}))).await?;
    let mut kept = Kept::open(&place, &gateway).await?;
    for (keys, is_served) in [
        (json!({ "deny": ["127.0.0.1"] }), false),
        (json!({ "allow": ["127.0.0.1"] }), true),
        (json!({ "allow": [FRONT] }), false),
        (json!({ "proxy_protocol": { "from": ["127.0.0.1"] } }), false),
        (json!({ "proxy_protocol": { "from": [FRONT] } }), true),
        (json!({}), true),
    ] {
        gateway.reload(&with(keys.clone())).await?;
        assert_eq!(place.ask(&place.client()?).await.is_ok(), is_served, "{keys}");
        kept.assert_served().await?;
    }
    Ok(())
}

#[tokio::test]
async fn limits_of_connections_change() -> Result<()> {
    let place = Place::new().await?;
    let files = place.shop()?;
    let with = |connections: Value| -> GatewayOptions {
        place.options(tls(&[&files])).set("gateway/connections", connections)
    };
    let gateway = Gateway::start_with_registry(with(json!({}))).await?;
    let mut kept = Kept::open(&place, &gateway).await?;
    for (connections, is_served) in [
        (json!({ "max": 2 }), false),
        (json!({ "max": 100, "per_address": 2 }), false),
        (json!({ "max": 100, "per_address": 100 }), true),
    ] {
        gateway.reload(&with(connections.clone())).await?;
        // One that has just ended may still be counted.
        eventually("the limit is in force", PATIENCE, async || {
            let served = place.ask(&place.client()?).await.is_ok();
            ensure!(served == is_served, "{connections}: {served}");
            Ok(())
        })
        .await?;
        kept.assert_served().await?;
    }
    gateway.reload(&with(json!({ "requests": 1 }))).await?;
    assert!(get(&mut Connection::open(gateway.address()).await?).await?.closes());
    Ok(())
}

#[tokio::test]
async fn a_file_that_names_what_is_not_there_changes_nothing() -> Result<()> {
    let place = Place::new().await?;
    let files = place.shop()?;
    let gateway = place.gateway(tls(&[&files])).await?;
    let mut kept = Kept::open(&place, &gateway).await?;
    let mut listener = tls(&[&files]);
    listener["tls"]["certificates"][0]["cert"] = json!(place.directory.path().join("absent.pem"));
    let text = file::yaml(&gateway.configuration(&place.options(listener)))?;
    file::rename_into_place(&gateway.file(), &text)?;
    gateway.process().signal(Signal::SIGHUP)?;
    eventually("/readyz tells of it", PATIENCE, async || {
        let config = gateway.config().await?;
        ensure!(config["rejected"].to_string().contains("absent.pem"), "{config}");
        Ok(())
    })
    .await?;
    assert_eq!(place.ask(&place.client()?).await?.status, 200);
    kept.assert_served().await
}

#[tokio::test]
async fn a_listener_at_another_address_needs_a_restart() -> Result<()> {
    let place = Place::new().await?;
    let files = place.shop()?;
    let gateway = place.gateway(tls(&[&files])).await?;
    let elsewhere = Place { door: harness::ports::free_address()?, ..Place::new().await? };
    let text = file::yaml(&gateway.configuration(&elsewhere.options(tls(&[&files]))))?;
    file::rename_into_place(&gateway.file(), &text)?;
    gateway.process().signal(Signal::SIGHUP)?;
    eventually("/readyz tells of it", PATIENCE, async || {
        let config = gateway.config().await?;
        ensure!(config["rejected"].to_string().contains("gateway.listen"), "{config}");
        Ok(())
    })
    .await?;
    assert_eq!(place.ask(&place.client()?).await?.status, 200);
    Ok(())
}
