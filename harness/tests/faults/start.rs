//! Starts that cannot succeed: said at once, with everything that is wrong.

use std::{net::TcpListener, time::Duration};

use anyhow::{Context, Result, ensure};
use harness::{
    ports::free_address,
    process::Process,
    stack::{private_directory, write_configuration},
    wait::eventually,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::PATIENCE;

/// Runs `proxy` with this configuration to its end.
async fn run(
    configuration: &Value,
    directory: &TempDir,
    flags: &[&str],
    within: Duration,
) -> Result<(Option<i32>, String)> {
    let file = directory.path().join("pingora.yaml");
    write_configuration(&file, configuration)?;
    let file = file.display().to_string();
    let mut process = Process::spawn("proxy", [&["-c", &file], flags].concat(), &[])?;
    let status = process.wait_exit(within).await?;
    Ok((status.code(), process.lines().join("\n")))
}

fn valid(directory: &TempDir) -> Result<Value> {
    Ok(json!({
        "version": 1,
        "pid_file": directory.path().join("proxy.pid"),
        "upgrade_sock": directory.path().join("upgrade.sock"),
        "gateway": {
            "listen": [free_address()?.to_string()],
            "admin": free_address()?.to_string(),
            "registry": { "endpoints": ["http://127.0.0.1:2379"] },
            "routes": [{ "path": "/goods", "service": "goods" }],
        },
    }))
}

#[tokio::test]
async fn every_mistake_of_a_configuration_is_listed_with_its_key() -> Result<()> {
    let directory = private_directory()?;
    let mut configuration = valid(&directory)?;
    configuration["threads"] = json!(0);
    configuration["no_such_key"] = json!(1);
    configuration["gateway"]["listen"] = json!(["nonsense"]);
    configuration["gateway"]["registry"]["endpoint"] = json!("x");
    configuration["gateway"]["routes"][0]["path"] = json!("goods");
    configuration["gateway"]["timeouts"] = json!({ "connect": "1" });
    for flags in [&[][..], &["-t"]] {
        let (code, output) = run(&configuration, &directory, flags, PATIENCE).await?;
        assert_eq!(code, Some(1), "{output}");
        for key in [
            "threads",
            "no_such_key",
            "listen",
            "gateway.registry.endpoint",
            "path",
            "gateway.timeouts.connect",
        ] {
            assert!(output.contains(key), "{key} is not named:\n{output}");
        }
        assert!(!output.contains("panicked"), "{output}");
    }
    Ok(())
}

#[tokio::test]
async fn a_configuration_that_is_missing_or_no_yaml_is_an_error_that_names_it() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let missing = directory.path().join("missing.yaml").display().to_string();
    let mut process = Process::spawn("proxy", ["-c", &missing], &[])?;
    assert_eq!(process.wait_exit(PATIENCE).await?.code(), Some(1));
    assert!(process.lines().join("\n").contains(&missing));

    let broken = directory.path().join("broken.yaml");
    std::fs::write(&broken, "gateway: [\n")?;
    let broken = broken.display().to_string();
    let mut process = Process::spawn("proxy", ["-c", &broken], &[])?;
    assert_eq!(process.wait_exit(PATIENCE).await?.code(), Some(1));
    assert!(process.lines().join("\n").contains(&broken));
    Ok(())
}

#[tokio::test]
async fn a_good_configuration_passes_the_check_without_a_start() -> Result<()> {
    let directory = private_directory()?;
    let mut configuration = valid(&directory)?;
    let (code, output) = run(&configuration, &directory, &["-t"], PATIENCE).await?;
    assert_eq!(code, Some(0), "{output}");
    configuration["user"] = json!("root");
    let (code, output) = run(&configuration, &directory, &["-t"], PATIENCE).await?;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("user: is of a daemon only") && output.contains(": valid"), "{output}");
    Ok(())
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_written_fails_the_check_and_not_the_start() -> Result<()> {
    let directory = private_directory()?;
    let mut configuration = valid(&directory)?;
    configuration["user"] = json!("root");
    configuration["gateway"]["registry"]["snapshot"] = json!(directory.path().join("missing/snapshot"));
    let (code, output) = run(&configuration, &directory, &["-t"], PATIENCE).await?;
    assert_eq!(code, Some(1), "{output}");
    let file = directory.path().join("pingora.yaml").display().to_string();
    let process = Process::spawn("proxy", ["-c", &file], &[])?;
    eventually("it listens", PATIENCE, async || {
        let lines = process.lines().join("\n");
        ensure!(lines.contains(r#""listen":"#), "{lines}");
        Ok(())
    })
    .await?;
    let lines = process.lines().join("\n");
    for warning in
        ["gateway.registry.snapshot: the directory ", "no snapshot is kept", "user: is of a daemon only"]
    {
        assert!(lines.contains(warning), "{lines}");
    }
    Ok(())
}

#[tokio::test]
async fn a_port_in_use_ends_the_start_within_2_s_and_is_named() -> Result<()> {
    let directory = private_directory()?;
    for key in ["listen", "admin"] {
        let taken = TcpListener::bind(free_address()?).context("taking a port")?;
        let address = taken.local_addr()?.to_string();
        let mut configuration = valid(&directory)?;
        configuration["gateway"][key] = if key == "listen" { json!([address]) } else { json!(address) };
        let (code, output) = run(&configuration, &directory, &[], Duration::from_secs(2)).await?;
        assert_eq!(code, Some(1), "{output}");
        for named in [&address, &format!("gateway.{key}"), "ss -ltnp"] {
            assert!(output.contains(named), "{named} is not named:\n{output}");
        }
        assert!(!output.contains("panicked"), "{output}");
    }
    Ok(())
}

#[tokio::test]
async fn an_address_that_no_interface_has_ends_the_start_with_a_remedy() -> Result<()> {
    let directory = private_directory()?;
    let mut configuration = valid(&directory)?;
    configuration["gateway"]["listen"] = json!(["192.0.2.1:8080"]);
    let (code, output) = run(&configuration, &directory, &[], PATIENCE).await?;
    assert_eq!(code, Some(1), "{output}");
    assert!(
        output.contains("192.0.2.1:8080 (gateway.listen)") && output.contains("`ip address`"),
        "{output}"
    );
    Ok(())
}

#[tokio::test]
async fn goods_says_so_too() -> Result<()> {
    let taken = TcpListener::bind(free_address()?).context("taking a port")?;
    let address = taken.local_addr()?.to_string();
    let mut process = Process::spawn("goods", ["--listen", &address, "--instance", "a"], &[])?;
    assert_eq!(process.wait_exit(PATIENCE).await?.code(), Some(1));
    assert!(process.lines().join("\n").contains(&address));
    Ok(())
}
