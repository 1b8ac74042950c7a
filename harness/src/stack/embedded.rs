//! A gateway that is its own registry, and goods.

use std::time::Instant;

use anyhow::{Result, ensure};
use etcd_client::Client;

use super::{Gateway, GatewayOptions, Goods, PATIENCE};
use crate::{etcd, wait::eventually};

/// A gateway with an embedded registry, and goods that register in it.
#[derive(Debug)]
pub struct EmbeddedStack {
    /// The gateway.
    pub gateway: Gateway,
    /// The goods, in the order of their names.
    pub goods: Vec<Goods>,
}

impl EmbeddedStack {
    /// Starts a gateway, and `count` goods named `goods-1` and so on, each with these arguments added, and
    /// waits until the gateway has found them.
    ///
    /// # Errors
    /// When one of them does not start.
    pub async fn start(count: usize, goods_arguments: &[&str], options: GatewayOptions) -> Result<Self> {
        let gateway = Gateway::start_with_registry(options).await?;
        let mut stack = Self { gateway, goods: Vec::new() };
        let names: Vec<_> = (1..=count).map(|number| format!("goods-{number}")).collect();
        for name in &names {
            stack.goods.push(Goods::start(&stack.registry()?, name, goods_arguments).await?);
        }
        stack.gateway.wait_instances("goods", &names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        Ok(stack)
    }

    /// The registry's URL.
    ///
    /// # Errors
    /// Never: the gateway has a registry.
    pub fn registry(&self) -> Result<String> {
        Ok(format!("http://{}", self.gateway.registry_address()?))
    }

    /// A client of the registry.
    ///
    /// # Errors
    /// When its URL is none.
    pub async fn client(&self) -> Result<Client> {
        etcd::client(&self.registry()?).await
    }

    /// Runs `etcdctl` on the registry; returns what it printed.
    ///
    /// # Errors
    /// When it fails; the error shows its output.
    pub async fn etcdctl(&self, arguments: &[&str]) -> Result<String> {
        // Without the scheme: of a URL, etcdctl 3.4 makes an `:authority` for `endpoint status` that is none.
        etcd::etcdctl(&self.gateway.registry_address()?.to_string(), arguments).await
    }

    /// The leases of the goods, as the gateway shows them.
    ///
    /// # Errors
    /// When the gateway does not answer.
    pub async fn leases(&self) -> Result<Vec<String>> {
        let services = self.gateway.services().await?;
        Ok(services.endpoints("goods").iter().map(|endpoint| endpoint.lease.clone()).collect())
    }

    /// Waits until every goods is up under a lease that is none of the `former` ones; says how long after
    /// `since` that was.
    ///
    /// # Errors
    /// When they are not within 30 s of the call; the error shows them.
    pub async fn wait_registered_again(
        &self,
        former: &[String],
        since: Instant,
    ) -> Result<std::time::Duration> {
        eventually("every goods is registered again", PATIENCE, async || {
            let services = self.gateway.services().await?;
            let endpoints = services.endpoints("goods");
            let is_back = |e: &super::Endpoint| e.state == "up" && !former.contains(&e.lease);
            let back = endpoints.iter().filter(|endpoint| is_back(endpoint)).count();
            ensure!(back == self.goods.len(), "{back} are back: {endpoints:?}");
            Ok(since.elapsed())
        })
        .await
    }
}
