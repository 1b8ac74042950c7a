//! Reloads while the registry cannot be reached.

use anyhow::Result;
use harness::{
    backend::{Backend, Reply},
    etcd::{Etcd, key},
    load::Load,
    stack::{Gateway, GatewayOptions},
};

use super::two;
use crate::{PATIENCE, assert_none_failed};

#[tokio::test]
async fn a_service_that_was_seen_serves_by_a_reload_while_etcd_is_dead() -> Result<()> {
    let mut etcd = Etcd::start().await?;
    let backend = Backend::start("1", Reply::ok("hello")).await?;
    let gateway = Gateway::start(&etcd.endpoint(), GatewayOptions::default()).await?;
    for service in ["goods", "other"] {
        etcd.put(&key(service, "1"), backend.address().to_string()).await?;
        gateway.wait_instances(service, &["1"]).await?;
    }
    etcd.kill().await?;
    let load = Load::get(gateway.address(), "/goods").rate(200).start();
    load.wait_begun(50, PATIENCE).await?;
    for _ in 0..3 {
        gateway.reload(&two()).await?;
        assert_eq!(gateway.get("/other").await?.status, 200);
        gateway.reload(&GatewayOptions::default()).await?;
        assert_eq!(gateway.get("/other").await?.status, 404);
    }
    load.wait_begun(load.begun() + 100, PATIENCE).await?;
    assert_none_failed(&load.stop().await);
    Ok(())
}

#[tokio::test]
async fn a_gateway_that_has_not_read_the_registry_yet_reloads() -> Result<()> {
    let mut etcd = Etcd::start().await?;
    let backend = Backend::start("1", Reply::ok("hello")).await?;
    etcd.put(&key("other", "1"), backend.address().to_string()).await?;
    etcd.kill().await?;
    let gateway = Gateway::launch(&etcd.endpoint(), GatewayOptions::default()).await?;
    assert_eq!(gateway.get("/other").await?.status, 404);
    // It is not ready, and says so: only the log tells of the reload.
    let text = harness::stack::file::yaml(&gateway.configuration(&two()))?;
    harness::stack::file::rename_into_place(&gateway.file(), &text)?;
    gateway.process().wait_for_line(|line| line.contains(super::APPLIED), PATIENCE).await?;
    assert_eq!(gateway.get("/other").await?.status, 503);
    etcd.restart().await?;
    gateway.wait_ready(PATIENCE).await?;
    gateway.wait_instances("other", &["1"]).await?;
    assert_eq!(gateway.get("/other").await?.status, 200);
    Ok(())
}
