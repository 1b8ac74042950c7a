//! What users of other gateways complain of, as far as the gateway itself is concerned. (What concerns the
//! watch and the registrar is in `registry/tests/complaints.rs`.)

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{
    backend::{Backend, Reply},
    etcd::{Etcd, key},
    load::Load,
    stack::{Gateway, GatewayOptions, Services},
    wait::eventually,
};

use crate::{PATIENCE, assert_none_failed, stack_of_with};

/// "APISIX cannot start when etcd is down": <https://github.com/apache/apisix/issues/3878>.
#[tokio::test]
async fn apisix_3878_a_gateway_starts_and_serves_without_etcd() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let snapshot = directory.path().join("snapshot");
    let options = GatewayOptions::default().set("gateway/registry/snapshot", snapshot.display().to_string());
    let mut stack = stack_of_with(2, options.clone()).await?;
    eventually("the directory is on the disk", PATIENCE, async || {
        let text = std::fs::read_to_string(&snapshot)?;
        ensure!(text.contains("goods-1") && text.contains("goods-2"), "{text}");
        Ok(())
    })
    .await?;
    stack.etcd.kill().await?;
    stack.gateway.stop(PATIENCE).await?;

    let gateway = Gateway::start(&stack.etcd.endpoint(), options).await?;
    let ready = gateway.admin("/readyz").await?;
    assert!(ready.status == 200 && ready.text().contains(r#""stale":true"#), "{}", ready.text());
    let states = |services: &Services| {
        let states = services.endpoints("goods").iter().map(|e| (e.state.clone(), e.probe.clone()));
        states.collect::<Vec<_>>()
    };
    let passed = ("stale".to_owned(), Some("passed".to_owned()));
    gateway.wait_services(|services| states(services) == [passed.clone(), passed.clone()]).await?;
    let outcome = Load::get(gateway.address(), "/goods/list").rate(100).run_for(Duration::from_secs(2)).await;
    assert_none_failed(&outcome);

    stack.etcd.restart().await?;
    let all_up = |services: &Services| services.endpoints("goods").iter().all(|e| e.state == "up");
    gateway.wait_services(all_up).await?;
    let ready = gateway.admin("/readyz").await?;
    assert!(ready.text().contains(r#""stale":false"#), "{}", ready.text());
    Ok(())
}

/// Removed instances that requests still reach over kept-alive connections:
/// <https://github.com/zeromicro/go-zero/issues/2449>, <https://github.com/traefik/traefik/issues/210>.
#[tokio::test]
async fn go_zero_2449_and_traefik_210_a_removed_instance_gets_nothing_over_kept_connections() -> Result<()> {
    let etcd = Etcd::start().await?;
    let (stays, leaves) =
        (Backend::start("stays", Reply::ok("")).await?, Backend::start("leaves", Reply::ok("")).await?);
    for (id, backend) in [("stays", &stays), ("leaves", &leaves)] {
        etcd.put(&key("goods", id), backend.address().to_string()).await?;
    }
    let gateway = Gateway::start(&etcd.endpoint(), GatewayOptions::default()).await?;
    gateway.wait_instances("goods", &["leaves", "stays"]).await?;
    let load = Load::get(gateway.address(), "/goods");
    assert_none_failed(&load.clone().run_count(1_000).await);
    assert!(leaves.count() > 0 && stays.count() > 0);

    etcd.delete(&key("goods", "leaves")).await?;
    let is_out = |services: &Services| {
        services.endpoints("goods").iter().all(|e| e.instance != "leaves" || e.state == "suspect")
    };
    gateway.wait_services(is_out).await?;
    let before = leaves.count();
    assert_none_failed(&load.clone().run_count(1_000).await);
    assert_eq!(leaves.count(), before, "it is well, and its connections are open, but it has left");
    Ok(())
}

/// "All routes are rebuilt at each change of one": <https://github.com/apache/apisix/issues/12466>.
#[tokio::test]
async fn apisix_12466_a_change_touches_nothing_else() -> Result<()> {
    let etcd = Etcd::start().await?;
    let steady = Backend::start("steady", Reply::ok("")).await?;
    etcd.put(&key("goods", "steady"), steady.address().to_string()).await?;
    let gateway = Gateway::start(&etcd.endpoint(), GatewayOptions::default()).await?;
    gateway.wait_instances("goods", &["steady"]).await?;
    // One connection, one request after the other: whoever drops it is found out.
    let load = Load::get(gateway.address(), "/goods").rate(200).connections(1).start();
    load.wait_begun(100, PATIENCE).await?;
    let accepted = steady.connections().accepted;

    for change in 1..=100 {
        etcd.put(&key(&format!("other-{}", change % 10), "a"), format!("127.0.0.2:{change}")).await?;
        etcd.put(&key("goods", "steady"), steady.address().to_string()).await?;
    }
    gateway.wait_services(|services| services.services.len() == 11).await?;
    load.wait_begun(load.begun() + 100, PATIENCE).await?;
    assert_none_failed(&load.stop().await);
    assert_eq!(steady.connections().accepted, accepted, "its kept connection outlived all of them");
    Ok(())
}
