//! A new binary or configuration takes over from a running gateway.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::load::Load;
use harness::process::Signal;
use harness::stack::{Gateway, GatewayOptions, Goods, Services};
use harness::wait::eventually;

use crate::{PATIENCE, assert_none_failed, stack_of};

/// The old process serves on for 5 s beside the new one; that and an exit.
const HANDOVER: Duration = Duration::from_secs(30);
/// The line of a gateway that serves.
const READY: &str = "\"message\":\"ready\"";

#[tokio::test]
async fn a_successor_takes_over_without_a_failed_or_refused_request() -> Result<()> {
    let mut stack = stack_of(2).await?;
    let load = Load::get(stack.gateway.address(), "/goods/list").rate(200).start();
    load.wait_begun(100, PATIENCE).await?;

    let successor = stack.gateway.successor()?;
    wait_awaited(&stack.gateway).await?;
    assert!(!successor.lines().iter().any(|line| line.contains(READY)), "it does not serve yet");
    // The new one has read the registry by then; the old one still serves alone.
    assert_eq!(stack.gateway.get("/").await?.status, 200);
    stack.gateway.process().signal(Signal::SIGQUIT)?;
    assert_eq!(stack.gateway.wait_exit(HANDOVER).await?.code(), Some(0));

    let begun = load.begun();
    load.wait_begun(begun + 100, PATIENCE).await?;
    assert_none_failed(&load.stop().await);
    let served = |line: &str| line.contains("\"message\":\"request\"");
    assert!(successor.lines().iter().any(|line| served(line)), "the new one has served");
    assert_eq!(stack.gateway.get("/").await?.status, 200);

    successor.wait_for_line(|line| line.contains(READY), PATIENCE).await?;
    assert_nothing_bad("the old process", &stack.gateway.process().lines());
    assert_nothing_bad("the new process", &successor.lines());
    Ok(())
}

/// Of an upgrade that goes well. Requests do not count: some may have met the end of the load.
fn assert_nothing_bad(which: &str, lines: &[String]) {
    let of_requests = |line: &&String| line.contains("\"message\":\"request\"");
    let is_bad = |line: &&String| line.contains("WARN") || line.contains("ERROR");
    let bad: Vec<_> = lines.iter().filter(|line| is_bad(line) && !of_requests(line)).collect();
    assert!(bad.is_empty(), "{which}: {bad:#?}");
}

#[tokio::test]
async fn an_embedded_registry_is_handed_over_without_a_warning() -> Result<()> {
    let mut gateway = Gateway::start_with_registry(GatewayOptions::default()).await?;
    let registry = format!("http://{}", gateway.registry_address()?);
    let _goods = Goods::start(&registry, "goods-1", &[]).await?;
    gateway.wait_instances("goods", &["goods-1"]).await?;
    let successor = gateway.successor()?;
    wait_awaited(&gateway).await?;
    gateway.process().signal(Signal::SIGQUIT)?;
    successor.wait_for_line(|line| line.contains(READY), PATIENCE).await?;
    assert_eq!(gateway.wait_exit(HANDOVER).await?.code(), Some(0));
    // The registrar has been heard again by then.
    let all_up = |services: &Services| services.endpoints("goods").iter().all(|e| e.state == "up");
    gateway.wait_services(|services| !services.endpoints("goods").is_empty() && all_up(services)).await?;
    assert_nothing_bad("the old process", &gateway.process().lines());
    assert_nothing_bad("the new process", &successor.lines());
    Ok(())
}

#[tokio::test]
async fn without_a_running_gateway_an_upgrade_fails_and_says_so_once() -> Result<()> {
    let mut stack = stack_of(1).await?;
    let mut successor = stack.gateway.successor()?;
    assert_eq!(successor.wait_exit(HANDOVER).await?.code(), Some(1));
    let stderr = successor.stderr();
    let [told] = stderr.as_slice() else { panic!("{stderr:#?}") };
    assert!(told.contains("no running gateway handed its sockets over through /"), "{told}");
    assert!(told.contains("upgrade.sock: send it SIGQUIT, or start without -u"), "{told}");
    let errors: Vec<_> = successor.lines().into_iter().filter(|line| line.contains("ERROR")).collect();
    assert!(errors.len() == 1 && errors[0].contains("send it SIGQUIT"), "{errors:#?}");
    // Who was not asked serves on.
    assert_eq!(stack.gateway.get("/goods/list").await?.status, 200);
    assert_eq!(stack.gateway.stop(PATIENCE).await?.code(), Some(0));
    Ok(())
}

async fn wait_awaited(gateway: &Gateway) -> Result<()> {
    eventually("the successor asks for the sockets", PATIENCE, async || {
        ensure!(gateway.is_awaited(), "there is no upgrade socket");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_successor_that_cannot_read_the_registry_does_not_take_over() -> Result<()> {
    let mut stack = stack_of(1).await?;
    stack.etcd.kill().await?;
    let successor = stack.gateway.successor()?;
    let waits = |line: &str| line.contains("the registry has not been read yet");
    successor.wait_for_line(waits, PATIENCE).await?;
    assert!(!stack.gateway.is_awaited());

    stack.gateway.process().signal(Signal::SIGQUIT)?;
    let stays = |line: &str| line.contains("serving on");
    stack.gateway.process().wait_for_line(stays, PATIENCE).await?;
    assert_eq!(stack.gateway.get("/").await?.status, 200);
    assert_eq!(stack.gateway.get("/goods/list").await?.status, 200);
    Ok(())
}
