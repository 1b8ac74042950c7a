//! Frames that RFC 9113 does not allow, in clear and under TLS: the gateway does what the RFC asks for, but for what
//! tools/http2-frames/accepted.txt names.

use std::{net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use harness::{
    backend::{Backend, Reply},
    certificates::Authority,
    ports::free_address,
    process::{Process, Stdout},
    stack::{Gateway, GatewayOptions},
};
use serde_json::json;

/// What the suite is written in is installed first, where it is not yet.
const PATIENCE: Duration = Duration::from_secs(600);
/// The host that is asked for.
const SHOP: &str = "shop.example.com";
/// So many cases there are at least.
const CASES: usize = 200;

/// A gateway whose requests all come to this instance.
fn options(backend: &Backend) -> GatewayOptions {
    GatewayOptions::without_routes()
        .route("/", "backend")
        .set("gateway/services/backend/addresses", json!([backend.address().to_string()]))
}

/// Runs the suite.
async fn check(gateway: &Gateway, address: SocketAddr, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/http2-frames.sh"));
    command.args(arguments).arg(SHOP).arg(format!("gateway={address}"));
    let mut process = Process::start(command, Stdout::Kept)?;
    let status = process.wait_exit(PATIENCE).await.context("the suite does not end")?;
    ensure!(status.success(), "{}\n{}", process.stderr().join("\n"), process.lines().join("\n"));
    let cases = process.lines().iter().filter(|line| line.starts_with("| ")).count();
    ensure!(cases >= CASES, "there are {cases} cases");
    assert_eq!(gateway.metric("leaseway_panics_total", &[]).await?, 0.0);
    Ok(())
}

#[tokio::test]
async fn the_gateway_does_in_clear_what_the_rfc_asks_for() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    let gateway = Gateway::start_with_registry(options(&backend)).await?;
    check(&gateway, gateway.address(), &[]).await
}

#[tokio::test]
async fn the_gateway_does_under_tls_what_the_rfc_asks_for() -> Result<()> {
    let (directory, door) = (tempfile::tempdir()?, free_address()?);
    let authority = Authority::new("An authority")?;
    let files = authority.server(&[SHOP])?.write(directory.path(), "shop")?;
    let authorities = directory.path().join("ca.pem");
    authority.write(&authorities)?;
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    let listener = json!({
        "tls": { "certificates": [{ "cert": files.cert, "key": files.key }] },
    });
    let gateway = Gateway::start_with_registry(options(&backend).also_listening_with(door, listener)).await?;
    let authorities = authorities.to_str().context("a path that is text")?;
    check(&gateway, door, &["--authorities", authorities]).await
}
