//! What a start says of itself in the log.

use std::{fs, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use harness::{
    etcd::{Etcd, key},
    ports::free_address,
    process::Process,
    stack::{Gateway, GatewayOptions, private_directory, write_configuration},
    wait::eventually,
};
use serde_json::{Value, json};

use crate::{PATIENCE, daemon::Daemon};

/// The log's lines with this message.
fn said(lines: &[String], message: &str) -> Vec<Value> {
    let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}

async fn wait_said(gateway: &Gateway, message: &str) -> Result<Value> {
    let quoted = format!("\"message\":\"{message}\"");
    gateway.process().wait_for_line(|line| line.contains(&quoted), PATIENCE).await?;
    let mut lines = said(&gateway.process().lines(), message);
    ensure!(lines.len() == 1, "it is said {} times: {lines:#?}", lines.len());
    Ok(lines.remove(0))
}

/// An etcd with three instances of two services.
async fn registry() -> Result<Etcd> {
    let etcd = Etcd::start().await?;
    for (service, instance) in [("goods", "a"), ("goods", "b"), ("other", "a")] {
        etcd.put(&key(service, instance), free_address()?.to_string()).await?;
    }
    Ok(etcd)
}

#[tokio::test]
async fn a_gateway_that_is_ready_says_once_who_it_is_and_what_it_found() -> Result<()> {
    let etcd = registry().await?;
    let gateway =
        Gateway::start(&etcd.endpoint(), GatewayOptions::default().route("/empty", "empty")).await?;
    let line = wait_said(&gateway, "ready").await?;
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(line["pid"], gateway.process().pid());
    let configuration = line["configuration"].as_str().context("no configuration")?;
    assert!(fs::read_to_string(configuration)?.contains(&gateway.address().to_string()));
    assert_eq!(line["listen"], gateway.address().to_string());
    assert_eq!(line["admin"], gateway.admin_address().to_string());
    assert_eq!(line["registry"], etcd.endpoint());
    assert_eq!(line["source"], "registry");
    assert_eq!(line["revision"], gateway.services().await?.revision);
    assert_eq!((&line["services"], &line["endpoints"]), (&json!(2), &json!(3)));
    let lines = gateway.process().lines();
    let place = |what: &str| lines.iter().position(|line| line.contains(&format!("\"message\":\"{what}")));
    // On a busy machine it may have had to wait, and says so before.
    assert!(place("not ready yet").is_none_or(|waiting| Some(waiting) < place("ready\"")), "{lines:#?}");
    Ok(())
}

#[tokio::test]
async fn an_embedded_registry_is_told_too() -> Result<()> {
    let gateway = Gateway::start_with_registry(GatewayOptions::default()).await?;
    let line = wait_said(&gateway, "ready").await?;
    assert_eq!(line["registry"], format!("embedded, at {}", gateway.registry_address()?));
    assert_eq!((&line["services"], &line["endpoints"]), (&json!(0), &json!(0)));
    Ok(())
}

#[tokio::test]
async fn as_text_it_is_one_line_too() -> Result<()> {
    let etcd = registry().await?;
    let options = GatewayOptions::default().set("gateway/log", "text");
    let gateway = Gateway::start(&etcd.endpoint(), options).await?;
    let line = gateway.process().wait_for_line(|line| line.contains(" ready "), PATIENCE).await?;
    let registry = format!("registry={:?}", etcd.endpoint());
    for field in ["INFO", "version=", "listen=", "admin=", &registry, "services=2", "endpoints=3"] {
        assert!(line.contains(field), "{field} is not in {line}");
    }
    Ok(())
}

#[tokio::test]
async fn while_the_registry_does_not_answer_it_says_that_it_waits_and_claims_to_know_nothing() -> Result<()> {
    let nobody = format!("http://{}", free_address()?);
    let gateway = Gateway::launch(&nobody, GatewayOptions::default()).await?;
    let waits = "not ready yet: waiting for the registry's first answer";
    let line = wait_said(&gateway, waits).await?;
    assert_eq!(line["registry"], nobody);
    assert_eq!(line["listen"], gateway.address().to_string());
    let unread = |line: &str| line.contains("the registry has not been read yet, nothing is known from it");
    gateway.process().wait_for_line(unread, PATIENCE).await?;
    assert!(!gateway.process().lines().iter().any(|line| line.contains("what is known stays")));
    assert!(said(&gateway.process().lines(), "ready").is_empty());
    Ok(())
}

#[tokio::test]
async fn a_start_from_the_snapshot_says_so() -> Result<()> {
    let mut etcd = registry().await?;
    let directory = tempfile::tempdir()?;
    let snapshot = directory.path().join("snapshot");
    let options = GatewayOptions::default().set("gateway/registry/snapshot", snapshot.display().to_string());
    let mut gateway = Gateway::start(&etcd.endpoint(), options.clone()).await?;
    assert_eq!(gateway.stop(PATIENCE).await?.code(), Some(0));
    etcd.kill().await?;
    let gateway = Gateway::start(&etcd.endpoint(), options).await?;
    let line = wait_said(&gateway, "ready").await?;
    assert_eq!(line["source"], "snapshot");
    assert_eq!((&line["services"], &line["endpoints"]), (&json!(2), &json!(3)));
    Ok(())
}

#[tokio::test]
async fn a_daemon_says_it_in_its_own_log() -> Result<()> {
    let etcd = registry().await?;
    let directory = private_directory()?;
    let file = |name: &str| directory.path().join(name);
    let admin: SocketAddr = free_address()?;
    let configuration = json!({
        "version": 1,
        "pid_file": file("proxy.pid"),
        "upgrade_sock": file("upgrade.sock"),
        "error_log": file("log"),
        "gateway": {
            "listen": [free_address()?.to_string()],
            "admin": admin.to_string(),
            "registry": { "endpoints": [etcd.endpoint()] },
            "routes": [{ "path": "/goods", "service": "goods" }],
        },
    });
    write_configuration(&file("pingora.yaml"), &configuration)?;
    let path = file("pingora.yaml").display().to_string();
    let mut process = Process::spawn("proxy", ["-d", "-c", &path], &[])?;
    // The process that was started ends when the daemon has begun.
    assert_eq!(process.wait_exit(PATIENCE).await?.code(), Some(0), "{}", process.tail());
    let pid = eventually("there is a pid file", PATIENCE, async || {
        Ok(fs::read_to_string(file("proxy.pid"))?.trim().parse::<i32>()?)
    });
    let daemon = Daemon(pid.await?);
    let line = eventually("the daemon says that it is ready", Duration::from_secs(30), async || {
        let lines: Vec<_> = fs::read_to_string(file("log"))?.lines().map(str::to_owned).collect();
        said(&lines, "ready").pop().context("it does not")
    });
    let line = line.await?;
    assert_eq!((&line["pid"], &line["endpoints"]), (&json!(daemon.0), &json!(3)));
    assert_eq!(line["configuration"], path);
    Ok(())
}
