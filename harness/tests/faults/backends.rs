//! Backends that misbehave while the registry vouches for them.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{
    backend::{Backend, Behaviour, Reply},
    etcd::{Etcd, key},
    load::Load,
    ports::free_address,
    stack::{Gateway, GatewayOptions, Services},
    wait::eventually,
};
use serde_json::json;

use crate::{PATIENCE, assert_none_failed, stack_of};

/// A gateway, its registry, and backends registered as instances `0`, `1`, ... of `goods`.
struct Fixture {
    gateway: Gateway,
    backends: Vec<Backend>,
    etcd: Etcd,
}

impl Fixture {
    async fn start(count: usize, options: GatewayOptions) -> Result<Self> {
        let etcd = Etcd::start().await?;
        let gateway = Gateway::start(&etcd.endpoint(), options).await?;
        let mut backends = Vec::new();
        for number in 0..count {
            let backend = Backend::start(&number.to_string(), Reply::ok("hello")).await?;
            etcd.put(&key("goods", &number.to_string()), backend.address().to_string()).await?;
            backends.push(backend);
        }
        gateway.wait_services(|services| services.endpoints("goods").len() == count).await?;
        Ok(Self { gateway, backends, etcd })
    }

    /// 200 a second.
    fn gets(&self) -> Load {
        Load::get(self.gateway.address(), "/goods").rate(200).connections(32)
    }

    async fn wait_state(&self, instance: &str, state: &str) -> Result<()> {
        self.gateway.wait_services(|services| is_in_state(services, instance, state)).await.map(drop)
    }
}

fn is_in_state(services: &Services, instance: &str, state: &str) -> bool {
    services.endpoints("goods").iter().any(|e| e.instance == instance && e.state == state)
}

/// `goods` below `/goods`, with these attempts and statuses that are tried again.
fn route(retry: serde_json::Value) -> GatewayOptions {
    let routes = json!([{ "path": "/goods", "service": "goods", "retry": retry }]);
    GatewayOptions::default().set("gateway/routes", routes)
}

#[tokio::test]
async fn a_refusing_backend_is_ejected_at_once_and_returns_by_itself() -> Result<()> {
    let fixture = Fixture::start(4, GatewayOptions::default()).await?;
    let load = fixture.gets().start();
    load.wait_begun(50, PATIENCE).await?;
    fixture.backends[0].behave(Behaviour::Refuse).await?;
    fixture.wait_state("0", "ejected").await?;
    let answer = fixture.gateway.admin("/services").await?.text();
    assert!(answer.contains(r#""reason":"refused""#), "{answer}");
    // While it is out, one request in each ejection tries it, and no other does.
    let tries = fixture.gateway.metric("leaseway_retries_total", &[r#"reason="refused""#]).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let more = fixture.gateway.metric("leaseway_retries_total", &[r#"reason="refused""#]).await? - tries;
    assert!(more <= 6.0, "{more} requests were sent to it in 2 s");
    fixture.backends[0].behave(Behaviour::Usual).await?;
    fixture.wait_state("0", "up").await?;
    assert_none_failed(&load.stop().await);
    Ok(())
}

#[tokio::test]
async fn a_backend_that_resets_within_its_answers_is_ejected() -> Result<()> {
    let fixture = Fixture::start(4, GatewayOptions::default()).await?;
    let reset = Reply::Reset(1_000, "begun".into());
    fixture.backends[0].behave(Behaviour::Always(reset)).await?;
    let outcome = fixture.gets().run_for(Duration::from_secs(4)).await;
    // What has begun cannot be taken back: five in a row, and then one for each trial.
    assert!((5..=15).contains(&outcome.failed), "{} failed: {:?}", outcome.failed, outcome.errors);
    assert!(is_in_state(&fixture.gateway.services().await?, "0", "ejected"));
    Ok(())
}

#[tokio::test]
async fn a_backend_that_promises_more_than_it_sends_is_ejected() -> Result<()> {
    let fixture = Fixture::start(4, GatewayOptions::default()).await?;
    let short = Reply::Break(1_000, "begun".into());
    fixture.backends[0].behave(Behaviour::Always(short)).await?;
    let outcome = fixture.gets().run_for(Duration::from_secs(4)).await;
    // Five eject it; the load's fifteen other connections may have a request on it by then.
    assert!((5..=20).contains(&outcome.failed), "{} failed: {:?}", outcome.failed, outcome.errors);
    Ok(())
}

#[tokio::test]
async fn a_status_is_tried_elsewhere_where_the_route_says_so() -> Result<()> {
    let half = || Behaviour::Sometimes { share: 0.5, seed: 7, reply: Reply::status(503) };
    let fixture = Fixture::start(4, route(json!({ "statuses": [503] }))).await?;
    fixture.backends[0].behave(half()).await?;
    let load = fixture.gets().start();
    let retried = async || fixture.gateway.metric("leaseway_retries_total", &[r#"reason="status""#]).await;
    eventually("it has failed often enough", PATIENCE, async || {
        let retried = retried().await?;
        ensure!(retried >= 20.0, "it failed only {retried} times: nothing is shown");
        Ok(())
    })
    .await?;
    let outcome = load.stop().await;
    let failures = retried().await? + outcome.failed as f64;
    assert!((outcome.failed as f64) < 0.02 * failures, "{} of {failures} reached a client", outcome.failed);
    Ok(())
}

#[tokio::test]
async fn a_status_is_the_answer_where_the_route_does_not() -> Result<()> {
    let fixture = Fixture::start(2, GatewayOptions::default()).await?;
    let half = Behaviour::Sometimes { share: 0.5, seed: 7, reply: Reply::status(503) };
    fixture.backends[0].behave(half).await?;
    let outcome = fixture.gets().run_for(Duration::from_secs(2)).await;
    assert!(outcome.status(503) > 10, "{:?}", outcome.by_status);
    assert_eq!(fixture.gateway.metric("leaseway_retries_total", &[]).await?, 0.0);
    Ok(())
}

#[tokio::test]
async fn a_post_is_not_tried_elsewhere_for_its_status() -> Result<()> {
    let fixture = Fixture::start(2, route(json!({ "statuses": [503] }))).await?;
    for backend in &fixture.backends {
        backend.behave(Behaviour::Always(Reply::status(503))).await?;
    }
    let outcome = Load::post(fixture.gateway.address(), "/goods", "order").connections(2).run_count(20).await;
    assert_eq!(outcome.status(503), 20);
    assert_eq!(fixture.backends.iter().map(Backend::count).sum::<usize>(), 20);
    Ok(())
}

#[tokio::test]
async fn when_all_fail_all_are_used_and_the_errors_come_at_once() -> Result<()> {
    let fixture = Fixture::start(4, GatewayOptions::default()).await?;
    for backend in &fixture.backends {
        backend.behave(Behaviour::Refuse).await?;
    }
    let outcome = fixture.gets().run_for(Duration::from_secs(3)).await;
    assert_eq!(outcome.status(502), outcome.sent, "{:?}", outcome.by_status);
    assert!(outcome.latency(1.0) < PATIENCE / 10, "{:?}", outcome.latency(1.0));
    assert_eq!(fixture.gateway.metric("leaseway_balance_panic", &[r#"service="goods""#]).await?, 1.0);
    // The budget: 20 % of the requests, and 10 a second of ten seconds. What was refused before it was known
    // that all are dead went elsewhere without it.
    let (retries, free) = (fixture.gateway.metric("leaseway_retries_total", &[]).await?, 30.0);
    assert!(retries <= 0.2 * outcome.sent as f64 + 100.0 + free, "{retries} retries of {}", outcome.sent);
    assert!(fixture.gateway.metric("leaseway_retries_denied_total", &[]).await? > 0.0);
    for backend in &fixture.backends {
        backend.behave(Behaviour::Usual).await?;
    }
    let load = fixture.gets().start();
    let up = |services: &Services| services.endpoints("goods").iter().all(|e| e.state == "up");
    fixture.gateway.wait_services(up).await?;
    assert_none_failed(&{
        load.wait_begun(200, PATIENCE).await?;
        load.stop().await
    });
    Ok(())
}

#[tokio::test]
async fn idle_connections_that_are_closed_at_random_cost_nothing() -> Result<()> {
    let fixture = Fixture::start(3, GatewayOptions::default()).await?;
    for (seed, backend) in (0..).zip(&fixture.backends) {
        backend.behave(Behaviour::CloseIdle { within: Duration::from_millis(20), seed }).await?;
    }
    assert_none_failed(&fixture.gets().run_for(Duration::from_secs(4)).await);
    assert_eq!(fixture.gateway.metric("leaseway_ejections_total", &[]).await?, 0.0);
    Ok(())
}

#[tokio::test]
async fn what_is_beyond_a_limit_is_declined_at_once() -> Result<()> {
    for (key, value, limit) in [
        ("gateway/services", json!({ "goods": { "limits": { "endpoint": 2 } } }), "endpoint"),
        ("gateway/services", json!({ "goods": { "limits": { "service": 4 } } }), "service"),
        ("gateway/max_requests", json!(4), "gateway"),
    ] {
        let fixture = Fixture::start(2, GatewayOptions::default().set(key, value)).await?;
        for backend in &fixture.backends {
            let slow = Reply::After(Duration::from_secs(1), Box::new(Reply::ok("")));
            backend.behave(Behaviour::Always(slow)).await?;
        }
        let outcome =
            Load::get(fixture.gateway.address(), "/goods").rate(50).run_for(Duration::from_secs(2)).await;
        assert!(outcome.status(200) >= 4 && outcome.status(503) > 10, "{limit}: {:?}", outcome.by_status);
        let labels = [format!(r#"limit="{limit}""#)];
        let labels = labels.each_ref().map(String::as_str);
        let limited = fixture.gateway.metric("leaseway_limited_total", &labels).await?;
        assert_eq!(limited, outcome.status(503) as f64, "{limit}");
        assert!(fixture.backends.iter().map(Backend::count).sum::<usize>() <= 16, "{limit}");
    }
    Ok(())
}

#[tokio::test]
async fn a_limited_request_is_told_when_to_come_again() -> Result<()> {
    let options = GatewayOptions::default().set("gateway/max_requests", 1);
    let fixture = Fixture::start(1, options).await?;
    fixture.backends[0].script([Reply::After(Duration::from_secs(3), Box::new(Reply::ok("")))]);
    let (slow, declined) = tokio::join!(fixture.gateway.get("/goods"), async {
        fixture.backends[0].wait_count(1, PATIENCE).await?;
        fixture.gateway.get("/goods").await
    });
    let declined = declined?;
    assert_eq!((slow?.status, declined.status), (200, 503));
    assert_eq!(declined.header("retry-after"), Some("1"));
    Ok(())
}

#[tokio::test]
async fn a_request_ends_with_its_whole_time() -> Result<()> {
    let routes = json!([{ "path": "/goods", "service": "goods", "timeouts": { "total": "500ms" } }]);
    let fixture = Fixture::start(2, GatewayOptions::default().set("gateway/routes", routes)).await?;
    for backend in &fixture.backends {
        backend.behave(Behaviour::Always(Reply::Hang)).await?;
    }
    let started = std::time::Instant::now();
    assert_eq!(fixture.gateway.get("/goods").await?.status, 504);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(fixture.gateway.metric("leaseway_ejections_total", &[]).await?, 0.0);
    Ok(())
}

#[tokio::test]
async fn an_address_that_another_service_uses_now_gets_nothing_of_the_former() -> Result<()> {
    let routes = json!([
        { "path": "/goods", "service": "goods" },
        { "path": "/other", "service": "other" },
    ]);
    let fixture = Fixture::start(2, GatewayOptions::default().set("gateway/routes", routes)).await?;
    let load = fixture.gets().start();
    load.wait_begun(100, PATIENCE).await?;
    let moved = fixture.backends[0].address().to_string();
    fixture.etcd.put(&key("other", "x"), moved).await?;
    fixture.etcd.put(&key("goods", "0"), fixture.backends[1].address().to_string()).await?;
    let has_moved = |services: &Services| {
        let elsewhere = services.endpoints("goods").iter().all(|e| e.address != services_address(&fixture));
        elsewhere && services.endpoints("other").len() == 1
    };
    fixture.gateway.wait_services(has_moved).await?;
    load.stop().await;
    let of_goods = || {
        let requests = fixture.backends[0].requests();
        requests.iter().filter(|request| request.target == "/goods").count()
    };
    let before = of_goods();
    let goods = Load::get(fixture.gateway.address(), "/goods").run_count(5_000);
    let other = Load::get(fixture.gateway.address(), "/other").run_count(5_000);
    let (goods, other) = tokio::join!(goods, other);
    assert_eq!((goods.failed, goods.instance("1")), (0, 5_000), "{:?}", goods.errors);
    assert_eq!((other.failed, other.instance("0")), (0, 5_000), "{:?}", other.errors);
    assert_eq!(of_goods(), before, "requests of goods reached the instance of other");
    Ok(())
}

fn services_address(fixture: &Fixture) -> String {
    fixture.backends[0].address().to_string()
}

#[tokio::test]
async fn the_access_log_names_each_failed_attempt_and_why() -> Result<()> {
    let fixture = Fixture::start(1, GatewayOptions::default()).await?;
    fixture.etcd.put(&key("goods", "dead"), free_address()?.to_string()).await?;
    fixture.gateway.wait_instances("goods", &["0", "dead"]).await?;
    let outcome = Load::get(fixture.gateway.address(), "/goods").connections(1).run_count(50).await;
    assert_eq!(outcome.failed, 0, "{:?}", outcome.errors);
    let names_it = |line: &str| {
        line.contains(r#""failed":[{"#) && line.contains(r#""instance":"dead""#) && line.contains("refused")
    };
    fixture.gateway.process().wait_for_line(names_it, PATIENCE).await?;
    Ok(())
}

#[tokio::test]
async fn a_frozen_backend_is_ejected_its_gets_move_on_and_it_returns() -> Result<()> {
    let fixture = Fixture::start(5, GatewayOptions::default()).await?;
    let load = fixture.gets().start();
    load.wait_begun(400, PATIENCE).await?;
    fixture.backends[0].behave(Behaviour::Freeze).await?;
    fixture.wait_state("0", "ejected").await?;
    let answer = fixture.gateway.admin("/services").await?.text();
    assert!(answer.contains(r#""reason":"stalled""#), "{answer}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    fixture.backends[0].behave(Behaviour::Usual).await?;
    fixture.wait_state("0", "up").await?;
    let outcome = load.stop().await;
    assert_none_failed(&outcome);
    assert!(outcome.latency(1.0) < PATIENCE, "{:?}", outcome.latency(1.0));
    let moved = fixture.gateway.metric("leaseway_retries_total", &[r#"reason="stalled""#]).await?;
    assert!(moved >= 3.0, "only {moved} requests moved elsewhere");
    Ok(())
}

#[tokio::test]
async fn a_service_that_stands_still_as_a_whole_is_waited_for() -> Result<()> {
    let fixture = Fixture::start(3, GatewayOptions::default()).await?;
    let load = fixture.gets().start();
    load.wait_begun(400, PATIENCE).await?;
    for backend in &fixture.backends {
        backend.behave(Behaviour::Freeze).await?;
    }
    // Longer than three attempts would wait for a stall each.
    tokio::time::sleep(Duration::from_secs(5)).await;
    for backend in &fixture.backends {
        backend.behave(Behaviour::Usual).await?;
    }
    load.wait_begun(load.begun() + 200, PATIENCE).await?;
    assert_none_failed(&load.stop().await);
    Ok(())
}

#[tokio::test]
async fn stopped_goods_cost_no_get() -> Result<()> {
    let stack = stack_of(5).await?;
    let load = Load::get(stack.gateway.address(), "/goods/list").rate(200).connections(32).start();
    load.wait_begun(400, PATIENCE).await?;
    // Its registrar is stopped too: its lease runs out, and it registers again.
    stack.goods[0].process().freeze()?;
    let is_out = |services: &Services| !is_in_state(services, "goods-1", "up");
    stack.gateway.wait_services(is_out).await?;
    stack.goods[0].process().thaw()?;
    stack.gateway.wait_services(|services| is_in_state(services, "goods-1", "up")).await?;
    assert_none_failed(&load.stop().await);
    Ok(())
}

#[tokio::test]
async fn a_slow_backend_is_slow_and_not_ejected() -> Result<()> {
    let fixture = Fixture::start(2, GatewayOptions::default()).await?;
    for backend in &fixture.backends {
        let usual = Reply::After(Duration::from_millis(20), Box::new(Reply::ok("")));
        backend.behave(Behaviour::Always(usual)).await?;
    }
    assert_none_failed(&fixture.gets().run_for(Duration::from_secs(1)).await);
    let slow = Reply::After(Duration::from_millis(200), Box::new(Reply::ok("")));
    fixture.backends[0].behave(Behaviour::Always(slow)).await?;
    let outcome =
        Load::get(fixture.gateway.address(), "/goods").rate(100).run_for(Duration::from_secs(3)).await;
    assert_none_failed(&outcome);
    assert_eq!(fixture.gateway.metric("leaseway_ejections_total", &[]).await?, 0.0);
    Ok(())
}

#[tokio::test]
async fn a_first_byte_that_does_not_come_in_time_is_a_504() -> Result<()> {
    let routes = json!([{ "path": "/goods", "service": "goods", "timeouts": { "first_byte": "300ms" } }]);
    let fixture = Fixture::start(1, GatewayOptions::default().set("gateway/routes", routes)).await?;
    fixture.backends[0].behave(Behaviour::Always(Reply::Hang)).await?;
    assert_eq!(fixture.gateway.get("/goods").await?.status, 504);
    // The body's pace is another clock.
    let slow_end = Reply::Stall(10, "begun".into());
    fixture.backends[0].behave(Behaviour::Always(slow_end)).await?;
    let began = tokio::time::timeout(Duration::from_secs(1), fixture.gateway.get("/goods")).await;
    assert!(began.is_err(), "an answer that had begun was broken off: {began:?}");
    Ok(())
}

/// `goods`, asked ten times a second at `/healthz`.
fn checked(initially: &str) -> GatewayOptions {
    let check = json!({
        "probe": "/healthz", "interval": "100ms", "timeout": "100ms",
        "healthy": 3, "unhealthy": 2, "initially": initially,
    });
    GatewayOptions::default().set("gateway/services", json!({ "goods": { "check": check } }))
}

/// How many requests of clients have reached it, and how many of the gateway's own.
fn requests_and_checks(backend: &Backend) -> (usize, usize) {
    let requests = backend.requests();
    let checks = requests.iter().filter(|request| request.target == "/healthz").count();
    (requests.len() - checks, checks)
}

#[tokio::test]
async fn a_backend_that_fails_its_checks_gets_nothing_until_it_has_passed_them() -> Result<()> {
    let fixture = Fixture::start(2, checked("up")).await?;
    fixture.backends[0].behave(Behaviour::Always(Reply::status(500))).await?;
    fixture.wait_state("0", "unhealthy").await?;
    let outcome = fixture.gets().run_for(Duration::from_secs(2)).await;
    assert_none_failed(&outcome);
    assert_eq!(outcome.instance("1"), outcome.sent, "{:?}", outcome.by_status);
    let (requests, checks) = requests_and_checks(&fixture.backends[0]);
    assert_eq!(requests, 0);
    assert!(is_in_state(&fixture.gateway.services().await?, "0", "unhealthy"));
    fixture.backends[0].behave(Behaviour::Usual).await?;
    fixture.wait_state("0", "up").await?;
    let more = requests_and_checks(&fixture.backends[0]).1 - checks;
    assert!(more >= 3, "up after {more} checks");
    let outcome = fixture.gets().run_for(Duration::from_secs(1)).await;
    assert_none_failed(&outcome);
    assert!(outcome.instance("0") > 0, "it is used again");
    Ok(())
}

#[tokio::test]
async fn a_new_backend_that_is_to_pass_first_gets_nothing_before() -> Result<()> {
    let fixture = Fixture::start(1, checked("unhealthy")).await?;
    fixture.wait_state("0", "up").await?;
    let new =
        [Backend::start("1", Reply::ok("hello")).await?, Backend::start("2", Reply::ok("hello")).await?];
    for backend in &new {
        backend.behave(Behaviour::Always(Reply::status(500))).await?;
    }
    let load = fixture.gets().start();
    load.wait_begun(50, PATIENCE).await?;
    for (id, backend) in ["1", "2"].into_iter().zip(&new) {
        fixture.etcd.put(&key("goods", id), backend.address().to_string()).await?;
        // It is asked at once, and again.
        backend.wait_count(5, PATIENCE).await?;
    }
    assert_eq!(new.each_ref().map(|backend| requests_and_checks(backend).0), [0, 0]);
    new[0].behave(Behaviour::Usual).await?;
    fixture.wait_state("1", "up").await?;
    assert_eq!(requests_and_checks(&new[1]).0, 0);
    assert_none_failed(&load.stop().await);
    Ok(())
}
