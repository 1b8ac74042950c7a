//! Pingora's own load balancer over the directory, against a real etcd.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::etcd::{Etcd, key};
use harness::wait::eventually;
use pingora_load_balancing::selection::RoundRobin;
use pingora_load_balancing::{Backends, LoadBalancer};
use proxy::config::{Bounds, Guard, Registry};
use proxy::directory::{self, ServiceEndpoints};
use proxy::discovery::Discovery;
use proxy::metrics::Metrics;
use registry::connect::ConnectionSettings;
use registry::watch::{WatchSettings, nothing_reserved, watch};

const PATIENCE: Duration = Duration::from_secs(30);

/// How often each address is selected in 60 picks, as the balancer sees the service now.
async fn picks(balancer: &LoadBalancer<RoundRobin>) -> Result<BTreeMap<String, usize>> {
    balancer.update().await?;
    let mut picks = BTreeMap::new();
    for _ in 0..60 {
        if let Some(backend) = balancer.select(b"", 16) {
            *picks.entry(backend.addr.to_string()).or_default() += 1;
        }
    }
    Ok(picks)
}

async fn until_picks(balancer: &LoadBalancer<RoundRobin>, expected: &[(&str, usize)]) -> Result<()> {
    eventually(&format!("{expected:?}"), PATIENCE, async || {
        let picks = picks(balancer).await?;
        let seen: Vec<_> = picks.iter().map(|(address, count)| (address.as_str(), *count)).collect();
        ensure!(seen == expected, "selected: {seen:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_stock_round_robin_balancer_follows_the_directory() -> Result<()> {
    let etcd = Etcd::start().await?;
    let (directory, writer) = directory::new([]);
    let settings = Registry {
        embedded: None,
        connection: ConnectionSettings::to([etcd.endpoint()]),
        watch: WatchSettings::default(),
        bounds: Bounds::default(),
        guard: Guard::default(),
        snapshot: None,
    };
    let watch = watch(settings.connection.clone(), settings.watch.clone(), nothing_reserved());
    let metrics = Arc::new(Metrics::new()?);
    let (discovery, _status) = Discovery::new(watch, writer, settings, Duration::from_secs(1), metrics);
    let running = tokio::spawn(discovery.run(|| {}));
    let backends = Backends::new(Box::new(ServiceEndpoints::new(directory, "goods")));
    let balancer = LoadBalancer::<RoundRobin>::from_backends(backends);
    until_picks(&balancer, &[]).await?;

    // Nothing but a draining endpoint is nothing to select.
    etcd.put(&key("goods", "c"), r#"{"address":"10.0.0.3:80","weight":0}"#).await?;
    eventually("the draining endpoint is there", PATIENCE, async || {
        balancer.update().await?;
        ensure!(balancer.backends().get_backend().len() == 1, "no backend");
        Ok(())
    })
    .await?;
    until_picks(&balancer, &[]).await?;

    etcd.put(&key("goods", "a"), "10.0.0.1:80").await?;
    etcd.put(&key("goods", "b"), r#"{"address":"10.0.0.2:80","weight":2}"#).await?;
    until_picks(&balancer, &[("10.0.0.1:80", 20), ("10.0.0.2:80", 40)]).await?;

    etcd.delete(&key("goods", "b")).await?;
    until_picks(&balancer, &[("10.0.0.1:80", 60)]).await?;
    running.abort();
    Ok(())
}
