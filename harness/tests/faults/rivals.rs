//! Two processes with one instance id.

use anyhow::Result;
use etcd_client::PutOptions;
use harness::{
    etcd::{Etcd, key},
    stack::{Gateway, GatewayOptions},
};
use serde_json::Value;

/// The lines that warn of it.
fn warnings(gateway: &Gateway) -> Vec<Value> {
    let lines = gateway.process().lines();
    let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let warned = |line: &Value| line["message"].as_str().is_some_and(|m| m.contains("its own instance id"));
    lines.filter(warned).collect()
}

/// A registry and its gateway, and who registers there under leases of its own.
struct World {
    etcd: Etcd,
    gateway: Gateway,
    client: etcd_client::Client,
}

impl World {
    async fn start() -> Result<Self> {
        let etcd = Etcd::start().await?;
        let gateway = Gateway::start(&etcd.endpoint(), GatewayOptions::default()).await?;
        let client = etcd.client().await?;
        Ok(Self { etcd, gateway, client })
    }

    async fn lease(&mut self) -> Result<i64> {
        Ok(self.client.lease_grant(600, None).await?.id())
    }

    /// Registers instance `a`. Returns the revision.
    async fn put(&mut self, address: &str, lease: i64) -> Result<i64> {
        let options = PutOptions::new().with_lease(lease);
        let put = self.client.put(key("goods", "a"), address, Some(options)).await?;
        Ok(put.header().map_or(0, |header| header.revision()))
    }

    /// What was warned of, once the put of this revision is in the log.
    async fn warnings_until(&self, revision: i64) -> Result<Vec<Value>> {
        let revision = format!("\"revision\":{revision}");
        let is_it = |line: &str| line.contains("endpoint put") && line.contains(&revision);
        self.gateway.process().wait_for_line(is_it, crate::PATIENCE).await?;
        Ok(warnings(&self.gateway))
    }
}

#[tokio::test]
async fn a_key_that_another_address_takes_again_and_again_is_warned_of_once_with_both() -> Result<()> {
    let mut world = World::start().await?;
    let (one, other) = (world.lease().await?, world.lease().await?);
    world.put("127.0.0.1:8001", one).await?;
    for _ in 0..3 {
        world.put("127.0.0.2:8002", other).await?;
        world.put("127.0.0.1:8001", one).await?;
    }
    let last = world.put("127.0.0.2:8002", other).await?;
    let warnings = world.warnings_until(last).await?;
    let [warning] = warnings.as_slice() else { panic!("{warnings:#?}") };
    assert_eq!(warning["level"], "WARN");
    assert_eq!((&warning["service"], &warning["instance"]), (&"goods".into(), &"a".into()));
    assert_eq!(warning["key"], key("goods", "a"));
    assert_eq!((&warning["before"], &warning["after"]), (&"127.0.0.1:8001".into(), &"127.0.0.2:8002".into()));
    Ok(())
}

#[tokio::test]
async fn a_restart_that_deletes_first_and_a_registrar_that_moves_are_no_rivals() -> Result<()> {
    let mut world = World::start().await?;
    let (one, other) = (world.lease().await?, world.lease().await?);
    world.put("127.0.0.1:8001", one).await?;
    world.etcd.delete(&key("goods", "a")).await?;
    world.put("127.0.0.1:8002", other).await?;
    // Under the lease that it has.
    world.put("127.0.0.1:8003", other).await?;
    // At the address that it has.
    world.put("127.0.0.1:8003", one).await?;
    let last = world.put("127.0.0.1:8004", one).await?;
    let warnings = world.warnings_until(last).await?;
    assert!(warnings.is_empty(), "{warnings:#?}");
    Ok(())
}
