//! A gateway that is its own registry: it ends and begins anew, and nobody is hurt by that.

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{
    backend::{Backend, Reply},
    etcd::{PREFIX, key},
    http,
    load::Load,
    ports::free_address,
    process::{Process, Signal, Stdout, binary},
    stack::{EmbeddedStack, Gateway, GatewayOptions, write_configuration},
    wait::eventually,
};
use serde_json::json;

use crate::{PATIENCE, assert_none_failed};

const RATE: u32 = 300;
const GOODS: usize = 4;

async fn stack() -> Result<EmbeddedStack> {
    EmbeddedStack::start(GOODS, &["--drain", "1s"], GatewayOptions::default()).await
}

#[tokio::test]
async fn goods_register_in_it_and_requests_flow() -> Result<()> {
    let stack = stack().await?;
    let load = Load::get(stack.gateway.address(), "/goods/list").connections(4);
    let outcome = load.run_count(400).await;
    assert_none_failed(&outcome);
    assert_eq!(outcome.by_instance.len(), GOODS);
    Ok(())
}

#[tokio::test]
async fn etcdctl_works_on_it() -> Result<()> {
    let stack = stack().await?;
    let keys = stack.etcdctl(&["get", "--prefix", "--keys-only", PREFIX]).await?;
    assert_eq!(keys.lines().filter(|line| line.starts_with(PREFIX)).count(), GOODS, "{keys}");
    let status = stack.etcdctl(&["endpoint", "status"]).await?;
    assert!(status.contains(&stack.gateway.registry_address()?.to_string()), "{status}");
    let members = stack.etcdctl(&["member", "list"]).await?;
    assert!(members.contains(&stack.registry()?), "{members}");

    let by_hand = key("goods", "by-hand");
    let address = stack.goods[0].address().to_string();
    stack.etcdctl(&["put", &by_hand, &address]).await?;
    stack.gateway.wait_services(|services| services.instances("goods").contains(&"by-hand")).await?;
    stack.etcdctl(&["del", &by_hand]).await?;
    stack.gateway.wait_services(|services| !services.instances("goods").contains(&"by-hand")).await?;
    Ok(())
}

#[tokio::test]
async fn killed_and_started_under_load_it_fails_no_request_once_it_listens() -> Result<()> {
    let mut stack = stack().await?;
    wait_snapshot(&stack).await?;
    let former = stack.leases().await?;
    stack.gateway.kill().await?;
    // Before it starts, so that whatever it answers first is counted.
    let load = Load::get(stack.gateway.address(), "/goods/list").rate(RATE).start();
    load.wait_begun(30, PATIENCE).await?;
    let begun = Instant::now();
    stack.gateway.start_again()?;
    let back = stack.wait_registered_again(&former, begun).await?;
    // Ten times the goal.
    assert!(back < Duration::from_secs(30), "{back:?}");
    load.wait_begun(load.begun() + 300, PATIENCE).await?;
    let outcome = load.stop().await;
    assert!(outcome.refused > 0, "the load did not see the gateway down: nothing is shown");
    assert!(outcome.status(200) > 300, "only {:?}", outcome.by_status);
    assert_eq!(outcome.failed, 0, "{:?}\n{}", outcome.errors, stack.gateway.process().tail());
    Ok(())
}

/// A snapshot is written some seconds after the one before.
async fn wait_snapshot(stack: &EmbeddedStack) -> Result<()> {
    let path = stack.gateway.snapshot()?;
    eventually("the snapshot holds all goods", PATIENCE, async || {
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let found = text.matches("\"id\":\"goods-").count();
        ensure!(found == stack.goods.len(), "the snapshot is {text}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn upgrades_under_load_fail_and_refuse_nothing() -> Result<()> {
    let mut stack = stack().await?;
    let load = Load::get(stack.gateway.address(), "/goods/list").rate(RATE).start();
    load.wait_begun(100, PATIENCE).await?;
    let registering = Load::get(stack.gateway.registry_address()?, "/").rate(50).start();
    for _ in 0..2 {
        upgrade(&mut stack).await?;
    }
    load.wait_begun(load.begun() + 300, PATIENCE).await?;
    let outcome = load.stop().await;
    assert_none_failed(&outcome);
    // They are no gRPC, but each has its own connection.
    let connections = registering.stop().await;
    assert!(connections.sent > 100 && connections.refused == 0, "{connections:?}");
    Ok(())
}

/// Replaces the gateway's process, and waits until every goods is registered in the new one.
async fn upgrade(stack: &mut EmbeddedStack) -> Result<()> {
    let former = stack.leases().await?;
    let successor = stack.gateway.successor()?;
    eventually("the successor asks for the sockets", PATIENCE, async || {
        ensure!(stack.gateway.is_awaited(), "there is no upgrade socket\n{}", successor.tail());
        Ok(())
    })
    .await?;
    let begun = Instant::now();
    stack.gateway.process().signal(Signal::SIGQUIT)?;
    let back = stack.wait_registered_again(&former, begun).await.with_context(|| successor.tail())?;
    assert!(back < Duration::from_secs(30), "{back:?}");
    let mut old = stack.gateway.replace(successor);
    assert_eq!(old.wait_exit(PATIENCE).await?.code(), Some(0), "{}", old.tail());
    assert!(old.lines().iter().any(|line| line.contains("was handed over")), "{}", old.tail());
    Ok(())
}

#[tokio::test]
async fn it_serves_until_the_last_request_is_done() -> Result<()> {
    let mut gateway = Gateway::start_with_registry(GatewayOptions::default()).await?;
    let stack_registry = format!("http://{}", gateway.registry_address()?);
    let reply = Reply::After(Duration::from_secs(2), Box::new(Reply::ok("late")));
    let backend = Backend::start("slow", reply).await?;
    let mut client = harness::etcd::client(&stack_registry).await?;
    client.put(key("goods", "slow"), backend.address().to_string(), None).await?;
    gateway.wait_instances("goods", &["slow"]).await?;
    let address = gateway.address();
    let slow = tokio::spawn(async move { http::get(address, "/goods").await });
    backend.wait_count(1, PATIENCE).await?;

    gateway.process().signal(Signal::SIGTERM)?;
    eventually("the gateway does not listen any more", PATIENCE, async || {
        ensure!(gateway.get("/").await.is_err(), "it answers");
        Ok(())
    })
    .await?;
    // As a backend does that stops at the same time.
    let deleted = client.delete(key("goods", "slow"), None).await?;
    assert_eq!(deleted.deleted(), 1);
    assert_eq!(slow.await??.status, 200);
    assert_eq!(gateway.wait_exit(PATIENCE).await?.code(), Some(0));
    assert!(client.get(key("goods", "slow"), None).await.is_err(), "it ends with the gateway");
    Ok(())
}

/// A gateway whose registry is to listen here; for a start that may fail.
fn start_at(listen: &str, directory: &std::path::Path) -> Result<Process> {
    let file = directory.join("pingora.yaml");
    let configuration = json!({
        "version": 1,
        "pid_file": directory.join("proxy.pid"),
        "upgrade_sock": directory.join("upgrade.sock"),
        "gateway": {
            "listen": [free_address()?.to_string()],
            "admin": "off",
            "registry": { "embedded": { "listen": listen } },
            "routes": [{ "path": "/goods", "service": "goods" }],
        },
    });
    write_configuration(&file, &configuration)?;
    let mut command = Command::new(binary("proxy")?);
    command.arg("-c").arg(file);
    Process::start(command, Stdout::Kept)
}

#[tokio::test]
async fn an_address_that_is_taken_ends_the_start_and_is_named() -> Result<()> {
    let taken = TcpListener::bind(free_address()?).context("taking a port")?;
    let address = taken.local_addr()?.to_string();
    let directory = tempfile::tempdir()?;
    let mut process = start_at(&address, directory.path())?;
    assert_eq!(process.wait_exit(PATIENCE).await?.code(), Some(1));
    let told = process.stderr().join("\n");
    let expected = format!("the embedded registry cannot listen on {address}");
    assert!(told.contains(&expected) && told.contains("in use"), "{told}");
    Ok(())
}

#[tokio::test]
async fn an_address_beyond_this_machine_is_warned_of() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let everywhere = format!("0.0.0.0:{}", free_address()?.port());
    let process = start_at(&everywhere, directory.path())?;
    let warned = |line: &str| line.contains("WARN") && line.contains("has no users");
    process.wait_for_line(warned, PATIENCE).await?;
    let here = tempfile::tempdir()?;
    let process = start_at(&free_address()?.to_string(), here.path())?;
    process.wait_for_line(|line| line.contains("the embedded registry serves"), PATIENCE).await?;
    assert!(!process.lines().iter().any(|line| line.contains("has no users")));
    Ok(())
}
