//! Signals that end a process unless it does something about them.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{
    etcd::Etcd,
    load::Load,
    process::{Process, Signal},
    stack::{Gateway, GatewayOptions, Goods},
    wait::eventually,
};

use crate::{PATIENCE, assert_none_failed, stack_of, stop::with_slow_backend};

/// Those that end a process by default, are no fault of its own, and ask the gateway for nothing. By name: the
/// last ones, of real time, have none in `Signal`, and numbers here.
const MEANINGLESS: [&str; 12] =
    ["USR1", "USR2", "ALRM", "VTALRM", "PROF", "IO", "PWR", "STKFLT", "XFSZ", "PIPE", "34", "64"];

fn send(process: &Process, signal: &str) -> Result<()> {
    let pid = process.pid().to_string();
    let status = Command::new("kill").args(["-s", signal, &pid]).status().context("running kill")?;
    ensure!(status.success(), "kill -s {signal} failed");
    Ok(())
}

/// The masks of blocked signals of a process's threads, from proc(5).
fn blocks_hangup(process: &Process) -> Result<bool> {
    let path = format!("/proc/{}/status", process.pid());
    let status = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).context("no SigBlk")?;
    Ok(u64::from_str_radix(mask.trim(), 16)? & 1 << (Signal::SIGHUP as u32 - 1) != 0)
}

#[tokio::test]
async fn a_signal_that_means_nothing_changes_nothing() -> Result<()> {
    let mut stack = stack_of(2).await?;
    let load = Load::get(stack.gateway.address(), "/goods/list").rate(200).start();
    load.wait_begun(100, PATIENCE).await?;
    for signal in MEANINGLESS {
        send(stack.gateway.process(), signal)?;
        let told = |line: &str| line.contains(&format!("SIG{signal} changes nothing"));
        // Rust's own start ignores SIGPIPE; those of real time have no names.
        if !["PIPE", "34", "64"].contains(&signal) {
            stack.gateway.process().wait_for_line(told, PATIENCE).await?;
        }
    }
    send(stack.gateway.process(), "WINCH")?;
    assert_none_failed(&load.stop().await);
    assert_eq!(stack.gateway.stop(PATIENCE).await?.code(), Some(0), "SIGTERM means something");
    let lines = stack.gateway.process().lines();
    assert!(!lines.iter().any(|line| line.contains("SIGWINCH")), "a terminal that is resized is told");
    Ok(())
}

#[tokio::test]
async fn a_hangup_while_it_starts_ends_nothing_and_is_told() -> Result<()> {
    let etcd = Etcd::start().await?;
    let _goods = Goods::start(&etcd.endpoint(), "goods-1", &[]).await?;
    let mut gateway = Gateway::start(&etcd.endpoint(), GatewayOptions::default()).await?;
    gateway.kill().await?;
    gateway.start_again()?;
    // Before that it is not the program yet that decides.
    eventually("it blocks the signal", PATIENCE, async || {
        ensure!(blocks_hangup(gateway.process())?, "it does not\n{}", gateway.process().tail());
        Ok(())
    })
    .await?;
    send(gateway.process(), "HUP")?;
    send(gateway.process(), "USR1")?;
    gateway.wait_ready(PATIENCE).await?;
    for told in ["SIGUSR1 changes nothing", "the configuration says what it said: nothing changes"] {
        gateway.process().wait_for_line(|line| line.contains(told), PATIENCE).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_hangup_while_it_stops_takes_nothing_from_what_is_in_flight() -> Result<()> {
    let wait = Duration::from_secs(2);
    let (_etcd, mut gateway, backend) = with_slow_backend(wait, GatewayOptions::default()).await?;
    let address = gateway.address();
    let slow = tokio::spawn(async move { harness::http::get(address, "/goods").await });
    backend.wait_count(1, PATIENCE).await?;
    send(gateway.process(), "TERM")?;
    gateway.process().wait_for_line(|line| line.contains("stopping"), PATIENCE).await?;
    for signal in ["HUP", "USR1", "USR2", "ALRM"] {
        send(gateway.process(), signal)?;
    }
    assert_eq!(slow.await??.text(), "late");
    assert_eq!(gateway.wait_exit(PATIENCE).await?.code(), Some(0));
    Ok(())
}
