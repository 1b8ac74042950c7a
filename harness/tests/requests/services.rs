//! What `/services` shows of each endpoint.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use etcd_client::PutOptions;
use harness::{
    backend::{Backend, Behaviour, Reply},
    etcd::key,
    http::get,
    stack::GatewayOptions,
    wait::eventually,
};
use serde_json::{Value, json};

use super::{Fixture, malformed::PATIENCE};

impl Fixture {
    async fn page(&self) -> Result<Value> {
        self.gateway.admin("/services").await?.json()
    }

    /// The endpoint of goods' only instance, once it is as wanted.
    async fn wait_shown(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        eventually(what, PATIENCE, async || {
            let shown = self.page().await?["services"]["goods"][0].clone();
            ensure!(wanted(&shown), "shown is {shown}");
            Ok(shown)
        })
        .await
    }
}

/// A time as the page shows it.
fn time(value: &Value) -> Result<SystemTime> {
    let text = value.as_str().with_context(|| format!("{value} is no time"))?;
    ensure!(text.ends_with('Z'), "{text} is not UTC");
    Ok(humantime::parse_rfc3339(text)?)
}

/// The page shows milliseconds.
fn begun() -> SystemTime {
    SystemTime::now() - Duration::from_millis(1)
}

fn has(field: &str) -> impl Fn(&Value) -> bool {
    move |shown| !shown[field].is_null()
}

#[tokio::test]
async fn registration_and_load_are_shown() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    // Twice what is asked for below: it begins when the request has come, and the gateway counts from when it was written, which
    // on a busy machine it may notice a little later.
    let backend =
        Backend::start("a", Reply::After(Duration::from_millis(40), Box::new(Reply::ok("")))).await?;
    let metadata = json!({ "zone": "b", "version": "1.2" });
    let value = json!({ "address": backend.address().to_string(), "metadata": metadata });
    fixture.etcd.put(&key("goods", "a"), value.to_string()).await?;
    let shown = fixture.wait_shown("it is registered", has("revision")).await?;
    assert_eq!(shown["metadata"], metadata);
    // An endpoint is shown a moment before the revision that says that all up to there is.
    let page = eventually("the revision is shown", PATIENCE, async || {
        let page = fixture.page().await?;
        ensure!(page["revision"] == shown["revision"], "shown is {page}");
        Ok(page)
    });
    page.await?;
    assert_eq!((&shown["in_flight"], &shown["usual_latency_ms"]), (&json!(0), &Value::Null));
    for absent in ["last_failure", "last_check_failure", "next_trial", "on_trial_since", "held_until"] {
        assert!(shown[absent].is_null(), "{shown}");
    }

    assert_eq!(fixture.gateway.get("/goods").await?.status, 200);
    backend.script([Reply::Hang]);
    let address = fixture.gateway.address();
    let waits = tokio::spawn(async move { get(address, "/goods").await });
    let shown = fixture.wait_shown("one is in flight", |shown| shown["in_flight"] == 1).await?;
    let usual = shown["usual_latency_ms"].as_f64().context("no latency")?;
    assert!((20.0..10_000.0).contains(&usual), "{usual}");
    waits.abort();
    Ok(())
}

#[tokio::test]
async fn the_last_failure_and_the_next_trial_are_shown_with_their_times() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    let backend = Backend::start("a", Reply::ok("")).await?;
    fixture.register("goods", &[&backend]).await?;
    backend.behave(Behaviour::Refuse).await?;
    let begin = begun();
    assert_eq!(fixture.gateway.get("/goods").await?.status, 502);
    let shown = fixture.wait_shown("it is ejected", |shown| shown["state"] == "ejected").await?;
    let failure = &shown["last_failure"];
    assert_eq!(failure["reason"], "refused", "{shown}");
    let at = time(&failure["at"])?;
    assert!(at >= begin && at <= SystemTime::now(), "{shown}");
    // Half a second, less up to a quarter.
    let trial = time(&shown["next_trial"])?.duration_since(at)?;
    assert!((Duration::from_millis(370)..=Duration::from_millis(505)).contains(&trial), "{trial:?}");

    backend.behave(Behaviour::Always(Reply::Hang)).await?;
    let address = fixture.gateway.address();
    let shown = eventually("a request tries it", PATIENCE, async || {
        tokio::spawn(async move { get(address, "/goods").await });
        let shown = fixture.page().await?["services"]["goods"][0].clone();
        ensure!(has("on_trial_since")(&shown), "shown is {shown}");
        Ok(shown)
    });
    let shown = shown.await?;
    assert!(time(&shown["on_trial_since"])? > at && shown["next_trial"].is_null(), "{shown}");
    Ok(())
}

#[tokio::test]
async fn the_last_failed_check_is_shown_with_its_reason() -> Result<()> {
    let check = json!({ "probe": "/healthz", "interval": "200ms", "timeout": "100ms" });
    let options = GatewayOptions::default().set("gateway/services/goods/check", check);
    let fixture = Fixture::start(options).await?;
    let backend = Backend::start("a", Reply::status(500)).await?;
    let begin = begun();
    fixture.register("goods", &[&backend]).await?;
    let shown = fixture.wait_shown("it is unhealthy", |shown| shown["state"] == "unhealthy").await?;
    let failure = &shown["last_check_failure"];
    assert!(time(&failure["at"])? >= begin, "{shown}");
    assert_eq!(failure["reason"], "unexpected status 500: the answer to a check");
    Ok(())
}

#[tokio::test]
async fn in_its_window_is_told_from_held_by_the_guard() -> Result<()> {
    let options =
        GatewayOptions::default().set("gateway/registry/guard", json!({ "window": "5s", "hold": "1h" }));
    let fixture = Fixture::start(options).await?;
    let backend = Backend::start("a", Reply::ok("")).await?;
    fixture.register("goods", &[&backend]).await?;
    let begin = begun();
    fixture.etcd.delete(&key("goods", "0")).await?;
    let shown = fixture.wait_shown("it is in its window", has("in_window_until")).await?;
    assert_eq!((&shown["state"], &shown["held_until"]), (&json!("suspect"), &Value::Null));
    let window = time(&shown["in_window_until"])?;
    assert!(window >= begin + Duration::from_secs(5), "{shown}");
    let shown = fixture.wait_shown("it is held", has("held_until")).await?;
    assert!(shown["in_window_until"].is_null(), "{shown}");
    assert_eq!(time(&shown["held_until"])?.duration_since(window)?.as_secs_f64().round(), 3600.0);
    fixture.etcd.put(&key("goods", "0"), backend.address().to_string()).await?;
    fixture
        .wait_shown("no doubt is left", |shown| shown["state"] == "up" && !has("held_until")(shown))
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_service_that_no_route_takes_and_a_route_without_an_endpoint_are_named() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    let page = fixture.page().await?;
    assert_eq!((&page["without_route"], &page["without_endpoint"]), (&json!([]), &json!(["goods"])));
    let backend = Backend::start("a", Reply::ok("")).await?;
    fixture.register("goods", &[&backend]).await?;
    fixture.register("nobodys", &[&backend]).await?;
    let page = fixture.page().await?;
    assert_eq!((&page["without_route"], &page["without_endpoint"]), (&json!(["nobodys"]), &json!([])));
    Ok(())
}

#[tokio::test]
async fn whoever_is_registered_under_a_name_that_no_route_names_is_never_connected_to() -> Result<()> {
    let options = GatewayOptions::default().set("gateway/registry/guard", json!({ "window": "100ms" }));
    let fixture = Fixture::start(options).await?;
    let (routed, other) =
        (Backend::start("a", Reply::ok("")).await?, Backend::start("b", Reply::ok("")).await?);
    fixture.register("nobodys", &[&other]).await?;
    fixture.register("goods", &[&routed]).await?;
    for service in ["nobodys", "goods"] {
        fixture.etcd.delete(&key(service, "0")).await?;
    }
    eventually("the one that a route names is probed again and again", PATIENCE, async || {
        let accepted = routed.connections().accepted;
        ensure!(accepted > 1, "{accepted} times");
        Ok(())
    })
    .await?;
    assert_eq!(other.connections().accepted, 0);
    assert_eq!(fixture.page().await?["without_route"], json!([]), "nor is it held");
    Ok(())
}

#[tokio::test]
async fn the_last_record_that_is_no_registration_is_named_with_what_is_wrong() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    assert!(fixture.page().await?["last_skipped"].is_null());
    fixture.etcd.put(&key("goods", "bad"), "no address").await?;
    let skipped = eventually("it is named", PATIENCE, async || {
        let skipped = fixture.page().await?["last_skipped"].clone();
        ensure!(skipped["key"] == key("goods", "bad"), "shown is {skipped}");
        Ok(skipped)
    });
    let skipped = skipped.await?;
    assert!(skipped["revision"].as_i64() > Some(1), "{skipped}");
    assert!(skipped["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{skipped}");
    Ok(())
}

#[tokio::test]
async fn an_instance_beyond_the_bound_is_named_and_comes_in_as_soon_as_there_is_room() -> Result<()> {
    let options = GatewayOptions::default()
        .set("gateway/registry/max_instances", 2)
        .set("gateway/registry/max_services", 2)
        .set("gateway/registry/guard", json!({ "window": "100ms" }));
    let fixture = Fixture::start(options).await?;
    let backend = Backend::start("a", Reply::ok("")).await?;
    for (service, id) in [("first", "a"), ("second", "a"), ("goods", "a"), ("goods", "b"), ("goods", "c")] {
        fixture.etcd.put(&key(service, id), backend.address().to_string()).await?;
    }
    let page = eventually("two are left out", PATIENCE, async || {
        let page = fixture.page().await?;
        ensure!(page["left_out"]["count"] == 2, "shown is {page}");
        Ok(page)
    })
    .await?;
    let last = &page["left_out"]["last"];
    assert_eq!((&last["service"], &last["instance"]), (&json!("goods"), &json!("c")));
    assert!(last["reason"].as_str().is_some_and(|why| why.contains("registry.max_instances")), "{last}");
    assert_eq!(page["without_route"], json!(["first"]));
    for bound in ["max_instances", "max_services"] {
        let label = format!("bound=\"{bound}\"");
        let left_out = fixture.gateway.metric("leaseway_instances_left_out", &[&label]).await?;
        assert_eq!(left_out, 1.0, "{bound}");
    }
    for service in ["first", "goods"] {
        fixture.etcd.delete(&key(service, "a")).await?;
    }
    eventually("they have come in", PATIENCE, async || {
        let page = fixture.page().await?;
        ensure!(page["left_out"].is_null() && page["without_route"] == json!(["second"]), "shown is {page}");
        Ok(())
    })
    .await?;
    fixture.gateway.wait_instances("goods", &["b", "c"]).await?;
    Ok(())
}

/// The page is built from what was published: an endpoint that leaves meanwhile harms nobody.
#[tokio::test]
async fn ten_thousand_endpoints_are_shown_while_they_come_and_go() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    let mut client = fixture.etcd.client().await?;
    let lease = client.lease_grant(600, None).await?.id();
    // One that lives, so that what vanishes passes its probes, whatever routes the machine has.
    let backend = Backend::start("a", Reply::ok("")).await?;
    let address = backend.address().to_string();
    let put = |n: usize| {
        let options = PutOptions::new().with_lease(lease);
        etcd_client::TxnOp::put(key("goods", &format!("i{n}")), address.clone(), Some(options))
    };
    for first in (0..10_000).step_by(100) {
        let puts: Vec<_> = (first..first + 100).map(put).collect();
        client.txn(etcd_client::Txn::new().and_then(puts)).await?;
    }
    fixture.gateway.wait_services(|services| services.endpoints("goods").len() == 10_000).await?;
    let changes = tokio::spawn({
        let (mut client, address) = (client.clone(), address.clone());
        async move {
            for n in 0..200 {
                let key = key("goods", &format!("i{n}"));
                client.delete(key.clone(), None).await?;
                client.put(key, format!(r#"{{"address":"{address}","weight":2}}"#), None).await?;
            }
            anyhow::Ok(())
        }
    });
    while !changes.is_finished() {
        let page = fixture.page().await?;
        let shown = page["services"]["goods"].as_array().context("no list")?.len();
        assert_eq!(shown, 10_000, "what vanished is shown as suspect");
    }
    changes.await?
}
