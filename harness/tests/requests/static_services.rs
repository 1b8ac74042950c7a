//! Services whose addresses the configuration gives.

use anyhow::{Context, Result, ensure};
use harness::{
    backend::{Backend, Reply},
    etcd::{Etcd, key},
    load::Load,
    ports::free_address,
    stack::{Gateway, GatewayOptions},
    wait::eventually,
};
use serde_json::{Value, json};

use super::{Fixture, assert_own_answer, malformed::PATIENCE};

/// `/goods` as ever, and `/old` to a service at these addresses.
fn with(addresses: &[String]) -> GatewayOptions {
    GatewayOptions::default().route("/old", "old").set("gateway/services/old/addresses", json!(addresses))
}

async fn backends<const N: usize>(names: [&'static str; N]) -> Result<Vec<Backend>> {
    let mut backends = Vec::new();
    for name in names {
        backends.push(Backend::start(name, Reply::ok(name)).await?);
    }
    Ok(backends)
}

fn address(backend: &Backend) -> String {
    backend.address().to_string()
}

impl Fixture {
    /// What `/services` shows of a service's endpoint.
    async fn shown_of(&self, service: &str, instance: &str) -> Result<Value> {
        let page: Value = self.gateway.admin("/services").await?.json()?;
        let endpoints = page["services"][service].as_array().context("it is not shown")?;
        let found = endpoints.iter().find(|endpoint| endpoint["instance"] == instance);
        found.cloned().with_context(|| format!("{instance} is not among {endpoints:?}"))
    }
}

#[tokio::test]
async fn a_service_that_is_not_in_the_registry_is_served_and_an_address_that_fails_is_left_out() -> Result<()>
{
    let backends = backends(["a", "b"]).await?;
    let dead = free_address()?.to_string();
    let addresses = [address(&backends[0]), address(&backends[1]), dead.clone()];
    let fixture = Fixture::start(with(&addresses)).await?;
    let target = fixture.gateway.address();
    for load in [Load::get(target, "/old"), Load::post(target, "/old", vec![b'x'; 1_000])] {
        let outcome = load.connections(4).run_count(200).await;
        assert_eq!(outcome.failed, 0, "{:?}", outcome.errors);
    }
    assert!(backends.iter().all(|backend| backend.count() > 50), "both serve");
    let shown = fixture.shown_of("old", &dead).await?;
    assert_eq!((&shown["state"], &shown["given"]), (&json!("ejected"), &json!(true)), "{shown}");
    let up = fixture.gateway.metric("leaseway_endpoints", &["service=\"old\"", "state=\"up\""]).await?;
    let without_lease = fixture.gateway.metric("leaseway_endpoints_without_lease", &[]).await?;
    assert_eq!((up, without_lease), (2.0, 0.0));
    Ok(())
}

#[tokio::test]
async fn a_name_is_resolved_and_one_that_cannot_be_is_told_and_counted() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    let port = backend.address().port();
    let fixture =
        Fixture::start(with(&[format!("localhost:{port}"), "nobody.invalid:80".to_owned()])).await?;
    let instance = format!("localhost:{port}/127.0.0.1");
    eventually("the name is resolved", PATIENCE, async || fixture.shown_of("old", &instance).await).await?;
    assert_eq!(fixture.gateway.get("/old").await?.status, 200);
    eventually("the other name is counted", PATIENCE, async || {
        let failures = fixture.gateway.metric("leaseway_lookup_failures_total", &[]).await?;
        ensure!(failures == 1.0, "{failures} failures");
        Ok(())
    })
    .await?;
    let is_told = |line: &str| line.contains("cannot resolve a name") && line.contains("nobody.invalid:80");
    fixture.gateway.process().wait_for_line(is_told, PATIENCE).await?;
    Ok(())
}

#[tokio::test]
async fn it_is_served_while_the_registry_has_never_answered() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    let nobody = format!("http://{}", free_address()?);
    let gateway = Gateway::launch(&nobody, with(&[address(&backend)])).await?;
    eventually("it is served", PATIENCE, async || {
        let status = gateway.get("/old").await?.status;
        ensure!(status == 200, "{status}");
        Ok(())
    })
    .await?;
    assert_own_answer(&gateway.get("/goods").await?, 503)?;
    assert_eq!(gateway.admin("/readyz").await?.status, 503, "of the others nobody knows");
    Ok(())
}

#[tokio::test]
async fn it_is_served_when_the_registry_dies() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    let mut etcd = Etcd::start().await?;
    let gateway = Gateway::start(&etcd.endpoint(), with(&[address(&backend)])).await?;
    etcd.kill().await?;
    let outcome = Load::get(gateway.address(), "/old").connections(2).run_count(100).await;
    assert_eq!(outcome.failed, 0, "{:?}", outcome.errors);
    Ok(())
}

#[tokio::test]
async fn a_reload_changes_addresses_without_a_failure_and_what_stays_keeps_what_is_known_of_it() -> Result<()>
{
    let backends = backends(["a", "b", "c"]).await?;
    let [a, b, c] = [0, 1, 2].map(|n| address(&backends[n]));
    let fixture = Fixture::start(with(&[a.clone(), b.clone()])).await?;
    let gateway = &fixture.gateway;
    for _ in 0..20 {
        assert_eq!(gateway.get("/old").await?.status, 200);
    }
    let load = Load::get(gateway.address(), "/old").connections(4).start();
    gateway.reload(&with(&[b.clone(), c.clone()])).await?;
    let shown = fixture.shown_of("old", &b).await?;
    assert!(!shown["usual_latency_ms"].is_null(), "{shown}");
    gateway.wait_instances("old", &[&b, &c]).await?;
    gateway.reload(&with(std::slice::from_ref(&c))).await?;
    gateway.wait_instances("old", &[&c]).await?;
    let outcome = load.stop().await;
    assert_eq!(outcome.failed, 0, "{:?}", outcome.errors);
    gateway.reload(&GatewayOptions::default()).await?;
    assert_own_answer(&gateway.get("/old").await?, 404)?;
    gateway.wait_services(|services| !services.services.contains_key("old")).await?;
    Ok(())
}

#[tokio::test]
async fn who_registers_under_its_name_is_left_out_until_a_reload_takes_the_addresses_away() -> Result<()> {
    let backends = backends(["given", "registered"]).await?;
    let given = address(&backends[0]);
    let options = with(std::slice::from_ref(&given));
    let fixture = Fixture::start(options.clone()).await?;
    let gateway = &fixture.gateway;
    fixture.etcd.put(&key("old", "a"), address(&backends[1])).await?;
    let page = eventually("it is left out", PATIENCE, async || {
        let page: Value = gateway.admin("/services").await?.json()?;
        ensure!(page["left_out"]["count"] == 1, "{page}");
        Ok(page)
    })
    .await?;
    let why = page["left_out"]["last"]["reason"].as_str().context("no reason")?;
    assert!(why.contains("services.NAME.addresses"), "{why}");
    assert_eq!(gateway.metric("leaseway_instances_left_out", &["bound=\"addresses\""]).await?, 1.0);
    assert_eq!(gateway.services().await?.instances("old"), [&*given]);

    let load = Load::get(gateway.address(), "/old").connections(4).start();
    gateway.reload(&GatewayOptions::default().route("/old", "old")).await?;
    gateway.wait_instances("old", &["a"]).await?;
    backends[1].wait_count(1, PATIENCE).await?;
    gateway.reload(&options).await?;
    gateway.wait_instances("old", &[&given]).await?;
    let outcome = load.stop().await;
    assert_eq!(outcome.failed, 0, "{:?}", outcome.errors);
    Ok(())
}

#[tokio::test]
async fn an_address_of_the_gateway_itself_is_refused() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    let gateway = &fixture.gateway;
    let addresses = [gateway.admin_address().to_string(), gateway.address().to_string(), address(&backend)];
    gateway.reload(&with(&addresses)).await?;
    gateway.wait_instances("old", &[&addresses[2]]).await?;
    for address in &addresses[..2] {
        let is_told = |line: &str| line.contains("nothing is sent there") && line.contains(address);
        gateway.process().wait_for_line(is_told, PATIENCE).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_reload_to_a_name_that_cannot_be_resolved_takes_nobody_away() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default().route("/old", "old")).await?;
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    fixture.register("old", &[&backend]).await?;
    fixture.gateway.reload(&with(&["nobody.invalid:80".to_owned()])).await?;
    eventually("it could not be resolved twice", PATIENCE, async || {
        let failures = fixture.gateway.metric("leaseway_lookup_failures_total", &[]).await?;
        ensure!(failures >= 2.0, "{failures}");
        Ok(())
    })
    .await?;
    assert_eq!(fixture.gateway.get("/old").await?.status, 200);
    Ok(())
}
