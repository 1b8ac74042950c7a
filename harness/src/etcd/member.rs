//! One process of etcd: it can be ended, frozen and started again.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use etcd_client::Client;
use tokio::time::timeout;

use super::access::Access;
use crate::{
    ports::{ensure_listening, says_taken},
    process::{Process, Signal, Stdout},
    wait::eventually,
};

/// etcd takes about a second on an idle machine; this bounds a wait on a busy one.
const START: Duration = Duration::from_secs(60);

/// A process of etcd and its data. Dropping it kills it.
#[derive(Debug)]
pub struct Member {
    process: Process,
    arguments: Vec<String>,
    address: SocketAddr,
    data: PathBuf,
    pub(super) access: Access,
}

impl Member {
    pub(super) fn run(
        arguments: Vec<String>,
        address: SocketAddr,
        data: PathBuf,
        access: Access,
    ) -> Result<Self> {
        Ok(Self { process: run(&arguments)?, arguments, address, data, access })
    }

    /// Its URL: `http://127.0.0.1:PORT`, or `https://` with TLS.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", self.access.scheme(), self.address)
    }

    /// The address of its client port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new client of this member alone, as root when authentication is on.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn client(&self) -> Result<Client> {
        self.access.connect(&self.endpoint(), self.access.root()).await
    }

    /// Kills it (SIGKILL) and waits for its end. Data and port stay for a [`Member::restart`].
    ///
    /// # Errors
    /// When it does not end.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.signal(Signal::SIGKILL)?;
        self.process.wait_exit(START).await?;
        Ok(())
    }

    /// Starts it again on the same port with the same data, killing it first if it still runs, and waits
    /// until it serves: in a cluster that takes a majority.
    ///
    /// # Errors
    /// When it does not serve.
    pub async fn restart(&mut self) -> Result<()> {
        self.end().await?;
        self.launch()?;
        self.wait_serving().await
    }

    /// Freezes it (SIGSTOP): its connections stay open and nothing answers.
    ///
    /// # Errors
    /// When it is gone.
    pub fn pause(&self) -> Result<()> {
        self.process.freeze()
    }

    /// Ends a [`Member::pause`].
    ///
    /// # Errors
    /// When it is gone.
    pub fn resume(&self) -> Result<()> {
        self.process.thaw()
    }

    /// Waits until it answers a linearizable read: then it has a leader too.
    ///
    /// # Errors
    /// When it does not within a minute, or ends; the error shows its output.
    pub async fn wait_serving(&self) -> Result<()> {
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

    pub(super) async fn stop_gracefully(&mut self) -> Result<ExitStatus> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.wait_exit(START).await
    }

    /// Kills it unless it has ended.
    pub(super) async fn end(&mut self) -> Result<()> {
        if self.process.has_ended() { Ok(()) } else { self.kill().await }
    }

    /// Starts it again after its end, without waiting.
    pub(super) fn launch(&mut self) -> Result<()> {
        self.process = run(&self.arguments)?;
        Ok(())
    }

    /// Removes its data after its end.
    pub(super) fn empty(&self) -> Result<()> {
        fs::remove_dir_all(&self.data).with_context(|| format!("removing {}", self.data.display()))
    }

    /// Adds an argument for the starts from now on. Of two that set the same, etcd takes the later.
    pub(super) fn add_argument(&mut self, argument: String) {
        self.arguments.push(argument);
    }

    pub(super) fn argument(&self, name: &str) -> Result<&str> {
        let mut values =
            self.arguments.iter().filter_map(|argument| argument.strip_prefix(name)?.strip_prefix('='));
        values.next_back().with_context(|| format!("etcd was started without {name}"))
    }

    /// Whether it ended because somebody else had one of its ports.
    pub(super) fn found_port_taken(&self) -> bool {
        self.process.has_ended() && says_taken(&self.process.lines())
    }
}

fn run(arguments: &[String]) -> Result<Process> {
    let mut command = Command::new("etcd");
    command.args(arguments);
    Process::start(command, Stdout::Kept)
        .context("no etcd on PATH? `make setup` or `apt-get install etcd-server` installs it")
}
