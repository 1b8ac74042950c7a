//! A running gateway and running backends, as a user starts them.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{
    etcd::Etcd,
    ports::{ensure_listening, says_taken},
    process::Process,
    wait::eventually,
};

mod embedded;
pub mod file;
mod gateway;
mod goods;
mod options;
mod services;
mod tested;

pub use embedded::EmbeddedStack;
pub use gateway::Gateway;
pub use goods::Goods;
pub use options::{GatewayOptions, private_directory, write_configuration};
pub use services::{Endpoint, Services};
pub use tested::{Carrier, as_tested};

/// Bounds a start and every wait for something to be noticed, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// An etcd, goods, and a gateway that knows them all.
#[derive(Debug)]
pub struct Stack {
    /// The gateway.
    pub gateway: Gateway,
    /// The goods, in the order of their names.
    pub goods: Vec<Goods>,
    /// The registry of them all.
    pub etcd: Etcd,
}

impl Stack {
    /// Starts an etcd, `count` goods named `goods-1` and so on, each with these arguments added, and a
    /// gateway, and waits until the gateway has found them.
    ///
    /// # Errors
    /// When one of them does not start.
    pub async fn start(count: usize, goods_arguments: &[&str], options: GatewayOptions) -> Result<Self> {
        let etcd = Etcd::start().await?;
        let names: Vec<_> = (1..=count).map(|number| format!("goods-{number}")).collect();
        let mut goods = Vec::new();
        for name in &names {
            goods.push(Goods::start(&etcd.endpoint(), name, goods_arguments).await?);
        }
        let gateway = Gateway::start(&etcd.endpoint(), options).await?;
        gateway.wait_instances("goods", &names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        Ok(Self { gateway, goods, etcd })
    }
}

/// False when the process ended because somebody else had taken one of its addresses.
async fn wait_listening(process: &Process, addresses: &[SocketAddr]) -> Result<bool> {
    let listening = eventually("it listens", PATIENCE, async || {
        if process.has_ended() {
            return Ok(false);
        }
        addresses.iter().try_for_each(|&address| ensure_listening(process, address))?;
        Ok(true)
    });
    let listens = listening.await.with_context(|| process.tail())?;
    ensure!(listens || says_taken(&process.lines()), "it ended while it started:\n{}", process.tail());
    Ok(listens)
}
