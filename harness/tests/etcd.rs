//! The harness's etcd does what its tests will ask of it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

use anyhow::{Result, ensure};
use etcd_client::{Client, ConnectOptions, GetOptions};
use harness::{
    etcd::{AuthToken, Etcd, PREFIX, key},
    tls::TlsFiles,
    wait::eventually,
};
use tokio::time::timeout;

const SHORT: Duration = Duration::from_secs(2);

async fn value(etcd: &Etcd, key: &str) -> Result<Option<String>> {
    let answer = etcd.client().await?.get(key, None).await?;
    Ok(answer.kvs().first().map(|kv| kv.value_str().map(str::to_owned)).transpose()?)
}

#[tokio::test]
async fn data_survives_a_kill_and_not_an_emptying() -> Result<()> {
    let mut etcd = Etcd::start().await?;
    let revision = etcd.put("a", "1").await?;
    assert_eq!(etcd.put("b", "2").await?, revision + 1);

    etcd.kill().await?;
    assert!(value(&etcd, "a").await.is_err());
    etcd.restart().await?;
    assert_eq!(value(&etcd, "a").await?.as_deref(), Some("1"));
    assert_eq!(etcd.delete("a").await?, revision + 2);
    assert!(etcd.delete("a").await.is_err(), "a second delete finds nothing");

    etcd.stop_gracefully().await?;
    let endpoint = etcd.endpoint();
    etcd.restart_empty().await?;
    assert_eq!(etcd.endpoint(), endpoint);
    assert_eq!(value(&etcd, "b").await?, None);
    Ok(())
}

#[tokio::test]
async fn a_paused_etcd_is_silent_until_it_resumes() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut client = etcd.client().await?;
    client.put("a", "1", None).await?;
    etcd.pause()?;
    assert!(timeout(Duration::from_millis(500), client.get("a", None)).await.is_err());
    etcd.resume()?;
    eventually("etcd answers again", SHORT, async || Ok(client.get("a", None).await?)).await?;
    Ok(())
}

#[tokio::test]
async fn users_may_do_what_their_roles_say() -> Result<()> {
    let etcd = Etcd::builder().users().start().await?;
    let Some(users) = etcd.users() else { anyhow::bail!("no users") };
    let inside = key("goods", "a");
    assert_eq!(inside, "/service_registry_discovery/goods/a");

    let mut writer = etcd.client_as(&users.writer).await?;
    writer.put(inside.as_str(), "10.0.0.1:80", None).await?;
    assert!(writer.put("/elsewhere", "x", None).await.is_err());

    let mut reader = etcd.client_as(&users.reader).await?;
    let listed = reader.get(PREFIX, Some(GetOptions::new().with_prefix())).await?;
    assert_eq!(listed.count(), 1);
    assert!(reader.put(inside.as_str(), "x", None).await.is_err());
    assert!(reader.get("/elsewhere", None).await.is_err());

    let mut nobody = Client::connect([etcd.endpoint()], None).await?;
    assert!(nobody.get(inside.as_str(), None).await.is_err());
    let wrong = ConnectOptions::new().with_user("root", "wrong");
    assert!(Client::connect([etcd.endpoint()], Some(wrong)).await.is_err());

    let file = &users.writer.password_file;
    assert_eq!(fs::read_to_string(file)?.trim_end(), users.writer.password);
    assert_eq!(fs::metadata(file)?.permissions().mode() & 0o777, 0o600);
    Ok(())
}

#[tokio::test]
async fn users_are_made_again_in_an_emptied_etcd() -> Result<()> {
    let mut etcd = Etcd::builder().users().start().await?;
    etcd.put("a", "1").await?;
    etcd.restart_empty().await?;
    assert_eq!(value(&etcd, "a").await?, None);
    let mut nobody = Client::connect([etcd.endpoint()], None).await?;
    assert!(nobody.get("a", None).await.is_err());
    Ok(())
}

#[tokio::test]
async fn tls_demands_a_certificate_of_its_own_authority() -> Result<()> {
    let etcd = Etcd::builder().tls().users().start().await?;
    ensure!(etcd.endpoint().starts_with("https://127.0.0.1:"));
    etcd.put("a", "1").await?;
    assert_eq!(value(&etcd, "a").await?.as_deref(), Some("1"));

    let elsewhere = tempfile::tempdir()?;
    let Some(tls) = etcd.tls() else { anyhow::bail!("no certificates") };
    let stranger = TlsFiles::generate(elsewhere.path())?;
    assert!(etcdctl(&etcd, &tls.ca, &tls.client_cert, &tls.client_key)?, "its own certificate is taken");
    assert!(!etcdctl(&etcd, &tls.ca, &stranger.client_cert, &stranger.client_key)?, "a stranger's is not");
    assert!(
        !etcdctl(&etcd, &stranger.ca, &tls.client_cert, &tls.client_key)?,
        "nor is another authority believed"
    );
    Ok(())
}

/// Whether etcdctl, an independent client, gets an answer as root with these files.
fn etcdctl(etcd: &Etcd, ca: &Path, cert: &Path, key: &Path) -> Result<bool> {
    let Some(users) = etcd.users() else { anyhow::bail!("no users") };
    let output = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &etcd.endpoint(), "--dial-timeout=2s", "--command-timeout=2s"])
        .args(["--user", &format!("root:{}", users.root.password)])
        .args([Path::new("--cacert"), ca, Path::new("--cert"), cert, Path::new("--key"), key])
        .args(["get", "a"])
        .output()?;
    Ok(output.status.success() && String::from_utf8_lossy(&output.stdout).contains('1'))
}

#[tokio::test]
async fn simple_tokens_expire_when_they_were_told_to() -> Result<()> {
    assert_expires(AuthToken::Simple { ttl: SHORT }).await
}

#[tokio::test]
async fn signed_tokens_expire_when_they_were_told_to() -> Result<()> {
    assert_expires(AuthToken::Jwt { ttl: SHORT }).await
}

async fn assert_expires(token: AuthToken) -> Result<()> {
    let etcd = Etcd::builder().users().auth_token(token).start().await?;
    let mut client = etcd.client().await?;
    client.put("a", "1", None).await?;
    // etcd renews a simple token at each use, so it is left alone for longer than it lives.
    tokio::time::sleep(SHORT * 3).await;
    let refused = client.get("a", None).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("token")), "it still serves");
    Ok(())
}

#[tokio::test]
async fn a_port_can_be_chosen() -> Result<()> {
    let port = harness::ports::free_address()?.port();
    let etcd = Etcd::builder().port(port).start().await?;
    assert_eq!(etcd.endpoint(), format!("http://127.0.0.1:{port}"));
    let taken = Etcd::builder().port(port).start().await;
    assert!(taken.is_err_and(|error| error.to_string().contains("taken")));
    Ok(())
}
