//! Reloads of a daemon, and beside an upgrade.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use harness::{
    etcd::{Etcd, key},
    http,
    load::Load,
    ports::free_address,
    process::{Process, Signal, Stdout, binary},
    stack::{Gateway, GatewayOptions, file, write_configuration},
    wait::eventually,
};
use nix::{sys::signal::kill, unistd::Pid};
use serde_json::json;

use super::{APPLIED, said, two};
use crate::{PATIENCE, assert_none_failed, daemon::Daemon};

/// As root this is a daemon that becomes another user: what it chooses by itself, such as its run directory, is then
/// another than root's, and no change.
#[tokio::test]
async fn a_daemon_that_was_given_a_relative_path_reloads_by_itself_and_when_told() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name);
    // Where the daemon's user finds his files.
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
    let is_root = fs::metadata(directory.path())?.uid() == 0;
    let (address, registry) = (free_address()?, free_address()?.to_string());
    let mut configuration = json!({
        "version": 1,
        "error_log": at("log"),
        "gateway": {
            "listen": [address.to_string()],
            "admin": "off",
            "registry": { "embedded": { "listen": registry } },
            "routes": [{ "path": "/goods", "service": "goods" }],
        },
    });
    if is_root {
        configuration["user"] = json!("nobody");
    }
    let path = at("pingora.yaml");
    write_configuration(&path, &configuration)?;
    let mut command = Command::new(binary("proxy")?);
    command.args(["-d", "-c", "pingora.yaml"]).current_dir(directory.path());
    command.env("XDG_RUNTIME_DIR", directory.path());
    command.env_remove("RUNTIME_DIRECTORY").env_remove("STATE_DIRECTORY");
    let mut started = Process::start(command, Stdout::Kept)?;
    assert_eq!(started.wait_exit(PATIENCE).await?.code(), Some(0), "{}", started.tail());
    let pid_file = at(if is_root { "leaseway.pid" } else { "leaseway/leaseway.pid" });
    let written = async || Ok(Daemon(fs::read_to_string(&pid_file)?.trim().parse()?));
    let daemon = eventually("there is a pid file", PATIENCE, written).await?;

    let wait_status = async |path: &str, expected: u16| {
        eventually("the daemon answers by the file", PATIENCE, async || {
            let status = http::get(address, path).await?.status;
            ensure!(status == expected, "{path} gets {status}");
            Ok(())
        })
        .await
        .with_context(|| fs::read_to_string(at("log")).unwrap_or_default())
    };
    wait_status("/goods", 503).await?;
    wait_status("/one", 404).await?;
    configuration["gateway"]["routes"] = json!([{ "path": "/one", "service": "one" }]);
    file::rename_into_place(&path, &file::yaml(&configuration)?)?;
    wait_status("/one", 503).await?;
    wait_status("/goods", 404).await?;

    configuration["gateway"]["reload"] = json!("off");
    configuration["gateway"]["routes"] = json!([{ "path": "/two", "service": "two" }]);
    file::rename_into_place(&path, &file::yaml(&configuration)?)?;
    kill(Pid::from_raw(daemon.0), Signal::SIGHUP)?;
    wait_status("/two", 503).await?;
    eventually("both are told", PATIENCE, async || {
        let log = fs::read_to_string(at("log"))?;
        let lines: Vec<_> = log.lines().map(str::to_owned).collect();
        ensure!(said(&lines, APPLIED).len() == 2, "{log}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_a_running_process_refuses_its_successor_takes() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut gateway = Gateway::start(&etcd.endpoint(), GatewayOptions::default()).await?;
    let goods = harness::backend::Backend::start("goods", harness::backend::Reply::ok("")).await?;
    for service in ["goods", "other"] {
        etcd.put(&key(service, "1"), goods.address().to_string()).await?;
        gateway.wait_instances(service, &["1"]).await?;
    }
    gateway.reload(&GatewayOptions::default().set("gateway/trace_header", "x-new")).await?;
    let serving = gateway.config().await?;
    let load = Load::get(gateway.address(), "/goods").rate(200).start();
    load.wait_begun(100, PATIENCE).await?;

    let text = file::yaml(&gateway.configuration(&two().set("threads", 3)))?;
    file::rename_into_place(&gateway.file(), &text)?;
    gateway.process().signal(Signal::SIGHUP)?;
    let refused = |line: &str| line.contains("needs an upgrade (-u) or a restart");
    gateway.process().wait_for_line(refused, PATIENCE).await?;
    assert_eq!(gateway.config().await?["revision"], serving["revision"]);
    assert_eq!(gateway.get("/other").await?.status, 404);

    let successor = gateway.successor()?;
    eventually("the successor asks for the sockets", PATIENCE, async || {
        ensure!(gateway.is_awaited(), "there is no upgrade socket");
        Ok(())
    })
    .await?;
    gateway.process().signal(Signal::SIGQUIT)?;
    // It serves on for a while; whoever tells it meanwhile ends nothing.
    gateway.process().signal(Signal::SIGHUP)?;
    let mut old = gateway.replace(successor);
    assert_eq!(old.wait_exit(PATIENCE).await?.code(), Some(0), "{}", old.tail());
    gateway.wait_revision(&file::revision(&text)).await?;
    assert!(gateway.config().await?.get("rejected").is_none());
    assert_eq!(gateway.get("/other").await?.status, 200);
    load.wait_begun(load.begun() + 100, PATIENCE).await?;
    assert_none_failed(&load.stop().await);

    // The successor reloads as its predecessor did.
    gateway.reload(&two().set("threads", 3).set("gateway/trace_header", "x-newer")).await?;
    assert!(gateway.get("/goods").await?.header("x-newer").is_some());
    Ok(())
}

/// A successor is started with a file that its predecessor has taken, and another comes while it waits.
#[tokio::test]
async fn a_file_that_changes_while_a_successor_waits_is_what_it_serves_with() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut gateway = Gateway::start(&etcd.endpoint(), GatewayOptions::default()).await?;
    let successor = gateway.successor()?;
    eventually("the successor asks for the sockets", PATIENCE, async || {
        ensure!(gateway.is_awaited(), "there is no upgrade socket");
        Ok(())
    })
    .await?;
    let revision = gateway.reload(&two()).await?;
    gateway.process().signal(Signal::SIGQUIT)?;
    let mut old = gateway.replace(successor);
    assert_eq!(old.wait_exit(PATIENCE).await?.code(), Some(0), "{}", old.tail());
    gateway.wait_revision(&revision).await?;
    assert_eq!(gateway.get("/other").await?.status, 503);
    Ok(())
}
