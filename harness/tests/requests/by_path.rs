//! Routes whose paths name services: `/{service}`.

use anyhow::{Result, ensure};
use harness::{
    backend::{Backend, Behaviour, Reply},
    etcd::key,
    http::Answer,
    load::Load,
    stack::{Gateway, GatewayOptions},
    wait::eventually,
};
use serde_json::{Value, json};

use super::{Fixture, assert_own_answer, malformed::PATIENCE};

/// `/goods` as ever, and a route to whatever is registered as `shop-...` or `carts`, so many at most.
fn options(most: usize) -> GatewayOptions {
    with_route(
        json!({ "name": "by path", "path": "/{service}", "max_services": most }),
        json!(["shop-*", "carts"]),
    )
}

fn with_route(mut route: Value, allowed: Value) -> GatewayOptions {
    route["services_allowed"] = allowed;
    without_it().set("gateway/routes", json!([{ "path": "/goods", "service": "goods" }, route]))
}

fn without_it() -> GatewayOptions {
    GatewayOptions::default().set("gateway/registry/guard", json!({ "window": "100ms", "hold": "1s" }))
}

impl Fixture {
    async fn put(&self, service: &str, backend: &Backend) -> Result<()> {
        self.etcd.put(&key(service, "a"), backend.address().to_string()).await?;
        Ok(())
    }
}

async fn wait_status(gateway: &Gateway, path: &str, status: u16) -> Result<()> {
    eventually("the answer is as awaited", PATIENCE, async || {
        let found = gateway.get(path).await?.status;
        ensure!(found == status, "{path}: {found}");
        Ok(())
    })
    .await
}

/// An answer as it came, but for its trace id and the time.
fn shown(answer: &Answer) -> String {
    let trace = answer.header("trace_id").unwrap_or_default().to_owned();
    let headers: Vec<_> = answer.headers.iter().filter(|(name, _)| *name != "date").collect();
    format!("{} {headers:?} {}", answer.status, answer.text()).replace(&trace, "TRACE")
}

#[tokio::test]
async fn whoever_registers_under_an_allowed_name_is_reached_by_its_path_as_the_client_wrote_it() -> Result<()>
{
    let fixture = Fixture::start(options(100)).await?;
    let gateway = &fixture.gateway;
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    fixture.put("shop-a", &backend).await?;
    wait_status(gateway, "/shop-a", 200).await?;
    for path in ["/shop-a", "/shop-a/", "/shop-a/7%2F8?x=1&y", "/shop-a/../shop-a/b", "/x/../shop-a"] {
        assert_eq!(gateway.get(path).await?.status, 200);
        assert_eq!(backend.last()?.target, path);
    }
    let labels = ["service=\"shop-a\"", "status=\"200\""];
    assert!(gateway.metric("leaseway_requests_total", &labels).await? >= 5.0);
    let page: Value = gateway.admin("/services").await?.json()?;
    assert_eq!(page["without_route"], json!([]));
    Ok(())
}

#[tokio::test]
async fn a_name_outside_and_one_that_nobody_has_registered_are_answered_like_a_path_that_no_route_takes()
-> Result<()> {
    let fixture = Fixture::start(options(100)).await?;
    let gateway = &fixture.gateway;
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    for service in ["carts", "secret", "shopping"] {
        fixture.put(service, &backend).await?;
    }
    wait_status(gateway, "/carts", 200).await?;
    let none = shown(&gateway.get("/").await?);
    assert!(none.starts_with("200"), "{none}");
    let none = shown(&gateway.get("/.well-known/x").await?);
    assert!(none.starts_with("404"), "{none}");
    for path in
        ["/secret", "/shopping/x", "/shop-z", "/shop-z/x", "/Carts", "/carts2", "//carts", "/shop-%61"]
    {
        assert_eq!(shown(&gateway.get(path).await?), none, "{path}");
    }
    assert_eq!(backend.count(), 1);
    Ok(())
}

#[tokio::test]
async fn a_prefix_that_is_stripped_is_not_sent_on() -> Result<()> {
    let route = json!({ "path": "/svc/{service}", "strip_prefix": "/svc" });
    let fixture = Fixture::start(with_route(route, json!(["*"]))).await?;
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    fixture.put("anything", &backend).await?;
    wait_status(&fixture.gateway, "/svc/anything/7?x", 200).await?;
    assert_eq!(backend.last()?.target, "/anything/7?x");
    Ok(())
}

#[tokio::test]
async fn beyond_max_services_nobody_is_adopted_and_a_restart_costs_nobody_his_place() -> Result<()> {
    let fixture = Fixture::start(options(2)).await?;
    let gateway = &fixture.gateway;
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    for service in ["shop-a", "shop-b"] {
        fixture.put(service, &backend).await?;
        wait_status(gateway, &format!("/{service}"), 200).await?;
    }
    fixture.put("shop-c", &backend).await?;
    eventually("it is counted", PATIENCE, async || {
        let left_out = gateway.metric("leaseway_services_left_out", &[]).await?;
        ensure!(left_out == 1.0, "{left_out}");
        Ok(())
    })
    .await?;
    assert_own_answer(&gateway.get("/shop-c").await?, 404)?;
    let page: Value = gateway.admin("/routes").await?.json()?;
    let routes = page["routes"].as_array().into_iter().flatten();
    let left_out: Vec<_> = routes.filter_map(|route| route.get("left_out")).collect();
    assert_eq!(left_out, [&json!(["shop-c"])], "{page}");
    assert!(page.to_string().contains("\"left_out_count\":1"), "{page}");
    let is_told = |line: &str| line.contains("a service is not adopted") && line.contains("shop-c");
    gateway.process().wait_for_line(is_told, PATIENCE).await?;
    assert_eq!(gateway.metric("leaseway_requests_total", &["service=\"shop-c\""]).await?, 0.0);

    // Those that are allowed by their own names do not count.
    fixture.put("carts", &backend).await?;
    wait_status(gateway, "/carts", 200).await?;

    fixture.etcd.delete(&key("shop-a", "a")).await?;
    wait_status(gateway, "/shop-a", 503).await?;
    fixture.put("shop-d", &backend).await?;
    eventually("both are looked at", PATIENCE, async || {
        let left_out = gateway.metric("leaseway_services_left_out", &[]).await?;
        ensure!(left_out == 2.0, "{left_out}");
        Ok(())
    })
    .await?;
    fixture.put("shop-a", &backend).await?;
    wait_status(gateway, "/shop-a", 200).await?;
    assert_own_answer(&gateway.get("/shop-c").await?, 404)
}

#[tokio::test]
async fn one_that_restarts_is_answered_for_with_503_meanwhile() -> Result<()> {
    let fixture = Fixture::start(options(2)).await?;
    let gateway = &fixture.gateway;
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    fixture.put("carts", &backend).await?;
    wait_status(gateway, "/carts", 200).await?;
    fixture.etcd.delete(&key("carts", "a")).await?;
    wait_status(gateway, "/carts", 503).await?;
    fixture.put("carts", &backend).await?;
    wait_status(gateway, "/carts", 200).await
}

#[tokio::test]
async fn what_holds_for_all_services_holds_for_those_that_are_adopted_and_what_is_said_of_one_for_it()
-> Result<()> {
    let options = options(100)
        .set("gateway/defaults", json!({ "limits": { "service": 1 } }))
        .set("gateway/services", json!({ "shop-b": { "limits": { "service": 2 } } }));
    let fixture = Fixture::start(options).await?;
    let gateway = &fixture.gateway;
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    for service in ["shop-a", "shop-b"] {
        fixture.put(service, &backend).await?;
        wait_status(gateway, &format!("/{service}"), 200).await?;
    }
    backend.behave(Behaviour::Always(Reply::Hang)).await?;
    for (path, most) in [("/shop-a", 1), ("/shop-b", 2)] {
        let address = gateway.address();
        let before = backend.count();
        let waiting: Vec<_> =
            (0..most).map(|_| tokio::spawn(async move { harness::http::get(address, path).await })).collect();
        backend.wait_count(before + most, PATIENCE).await?;
        assert_own_answer(&gateway.get(path).await?, 503)?;
        waiting.iter().for_each(|waiting| waiting.abort());
    }
    Ok(())
}

#[tokio::test]
async fn reloads_and_registrations_at_once_fail_no_request_and_adopted_services_keep_what_is_known_of_them()
-> Result<()> {
    let fixture = Fixture::start(options(100)).await?;
    let gateway = &fixture.gateway;
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    fixture.put("shop-a", &backend).await?;
    wait_status(gateway, "/shop-a", 200).await?;
    let load = Load::get(gateway.address(), "/shop-a").connections(4).start();
    for n in 0..10 {
        fixture.put(&format!("shop-x{n}"), &backend).await?;
        gateway.reload(&options(50 + n)).await?;
    }
    let outcome = load.stop().await;
    assert_eq!(outcome.failed, 0, "{:?}", outcome.errors);
    for n in 0..10 {
        wait_status(gateway, &format!("/shop-x{n}"), 200).await?;
    }
    let page: Value = gateway.admin("/services").await?.json()?;
    assert!(!page["services"]["shop-a"][0]["usual_latency_ms"].is_null(), "{page}");
    gateway.reload(&without_it()).await?;
    assert_own_answer(&gateway.get("/shop-a").await?, 404)?;
    Ok(())
}

#[tokio::test]
async fn one_bad_registration_spares_the_others_be_it_of_the_same_service() -> Result<()> {
    let fixture = Fixture::start(options(100)).await?;
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    for (service, id) in [("shop-a", "bad"), ("shop-bad", "a")] {
        fixture.etcd.put(&key(service, id), "no address").await?;
    }
    for service in ["shop-a", "shop-b"] {
        fixture.put(service, &backend).await?;
        wait_status(&fixture.gateway, &format!("/{service}"), 200).await?;
    }
    assert_own_answer(&fixture.gateway.get("/shop-bad").await?, 404)?;
    Ok(())
}

#[tokio::test]
async fn a_service_that_does_not_register_is_reached_by_its_path_too() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    let addresses = json!({ "carts": { "addresses": [backend.address().to_string()] } });
    let fixture = Fixture::start(options(100).set("gateway/services", addresses)).await?;
    wait_status(&fixture.gateway, "/carts", 200).await
}

#[tokio::test]
async fn a_start_while_the_registry_is_down_serves_those_of_the_snapshot() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let snapshot = directory.path().join("snapshot");
    let options = options(2).set("gateway/registry/snapshot", snapshot.display().to_string());
    let mut fixture = Fixture::start(options).await?;
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    fixture.put("shop-a", &backend).await?;
    wait_status(&fixture.gateway, "/shop-a", 200).await?;
    eventually("the snapshot has it", PATIENCE, async || {
        let text = std::fs::read_to_string(&snapshot)?;
        ensure!(text.contains("shop-a"), "{text}");
        Ok(())
    })
    .await?;
    fixture.gateway.kill().await?;
    fixture.etcd.kill().await?;
    fixture.gateway.start_again()?;
    fixture.gateway.wait_ready(PATIENCE).await?;
    wait_status(&fixture.gateway, "/shop-a", 200).await?;
    assert_own_answer(&fixture.gateway.get("/shop-b").await?, 404)?;
    Ok(())
}

#[tokio::test]
async fn whoever_comes_and_goes_all_the_time_is_told_a_few_times() -> Result<()> {
    let fixture = Fixture::start(options(1)).await?;
    let gateway = &fixture.gateway;
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    fixture.put("shop-a", &backend).await?;
    wait_status(gateway, "/shop-a", 200).await?;
    let count = async |expected: f64| {
        eventually("it is noticed", PATIENCE, async || {
            let left_out = gateway.metric("leaseway_services_left_out", &[]).await?;
            ensure!(left_out == expected, "{left_out}");
            Ok(())
        })
        .await
    };
    for _ in 0..30 {
        fixture.put("shop-b", &backend).await?;
        count(1.0).await?;
        fixture.etcd.delete(&key("shop-b", "a")).await?;
        count(0.0).await?;
    }
    let told = gateway.process().lines();
    let told = told.iter().filter(|line| line.contains("a service is not adopted")).count();
    assert!((1..=20).contains(&told), "{told} times");
    Ok(())
}
