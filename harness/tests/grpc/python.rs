//! grpcio, the library of most who do not write Rust, on both sides of the gateway.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use harness::{
    process::{Process, Stdout},
    stack::{Gateway, GatewayOptions},
};
use serde_json::json;

use super::{PATIENCE, options};

/// A call of each kind, some of them large, by a debug build on a busy machine.
const CALLS: Duration = Duration::from_secs(180);

/// Runs a part of tools/grpcio/echo.py.
fn run(python: &str, arguments: &[&str]) -> Result<Process> {
    let mut command = Command::new(python);
    command.arg(tools().join("grpcio/echo.py")).args(arguments);
    Process::start(command, Stdout::Kept)
}

fn tools() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "tools"].iter().collect()
}

/// The Python that has grpcio.
async fn python() -> Result<String> {
    let mut command = Command::new(tools().join("python.sh"));
    command.arg("grpcio");
    let mut setup = Process::start(command, Stdout::Kept)?;
    let status = setup.wait_exit(Duration::from_secs(300)).await?;
    ensure!(status.success(), "tools/python.sh: {}", setup.tail());
    setup.lines().into_iter().next_back().context("tools/python.sh names no Python")
}

/// What a part of echo.py makes of its own server through the gateway, whose options are changed.
async fn goes_well(part: &str, change: impl FnOnce(GatewayOptions) -> GatewayOptions) -> Result<()> {
    let python = python().await?;
    let server = run(&python, &["server"])?;
    let is_port = |line: &str| line.parse::<u16>().is_ok();
    let port: u16 = server.wait_for_line(is_port, PATIENCE).await?.parse()?;
    let options = change(options(&[([127, 0, 0, 1], port).into()]));
    let gateway = Gateway::start_with_registry(options).await?;
    let mut client = run(&python, &[part, &gateway.address().to_string()])?;
    let status = client.wait_exit(CALLS).await?;
    ensure!(status.success(), "{}\n{}", client.tail(), gateway.process().tail());
    Ok(())
}

#[tokio::test]
#[ignore = "it installs grpcio from PyPI"]
async fn each_kind_of_call_goes_through_by_grpcio() -> Result<()> {
    goes_well("client", |options| options).await
}

/// gRPC's servers close a connection on which they are asked too often whether they are there.
#[tokio::test]
#[ignore = "it installs grpcio from PyPI, and takes a minute"]
async fn a_call_that_is_quiet_for_a_minute_goes_on_by_grpcio() -> Result<()> {
    goes_well("quiet", |options| options.set("gateway/timeouts", json!({ "idle": "5m" }))).await
}
