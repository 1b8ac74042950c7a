//! The harness's etcd of three members, and its backups, do what tests will ask of them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, GetOptions};
use harness::etcd::{AuthToken, Cluster, Etcd, PREFIX};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

async fn value(client: &mut Client, key: &str) -> Result<Option<String>> {
    let answer = timeout(PATIENCE, client.get(key, None)).await??;
    Ok(answer.kvs().first().map(|kv| kv.value_str().map(str::to_owned)).transpose()?)
}

#[tokio::test]
async fn a_cluster_lives_on_without_one_of_its_members() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let first = cluster.put("a", "1", None).await?;

    cluster.members[0].kill().await?;
    assert_eq!(cluster.put("a", "2", None).await?, first + 1);
    cluster.members[0].restart().await?;
    assert_eq!(value(&mut cluster.members[0].client().await?, "a").await?.as_deref(), Some("2"));

    cluster.members[1].pause()?;
    assert_eq!(cluster.put("a", "3", None).await?, first + 2);
    cluster.members[1].resume()?;
    cluster.members[1].wait_serving().await?;
    assert_eq!(value(&mut cluster.members[1].client().await?, "a").await?.as_deref(), Some("3"));

    cluster.restart().await?;
    for member in &cluster.members {
        assert_eq!(value(&mut member.client().await?, "a").await?.as_deref(), Some("3"));
    }
    Ok(())
}

#[tokio::test]
async fn a_member_that_lost_its_disk_comes_back_with_the_others_data() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    cluster.put("a", "1", None).await?;
    cluster.restart_empty(2).await?;
    assert_eq!(value(&mut cluster.members[2].client().await?, "a").await?.as_deref(), Some("1"));
    cluster.members[2].restart().await?;
    cluster.members[0].kill().await?;
    cluster.put("a", "2", None).await?;
    assert_eq!(value(&mut cluster.members[2].client().await?, "a").await?.as_deref(), Some("2"));
    Ok(())
}

#[tokio::test]
async fn every_member_knows_the_users_with_either_kind_of_token() -> Result<()> {
    for token in [AuthToken::Simple { ttl: PATIENCE }, AuthToken::Jwt { ttl: PATIENCE }] {
        let cluster = Etcd::builder().users().auth_token(token).start_cluster().await?;
        let users = cluster.users().context("no users")?;
        cluster.put(&format!("{PREFIX}goods/a"), "127.0.0.1:80", None).await?;
        for member in &cluster.members {
            let mut nobody = Client::connect([member.endpoint()], None).await?;
            ensure!(nobody.get(PREFIX, None).await.is_err(), "a member asks for no user");
            let options = etcd_client::ConnectOptions::new()
                .with_user(users.reader.name.as_str(), users.reader.password.as_str());
            let mut reader = Client::connect([member.endpoint()], Some(options)).await?;
            let listed = reader.get(PREFIX, Some(GetOptions::new().with_prefix())).await?;
            assert_eq!(listed.count(), 1);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_restored_backup_is_the_etcd_of_then_with_its_users() -> Result<()> {
    let mut etcd = Etcd::builder().users().start().await?;
    etcd.put("a", "1").await?;
    let backup = etcd.save_backup().await?;
    let later = etcd.put("a", "2").await?;
    let endpoint = etcd.endpoint();

    etcd.restore_backup(&backup).await?;
    assert_eq!(etcd.endpoint(), endpoint);
    let mut root = etcd.client().await?;
    assert_eq!(value(&mut root, "a").await?.as_deref(), Some("1"));
    assert!(etcd.put("b", "1").await? <= later, "its revisions fell back");
    etcd.restart().await?;
    assert_eq!(value(&mut etcd.client().await?, "b").await?.as_deref(), Some("1"));
    Ok(())
}
