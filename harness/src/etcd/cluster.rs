//! A real etcd of three members.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use etcd_client::{Client, PutOptions};
use tempfile::TempDir;
use tokio::time::timeout;

use super::{Builder, Member};
use crate::{users::Users, wait::eventually};

/// How long one member may take for one call: it may be frozen.
const CALL: Duration = Duration::from_secs(2);
/// For two elections and more, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running etcd of three members. Dropping it kills them and removes their data.
#[derive(Debug)]
pub struct Cluster {
    /// Its members, each of which can be killed, frozen and started again.
    pub members: Vec<Member>,
    pub(super) _directory: TempDir,
}

impl Cluster {
    /// Starts a plain one: no TLS, no users. For another, see [`Builder::start_cluster`].
    ///
    /// # Errors
    /// As [`Builder::start_cluster`].
    pub async fn start() -> Result<Self> {
        Builder::default().start_cluster().await
    }

    /// The URLs of its members, separated by commas.
    pub fn endpoints(&self) -> String {
        self.members.iter().map(Member::endpoint).collect::<Vec<_>>().join(",")
    }

    /// Its users, when authentication is on.
    pub fn users(&self) -> Option<&Users> {
        self.members.first()?.access.users.as_ref()
    }

    /// A new client, as root when authentication is on, of the first member that answers a linearizable
    /// read.
    ///
    /// # Errors
    /// When none does within a minute.
    pub async fn client(&self) -> Result<Client> {
        eventually("a member of etcd answers", PATIENCE, async || {
            let mut last = None;
            for member in &self.members {
                let read = async {
                    let mut client = member.client().await?;
                    client.get("any", None).await?;
                    anyhow::Ok(client)
                };
                match timeout(CALL, read).await {
                    Ok(Ok(client)) => return Ok(client),
                    Ok(Err(error)) => last = Some(error),
                    Err(_) => last = Some(anyhow::anyhow!("{} is silent", member.endpoint())),
                }
            }
            Err(last.context("a cluster without members")?)
        })
        .await
    }

    /// Puts a key through whichever member takes it; returns the revision.
    ///
    /// # Errors
    /// When none takes it within a minute.
    pub async fn put(&self, key: &str, value: &str, options: Option<PutOptions>) -> Result<i64> {
        eventually("a member of etcd takes a put", PATIENCE, async || {
            let mut client = self.client().await?;
            let put = client.put(key, value, options.clone());
            let answer = timeout(CALL, put).await.with_context(|| format!("putting {key} into etcd"))??;
            Ok(answer.header().context("etcd's answer has no header")?.revision())
        })
        .await
    }

    /// Kills all that run.
    ///
    /// # Errors
    /// When one does not end.
    pub async fn kill(&mut self) -> Result<()> {
        for member in &mut self.members {
            member.end().await?;
        }
        Ok(())
    }

    /// Starts all again with their data, killing first those that still run.
    ///
    /// # Errors
    /// When one does not serve.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill().await?;
        for member in &mut self.members {
            member.launch()?;
        }
        for member in &self.members {
            member.wait_serving().await?;
        }
        Ok(())
    }

    /// Starts a member again with no data, as an operator does after the loss of a disk: etcd refuses it
    /// under its old identity, so it is taken out of the cluster and added anew.
    ///
    /// # Errors
    /// When the others do not agree, or it does not serve.
    pub async fn restart_empty(&mut self, at: usize) -> Result<()> {
        self.members[at].end().await?;
        self.members[at].empty()?;
        let peer = self.members[at].argument("--initial-advertise-peer-urls")?.to_owned();
        let mut client = self.client().await?;
        let listed = client.member_list().await?;
        let Some(old) = listed.members().iter().find(|member| member.peer_urls().contains(&peer)) else {
            bail!("no member of etcd has the peer URL {peer}");
        };
        client.member_remove(old.id()).await.context("removing a member of etcd")?;
        // For some seconds after a change etcd takes no other: "unhealthy cluster".
        eventually("etcd adds a member", PATIENCE, async || {
            client.member_add([&peer], None).await.context("adding a member of etcd")
        })
        .await?;
        self.members[at].add_argument("--initial-cluster-state=existing".to_owned());
        self.members[at].restart().await
    }
}
