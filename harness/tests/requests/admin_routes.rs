//! The page `/routes`, and what else tells operators of a route.

use anyhow::{Result, ensure};
use harness::{
    backend::{Backend, Reply},
    etcd::key,
    stack::GatewayOptions,
    wait::eventually,
};
use serde_json::{Value, json};

use super::{Fixture, malformed::PATIENCE};

fn goods_and_carts() -> GatewayOptions {
    GatewayOptions::default().route("/cart", "carts")
}

impl Fixture {
    async fn routes(&self) -> Result<Value> {
        self.gateway.admin("/routes").await?.json()
    }

    /// Waits until `/routes` shows this of a route.
    async fn wait_route(&self, name: &str, wanted: Value) -> Result<()> {
        eventually(&format!("the route {name} has {wanted}"), PATIENCE, async || {
            let page = self.routes().await?;
            let routes = page["routes"].as_array().into_iter().flatten();
            let of_name: Vec<_> = routes.filter(|route| route["name"] == name).collect();
            let shows = |route: &Value| {
                wanted
                    .as_object()
                    .is_some_and(|wanted| wanted.iter().all(|(key, value)| route[key] == *value))
            };
            ensure!(of_name.len() == 1 && shows(of_name[0]), "{page}");
            Ok(())
        })
        .await
    }

    async fn names(&self) -> Result<Vec<String>> {
        let page = self.routes().await?;
        let names = page["routes"].as_array().into_iter().flatten();
        Ok(names.filter_map(|route| route["name"].as_str()).map(str::to_owned).collect())
    }
}

#[tokio::test]
async fn routes_to_nothing_come_first_and_say_why_until_somebody_is_up() -> Result<()> {
    let fixture = Fixture::start(goods_and_carts()).await?;
    let nobody = |service| json!([{"service": service, "up": false, "why": "no endpoint is registered"}]);
    fixture.wait_route("/goods", json!({"up": false, "order": 1, "services": nobody("goods")})).await?;
    assert_eq!(fixture.gateway.metric("leaseway_routes_without_endpoint", &[]).await?, 2.0);

    let backend = Backend::start("a", Reply::ok("")).await?;
    fixture.register("goods", &[&backend]).await?;
    let up = json!([{"service": "goods", "up": true}]);
    fixture.wait_route("/goods", json!({"up": true, "services": up, "match": {"path": "/goods"}})).await?;
    fixture.wait_route("/cart", json!({"up": false, "order": 2, "services": nobody("carts")})).await?;
    assert_eq!(fixture.names().await?, ["/cart", "/goods"]);
    let page = fixture.routes().await?;
    assert_eq!((&page["count"], &page["without_endpoint"]), (&json!(2), &json!(1)), "{page}");
    assert_eq!(fixture.gateway.metric("leaseway_routes_without_endpoint", &[]).await?, 1.0);

    let draining = format!(r#"{{"address":"{}","weight":0}}"#, backend.address());
    fixture.etcd.put(&key("carts", "0"), draining).await?;
    let why = json!([{"service": "carts", "up": false, "why": "no endpoint is up: 1 draining"}]);
    fixture.wait_route("/cart", json!({"up": false, "services": why})).await?;
    fixture.etcd.put(&key("carts", "0"), backend.address().to_string()).await?;
    fixture.wait_route("/cart", json!({"up": true})).await?;
    assert_eq!(fixture.names().await?, ["/goods", "/cart"], "in the order in which they are tried");
    assert_eq!(fixture.gateway.get("/routes").await?.status, 404, "where clients are served it is no page");
    Ok(())
}

#[tokio::test]
async fn requests_and_errors_are_counted_by_route_and_go_on_over_a_reload() -> Result<()> {
    let fixture = Fixture::start(goods_and_carts()).await?;
    let backend = Backend::start("a", Reply::ok("")).await?;
    fixture.register("goods", &[&backend]).await?;
    fixture.wait_route("/goods", json!({"requests": 0, "errors": 0})).await?;
    for (path, status) in [("/goods", 200), ("/goods/7", 200), ("/cart", 503), ("/nowhere", 404)] {
        assert_eq!(fixture.gateway.get(path).await?.status, status, "{path}");
    }
    fixture.wait_route("/goods", json!({"requests": 2, "errors": 0})).await?;
    fixture.wait_route("/cart", json!({"requests": 1, "errors": 1})).await?;
    let metric = "leaseway_route_requests_total";
    for (route, status, count) in [("/goods", "2xx", 2.0), ("/cart", "5xx", 1.0), ("", "4xx", 1.0)] {
        let labels = [format!("route=\"{route}\""), format!("status=\"{status}\"")];
        eventually("it is counted", PATIENCE, async || {
            let counted = fixture.gateway.metric(metric, &[&labels[0], &labels[1]]).await?;
            ensure!(counted == count, "{route} {status}: {counted}");
            Ok(())
        })
        .await?;
    }

    fixture.gateway.reload(&GatewayOptions::default()).await?;
    fixture.wait_route("/goods", json!({"requests": 2, "errors": 0})).await?;
    assert_eq!(fixture.names().await?, ["/goods"]);
    eventually("the former site is gone, and what only it counted", PATIENCE, async || {
        let text = fixture.gateway.admin("/metrics").await?.text();
        ensure!(!text.contains("route=\"/cart\""), "{text}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_requests_line_names_its_route_if_it_has_one() -> Result<()> {
    let (fixture, _backend) = Fixture::with_goods().await?;
    fixture.gateway.get("/goods/list").await?;
    fixture.gateway.get("/nowhere").await?;
    let process = fixture.gateway.process();
    let line = |path: &str| {
        let path = format!("\"path\":\"{path}\"");
        process.wait_for_line(move |line| line.contains(&path), PATIENCE)
    };
    let (routed, unrouted): (Value, Value) =
        (serde_json::from_str(&line("/goods/list").await?)?, serde_json::from_str(&line("/nowhere").await?)?);
    assert_eq!((&routed["route"], &routed["service"]), (&json!("/goods"), &json!("goods")));
    assert_eq!((&unrouted["status"], unrouted.get("route")), (&json!(404), None));
    Ok(())
}

#[tokio::test]
async fn a_route_that_answers_by_itself_is_counted_and_named_like_any_other() -> Result<()> {
    let routes = json!([
        {"name": "old", "path": "/old", "redirect": {"path": "/new", "status": 308}},
        {"name": "a \"b\"", "path": "/health", "answer": {"status": 200, "body": "ok"}},
    ]);
    let options = GatewayOptions::without_routes().set("gateway/routes", routes);
    let fixture = Fixture::start(options).await?;
    assert_eq!(fixture.gateway.get("/old").await?.status, 308);
    assert_eq!(fixture.gateway.get("/health").await?.text(), "ok");
    let redirect = json!({"path": "/new", "status": 308});
    fixture.wait_route("old", json!({"redirect": redirect, "up": null, "requests": 1, "errors": 0})).await?;
    fixture.wait_route("a \"b\"", json!({"answer": {"status": 200}, "requests": 1})).await?;
    assert_eq!(fixture.gateway.metric("leaseway_routes_without_endpoint", &[]).await?, 0.0);
    let process = fixture.gateway.process();
    let line = process.wait_for_line(|line| line.contains("\"path\":\"/health\""), PATIENCE).await?;
    let line: Value = serde_json::from_str(&line)?;
    assert_eq!((&line["route"], line.get("service")), (&json!("a \"b\""), None));
    Ok(())
}

#[tokio::test]
async fn a_split_route_is_up_while_one_of_its_services_is() -> Result<()> {
    let services = json!([{"service": "goods", "weight": 9}, {"service": "next", "weight": 1}]);
    let routes = json!([{"path": "/goods", "services": services}]);
    let fixture = Fixture::start(GatewayOptions::without_routes().set("gateway/routes", routes)).await?;
    fixture.wait_route("/goods", json!({"up": false})).await?;
    let backend = Backend::start("a", Reply::ok("")).await?;
    fixture.register("next", &[&backend]).await?;
    let services = json!([
        {"service": "goods", "weight": 9, "up": false, "why": "no endpoint is registered"},
        {"service": "next", "weight": 1, "up": true},
    ]);
    fixture.wait_route("/goods", json!({"up": true, "services": services})).await?;
    assert_eq!(fixture.gateway.get("/goods").await?.status, 200, "the other takes over");
    Ok(())
}
