//! What a reload changes at once, without a restart.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use harness::{
    backend::{Backend, Behaviour, Reply},
    http::{self, Connection, Request},
    load::Load,
    stack::{GatewayOptions, Services},
    wait::eventually,
};
use serde_json::{Value, json};

use super::{Fixture, goods_set, goods_with, late};
use crate::{PATIENCE, assert_none_failed};

/// A gateway before one backend that answers after this time.
async fn before_one(wait: Duration) -> Result<(Fixture, Backend)> {
    let fixture = Fixture::start(&GatewayOptions::default()).await?;
    let backend = fixture.backend("goods", "1", late(wait)).await?;
    Ok((fixture, backend))
}

/// A gateway before two backends that answer at once.
async fn before_two() -> Result<(Fixture, [Backend; 2])> {
    let fixture = Fixture::start(&GatewayOptions::default()).await?;
    let first = fixture.backend("goods", "1", Reply::ok("hello")).await?;
    let second = fixture.backend("goods", "2", Reply::ok("hello")).await?;
    Ok((fixture, [first, second]))
}

/// What a request gets while another is in flight.
async fn status_beside_another(fixture: &Fixture, backend: &Backend) -> Result<u16> {
    let (address, before) = (fixture.gateway.address(), backend.count());
    let other = tokio::spawn(async move { http::get(address, "/goods").await });
    backend.wait_count(before + 1, PATIENCE).await?;
    let status = fixture.status("/goods").await?;
    assert_eq!(other.await??.status, 200);
    Ok(status)
}

#[tokio::test]
async fn times_change_and_change_back() -> Result<()> {
    let (fixture, _backend) = before_one(Duration::from_millis(500)).await?;
    let whole = GatewayOptions::default().set("gateway/timeouts", json!({ "total": "100ms" }));
    let of_route = goods_with(json!({ "timeouts": { "first_byte": "100ms" } }));
    for (options, expected) in
        [(whole, 504), (GatewayOptions::default(), 200), (of_route, 504), (GatewayOptions::default(), 200)]
    {
        fixture.gateway.reload(&options).await?;
        assert_eq!(fixture.status("/goods").await?, expected, "{options:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_trace_header_changes_in_requests_and_answers() -> Result<()> {
    let (fixture, backend) = before_one(Duration::ZERO).await?;
    for name in ["x-one", "x-two"] {
        fixture.gateway.reload(&GatewayOptions::default().set("gateway/trace_header", name)).await?;
        let (answer, request) = (fixture.gateway.get("/goods").await?, backend.last()?);
        assert!(answer.header(name).is_some(), "{:?}", answer.headers);
        assert_eq!(request.header(name), answer.header(name));
        assert!(answer.header("trace_id").is_none() && request.header("trace_id").is_none());
    }
    Ok(())
}

#[tokio::test]
async fn bounds_of_requests_in_flight_change() -> Result<()> {
    let (fixture, backend) = before_one(Duration::from_millis(500)).await?;
    for (options, expected) in [
        (GatewayOptions::default().set("gateway/max_requests", 1), 503),
        (GatewayOptions::default(), 200),
        (goods_set(json!({ "limits": { "service": 1 } })), 503),
        (GatewayOptions::default(), 200),
        (goods_set(json!({ "limits": { "endpoint": 1 } })), 503),
        (goods_set(json!({ "limits": { "endpoint": 2, "service": 2 } })), 200),
    ] {
        fixture.gateway.reload(&options).await?;
        assert_eq!(status_beside_another(&fixture, &backend).await?, expected, "{options:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_limit_counts_requests_that_began_before_there_was_one() -> Result<()> {
    let (fixture, backend) = before_one(Duration::from_millis(1_500)).await?;
    for options in [
        GatewayOptions::default().set("gateway/max_requests", 1),
        goods_set(json!({ "limits": { "endpoint": 1 } })),
    ] {
        let (address, before) = (fixture.gateway.address(), backend.count());
        let slow = tokio::spawn(async move { http::get(address, "/goods").await });
        backend.wait_count(before + 1, PATIENCE).await?;
        fixture.gateway.reload(&options).await?;
        assert_eq!(fixture.status("/goods").await?, 503, "{options:?}");
        assert_eq!(slow.await??.status, 200);
        assert_eq!(fixture.status("/goods").await?, 200, "{options:?}");
        fixture.gateway.reload(&GatewayOptions::default()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn statuses_that_are_tried_elsewhere_change() -> Result<()> {
    let (fixture, [bad, _good]) = before_two().await?;
    bad.behave(Behaviour::Always(Reply::status(503))).await?;
    let never = json!({ "ejection": "off", "budget": { "per_second": 100_000 } });
    let of = |retry: Value| {
        goods_with(json!({ "retry": retry })).set("gateway/services", json!({ "goods": never.clone() }))
    };
    let get = Load::get(fixture.gateway.address(), "/goods");
    for (retry, reaches_clients) in
        [(json!({}), true), (json!({ "statuses": [503] }), false), (json!({ "attempts": 2 }), true)]
    {
        fixture.gateway.reload(&of(retry.clone())).await?;
        let outcome = get.clone().run_count(100).await;
        assert_eq!(outcome.status(503) > 0, reaches_clients, "{retry}: {:?}", outcome.by_status);
        assert_eq!(outcome.status(200) + outcome.status(503), 100);
    }
    Ok(())
}

#[tokio::test]
async fn the_balance_policy_changes() -> Result<()> {
    let (fixture, _backends) = before_two().await?;
    let served = async || {
        // One after the other, so that nobody has more than his share in flight.
        let outcome = Load::get(fixture.gateway.address(), "/goods").connections(1).run_count(200).await;
        assert_eq!(outcome.failed, 0, "{:?}", outcome.errors);
        anyhow::Ok([outcome.instance("1"), outcome.instance("2")])
    };
    for (balance, expected) in [
        (json!("round_robin"), [100, 100]),
        (json!({ "hash": "path" }), [0, 200]),
        (json!("round_robin"), [100, 100]),
    ] {
        fixture.gateway.reload(&goods_set(json!({ "balance": balance }))).await?;
        let mut served = served().await?;
        served.sort_unstable();
        let close = served.iter().zip(expected).all(|(&served, expected)| served.abs_diff(expected) <= 2);
        assert!(close, "{balance}: {served:?}");
    }
    Ok(())
}

#[tokio::test]
async fn ejection_changes() -> Result<()> {
    let (fixture, [bad, _good]) = before_two().await?;
    bad.behave(Behaviour::Always(Reply::status(500))).await?;
    let ejections = async || fixture.gateway.metric("leaseway_ejections_total", &[]).await;
    let get = Load::get(fixture.gateway.address(), "/goods").connections(1);
    fixture.gateway.reload(&goods_set(json!({ "ejection": "off" }))).await?;
    get.clone().run_count(50).await;
    assert_eq!(ejections().await?, 0.0);
    let at_once = json!({ "ejection": { "failures": 1, "base": "1m", "longest": "1m" } });
    fixture.gateway.reload(&goods_set(at_once)).await?;
    eventually("one failure", PATIENCE, async || {
        ensure!(fixture.gateway.get("/goods").await?.status == 500);
        Ok(())
    })
    .await?;
    // What begins before the directory shows it may still go there.
    let is_ejected =
        |services: &Services| services.endpoints("goods").iter().any(|endpoint| endpoint.state == "ejected");
    fixture.gateway.wait_services(is_ejected).await?;
    let outcome = get.clone().run_count(50).await;
    assert_eq!((outcome.status(500), ejections().await?), (0, 1.0), "{:?}", outcome.by_status);
    Ok(())
}

#[tokio::test]
async fn checks_come_change_and_go() -> Result<()> {
    let (fixture, [bad, good]) = before_two().await?;
    bad.behave(Behaviour::Always(Reply::status(500))).await?;
    let asked = |path: &str| {
        let requests = good.requests();
        requests.iter().filter(|request| request.target == path).count()
    };
    let checked = |path: &str| {
        let check = json!({ "probe": path, "interval": "100ms", "timeout": "100ms", "unhealthy": 2 });
        goods_set(json!({ "check": check, "ejection": "off" }))
    };
    let is = |state: &'static str| {
        move |services: &Services| {
            services.endpoints("goods").iter().any(|e| e.instance == "1" && e.state == state)
        }
    };
    assert_eq!(asked("/one"), 0);
    fixture.gateway.reload(&checked("/one")).await?;
    fixture.gateway.wait_services(is("unhealthy")).await?;
    assert!(asked("/one") > 0);
    let outcome = Load::get(fixture.gateway.address(), "/goods").run_count(200).await;
    assert_none_failed(&outcome);
    assert_eq!(outcome.instance("2"), 200);

    fixture.gateway.reload(&checked("/two")).await?;
    eventually("it is asked at the new path", PATIENCE, async || {
        ensure!(asked("/two") > 2, "{} times", asked("/two"));
        Ok(())
    })
    .await?;
    let before = asked("/one");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(asked("/one"), before, "it is asked at the old path too");

    fixture.gateway.reload(&goods_set(json!({ "ejection": "off" }))).await?;
    fixture.gateway.wait_services(is("up")).await?;
    Ok(())
}

#[tokio::test]
async fn instances_that_serve_need_not_pass_a_check_that_comes_later() -> Result<()> {
    let (fixture, backends) = before_two().await?;
    let load = Load::get(fixture.gateway.address(), "/goods").rate(200).start();
    load.wait_begun(50, PATIENCE).await?;
    let strict = json!({ "probe": "/healthz", "interval": "1h", "initially": "unhealthy" });
    fixture.gateway.reload(&goods_set(json!({ "check": strict }))).await?;
    let services = fixture.gateway.services().await?;
    assert!(services.endpoints("goods").iter().all(|e| e.state == "up"), "{services:?}");
    load.wait_begun(load.begun() + 100, PATIENCE).await?;
    assert_none_failed(&load.stop().await);
    // Who comes now has to pass first.
    let new = Backend::start("3", Reply::status(500)).await?;
    fixture.register("goods", "3", &new).await?;
    let services = fixture.gateway.services().await?;
    let of_new = services.endpoints("goods").iter().find(|e| e.instance == "3");
    assert_eq!(of_new.map(|e| e.state.as_str()), Some("unhealthy"), "{services:?}");
    assert!(backends.iter().all(|backend| backend.count() > 20));
    Ok(())
}

#[tokio::test]
async fn how_long_a_client_may_keep_its_connection_changes() -> Result<()> {
    let (fixture, _backend) = before_one(Duration::ZERO).await?;
    let request = || Request::get("/goods").body(Bytes::new());
    let mut connection = Connection::open(fixture.gateway.address()).await?;
    assert_eq!(connection.send(request()?).await?.status, 200);
    let short = GatewayOptions::default().set("gateway/timeouts", json!({ "keepalive": "1s" }));
    fixture.gateway.reload(&short).await?;
    assert_eq!(connection.send(request()?).await?.status, 200);
    eventually("the connection is closed", PATIENCE, async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        ensure!(!connection.is_open().await, "it is open");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn how_long_a_stop_may_take_changes() -> Result<()> {
    let (mut fixture, backend) = before_one(Duration::from_secs(25)).await?;
    let address = fixture.gateway.address();
    let slow = tokio::spawn(async move { http::get(address, "/goods").await });
    backend.wait_count(1, PATIENCE).await?;
    let hasty = GatewayOptions::default().set("gateway/timeouts", json!({ "drain": "500ms" }));
    fixture.gateway.reload(&hasty).await?;
    fixture.gateway.stop(Duration::from_secs(20)).await?;
    assert!(!slow.await?.is_ok_and(|answer| answer.status == 200));
    Ok(())
}

#[tokio::test]
async fn a_route_leads_elsewhere_at_once() -> Result<()> {
    let fixture = Fixture::start(&GatewayOptions::default()).await?;
    let _goods = fixture.backend("goods", "of-goods", Reply::ok("")).await?;
    let _other = fixture.backend("other", "of-other", Reply::ok("")).await?;
    for (service, instance) in [("other", "of-other"), ("goods", "of-goods"), ("other", "of-other")] {
        fixture.gateway.reload(&GatewayOptions::without_routes().route("/goods", service)).await?;
        let outcome = Load::get(fixture.gateway.address(), "/goods").run_count(100).await;
        assert_eq!((outcome.failed, outcome.instance(instance)), (0, 100), "{outcome:?}");
    }
    Ok(())
}
