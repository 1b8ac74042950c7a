//! Starts that cannot succeed: said at once, with everything that is wrong.

use std::{
    fs::{self, Permissions},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    time::Duration,
};

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
    fs::write(&broken, "gateway: [\n")?;
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

/// A password that everybody may read, for a registry on another machine.
fn with_exposed_password(directory: &TempDir) -> Result<(Value, [String; 2])> {
    // Whoever knows the file's name may come to it.
    fs::set_permissions(directory.path(), Permissions::from_mode(0o711))?;
    let (password, run) = (directory.path().join("password"), directory.path().join("run"));
    fs::write(&password, "secret")?;
    fs::set_permissions(&password, Permissions::from_mode(0o644))?;
    fs::create_dir(&run)?;
    fs::set_permissions(&run, Permissions::from_mode(0o700))?;
    let mut configuration = valid(directory)?;
    configuration["upgrade_sock"] = json!(run.join("upgrade.sock"));
    configuration["gateway"]["registry"] = json!({
        "endpoints": ["http://192.0.2.1:2379"],
        "username": "gateway",
        "password_file": password,
    });
    let file = format!("everybody on this machine may read {}", password.display());
    Ok((configuration, ["the password goes to http://192.0.2.1:2379 unencrypted".to_owned(), file]))
}

#[tokio::test]
async fn a_password_that_others_can_read_is_told_by_the_check_the_start_and_a_backend() -> Result<()> {
    let directory = private_directory()?;
    let (configuration, expected) = with_exposed_password(&directory)?;
    let (code, output) = run(&configuration, &directory, &["-t"], PATIENCE).await?;
    assert_eq!(code, Some(0), "{output}");
    assert!(expected.iter().all(|told| output.contains(told)), "{output}");

    let file = directory.path().join("pingora.yaml").display().to_string();
    let gateway = Process::spawn("proxy", ["-c", &file], &[])?;
    let password = directory.path().join("password").display().to_string();
    let (listen, flags) =
        (free_address()?.to_string(), ["--username", "goods", "--password-file", &password]);
    let listens = ["--listen", &listen, "--advertise", &listen, "--registry", "http://192.0.2.1:2379"];
    let goods = Process::spawn("goods", [&listens[..], &flags].concat(), &[])?;
    for (process, told) in
        [&gateway, &goods].into_iter().flat_map(|process| expected.each_ref().map(|t| (process, t)))
    {
        process.wait_for_line(|line| line.contains("WARN") && line.contains(told), PATIENCE).await?;
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
