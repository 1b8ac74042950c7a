//! Registrations: weights, and records that are not fit for one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::PutOptions;
use harness::{
    backend::{Backend, Reply},
    etcd::{PREFIX, key},
    load::Load,
    stack::{Endpoint, GatewayOptions, Services},
    wait::eventually,
};
use serde_json::json;

use super::{Fixture, assert_own_answer, malformed::PATIENCE};

async fn put_weight(fixture: &Fixture, instance: &str, backend: &Backend, weight: u32) -> Result<()> {
    let value =
        json!({ "address": backend.address().to_string(), "weight": weight, "metadata": { "zone": "a" } });
    fixture.etcd.put(&key("goods", instance), value.to_string()).await?;
    let is_it = |endpoint: &Endpoint| endpoint.instance == instance && endpoint.weight == weight;
    fixture.gateway.wait_services(|services| services.endpoints("goods").iter().any(is_it)).await?;
    Ok(())
}

#[tokio::test]
async fn weight_0_gets_nothing_until_it_is_raised_again() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    let (a, b) = (Backend::start("a", Reply::ok("")).await?, Backend::start("b", Reply::ok("")).await?);
    put_weight(&fixture, "a", &a, 0).await?;
    assert_own_answer(&fixture.gateway.get("/goods").await?, 503)?;

    put_weight(&fixture, "b", &b, 1).await?;
    let services = fixture.gateway.services().await?;
    let states: Vec<_> = services
        .endpoints("goods")
        .iter()
        .map(|endpoint| (endpoint.instance.as_str(), endpoint.state.as_str()))
        .collect();
    assert!(states.contains(&("a", "draining")) && states.contains(&("b", "up")), "{states:?}");
    let load = Load::get(fixture.gateway.address(), "/goods").connections(4);
    let outcome = load.clone().run_count(200).await;
    assert_eq!((outcome.failed, outcome.instance("b"), a.count()), (0, 200, 0));

    put_weight(&fixture, "a", &a, 1).await?;
    let outcome = load.run_count(200).await;
    assert_eq!(outcome.failed, 0);
    assert!(outcome.instance("a") > 50 && outcome.instance("b") > 50, "{:?}", outcome.by_instance);
    Ok(())
}

#[tokio::test]
async fn requests_are_shared_by_weight() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    let (a, b) = (Backend::start("a", Reply::ok("")).await?, Backend::start("b", Reply::ok("")).await?);
    put_weight(&fixture, "a", &a, 100).await?;
    put_weight(&fixture, "b", &b, 300).await?;
    let outcome = Load::get(fixture.gateway.address(), "/goods").connections(8).run_count(4000).await;
    // A quarter of 4,000 drawn at random: the standard deviation is 27; this is more than five of them.
    assert!((850..=1150).contains(&outcome.instance("a")), "{:?}", outcome.by_instance);
    assert_eq!((outcome.failed, outcome.instance("a") + outcome.instance("b")), (0, 4000));
    Ok(())
}

#[tokio::test]
async fn bad_records_are_skipped_counted_warned_of_once_and_heal() -> Result<()> {
    let (fixture, _backend) = Fixture::with_goods().await?;
    let values: [(&str, &[u8]); 14] = [
        ("empty", b""),
        ("text", b"not an address"),
        ("no-port", b"10.0.0.1"),
        ("port-0", b"10.0.0.1:0"),
        ("name", b"localhost:80"),
        ("unspecified", b"0.0.0.0:80"),
        ("any-ipv6", b"[::]:80"),
        ("multicast", b"224.0.0.1:80"),
        ("broadcast", b"255.255.255.255:80"),
        ("link-local", b"169.254.169.254:80"),
        ("invalid-utf-8", b"\xff\xfe"),
        ("half-json", b"{\"address\":"),
        ("heavy", b"{\"address\":\"10.0.0.1:80\",\"weight\":1001}"),
        ("no-address", b"{\"weight\":1}"),
    ];
    for (instance, value) in values {
        fixture.etcd.put(&key("goods", instance), value).await?;
    }
    for stray in ["goods", "goods/a/b", "goods/", "/x"] {
        fixture.etcd.put(&format!("{PREFIX}{stray}"), "10.0.0.1:80").await?;
    }
    let last = fixture.etcd.put(&key("goods", "good"), "[::1]:80").await?;
    fixture.gateway.wait_services(|services| services.revision >= last).await?;
    fixture.gateway.wait_instances("goods", &["0", "good"]).await?;

    let skipped = skipped(&fixture).await?;
    assert!(skipped >= 18.0, "{skipped} skipped records in /metrics");
    for (instance, _) in values {
        let path = key("goods", instance);
        let is_warning = |line: &str| line.contains(&path);
        fixture.gateway.process().wait_for_line(is_warning, Duration::from_secs(5)).await?;
        let warnings = fixture.gateway.process().lines().iter().filter(|line| is_warning(line)).count();
        assert_eq!(warnings, 1, "{path}");
    }

    for (instance, _) in values {
        fixture.etcd.put(&key("goods", instance), "127.0.0.2:80").await?;
    }
    fixture.gateway.wait_services(|services| services.endpoints("goods").len() == 16).await?;
    Ok(())
}

#[tokio::test]
async fn a_record_that_goes_bad_takes_its_endpoint_away_and_no_other() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    let (a, b) = (Backend::start("a", Reply::ok("")).await?, Backend::start("b", Reply::ok("")).await?);
    fixture.register("goods", &[&a, &b]).await?;
    fixture.etcd.put(&key("goods", "0"), "nonsense").await?;
    fixture.gateway.wait_instances("goods", &["1"]).await?;
    let outcome = Load::get(fixture.gateway.address(), "/goods").connections(2).run_count(50).await;
    assert_eq!((outcome.failed, outcome.instance("b")), (0, 50));
    fixture.etcd.delete(&key("goods", "0")).await?;
    fixture.etcd.put(&key("goods", "0"), a.address().to_string()).await?;
    fixture.gateway.wait_instances("goods", &["0", "1"]).await?;
    Ok(())
}

#[tokio::test]
async fn records_that_were_bad_before_the_start_are_skipped_too() -> Result<()> {
    let etcd = harness::etcd::Etcd::start().await?;
    etcd.put(&key("goods", "bad"), "nonsense").await?;
    etcd.put(&key("goods", "good"), "127.0.0.2:80").await?;
    let gateway = harness::stack::Gateway::start(&etcd.endpoint(), GatewayOptions::default()).await?;
    gateway.wait_instances("goods", &["good"]).await?;
    let fixture = Fixture { gateway, etcd };
    assert!(skipped(&fixture).await? >= 1.0);
    Ok(())
}

async fn skipped(fixture: &Fixture) -> Result<f64> {
    fixture.gateway.metric("leaseway_registry_skipped_records_total", &[]).await
}

/// Some registrars keep themselves registered by writing their key again and again, each time under a new lease.
#[tokio::test]
async fn a_put_that_changes_nothing_is_no_line_and_its_lease_and_revision_are_shown() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    let is_put = |line: &str| line.contains("endpoint put");
    fixture.gateway.process().wait_for_line(is_put, Duration::from_secs(10)).await?;
    let puts = || fixture.gateway.process().lines().iter().filter(|line| is_put(line)).count();
    let before = puts();
    let mut client = fixture.etcd.client().await?;
    let address = backend.address().to_string();
    let mut last = (0, 0);
    for _ in 0..20 {
        let lease = client.lease_grant(60, None).await?.id();
        let options = Some(PutOptions::new().with_lease(lease));
        let answer = client.put(key("goods", "0"), address.as_str(), options).await?;
        last = (lease, answer.header().context("no header")?.revision());
    }
    let (lease, revision) = (format!("{:x}", last.0), last.1);
    let is_shown = |services: &Services| {
        services.revision >= revision && services.endpoints("goods").iter().all(|e| e.lease == lease)
    };
    fixture.gateway.wait_services(is_shown).await?;
    // A change that comes after them is a line, and theirs would be there by then.
    fixture.etcd.put(&key("goods", "0"), json!({ "address": address, "weight": 2 }).to_string()).await?;
    fixture
        .gateway
        .wait_services(|services| services.endpoints("goods").iter().all(|e| e.weight == 2))
        .await?;
    eventually("the change is a line", Duration::from_secs(10), async || {
        ensure!(puts() > before, "there are {}", puts());
        Ok(())
    })
    .await?;
    assert_eq!(puts(), before + 1);
    Ok(())
}

#[tokio::test]
async fn whoever_writes_much_that_is_no_registration_does_not_fill_the_log() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    for number in 0..60 {
        fixture.etcd.put(&key("goods", &format!("bad-{number}")), "nonsense").await?;
    }
    let skipped = "leaseway_registry_skipped_records_total";
    eventually("each is counted", PATIENCE, async || {
        let count = fixture.gateway.metric(skipped, &[]).await?;
        ensure!(count >= 60.0, "{count} are");
        Ok(())
    })
    .await?;
    let process = fixture.gateway.process();
    process.wait_for_line(|line| line.contains("more records than are told"), PATIENCE).await?;
    let lines = process.lines();
    let told = |text| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!((told("bad-"), told("more records than are told")), (20, 1), "{}", process.tail());
    Ok(())
}
