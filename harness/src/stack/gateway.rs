//! A running gateway.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use serde_json::Value;

use super::{
    GatewayOptions, PATIENCE, Services, file,
    options::{Registry, write_text},
    private_directory, wait_listening,
};
use crate::{
    http::{self, Answer},
    ports::free_address,
    process::{Process, Signal, Stdout, binary},
    wait::eventually,
};

const CONFIGURATION: &str = "pingora.yaml";
/// All gateways of a machine that runs its tests as a service would keep their snapshots there.
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

/// A running gateway. Dropping it kills it.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    listen: SocketAddr,
    admin: SocketAddr,
    registry: Registry,
    /// Holds the configuration, the pid file and the upgrade socket.
    directory: TempDir,
}

impl Gateway {
    /// Starts one on the etcd at `endpoints`, URLs separated by commas, and waits until it is ready.
    ///
    /// # Errors
    /// When it is not built, ends early or does not get ready; the error shows its output.
    pub async fn start(endpoints: &str, options: GatewayOptions) -> Result<Self> {
        let gateway = Self::launch(endpoints, options).await?;
        gateway.wait_ready(PATIENCE).await?;
        Ok(gateway)
    }

    /// Starts one with an embedded registry, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Gateway::start`].
    pub async fn start_with_registry(options: GatewayOptions) -> Result<Self> {
        let embedded = || Ok(Registry::Embedded(free_address()?));
        let gateway = Self::launch_on(embedded, options).await?;
        gateway.wait_ready(PATIENCE).await?;
        Ok(gateway)
    }

    /// Starts one and waits until it listens, ready or not.
    ///
    /// # Errors
    /// When it is not built, ends early or does not listen; the error shows its output.
    pub async fn launch(endpoints: &str, options: GatewayOptions) -> Result<Self> {
        Self::launch_on(|| Ok(Registry::At(endpoints.to_owned())), options).await
    }

    async fn launch_on(registry: impl Fn() -> Result<Registry>, options: GatewayOptions) -> Result<Self> {
        for _ in 0..5 {
            if let Some(gateway) = Self::try_launch(&registry()?, &options).await? {
                return Ok(gateway);
            }
        }
        bail!("the gateway found its port taken five times in a row")
    }

    async fn try_launch(registry: &Registry, options: &GatewayOptions) -> Result<Option<Self>> {
        let directory = private_directory()?;
        let (listen, admin) = (free_address()?, free_address()?);
        let file = directory.path().join(CONFIGURATION);
        write_text(&file, &options.written(registry, listen, admin, directory.path())?)?;

        let mut words = options.wrapper.clone();
        words.extend([binary("proxy")?.display().to_string(), "-c".to_owned(), file.display().to_string()]);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_remove(STATE_DIRECTORY);
        let process = Process::start(command, options.stdout)?;
        let gateway = Self { process, listen, admin, registry: registry.clone(), directory };

        // The admin port too: a test may ask it first.
        let listens = wait_listening(&gateway.process, &[listen, admin]).await?;
        Ok(listens.then_some(gateway))
    }

    /// Kills it (SIGKILL) and waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.signal(Signal::SIGKILL)?;
        self.process.wait_exit(PATIENCE).await?;
        Ok(())
    }

    /// Starts it again after its end, with the same configuration, and waits for nothing.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_again(&mut self) -> Result<()> {
        self.process = Process::start(self.command()?, Stdout::Kept)?;
        Ok(())
    }

    /// Starts a new process with the same configuration that is to take this one's sockets over (`-u`).
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn successor(&self) -> Result<Process> {
        let mut command = self.command()?;
        command.arg("-u");
        Process::start(command, Stdout::Kept)
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(binary("proxy")?);
        command.arg("-c").arg(self.file()).env_remove(STATE_DIRECTORY);
        Ok(command)
    }

    /// Goes on with another process: a successor that has taken over. Returns the one before.
    pub fn replace(&mut self, successor: Process) -> Process {
        std::mem::replace(&mut self.process, successor)
    }

    /// Its configuration file.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join(CONFIGURATION)
    }

    /// What its configuration would be with other options: at the same addresses, on the same registry.
    pub fn configuration(&self, options: &GatewayOptions) -> Value {
        options.configuration(&self.registry, self.listen, self.admin, self.directory.path())
    }

    /// Puts a file with other options in the place of the one before, tells it so by SIGHUP, and waits until it has
    /// applied it. Returns the revision.
    ///
    /// # Errors
    /// When it does not apply it within 30 s; the error shows its last lines.
    pub async fn reload(&self, options: &GatewayOptions) -> Result<String> {
        let text = file::yaml(&self.configuration(options))?;
        file::rename_into_place(&self.file(), &text)?;
        self.process.signal(Signal::SIGHUP)?;
        let revision = file::revision(&text);
        self.wait_revision(&revision).await?;
        Ok(revision)
    }

    /// What `/readyz`, which must answer 200, says of its configuration.
    ///
    /// # Errors
    /// When it does not answer as documented.
    pub async fn config(&self) -> Result<Value> {
        let answer = self.admin("/readyz").await?;
        ensure!(answer.status == 200, "/readyz says {}: {}", answer.status, answer.text());
        let config = answer.json()?["config"].take();
        ensure!(config.is_object(), "/readyz says nothing of the configuration: {}", answer.text());
        Ok(config)
    }

    /// Waits until it serves with the configuration of this revision.
    ///
    /// # Errors
    /// When it does not within 30 s; the error shows its last lines.
    pub async fn wait_revision(&self, revision: &str) -> Result<()> {
        let served = eventually("it serves with the new configuration", PATIENCE, async || {
            let config = self.config().await?;
            ensure!(config["revision"] == revision, "expected revision {revision}, found {config}");
            Ok(())
        });
        served.await.with_context(|| self.process.tail())
    }

    /// Where it keeps its snapshot, if nothing else was set.
    ///
    /// # Errors
    /// When it has no embedded registry.
    pub fn snapshot(&self) -> Result<PathBuf> {
        Ok(self.directory.path().join(format!("snapshot-{}", self.registry_address()?)))
    }

    /// Whether a successor waits for this process's sockets.
    pub fn is_awaited(&self) -> bool {
        self.directory.path().join("upgrade.sock").exists()
    }

    /// Where it takes requests.
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Where its embedded registry listens.
    ///
    /// # Errors
    /// When it has none.
    pub fn registry_address(&self) -> Result<SocketAddr> {
        match self.registry {
            Registry::At(_) => bail!("the gateway has no embedded registry"),
            Registry::Embedded(address) => Ok(address),
        }
    }

    /// Its admin port.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Its process, for its log, signals and use of the machine.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// A GET through it, on a connection of its own.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        http::get(self.listen, path).await
    }

    /// A GET on its admin port.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn admin(&self, path: &str) -> Result<Answer> {
        http::get(self.admin, path).await
    }

    /// Waits until `GET /readyz` answers 200: `GET /` may be claimed by a route.
    ///
    /// # Errors
    /// When it does not within `within`.
    pub async fn wait_ready(&self, within: Duration) -> Result<()> {
        let ready = eventually("the gateway is ready", within, async || {
            let answer = self.admin("/readyz").await?;
            ensure!(answer.status == 200, "/readyz says {}: {}", answer.status, answer.text());
            Ok(())
        });
        ready.await.with_context(|| self.process.tail())
    }

    /// What `/services` shows now.
    ///
    /// # Errors
    /// When it does not answer as documented.
    pub async fn services(&self) -> Result<Services> {
        let answer = self.admin("/services").await?;
        serde_json::from_slice(&answer.body).with_context(|| format!("/services says {}", answer.text()))
    }

    /// Waits until `/services` is as `wanted`.
    ///
    /// # Errors
    /// When it is not within 30 s; the error shows it.
    pub async fn wait_services(&self, wanted: impl Fn(&Services) -> bool) -> Result<Services> {
        let shown = eventually("/services shows what is awaited", PATIENCE, async || {
            let services = self.services().await?;
            ensure!(wanted(&services), "/services shows {services:?}");
            Ok(services)
        });
        shown.await.with_context(|| self.process.tail())
    }

    /// Waits until a service has exactly these instances.
    ///
    /// # Errors
    /// As [`Gateway::wait_services`].
    pub async fn wait_instances(&self, service: &str, instances: &[&str]) -> Result<Services> {
        let mut wanted = instances.to_vec();
        wanted.sort_unstable();
        self.wait_services(|services| services.instances(service) == wanted).await
    }

    /// The sum of a metric's samples in `/metrics` whose labels contain each of `labels` (`state="up"`).
    /// Zero when there is none.
    ///
    /// # Errors
    /// When `/metrics` does not answer as documented.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let text = self.admin("/metrics").await?.text();
        let samples = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (of_labels, value) = rest.rsplit_once(' ')?;
            let is_it = of_labels.is_empty() || of_labels.starts_with('{');
            (is_it && labels.iter().all(|label| of_labels.contains(label))).then(|| value.parse::<f64>())
        });
        // The sum of nothing would be -0.
        let sum = samples.sum::<Result<f64, _>>().map(|sum| sum + 0.0);
        sum.with_context(|| format!("reading {name} from /metrics"))
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// When it does not end within `within`.
    pub async fn stop(&mut self, within: Duration) -> Result<ExitStatus> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.wait_exit(within).await
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When it does not end within `within`.
    pub async fn wait_exit(&mut self, within: Duration) -> Result<ExitStatus> {
        self.process.wait_exit(within).await
    }
}
