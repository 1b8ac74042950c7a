//! What fails around the gateway, and what its clients notice: nothing, or a clear word.

mod departures;
mod registry;
mod start;
mod stop;

use std::time::Duration;

use anyhow::Result;
use harness::{
    etcd::Etcd,
    load::Outcome,
    stack::{Gateway, GatewayOptions, Goods},
};

/// Bounds what is awaited, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway over `count` goods, named `goods-1` and so on.
struct Fixture {
    gateway: Gateway,
    goods: Vec<Goods>,
    etcd: Etcd,
}

impl Fixture {
    async fn start(count: usize) -> Result<Self> {
        let etcd = Etcd::start().await?;
        let names: Vec<_> = (1..=count).map(|number| format!("goods-{number}")).collect();
        let mut goods = Vec::new();
        for name in &names {
            goods.push(Goods::start(&etcd.endpoint(), name, &["--drain", "1s"]).await?);
        }
        let gateway = Gateway::start(&etcd.endpoint(), GatewayOptions::default()).await?;
        gateway.wait_instances("goods", &names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        Ok(Self { gateway, goods, etcd })
    }
}

/// Checks that a load ran and that none of it failed or was refused.
fn assert_none_failed(outcome: &Outcome) {
    assert!(outcome.sent > 100, "only {} requests were sent: nothing is shown", outcome.sent);
    let Outcome { failed, refused, errors, .. } = outcome;
    assert_eq!((*failed, *refused), (0, 0), "of {}: {errors:?}", outcome.sent);
}
