//! Services that a reload takes away, and brings back.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{
    backend::{Backend, Reply},
    http,
    load::Load,
    stack::GatewayOptions,
    wait::eventually,
};
use serde_json::json;
use tokio::time::sleep;

use super::{Fixture, late, two};
use crate::{PATIENCE, assert_none_failed};

/// The samples in `/metrics` that name a service.
async fn series(fixture: &Fixture, service: &str) -> Result<Vec<String>> {
    let text = fixture.gateway.admin("/metrics").await?.text();
    let named = format!(r#"service="{service}""#);
    Ok(text.lines().filter(|line| line.contains(&named)).map(str::to_owned).collect())
}

async fn wait_no_series(fixture: &Fixture, service: &str) -> Result<()> {
    eventually("no metric names the service", PATIENCE, async || {
        let left = series(fixture, service).await?;
        ensure!(left.is_empty(), "{left:#?}");
        Ok(())
    })
    .await
}

/// `other` is checked, so that it has series of every kind that need no failure.
fn both() -> GatewayOptions {
    let check = json!({ "probe": "/healthz", "interval": "100ms", "timeout": "100ms" });
    two().set("gateway/services", json!({ "other": { "check": check, "limits": { "service": 100 } } }))
}

async fn serving(usual: Reply) -> Result<(Fixture, [Backend; 2])> {
    let fixture = Fixture::start(&both()).await?;
    let goods = fixture.backend("goods", "1", Reply::ok("goods")).await?;
    let other = fixture.backend("other", "1", usual).await?;
    Ok((fixture, [goods, other]))
}

/// A client may have its whole answer a moment before it is counted.
async fn wait_counted(fixture: &Fixture, labels: &[&str], count: f64) -> Result<()> {
    eventually("all are counted", PATIENCE, async || {
        let counted = fixture.gateway.metric("leaseway_requests_total", labels).await?;
        ensure!(counted == count, "{counted} are");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_removed_service_leaves_no_metric_and_is_not_asked_and_starts_anew_when_it_is_back() -> Result<()> {
    let (fixture, [_goods, other]) = serving(Reply::ok("other")).await?;
    assert_none_failed(&Load::get(fixture.gateway.address(), "/other").run_count(200).await);
    assert!(series(&fixture, "other").await?.len() >= 4, "{:#?}", series(&fixture, "other").await?);
    let requests = [r#"service="other""#, r#"status="200""#];
    wait_counted(&fixture, &requests, 200.0).await?;

    fixture.gateway.reload(&GatewayOptions::default()).await?;
    assert_eq!(fixture.status("/other").await?, 404);
    wait_no_series(&fixture, "other").await?;
    let shown = fixture.gateway.admin("/services").await?.json()?;
    assert_eq!(shown["without_route"], json!(["other"]), "{shown}");
    // One question may have been under way.
    sleep(Duration::from_millis(300)).await;
    let asked = other.count();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(other.count(), asked, "it is asked by the gateway that has no route to it");
    wait_no_series(&fixture, "other").await?;
    assert!(!series(&fixture, "goods").await?.is_empty());

    fixture.gateway.reload(&both()).await?;
    assert_eq!(fixture.status("/other").await?, 200);
    wait_counted(&fixture, &requests, 1.0).await?;
    let shown = fixture.gateway.admin("/services").await?.json()?;
    assert_eq!(shown["without_route"], json!([]), "{shown}");
    other.wait_count(asked + 4, PATIENCE).await
}

#[tokio::test]
async fn a_request_in_flight_brings_no_metric_of_its_removed_service_back() -> Result<()> {
    let (fixture, [_goods, other]) = serving(late(Duration::from_millis(1_500))).await?;
    let address = fixture.gateway.address();
    let slow = tokio::spawn(async move { http::get(address, "/other").await });
    eventually("it is in flight", PATIENCE, async || {
        ensure!(other.requests().iter().any(|request| request.target == "/other"), "it is not");
        Ok(())
    })
    .await?;
    fixture.gateway.reload(&GatewayOptions::default()).await?;
    assert!(!slow.is_finished(), "it was to last longer than the reload: nothing is shown");
    assert_eq!(slow.await??.status, 200);
    wait_no_series(&fixture, "other").await?;
    sleep(Duration::from_millis(300)).await;
    wait_no_series(&fixture, "other").await
}

#[tokio::test]
async fn what_registers_while_its_service_has_no_route_is_there_when_it_has_one() -> Result<()> {
    let fixture = Fixture::start(&GatewayOptions::default()).await?;
    for turn in 0..3 {
        let instance = format!("new-{turn}");
        let _backend = fixture.backend("other", &instance, Reply::ok("")).await?;
        fixture.gateway.reload(&two()).await?;
        let instances = fixture.gateway.services().await?.instances("other").len();
        assert_eq!(instances, turn + 1);
        assert_none_failed(&Load::get(fixture.gateway.address(), "/other").run_count(150).await);
        let up =
            fixture.gateway.metric("leaseway_endpoints", &[r#"service="other""#, r#"state="up""#]).await?;
        assert!(up >= 1.0, "{up} are up");
        fixture.gateway.reload(&GatewayOptions::default()).await?;
        wait_no_series(&fixture, "other").await?;
    }
    Ok(())
}

#[tokio::test]
async fn no_request_fails_while_another_service_comes_and_goes() -> Result<()> {
    let (fixture, [goods, _other]) = serving(Reply::ok("other")).await?;
    let load = Load::get(fixture.gateway.address(), "/goods").rate(300).start();
    load.wait_begun(100, PATIENCE).await?;
    let opened = goods.connections().accepted;
    for turn in 0..20 {
        let options = if turn % 2 == 0 { GatewayOptions::default() } else { both() };
        fixture.gateway.reload(&options).await?;
        let expected = if turn % 2 == 0 { 404 } else { 200 };
        assert_eq!(fixture.status("/other").await?, expected);
    }
    let outcome = load.stop().await;
    assert_none_failed(&outcome);
    assert_eq!(outcome.status(200), outcome.sent);
    let more = goods.connections().accepted - opened;
    assert!(more <= 16, "{more} connections to its instance were opened");
    Ok(())
}
