//! The article's section 3, with the real binaries: three goods are found, one of them answers with a
//! trace id that both sides log, a fourth joins, and leaves again.

use std::time::Duration;

use anyhow::{Context, Result};
use etcd_client::{Client, GetOptions};
use harness::{
    etcd::{Etcd, PREFIX, key},
    load::Load,
    stack::{Gateway, GatewayOptions, Goods},
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_articles_walk_through_holds() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut goods = Vec::new();
    for instance in ["goods-1", "goods-2", "goods-3"] {
        goods.push(Goods::start(&etcd.endpoint(), instance, &[]).await?);
    }
    let gateway = Gateway::start(&etcd.endpoint(), GatewayOptions::default()).await?;

    three_are_found(&gateway, &goods).await?;
    a_request_carries_its_trace_id_to_both_logs(&gateway, &goods).await?;
    a_fourth_joins_and_leaves(&etcd, &gateway).await
}

async fn three_are_found(gateway: &Gateway, goods: &[Goods]) -> Result<()> {
    let services = gateway.wait_instances("goods", &["goods-1", "goods-2", "goods-3"]).await?;
    let mut found: Vec<_> =
        services.endpoints("goods").iter().map(|endpoint| endpoint.address.clone()).collect();
    let mut started: Vec<_> = goods.iter().map(|goods| goods.address().to_string()).collect();
    found.sort_unstable();
    started.sort_unstable();
    assert_eq!(found, started);
    for endpoint in services.endpoints("goods") {
        assert_ne!(i64::from_str_radix(&endpoint.lease, 16)?, 0, "{endpoint:?} has no lease");
        gateway.process().wait_for_line(|line| line.contains(&endpoint.address), PATIENCE).await?;
    }
    let outcome = Load::get(gateway.address(), "/goods/list").connections(4).run_count(300).await;
    assert_eq!((outcome.failed, outcome.status(200), outcome.by_instance.len()), (0, 300, 3));
    Ok(())
}

async fn a_request_carries_its_trace_id_to_both_logs(gateway: &Gateway, goods: &[Goods]) -> Result<()> {
    let answer = gateway.get("/goods/list").await?;
    let json = answer.json()?;
    assert_eq!((answer.status, json["code"].as_i64()), (200, Some(0)));
    assert_eq!(json["message"], "get goods list success");
    let trace = json["trace_id"].as_str().with_context(|| format!("no trace_id in {json}"))?;
    assert!(trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit()), "{trace}");
    assert_eq!(answer.header("trace_id"), Some(trace));

    let in_gateway = gateway.process().wait_for_line(|line| line.contains(trace), PATIENCE).await?;
    let served_by = answer.header("x-served-by").context("nobody says to have served it")?;
    assert!(in_gateway.contains(served_by), "{in_gateway}");
    let position = ["goods-1", "goods-2", "goods-3"].iter().position(|&instance| instance == served_by);
    let server = position.and_then(|position| goods.get(position)).context("served by a stranger")?;
    server.process().wait_for_line(|line| line.contains(trace), PATIENCE).await?;
    Ok(())
}

async fn a_fourth_joins_and_leaves(etcd: &Etcd, gateway: &Gateway) -> Result<()> {
    let mut fourth = Goods::start(&etcd.endpoint(), "goods-4", &[]).await?;
    gateway.wait_services(|services| services.endpoints("goods").len() == 4).await?;
    let (key, address) = (key("goods", "goods-4"), fourth.address().to_string());
    let put = etcd.client().await?.get(key.as_str(), None).await?;
    let put = put.kvs().first().context("goods-4 is not in etcd")?.mod_revision();
    let joined =
        |line: &str| revision_of_change(line, &key, &address).is_some_and(|revision| revision == put);
    gateway.process().wait_for_line(joined, PATIENCE).await?;
    let outcome = Load::get(gateway.address(), "/goods/list").connections(4).run_count(200).await;
    assert_eq!(outcome.failed, 0);
    assert!(outcome.instance("goods-4") > 0, "{:?}", outcome.by_instance);

    let mark = gateway.process().line_count();
    assert_eq!(fourth.stop(PATIENCE).await?.code(), Some(0));
    gateway.wait_instances("goods", &["goods-1", "goods-2", "goods-3"]).await?;
    let left = |line: &str| revision_of_change(line, &key, &address).is_some_and(|revision| revision > put);
    gateway.process().wait_for_line_since(mark, left, PATIENCE).await?;
    let outcome = Load::get(gateway.address(), "/goods/list").connections(4).run_count(200).await;
    assert_eq!((outcome.failed, outcome.by_instance.len()), (0, 3));
    assert_eq!(registered(etcd.client().await?).await?, 3);
    Ok(())
}

/// The revision of a log line about this key that names this address.
fn revision_of_change(line: &str, key: &str, address: &str) -> Option<i64> {
    let line: Value = serde_json::from_str(line).ok()?;
    let names_address = line.as_object()?.values().any(|value| value == address);
    if line["key"] == key && names_address { line["revision"].as_i64() } else { None }
}

async fn registered(mut client: Client) -> Result<i64> {
    Ok(client.get(PREFIX, Some(GetOptions::new().with_prefix())).await?.count())
}
