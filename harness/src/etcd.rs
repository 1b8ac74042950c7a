//! A real etcd of one member, on loopback, for one test.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, ConnectOptions, OpenSslClientConfig};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{
    ports::ensure_listening,
    process::{Process, Signal, Stdout},
    tls::TlsFiles,
    users::{User, Users},
    wait::eventually,
};

mod builder;

pub use builder::{AuthToken, Builder};

/// Where services register, by default.
pub const PREFIX: &str = "/service_registry_discovery/";

/// etcd takes about a second on an idle machine; this bounds a wait on a busy one.
const START: Duration = Duration::from_secs(60);

/// The key of an instance under [`PREFIX`].
pub fn key(service: &str, instance: &str) -> String {
    format!("{PREFIX}{service}/{instance}")
}

/// A running etcd. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Etcd {
    process: Process,
    arguments: Vec<String>,
    address: SocketAddr,
    directory: TempDir,
    users: Option<Users>,
    tls: Option<TlsFiles>,
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
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The address of its client port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its users, when authentication is on.
    pub fn users(&self) -> Option<&Users> {
        self.users.as_ref()
    }

    /// Its certificates, when it serves TLS.
    pub fn tls(&self) -> Option<&TlsFiles> {
        self.tls.as_ref()
    }

    /// A new client, as root when authentication is on.
    ///
    /// # Errors
    /// When etcd cannot be reached.
    pub async fn client(&self) -> Result<Client> {
        self.connect(self.users.as_ref().map(|users| &users.root)).await
    }

    /// A new client of this user.
    ///
    /// # Errors
    /// When etcd cannot be reached or refuses the user.
    pub async fn client_as(&self, user: &User) -> Result<Client> {
        self.connect(Some(user)).await
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

    /// Kills it (SIGKILL) and waits for its end. Data and port stay for a [`Etcd::restart`].
    ///
    /// # Errors
    /// When it does not end.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.signal(Signal::SIGKILL)?;
        self.process.wait_exit(START).await?;
        Ok(())
    }

    /// Stops it (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop_gracefully(&mut self) -> Result<ExitStatus> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.wait_exit(START).await
    }

    /// Starts it again on the same port with the same data, killing it first if it still runs.
    ///
    /// # Errors
    /// When it does not serve.
    pub async fn restart(&mut self) -> Result<()> {
        self.end().await?;
        self.process = run(&self.arguments)?;
        self.wait_serving().await
    }

    /// Starts it again on the same port with no data, killing it first if it still runs.
    /// Its users, if it had any, are made again.
    ///
    /// # Errors
    /// When it does not serve.
    pub async fn restart_empty(&mut self) -> Result<()> {
        self.end().await?;
        let data = data(self.directory.path());
        fs::remove_dir_all(&data).with_context(|| format!("removing {}", data.display()))?;
        let users = self.users.take();
        self.process = run(&self.arguments)?;
        self.wait_serving().await?;
        self.enable(users).await
    }

    /// Freezes it (SIGSTOP): its connections stay open and nothing answers.
    ///
    /// # Errors
    /// When it is gone.
    pub fn pause(&self) -> Result<()> {
        self.process.signal(Signal::SIGSTOP)
    }

    /// Ends a [`Etcd::pause`].
    ///
    /// # Errors
    /// When it is gone.
    pub fn resume(&self) -> Result<()> {
        self.process.signal(Signal::SIGCONT)
    }

    /// The process itself, for its log and its use of the machine.
    pub fn process(&self) -> &Process {
        &self.process
    }

    async fn enable(&mut self, users: Option<Users>) -> Result<()> {
        if let Some(users) = users {
            users.enable(self.connect(None).await?).await?;
            self.users = Some(users);
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<()> {
        if self.process.has_ended() { Ok(()) } else { self.kill().await }
    }

    async fn connect(&self, user: Option<&User>) -> Result<Client> {
        let mut options = ConnectOptions::new().with_connect_timeout(Duration::from_secs(2));
        if let Some(tls) = &self.tls {
            let client = (fs::read(&tls.client_cert)?, fs::read(&tls.client_key)?);
            let config = OpenSslClientConfig::default().ca_cert_pem(&fs::read(&tls.ca)?);
            options = options.with_openssl_tls(config.client_cert_pem_and_key(&client.0, &client.1));
        }
        if let Some(user) = user {
            options = options.with_user(user.name.as_str(), user.password.as_str());
        }
        let endpoint = self.endpoint();
        Client::connect([&endpoint], Some(options))
            .await
            .with_context(|| format!("connecting to etcd at {endpoint}"))
    }

    /// It serves once it answers a linearizable read: then it has a leader too.
    async fn wait_serving(&self) -> Result<()> {
        let answered = eventually("etcd answers", START, async || {
            if self.process.has_ended() {
                return Ok(false);
            }
            ensure_listening(&self.process, self.address)?;
            let read = async { anyhow::Ok(self.client().await?.get("any", None).await?) };
            timeout(Duration::from_secs(2), read).await.context("etcd is silent")??;
            Ok(true)
        });
        let answered = answered.await.with_context(|| self.process.tail())?;
        ensure!(answered, "etcd ended while it started:\n{}", self.process.tail());
        Ok(())
    }
}

fn data(directory: &Path) -> PathBuf {
    directory.join("data")
}

fn run(arguments: &[String]) -> Result<Process> {
    let mut command = Command::new("etcd");
    command.args(arguments);
    Process::start(command, Stdout::Kept)
        .context("no etcd on PATH? `make setup` or `apt-get install etcd-server` installs it")
}
