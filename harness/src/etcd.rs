//! A real etcd on loopback, for one test: of one member ([`Etcd`]) or of three ([`Cluster`]).

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitStatus,
};

use anyhow::{Context, Result, ensure};
use etcd_client::Client;
use tempfile::TempDir;

use crate::{
    tls::TlsFiles,
    users::{User, Users},
};

mod access;
mod builder;
mod cluster;
mod member;

pub use builder::{AuthToken, Builder};
pub use cluster::Cluster;
pub use member::Member;

pub use crate::keys::{PREFIX, key};

/// Runs `etcdctl` on a registry without users; returns what it printed.
///
/// # Errors
/// When it fails; the error shows its output.
pub async fn etcdctl(endpoint: &str, arguments: &[&str]) -> Result<String> {
    access::Access::default().etcdctl(endpoint, arguments).await
}

/// A client of a registry without users.
///
/// # Errors
/// When its URL is none.
pub async fn client(endpoint: &str) -> Result<Client> {
    access::Access::default().connect(endpoint, None).await
}

/// A running etcd of one member. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Etcd {
    member: Member,
    directory: TempDir,
}

impl Etcd {
    /// Starts a plain one: no TLS, no users.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// For one with TLS, users, or a port of the caller's choice.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Its URL: `http://127.0.0.1:PORT`, or `https://` with TLS.
    pub fn endpoint(&self) -> String {
        self.member.endpoint()
    }

    /// The address of its client port.
    pub fn address(&self) -> SocketAddr {
        self.member.address()
    }

    /// Its users, when authentication is on.
    pub fn users(&self) -> Option<&Users> {
        self.member.access.users.as_ref()
    }

    /// Its certificates, when it serves TLS.
    pub fn tls(&self) -> Option<&TlsFiles> {
        self.member.access.tls.as_ref()
    }

    /// A new client, as root when authentication is on.
    ///
    /// # Errors
    /// When etcd cannot be reached.
    pub async fn client(&self) -> Result<Client> {
        self.member.client().await
    }

    /// A new client of this user.
    ///
    /// # Errors
    /// When etcd cannot be reached or refuses the user.
    pub async fn client_as(&self, user: &User) -> Result<Client> {
        self.member.access.connect(&self.endpoint(), Some(user)).await
    }

    /// Puts a key without a lease; returns the revision.
    ///
    /// # Errors
    /// When etcd does not take it.
    pub async fn put(&self, key: &str, value: impl Into<Vec<u8>>) -> Result<i64> {
        let answer = self.client().await?.put(key, value, None).await;
        let answer = answer.with_context(|| format!("putting {key} into etcd"))?;
        Ok(answer.header().context("etcd's answer has no header")?.revision())
    }

    /// Deletes a key; returns the revision.
    ///
    /// # Errors
    /// When the key is not there, or etcd does not delete it.
    pub async fn delete(&self, key: &str) -> Result<i64> {
        let answer = self.client().await?.delete(key, None).await;
        let answer = answer.with_context(|| format!("deleting {key} from etcd"))?;
        ensure!(answer.deleted() == 1, "{key} is not in etcd");
        Ok(answer.header().context("etcd's answer has no header")?.revision())
    }

    /// Runs `etcdctl` on it, as root when authentication is on; returns what it printed.
    ///
    /// # Errors
    /// When it fails; the error shows its output.
    pub async fn etcdctl(&self, arguments: &[&str]) -> Result<String> {
        self.member.access.etcdctl(&self.endpoint(), arguments).await
    }

    /// Kills it (SIGKILL) and waits for its end. Data and port stay for a [`Etcd::restart`].
    ///
    /// # Errors
    /// When it does not end.
    pub async fn kill(&mut self) -> Result<()> {
        self.member.kill().await
    }

    /// Stops it (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop_gracefully(&mut self) -> Result<ExitStatus> {
        self.member.stop_gracefully().await
    }

    /// Starts it again on the same port with the same data, killing it first if it still runs.
    ///
    /// # Errors
    /// When it does not serve.
    pub async fn restart(&mut self) -> Result<()> {
        self.member.restart().await
    }

    /// Starts it again on the same port with no data, killing it first if it still runs.
    /// Its users, if it had any, are made again.
    ///
    /// # Errors
    /// When it does not serve.
    pub async fn restart_empty(&mut self) -> Result<()> {
        self.member.end().await?;
        self.member.empty()?;
        let users = self.member.access.users.take();
        self.member.restart().await?;
        if let Some(users) = users {
            users.enable(self.client().await?).await?;
            self.member.access.users = Some(users);
        }
        Ok(())
    }

    /// Saves a backup of its data as a file, which lives as long as this etcd.
    ///
    /// # Errors
    /// When etcdctl fails.
    pub async fn save_backup(&self) -> Result<PathBuf> {
        let file = self.directory.path().join(format!("{:x}.backup", fastrand::u64(..)));
        self.etcdctl(&["snapshot", "save", &file.display().to_string()]).await?;
        Ok(file)
    }

    /// Starts it again on the same port with the data of a backup, killing it first if it still runs.
    ///
    /// # Errors
    /// When etcdctl fails, or etcd does not serve.
    pub async fn restore_backup(&mut self, backup: &Path) -> Result<()> {
        self.member.end().await?;
        self.member.empty()?;
        let backup = backup.display().to_string();
        let mut arguments = vec!["snapshot", "restore", &backup];
        // The same identity as before: those who knew this etcd are to take it for the same.
        for name in ["--data-dir", "--name", "--initial-cluster", "--initial-advertise-peer-urls"] {
            arguments.extend([name, self.member.argument(name)?]);
        }
        self.etcdctl(&arguments).await?;
        self.member.restart().await
    }

    /// Freezes it (SIGSTOP): its connections stay open and nothing answers.
    ///
    /// # Errors
    /// When it is gone.
    pub fn pause(&self) -> Result<()> {
        self.member.pause()
    }

    /// Ends a [`Etcd::pause`].
    ///
    /// # Errors
    /// When it is gone.
    pub fn resume(&self) -> Result<()> {
        self.member.resume()
    }
}
