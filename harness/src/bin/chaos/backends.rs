//! Faults of backends.

pub(crate) mod failing;
pub(crate) mod flaky;
pub(crate) mod killed;
pub(crate) mod reused;
pub(crate) mod rolling;
pub(crate) mod slow;
pub(crate) mod stopped;

use std::time::Duration;

use anyhow::Result;
use harness::{
    backend::{Backend, Reply},
    etcd::{Etcd, key},
    load::{Load, Running},
    stack::{Gateway, GatewayOptions, Services, Stack},
};
use tokio::time::sleep;

use crate::context::Context;

/// Bounds what has no goal.
const PATIENCE: Duration = Duration::from_secs(60);

/// Enough that a request to a silent backend keeps no other from being sent.
const CONNECTIONS: usize = 128;

/// So many requests show something.
const ENOUGH: u64 = 200;

/// A gateway over as many goods as the scale says.
pub(crate) async fn stack(context: &Context) -> Result<Stack> {
    Stack::start(context.scale.goods, &["--drain", "1s"], GatewayOptions::default()).await
}

/// The names of the scale's goods.
pub(crate) fn names(context: &Context) -> Vec<String> {
    (1..=context.scale.goods).map(|number| format!("goods-{number}")).collect()
}

/// A load of GETs at the scale's rate.
pub(crate) fn gets(gateway: &Gateway, context: &Context) -> Load {
    Load::get(gateway.address(), "/goods/list").rate(context.scale.rate).connections(CONNECTIONS)
}

/// Half of the scale's rate each, of GETs and of POSTs.
pub(crate) fn gets_and_posts(gateway: &Gateway, context: &Context) -> [Load; 2] {
    let loads = [
        Load::get(gateway.address(), "/goods/list"),
        Load::post(gateway.address(), "/goods/list", r#"{"trace_id":"x"}"#),
    ];
    loads.map(|load| load.rate(context.scale.rate / 2).connections(CONNECTIONS / 2))
}

/// Lets a load go on for the scale's calm time, and on a busy machine until it has shown something.
pub(crate) async fn calm(running: &Running, context: &Context) -> Result<()> {
    sleep(context.scale.calm).await;
    running.wait_begun(ENOUGH, PATIENCE).await
}

/// Whether an instance of `goods` is in this state.
fn is_in_state(services: &Services, instance: &str, state: &str) -> bool {
    services.endpoints("goods").iter().any(|e| e.instance == instance && e.state == state)
}

/// A gateway, and as many backends as the scale says, which misbehave as they are told: instances `0`, `1`,
/// ... of `goods`.
struct Fleet {
    gateway: Gateway,
    backends: Vec<Backend>,
    etcd: Etcd,
}

impl Fleet {
    async fn start(context: &Context, usual: &Reply, options: GatewayOptions) -> Result<Self> {
        let etcd = Etcd::start().await?;
        let gateway = Gateway::start(&etcd.endpoint(), options).await?;
        let mut backends = Vec::new();
        for number in 0..context.scale.goods {
            let name = number.to_string();
            let backend = Backend::start(&name, usual.clone()).await?;
            etcd.put(&key("goods", &name), backend.address().to_string()).await?;
            backends.push(backend);
        }
        gateway.wait_services(|services| services.endpoints("goods").len() == backends.len()).await?;
        Ok(Self { gateway, backends, etcd })
    }
}
