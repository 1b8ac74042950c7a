//! The connection to a member stays open, and packets are dropped.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::{
    etcd::{Etcd, key},
    relay::{Mode, Relay, Way},
    stack::{Gateway, GatewayOptions, Goods},
    wait::eventually,
};
use tokio::time::sleep;

use crate::{
    context::{Context, load},
    measured::{Measured, bound},
    relayed::{endpoints, in_use},
};

const GOAL: Duration = Duration::from_secs(15);

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let etcd = Etcd::start().await?;
    let relays = [Relay::start(etcd.address()).await?, Relay::start(etcd.address()).await?];
    let _goods = Goods::start(&etcd.endpoint(), "goods-1", &[]).await?;
    let gateway = Gateway::start(&endpoints(&relays), GatewayOptions::default()).await?;
    gateway.wait_instances("goods", &["goods-1"]).await?;
    let running = load(&gateway, "/goods/list").start();
    sleep(context.scale.calm).await;

    let modes = [
        (Mode::BlackHole, "packets dropped both ways"),
        (Mode::HalfOpen(Way::ToTarget), "packets to the gateway dropped"),
    ];
    for (mode, what) in context.variants(&modes) {
        let at = in_use(&relays)?;
        relays[at].set(mode);
        context.say(format_args!("{what} on the connection that is in use"));
        let service = format!("during-{}", what.replace(' ', "-"));
        etcd.put(&key(&service, "a"), "127.0.0.1:1").await?;
        let begun = Instant::now();
        let mut noticed = None;
        eventually("the change arrives another way", bound(GOAL), async || {
            let ready = gateway.admin("/readyz").await?.json()?;
            if ready["watch_live"] == false {
                noticed.get_or_insert(begun.elapsed());
            }
            let services = gateway.services().await?;
            ensure!(services.instances(&service) == ["a"], "it has not yet; /readyz shows {ready}");
            Ok(())
        })
        .await?;
        let arrived = begun.elapsed();
        measured.time(&format!("{what}: noticed"), noticed.unwrap_or(arrived), GOAL)?;
        measured.note(format_args!("the change arrived after {:.3} s", arrived.as_secs_f64()));
        relays[at].set(Mode::Pass);
        sleep(context.scale.calm).await;
    }
    measured.none_failed(&running.stop().await)
}
