//! A running `goods`.

use std::{net::SocketAddr, process::ExitStatus, time::Duration};

use anyhow::{Result, bail};

use super::wait_listening;
use crate::{
    ports::free_address,
    process::{Process, Signal},
};

/// A running `goods`. Dropping it kills it.
#[derive(Debug)]
pub struct Goods {
    process: Process,
    address: SocketAddr,
}

impl Goods {
    /// Starts an instance that registers at `endpoints`, URLs separated by commas, and waits until it
    /// listens (not until anybody knows of it). `arguments` are added to its command line.
    ///
    /// # Errors
    /// When it is not built, ends early or does not listen; the error shows its output.
    pub async fn start(endpoints: &str, instance: &str, arguments: &[&str]) -> Result<Self> {
        for _ in 0..5 {
            if let Some(goods) = Self::try_start(endpoints, instance, arguments).await? {
                return Ok(goods);
            }
        }
        bail!("goods found its port taken five times in a row")
    }

    async fn try_start(endpoints: &str, instance: &str, arguments: &[&str]) -> Result<Option<Self>> {
        let address = free_address()?;
        let listen = address.to_string();
        let mut words = vec!["--listen", &listen, "--advertise", &listen];
        words.extend(["--instance", instance, "--registry", endpoints]);
        words.extend(arguments);
        let goods = Self { process: Process::spawn("goods", words, &[])?, address };
        let listens = wait_listening(&goods.process, &[address]).await?;
        Ok(listens.then_some(goods))
    }

    /// Where it serves, and what it registers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process, for its log, signals and use of the machine.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// When it does not end within `within`.
    pub async fn stop(&mut self, within: Duration) -> Result<ExitStatus> {
        self.process.signal(Signal::SIGTERM)?;
        self.wait_exit(within).await
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When it does not end within `within`.
    pub async fn wait_exit(&mut self, within: Duration) -> Result<ExitStatus> {
        self.process.wait_exit(within).await
    }
}
