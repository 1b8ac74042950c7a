//! A gateway that is its own registry, and goods.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use etcd_client::Client;

use super::{Endpoint, Gateway, GatewayOptions, Goods, PATIENCE};
use crate::{
    etcd,
    process::{Process, Signal},
    wait::eventually,
};

/// A gateway with an embedded registry, and goods that register in it.
#[derive(Debug)]
pub struct EmbeddedStack {
    /// The gateway.
    pub gateway: Gateway,
    /// The goods, in the order of their names.
    pub goods: Vec<Goods>,
    /// The registry's address, `127.0.0.1:port`.
    pub registry: String,
}

impl EmbeddedStack {
    /// Starts a gateway, and `count` goods named `goods-1` and so on, each with these arguments added, and
    /// waits until the gateway has found them.
    ///
    /// # Errors
    /// When one of them does not start.
    pub async fn start(count: usize, goods_arguments: &[&str], options: GatewayOptions) -> Result<Self> {
        let gateway = Gateway::start_with_registry(options).await?;
        let registry = gateway.registry_address()?.to_string();
        let mut stack = Self { gateway, goods: Vec::new(), registry };
        let names: Vec<_> = (1..=count).map(|number| format!("goods-{number}")).collect();
        for name in &names {
            stack.goods.push(Goods::start(&stack.registry_url(), name, goods_arguments).await?);
        }
        stack.gateway.wait_instances("goods", &names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        Ok(stack)
    }

    /// The registry's URL.
    pub fn registry_url(&self) -> String {
        format!("http://{}", self.registry)
    }

    /// A client of the registry.
    ///
    /// # Errors
    /// When its URL is none.
    pub async fn client(&self) -> Result<Client> {
        etcd::client(&self.registry_url()).await
    }

    /// Runs `etcdctl` on the registry; returns what it printed.
    ///
    /// # Errors
    /// When it fails; the error shows its output.
    pub async fn etcdctl(&self, arguments: &[&str]) -> Result<String> {
        // Without the scheme: of a URL, etcdctl 3.4 makes an `:authority` for `endpoint status` that is none.
        etcd::etcdctl(&self.registry, arguments).await
    }

    /// The leases of the goods, as the gateway shows them.
    ///
    /// # Errors
    /// When the gateway does not answer.
    pub async fn leases(&self) -> Result<Vec<String>> {
        let services = self.gateway.services().await?;
        Ok(services.endpoints("goods").iter().map(|endpoint| endpoint.lease.clone()).collect())
    }

    /// Waits until the snapshot holds all goods: it is written some time after the one before.
    ///
    /// # Errors
    /// When it does not within 30 s.
    pub async fn wait_snapshot(&self) -> Result<()> {
        let path = self.gateway.snapshot()?;
        eventually("the snapshot holds all goods", PATIENCE, async || {
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let found = text.matches("\"id\":\"goods-").count();
            ensure!(found == self.goods.len(), "the snapshot is {text}");
            Ok(())
        })
        .await
    }

    /// Starts a successor of the gateway, and waits until it asks for the sockets.
    ///
    /// # Errors
    /// When it does not within 30 s.
    pub async fn successor(&self) -> Result<Process> {
        let successor = self.gateway.successor()?;
        eventually("the successor asks for the sockets", PATIENCE, async || {
            ensure!(self.gateway.is_awaited(), "there is no upgrade socket\n{}", successor.tail());
            Ok(())
        })
        .await?;
        Ok(successor)
    }

    /// Replaces the gateway's process, and waits until every goods is registered in the new one and the old
    /// one has ended. Returns that, and how long the goods took from when the sockets were handed over.
    ///
    /// # Errors
    /// When one of this takes longer than 30 s, or the old process fails.
    pub async fn upgrade(&mut self) -> Result<(Process, Duration)> {
        let former = self.leases().await?;
        let successor = self.successor().await?;
        let begun = Instant::now();
        self.gateway.process().signal(Signal::SIGQUIT)?;
        let took = self.wait_registered_again(&former, begun).await.with_context(|| successor.tail())?;
        let mut old = self.gateway.replace(successor);
        let status = old.wait_exit(PATIENCE).await?;
        ensure!(status.success(), "the old process ended with {status}\n{}", old.tail());
        Ok((old, took))
    }

    /// Waits until every goods is up under a lease that is none of the `former` ones; says how long after
    /// `since` that was.
    ///
    /// # Errors
    /// When they are not within 30 s of the call; the error shows them.
    pub async fn wait_registered_again(&self, former: &[String], since: Instant) -> Result<Duration> {
        eventually("every goods is registered again", PATIENCE, async || {
            let services = self.gateway.services().await?;
            let endpoints = services.endpoints("goods");
            let is_back = |endpoint: &Endpoint| endpoint.state == "up" && !former.contains(&endpoint.lease);
            let back = endpoints.iter().filter(|endpoint| is_back(endpoint)).count();
            ensure!(back == self.goods.len(), "{back} are back: {endpoints:?}");
            Ok(since.elapsed())
        })
        .await
    }
}
