//! The registrar that docs/registrars.md shows, in Go with etcd's own client, on a real etcd and on the embedded
//! registry.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use etcd_client::Client;
use harness::{
    http,
    ports::free_address,
    process::{Process, Signal, Stdout},
    wait::eventually,
};
use tokio::{task::spawn_blocking, try_join};

use crate::subject::{PATIENCE, Release, Subject};

const KEY: &str = "/service_registry_discovery/goods/in-go";
/// Debian's etcd client, 3.4; since 3.5 the same is imported as `go.etcd.io/etcd/client/v3`.
const CLIENT: &str = "/usr/share/gocode/src/go.etcd.io/etcd/clientv3";

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

#[test]
fn the_page_shows_the_registrar_as_it_is_built() -> Result<()> {
    let page = fs::read_to_string(docs("registrars.md"))?;
    let shown = page.split("```go\n").nth(1).and_then(|rest| rest.split("```").next());
    assert_eq!(shown, Some(&*fs::read_to_string(docs("registrar/main.go"))?));
    Ok(())
}

/// Builds it from what Debian has, without a network.
fn build() -> Result<PathBuf> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
    let import = place.join("src/go.etcd.io/etcd/client");
    fs::create_dir_all(&import)?;
    if !import.join("v3").exists() {
        symlink(CLIENT, import.join("v3"))?;
    }
    let built = place.join("registrar");
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&built).arg(docs("registrar/main.go"));
    go.env("GOPATH", format!("{}:/usr/share/gocode", place.display()))
        .env("GOCACHE", place.join("cache"))
        .env("GO111MODULE", "off")
        .env_remove("GOFLAGS");
    let ran = go.output().context("no go on PATH? `tools/setup.sh test` installs it")?;
    ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    Ok(built)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registrar_in_go_does_what_a_registrar_does() -> Result<()> {
    let registrar = spawn_blocking(build).await??;
    try_join!(check(&registrar, Release::Embedded), check(&registrar, Release::V3_4))?;
    Ok(())
}

async fn check(registrar: &Path, release: Release) -> Result<()> {
    let subject = Subject::start(release).await?;
    let mut client = subject.client().await?;
    stays_registered_until_it_is_told_to_leave(registrar, &subject, &mut client)
        .await
        .with_context(|| format!("{release:?}"))?;
    serves_on_when_it_has_left(registrar, &subject, &mut client)
        .await
        .with_context(|| format!("{release:?}"))?;
    goes_with_its_lease_when_it_is_killed(registrar, &subject, &mut client)
        .await
        .with_context(|| format!("{release:?}"))
}

async fn stays_registered_until_it_is_told_to_leave(
    registrar: &Path,
    subject: &Subject,
    client: &mut Client,
) -> Result<()> {
    let (mut process, address) = start(registrar, subject, "0s")?;
    let first = registered(client, address, 0).await?;

    client.delete(KEY, None).await?;
    assert_eq!(registered(client, address, 0).await?, first, "put again under the lease that it has");

    client.lease_client().revoke(first).await?;
    let second = registered(client, address, first).await?;
    assert_ne!(second, first);

    process.signal(Signal::SIGTERM)?;
    gone(client).await?;
    assert!(process.wait_exit(PATIENCE).await?.success());
    assert!(client.lease_client().leases().await?.leases().is_empty(), "the lease was revoked");
    let last = process.lines().pop().unwrap_or_default();
    assert!(last.contains(&format!(" registered {KEY} under lease ")), "to leave is no trouble: {last}");
    Ok(())
}

/// It drains for so long that no machine is too slow to find it serving.
async fn serves_on_when_it_has_left(registrar: &Path, subject: &Subject, client: &mut Client) -> Result<()> {
    let (process, address) = start(registrar, subject, "1h")?;
    registered(client, address, 0).await?;
    process.signal(Signal::SIGTERM)?;
    gone(client).await?;
    assert_eq!(http::get(address, "/").await?.status, 200);
    Ok(())
}

async fn goes_with_its_lease_when_it_is_killed(
    registrar: &Path,
    subject: &Subject,
    client: &mut Client,
) -> Result<()> {
    let (process, address) = start(registrar, subject, "0s")?;
    registered(client, address, 0).await?;
    process.signal(Signal::SIGKILL)?;
    gone(client).await
}

fn start(registrar: &Path, subject: &Subject, drain: &str) -> Result<(Process, SocketAddr)> {
    let address = free_address()?;
    let mut command = Command::new(registrar);
    command
        .env("ADDRESS", address.to_string())
        .env("KEY", KEY)
        .env("DRAIN", drain)
        .env("REGISTRY", format!("http://{}", subject.address()));
    Ok((Process::start(command, Stdout::Kept)?, address))
}

/// Waits until the key stands with this value, under another lease than this; its lease.
async fn registered(client: &mut Client, address: SocketAddr, not: i64) -> Result<i64> {
    eventually("it is registered", PATIENCE, async || {
        let found = client.get(KEY, None).await?;
        let kv = found.kvs().first().context("there is no key")?;
        ensure!(kv.value() == address.to_string().as_bytes(), "{kv:?}");
        ensure!(kv.lease() != not && kv.lease() != 0, "{kv:?}");
        Ok(kv.lease())
    })
    .await
}

async fn gone(client: &mut Client) -> Result<()> {
    eventually("the key is gone", PATIENCE, async || {
        ensure!(client.get(KEY, None).await?.kvs().is_empty(), "it is still there");
        Ok(())
    })
    .await
}
