//! A new binary or configuration takes over from a running gateway.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::load::Load;
use harness::process::Signal;
use harness::wait::eventually;

use crate::{PATIENCE, assert_none_failed, stack_of};

/// The old process serves on for 5 s beside the new one; that and an exit.
const HANDOVER: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_successor_takes_over_without_a_failed_or_refused_request() -> Result<()> {
    let mut stack = stack_of(2).await?;
    let load = Load::get(stack.gateway.address(), "/goods/list").rate(200).start();
    load.wait_begun(100, PATIENCE).await?;

    let successor = stack.gateway.successor()?;
    wait_awaited(&stack.gateway).await?;
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
    Ok(())
}

async fn wait_awaited(gateway: &harness::stack::Gateway) -> Result<()> {
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
    let waits = |line: &str| line.contains("lost touch with the registry");
    successor.wait_for_line(waits, PATIENCE).await?;
    assert!(!stack.gateway.is_awaited());

    stack.gateway.process().signal(Signal::SIGQUIT)?;
    let stays = |line: &str| line.contains("serving on");
    stack.gateway.process().wait_for_line(stays, PATIENCE).await?;
    assert_eq!(stack.gateway.get("/").await?.status, 200);
    assert_eq!(stack.gateway.get("/goods/list").await?.status, 200);
    Ok(())
}
