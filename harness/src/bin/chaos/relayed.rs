//! A cluster that the gateway reaches through relays, one before each member.

use anyhow::{Context, Result};
use harness::{
    etcd::{Builder, Cluster},
    relay::Relay,
};

/// The cluster, and the relays in the order of its members.
#[derive(Debug)]
pub(crate) struct Relayed {
    pub(crate) cluster: Cluster,
    pub(crate) relays: Vec<Relay>,
}

impl Relayed {
    pub(crate) async fn start(builder: Builder) -> Result<Self> {
        let cluster = builder.start_cluster().await?;
        let mut relays = Vec::new();
        for member in &cluster.members {
            relays.push(Relay::start(member.address()).await?);
        }
        Ok(Self { cluster, relays })
    }

    /// What the gateway is told.
    pub(crate) fn endpoints(&self) -> String {
        endpoints(&self.relays)
    }
}

pub(crate) fn endpoints(relays: &[Relay]) -> String {
    relays.iter().map(|relay| format!("http://{}", relay.address())).collect::<Vec<_>>().join(",")
}

/// Which of the relays the gateway is connected through: a fault elsewhere would show nothing.
///
/// # Errors
/// When it is connected through none.
pub(crate) fn in_use(relays: &[Relay]) -> Result<usize> {
    let used = (0..relays.len()).filter(|&at| relays[at].open() > 0).max_by_key(|&at| relays[at].open());
    used.context("the gateway is connected to no member")
}
