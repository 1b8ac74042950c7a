//! Registrations that name the gateway itself, its admin port, its registry, or what no backend can be.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use etcd_client::PutOptions;
use harness::{
    backend::{Backend, Reply},
    etcd::{Etcd, client, key},
    http::Request,
    ports::free_address,
    stack::{Gateway, GatewayOptions},
};

use super::{Fixture, assert_own_answer};

/// Waits until the gateway has logged that it skipped this instance of `goods`, for this reason.
async fn told(gateway: &Gateway, instance: &str, reason: &str) -> Result<()> {
    let key = key("goods", instance);
    let is_it =
        |line: &str| line.contains("skipped a record") && line.contains(&key) && line.contains(reason);
    let told = gateway.process().wait_for_line(is_it, Duration::from_secs(20)).await;
    told.map(drop).with_context(|| format!("{instance}: {reason}"))
}

async fn last_skipped(gateway: &Gateway) -> Result<serde_json::Value> {
    Ok(gateway.admin("/services").await?.json()?["last_skipped"].clone())
}

/// The same port on another address of the loopback network.
fn elsewhere(address: SocketAddr) -> String {
    format!("127.9.9.9:{}", address.port())
}

fn carried(address: SocketAddr) -> String {
    format!("[64:ff9b::{}]:{}", address.ip(), address.port())
}

#[tokio::test]
async fn an_instance_at_the_gateways_own_addresses_or_the_registrys_is_refused_and_told() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::without_routes().route("/", "goods")).await?;
    let (gateway, etcd) = (&fixture.gateway, &fixture.etcd);
    for (instance, address, reason) in [
        ("own", gateway.address().to_string(), "it is where this gateway serves clients (gateway.listen)"),
        ("own-nat64", carried(gateway.address()), "which is where this gateway serves clients"),
        ("admin", gateway.admin_address().to_string(), "it is this gateway's admin port (gateway.admin)"),
        ("etcd", etcd.address().to_string(), "it is the registry (gateway.registry.endpoints)"),
        // An etcd on this machine may listen on all of its addresses.
        ("etcd-elsewhere", elsewhere(etcd.address()), "it is the registry (gateway.registry.endpoints)"),
        (
            "etcd-6to4",
            format!("[2002:7f00:1::1]:{}", etcd.address().port()),
            "it carries 127.0.0.1, which is the registry",
        ),
        ("azure", "168.63.129.16:80".to_owned(), "Azure"),
        (
            "nat64",
            "[64:ff9b::169.254.169.254]:80".to_owned(),
            "it carries 169.254.169.254, which is link-local",
        ),
    ] {
        etcd.put(&key("goods", instance), address.as_str()).await?;
        told(gateway, instance, reason).await?;
        let last = last_skipped(gateway).await?;
        assert_eq!(last["key"], key("goods", instance));
        ensure!(last["reason"].as_str().is_some_and(|last| last.contains(reason)), "{last}");
    }
    assert!(gateway.services().await?.endpoints("goods").is_empty());
    assert_own_answer(&gateway.get("/goods").await?, 503)
}

/// etcd serves its API as JSON over HTTP too.
#[tokio::test]
async fn a_clients_post_through_the_gateway_writes_no_registration() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::without_routes().route("/", "goods")).await?;
    let registry = fixture.etcd.address();
    fixture.etcd.put(&key("goods", "etcd"), registry.to_string()).await?;
    told(&fixture.gateway, "etcd", "it is the registry").await?;
    // {"key": "/service_registry_discovery/goods/x", "value": "10.0.0.1:80"}
    let put = r#"{"key":"L3NlcnZpY2VfcmVnaXN0cnlfZGlzY292ZXJ5L2dvb2RzL3g=","value":"MTAuMC4wLjE6ODA="}"#;
    let request = |host: SocketAddr| -> Result<Request<Bytes>> {
        let request = Request::post("/v3/kv/put").header("host", host.to_string());
        Ok(request.header("content-type", "application/json").body(put.into())?)
    };
    assert_own_answer(&fixture.send(request(fixture.gateway.address())?).await?, 503)?;
    let kept = fixture.etcd.client().await?.get(key("goods", "x"), None).await?;
    assert_eq!(kept.count(), 0);
    // The same, sent to etcd itself, is one: so the gateway alone was in its way.
    assert_eq!(harness::http::send(registry, request(registry)?).await?.status, 200);
    fixture.gateway.wait_instances("goods", &["x"]).await?;
    Ok(())
}

#[tokio::test]
async fn an_embedded_registry_is_no_instance_of_itself() -> Result<()> {
    let gateway = Gateway::start_with_registry(GatewayOptions::default()).await?;
    let registry = gateway.registry_address()?;
    let mut client = client(&format!("http://{registry}")).await?;
    client.put(key("goods", "registry"), registry.to_string(), None).await?;
    told(&gateway, "registry", "it is this gateway's registry (gateway.registry.embedded.listen)").await
}

#[tokio::test]
async fn a_wildcard_stands_for_every_address_of_the_machine() -> Result<()> {
    let wildcard = SocketAddr::from((Ipv4Addr::UNSPECIFIED, free_address()?.port()));
    let fixture = Fixture::start(GatewayOptions::default().also_listening(wildcard)).await?;
    for (instance, address) in [("ipv4", elsewhere(wildcard)), ("ipv6", format!("[::1]:{}", wildcard.port()))]
    {
        fixture.etcd.put(&key("goods", instance), address).await?;
        told(&fixture.gateway, instance, "it is where this gateway serves clients").await?;
    }
    fixture.etcd.put(&key("goods", "other"), elsewhere(fixture.gateway.address())).await?;
    fixture.gateway.wait_instances("goods", &["other"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_refused_address_in_the_place_of_the_last_instance_ends_it_at_once() -> Result<()> {
    // It lives, and was the last one: the guard would keep it for as long.
    let options =
        GatewayOptions::default().set("gateway/registry/guard", serde_json::json!({ "window": "1h" }));
    let fixture = Fixture::start(options).await?;
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    fixture.register("goods", &[&backend]).await?;
    fixture.etcd.put(&key("goods", "0"), fixture.gateway.address().to_string()).await?;
    fixture.gateway.wait_instances("goods", &[]).await?;
    assert_own_answer(&fixture.gateway.get("/goods").await?, 503)?;
    let is_line = |line: &str| line.contains("endpoint refused");
    fixture.gateway.process().wait_for_line(is_line, Duration::from_secs(10)).await?;
    Ok(())
}

#[tokio::test]
async fn an_instance_on_loopback_is_refused_where_one_endpoint_of_the_registry_is_not() -> Result<()> {
    let etcd = Etcd::start().await?;
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    etcd.put(&key("goods", "a"), backend.address().to_string()).await?;
    // Nobody is there, and nobody is asked while the first one answers. (RFC 5737: an address for documents.)
    let endpoints = format!("{},http://192.0.2.1:2379", etcd.endpoint());
    let gateway = Gateway::start(&endpoints, GatewayOptions::default()).await?;
    told(&gateway, "a", "name 127.0.0.0/8 in gateway.registry.allow").await?;
    assert!(gateway.services().await?.endpoints("goods").is_empty());

    let named = GatewayOptions::default().set("gateway/registry/allow", vec!["127.0.0.0/8"]);
    let gateway = Gateway::start(&endpoints, named).await?;
    gateway.wait_instances("goods", &["a"]).await?;
    Ok(())
}

#[tokio::test]
async fn where_a_lease_is_required_a_record_without_one_is_skipped_and_told() -> Result<()> {
    let options = GatewayOptions::default().set("gateway/registry/require_lease", true);
    let fixture = Fixture::start(options).await?;
    let (etcd, gateway) = (&fixture.etcd, &fixture.gateway);
    let mut client = etcd.client().await?;
    let lease = client.lease_grant(60, None).await?.id();
    let leased = Some(PutOptions::new().with_lease(lease));
    etcd.put(&key("goods", "stays"), "127.0.0.2:80").await?;
    client.put(key("goods", "leased"), "127.0.0.2:80", leased).await?;
    gateway.wait_instances("goods", &["leased"]).await?;
    told(gateway, "stays", "it has no lease").await?;
    // Put again without its lease, it is refused too.
    etcd.put(&key("goods", "leased"), "127.0.0.2:80").await?;
    gateway.wait_instances("goods", &[]).await?;
    Ok(())
}
