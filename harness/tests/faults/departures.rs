//! Backends that die, and backends that leave.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{
    backend::{Backend, Reply},
    etcd::{PREFIX, key},
    load::Load,
    process::Signal,
    stack::{Gateway, GatewayOptions, Goods, Stack},
    wait::eventually,
};

use crate::{PATIENCE, assert_none_failed, stack_of};

#[tokio::test]
async fn a_killed_backend_costs_no_get() -> Result<()> {
    let mut stack = stack_of(4).await?;
    let load = Load::get(stack.gateway.address(), "/goods/list").rate(300).start();
    load.wait_begun(100, PATIENCE).await?;
    stack.goods[0].process().signal(Signal::SIGKILL)?;
    stack.goods[0].wait_exit(PATIENCE).await?;
    // Its lease runs out some seconds later: until then every fourth pick is a refused connect.
    stack.gateway.wait_instances("goods", &["goods-2", "goods-3", "goods-4"]).await?;
    let outcome = load.stop().await;
    assert_none_failed(&outcome);
    assert!(outcome.instance("goods-1") > 0, "it served before: {:?}", outcome.by_instance);
    Ok(())
}

#[tokio::test]
async fn a_stopping_backend_costs_no_request() -> Result<()> {
    let mut stack = stack_of(4).await?;
    let target = stack.gateway.address();
    let gets = Load::get(target, "/goods/list").rate(150).connections(8).start();
    let posts = Load::post(target, "/goods/list", r#"{"trace_id":"x"}"#).rate(150).connections(8).start();
    posts.wait_begun(50, PATIENCE).await?;
    let status = stack.goods[0].stop(PATIENCE).await?;
    assert_eq!(status.code(), Some(0));
    stack.gateway.wait_instances("goods", &["goods-2", "goods-3", "goods-4"]).await?;
    for outcome in [gets.stop().await, posts.stop().await] {
        assert_none_failed(&outcome);
        assert!(outcome.instance("goods-1") > 0, "it served before: {:?}", outcome.by_instance);
    }
    Ok(())
}

#[tokio::test]
async fn a_backend_that_is_drained_by_an_operator_gets_nothing_new() -> Result<()> {
    let stack = stack_of(2).await?;
    let key = key("goods", "goods-1");
    let address = stack.goods[0].address().to_string();
    let mut client = stack.etcd.client().await?;
    let value = serde_json::json!({ "address": address, "weight": 0 }).to_string();
    let keep_lease = etcd_client::PutOptions::new().with_ignore_lease();
    client.put(key.as_str(), value, Some(keep_lease)).await?;
    let drained = |services: &harness::stack::Services| {
        services
            .endpoints("goods")
            .iter()
            .any(|endpoint| endpoint.instance == "goods-1" && endpoint.state == "draining")
    };
    stack.gateway.wait_services(drained).await?;
    // Two lifetimes of the lease: its registrar leaves the weight as the operator set it.
    let outcome =
        Load::get(stack.gateway.address(), "/goods/list").rate(100).run_for(Duration::from_secs(6)).await;
    assert_none_failed(&outcome);
    assert_eq!(outcome.instance("goods-2"), outcome.sent);
    assert!(drained(&stack.gateway.services().await?));
    Ok(())
}

/// How often the guard has raised its alarm.
async fn alarms(gateway: &Gateway) -> Result<f64> {
    gateway.metric("leaseway_guard_alarms_total", &[]).await
}

#[tokio::test]
async fn the_only_instance_of_a_service_stops_in_order_without_an_alarm() -> Result<()> {
    let mut stack = Stack::start(1, &[], GatewayOptions::default()).await?;
    for round in 0..5 {
        let begun = stack.gateway.process().line_count();
        assert_eq!(stack.goods[0].stop(PATIENCE).await?.code(), Some(0));
        stack.gateway.wait_instances("goods", &[]).await?;
        let lines = stack.gateway.process().lines_since(begun);
        assert!(lines.iter().any(|line| line.contains("endpoint suspect")), "{lines:?}");
        assert_eq!(alarms(&stack.gateway).await?, 0.0, "in round {round}: {lines:?}");
        assert!(!lines.iter().any(|line| line.contains("\"WARN\"")), "{lines:?}");
        stack.goods[0] = Goods::start(&stack.etcd.endpoint(), "goods-1", &[]).await?;
        stack.gateway.wait_instances("goods", &["goods-1"]).await?;
    }
    Ok(())
}

/// Its processes live, but nobody registers them again.
#[tokio::test]
async fn a_wiped_prefix_whose_processes_live_raises_an_alarm() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("")).await?;
    let stack = Stack::start(0, &[], GatewayOptions::default()).await?;
    stack.etcd.put(&key("goods", "a"), backend.address().to_string()).await?;
    stack.gateway.wait_instances("goods", &["a"]).await?;
    stack.etcd.etcdctl(&["del", "--prefix", PREFIX]).await?;
    eventually("the guard raises its alarm", PATIENCE, async || {
        let alarms = alarms(&stack.gateway).await?;
        ensure!(alarms == 1.0, "it raised {alarms}");
        Ok(())
    })
    .await?;
    let is_warning = |line: &str| line.contains("\"WARN\"") && line.contains("do not stop");
    stack.gateway.process().wait_for_line(is_warning, PATIENCE).await?;
    assert_eq!(stack.gateway.get("/goods").await?.status, 200, "it is held");
    Ok(())
}
