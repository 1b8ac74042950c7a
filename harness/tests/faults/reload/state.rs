//! What a reload leaves as it is: requests in flight, connections, and what is known of endpoints.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use harness::{
    backend::{Backend, Behaviour, Reply},
    etcd::{Etcd, key},
    http::{self, Connection, Request},
    load::Load,
    stack::{Gateway, GatewayOptions, Services},
    wait::eventually,
};
use serde_json::{Value, json};

use super::{Fixture, goods_set, goods_with, late, two};
use crate::{PATIENCE, assert_none_failed};

/// What changes everything that is said of `goods` in this file, and nothing that a test of it looks at.
fn otherwise() -> GatewayOptions {
    let settings = json!({
        "balance": "least_request",
        "limits": { "endpoint": 1_000, "service": 1_000 },
        "budget": { "percent": 50 },
        "stall": { "floor": "5s" },
    });
    let timeouts = json!({ "connect": "900ms", "idle": "55s", "pool": "25s", "write": "20s", "body": "20s" });
    two()
        .set("gateway/services", json!({ "goods": settings }))
        .set("gateway/timeouts", timeouts)
        .set("gateway/trace_header", "x-other-trace")
}

/// What `/services` shows of the first endpoint of a service.
async fn endpoint(fixture: &Fixture, service: &str) -> Result<Value> {
    let shown = fixture.gateway.admin("/services").await?.json()?;
    let endpoint = shown["services"][service].get(0).cloned();
    endpoint.with_context(|| format!("/services shows {shown}"))
}

fn has_state(services: &Services, instance: &str, state: &str) -> bool {
    services.endpoints("goods").iter().any(|e| e.instance == instance && e.state == state)
}

/// `goods` alone, which answers after a second and a half, and a POST that it has.
async fn with_a_post_in_flight(
    options: &GatewayOptions,
) -> Result<(Fixture, Backend, tokio::task::JoinHandle<Result<http::Answer>>)> {
    let fixture = Fixture::start(options).await?;
    let backend = fixture.backend("goods", "1", late(Duration::from_millis(1_500))).await?;
    let address = fixture.gateway.address();
    let post = Request::post("/goods").body(Bytes::from_static(b"order"))?;
    let post = tokio::spawn(async move { http::send(address, post).await });
    backend.wait_count(1, PATIENCE).await?;
    Ok((fixture, backend, post))
}

#[tokio::test]
async fn a_request_in_flight_keeps_the_times_and_the_trace_header_that_it_began_with() -> Result<()> {
    let (fixture, _backend, post) = with_a_post_in_flight(&GatewayOptions::default()).await?;
    let hasty = goods_with(json!({ "timeouts": { "total": "300ms" } })).set("gateway/trace_header", "x-new");
    fixture.gateway.reload(&hasty).await?;
    assert!(!post.is_finished(), "it was to last longer than the reload: nothing is shown");
    let new = fixture.gateway.get("/goods").await?;
    assert!(new.status == 504 && new.header("x-new").is_some(), "{new:?}");
    let old = post.await??;
    assert_eq!((old.status, old.text().as_str()), (200, "late"));
    assert!(old.header("trace_id").is_some() && old.header("x-new").is_none(), "{:?}", old.headers);
    Ok(())
}

#[tokio::test]
async fn a_request_in_flight_is_not_given_more_time_than_it_began_with() -> Result<()> {
    let hasty = goods_with(json!({ "timeouts": { "total": "1s" } }));
    let (fixture, _backend, post) = with_a_post_in_flight(&hasty).await?;
    fixture.gateway.reload(&GatewayOptions::default()).await?;
    assert!(!post.is_finished(), "it was to last longer than the reload: nothing is shown");
    assert_eq!(post.await??.status, 504);
    assert_eq!(fixture.status("/goods").await?, 200);
    Ok(())
}

#[tokio::test]
async fn a_request_whose_route_is_removed_finishes() -> Result<()> {
    let (fixture, _backend, post) = with_a_post_in_flight(&two()).await?;
    fixture.gateway.reload(&GatewayOptions::without_routes().route("/other", "other")).await?;
    assert!(!post.is_finished(), "it was to last longer than the reload: nothing is shown");
    assert_eq!(fixture.status("/goods").await?, 404);
    assert_eq!(post.await??.text(), "late");
    Ok(())
}

#[tokio::test]
async fn connections_of_clients_and_to_instances_outlast_reloads() -> Result<()> {
    let fixture = Fixture::start(&GatewayOptions::default()).await?;
    let backend = fixture.backend("goods", "1", Reply::ok("hello")).await?;
    let mut client = Connection::open(fixture.gateway.address()).await?;
    let mut ask = async || client.send(Request::get("/goods").body(Bytes::new())?).await.context("asking");
    assert_eq!(ask().await?.status, 200);
    for options in [otherwise(), GatewayOptions::default(), otherwise()] {
        fixture.gateway.reload(&options).await?;
        let answer = ask().await?;
        assert!(answer.status == 200 && !answer.closes(), "{answer:?}");
    }
    assert_eq!(backend.connections().accepted, 1, "the connection to the instance was not used again");
    Ok(())
}

#[tokio::test]
async fn connections_of_clients_and_to_instances_outlast_reloads_under_load() -> Result<()> {
    let fixture = Fixture::start(&GatewayOptions::default()).await?;
    let backend = fixture.backend("goods", "1", Reply::ok("hello")).await?;
    let load = Load::get(fixture.gateway.address(), "/goods").rate(200).connections(4).start();
    load.wait_begun(100, PATIENCE).await?;
    for turn in 0..6 {
        let options = if turn % 2 == 0 { otherwise() } else { GatewayOptions::default() };
        fixture.gateway.reload(&options).await?;
        load.wait_begun(load.begun() + 50, PATIENCE).await?;
    }
    let outcome = load.stop().await;
    assert_none_failed(&outcome);
    assert_eq!(outcome.repeated, 0, "a kept connection was closed");
    let accepted = backend.connections().accepted;
    assert!(accepted <= 4, "{accepted} connections were opened for four clients");
    Ok(())
}

#[tokio::test]
async fn what_is_known_of_an_endpoint_outlasts_reloads() -> Result<()> {
    let fixture = Fixture::start(&GatewayOptions::default()).await?;
    let backend = fixture.backend("goods", "1", Reply::ok("hello")).await?;
    assert_none_failed(&Load::get(fixture.gateway.address(), "/goods").run_count(200).await);
    backend.script([Reply::status(500), late(Duration::from_secs(2))]);
    assert_eq!(fixture.status("/goods").await?, 500);
    let address = fixture.gateway.address();
    let slow = tokio::spawn(async move { http::get(address, "/goods").await });
    backend.wait_count(202, PATIENCE).await?;

    let before = endpoint(&fixture, "goods").await?;
    assert!(before["usual_latency_ms"].is_number() && before["last_failure"].is_object(), "{before}");
    assert_eq!(before["in_flight"], 1);
    fixture.gateway.reload(&otherwise()).await?;
    fixture.gateway.reload(&GatewayOptions::default()).await?;
    let after = endpoint(&fixture, "goods").await?;
    assert!(!slow.is_finished(), "it was to last longer than the reloads: nothing is shown");
    assert_eq!(before, after);
    assert_eq!(slow.await??.status, 200);
    eventually("it is no longer counted", PATIENCE, async || {
        let in_flight = endpoint(&fixture, "goods").await?["in_flight"].take();
        ensure!(in_flight == 0, "{in_flight} are in flight");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn counters_go_on_over_reloads() -> Result<()> {
    let fixture = Fixture::start(&GatewayOptions::default()).await?;
    let _backend = fixture.backend("goods", "1", Reply::ok("hello")).await?;
    let counted = async || {
        let labels = [r#"service="goods""#];
        let requests = fixture.gateway.metric("leaseway_requests_total", &labels).await?;
        let timed = fixture.gateway.metric("leaseway_request_duration_seconds_count", &labels).await?;
        anyhow::Ok((requests, timed))
    };
    for turn in 1..=4_u32 {
        let options = if turn % 2 == 0 { GatewayOptions::default() } else { otherwise() };
        fixture.gateway.reload(&options).await?;
        for _ in 0..10 {
            assert_eq!(fixture.status("/goods").await?, 200);
        }
        let expected = f64::from(10 * turn);
        // A request is counted when its answer has been sent.
        eventually("all are counted", PATIENCE, async || {
            let counted = counted().await?;
            ensure!(counted == (expected, expected), "{counted:?} in place of {expected}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_ejected_endpoint_stays_so_over_reloads_until_ejection_is_turned_off() -> Result<()> {
    let long = |balance: &str| {
        goods_set(json!({ "ejection": { "base": "1m", "longest": "1h" }, "balance": balance }))
    };
    let fixture = Fixture::start(&long("random")).await?;
    let mut backends = Vec::new();
    for instance in ["1", "2", "3"] {
        backends.push(fixture.backend("goods", instance, Reply::ok("hello")).await?);
    }
    backends[0].behave(Behaviour::Refuse).await?;
    let load = Load::get(fixture.gateway.address(), "/goods").rate(100).start();
    fixture.gateway.wait_services(|services| has_state(services, "1", "ejected")).await?;
    load.wait_begun(150, PATIENCE).await?;
    assert_none_failed(&load.stop().await);
    backends[0].behave(Behaviour::Usual).await?;
    let before = backends[0].count();

    fixture.gateway.reload(&long("random").route("/more", "goods")).await?;
    fixture.gateway.reload(&long("ewma").set("gateway/trace_header", "x-new")).await?;
    assert!(has_state(&fixture.gateway.services().await?, "1", "ejected"));
    assert_none_failed(&Load::get(fixture.gateway.address(), "/goods").run_count(200).await);
    assert_eq!(backends[0].count(), before, "it was used while it was ejected");

    fixture.gateway.reload(&goods_set(json!({ "ejection": "off" }))).await?;
    fixture.gateway.wait_services(|services| has_state(services, "1", "up")).await?;
    assert_none_failed(&Load::get(fixture.gateway.address(), "/goods").run_count(200).await);
    assert!(backends[0].count() > before, "it is used again");
    Ok(())
}

#[tokio::test]
async fn an_unhealthy_endpoint_stays_so_over_reloads_until_its_check_is_removed() -> Result<()> {
    let checked = |balance: &str| {
        let check = json!({ "probe": "/healthz", "interval": "100ms", "timeout": "100ms", "unhealthy": 2 });
        goods_set(json!({ "check": check, "balance": balance }))
    };
    let fixture = Fixture::start(&checked("random")).await?;
    let bad = fixture.backend("goods", "bad", Reply::status(500)).await?;
    let _good = fixture.backend("goods", "good", Reply::ok("hello")).await?;
    fixture.gateway.wait_services(|services| has_state(services, "bad", "unhealthy")).await?;
    for options in [checked("round_robin").route("/more", "goods"), checked("random")] {
        fixture.gateway.reload(&options).await?;
        assert!(has_state(&fixture.gateway.services().await?, "bad", "unhealthy"));
    }
    let asked = bad.count();
    bad.wait_count(asked + 3, PATIENCE).await.context("it is still asked")?;

    fixture.gateway.reload(&GatewayOptions::default()).await?;
    fixture.gateway.wait_services(|services| has_state(services, "bad", "up")).await?;
    // One question may have been under way.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let asked = bad.count();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bad.count(), asked, "it is asked without a check");
    Ok(())
}

#[tokio::test]
async fn a_slow_start_goes_on_over_reloads() -> Result<()> {
    let slowly = |more: &str| goods_set(json!({ "slow_start": "1h" })).set("gateway/trace_header", more);
    let etcd = Etcd::start().await?;
    // Whoever is in the first list has its whole share at once.
    let old = Backend::start("old", Reply::ok("hello")).await?;
    etcd.put(&key("goods", "old"), old.address().to_string()).await?;
    let gateway = Gateway::start(&etcd.endpoint(), slowly("a")).await?;
    let fixture = Fixture { gateway, registry: etcd.client().await? };
    let _new = fixture.backend("goods", "new", Reply::ok("hello")).await?;
    let share = async || {
        let outcome = Load::get(fixture.gateway.address(), "/goods").run_count(1_000).await;
        assert_none_failed(&outcome);
        anyhow::Ok(outcome.instance("new"))
    };
    let before = share().await?;
    fixture.gateway.reload(&slowly("b").route("/more", "goods")).await?;
    // A tenth beside a whole share is a ninth.
    for new in [before, share().await?] {
        assert!((30..=180).contains(&new), "it got {new} of 1,000");
    }
    fixture.gateway.reload(&GatewayOptions::default()).await?;
    let new = share().await?;
    assert!((400..=600).contains(&new), "without a slow start it got {new} of 1,000");
    Ok(())
}
