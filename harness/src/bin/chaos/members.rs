//! One of three members dies, freezes, or cannot be reached.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::Result;
use harness::{
    etcd::{Etcd, key},
    relay::Mode,
    stack::{Gateway, GatewayOptions, Goods, Services},
};
use tokio::time::sleep;

use crate::{
    context::{Context, load, shown},
    measured::{Measured, bound},
    relayed::{Relayed, in_use},
};

const GOAL: Duration = Duration::from_secs(10);
const GOODS: [&str; 3] = ["goods-1", "goods-2", "goods-3"];

#[derive(Clone, Copy)]
enum Fault {
    Killed,
    Stopped,
    CutOff,
}

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let mut etcd = Relayed::start(Etcd::builder()).await?;
    let mut goods = Vec::new();
    for name in GOODS {
        goods.push(Goods::start(&etcd.cluster.endpoints(), name, &[]).await?);
    }
    let gateway = Gateway::start(&etcd.endpoints(), GatewayOptions::default()).await?;
    gateway.wait_instances("goods", &GOODS).await?;
    let running = load(&gateway, "/goods/list").start();
    sleep(context.scale.calm).await;

    for fault in [Fault::Killed, Fault::Stopped, Fault::CutOff] {
        let at = in_use(&etcd.relays)?;
        context.say(format_args!("member {at}, the gateway's, is {fault}"));
        let begun = Instant::now();
        fault.begin(&mut etcd, at).await?;
        let took = change(&etcd, &gateway, fault).await?;
        sleep(context.scale.fault.saturating_sub(begun.elapsed())).await;
        fault.end(&mut etcd, at).await?;
        context.say(format_args!("member {at} is back"));
        measured.time(&format!("a change while one is {fault}"), took, GOAL)?;
        sleep(context.scale.calm).await;
    }
    measured.none_failed(&running.stop().await)
}

/// How long a change takes to arrive, from etcd's answer.
async fn change(etcd: &Relayed, gateway: &Gateway, fault: Fault) -> Result<Duration> {
    let service = format!("while-{}", fault.to_string().replace(' ', "-"));
    etcd.cluster.put(&key(&service, "a"), "127.0.0.1:1", None).await?;
    let arrives = |services: &Services| services.instances(&service) == ["a"];
    shown(gateway, "a change arrives", Instant::now(), bound(GOAL), arrives).await
}

impl Fault {
    async fn begin(self, etcd: &mut Relayed, at: usize) -> Result<()> {
        match self {
            Self::Killed => etcd.cluster.members[at].kill().await,
            Self::Stopped => etcd.cluster.members[at].pause(),
            Self::CutOff => {
                etcd.relays[at].set(Mode::Cut);
                Ok(())
            }
        }
    }

    async fn end(self, etcd: &mut Relayed, at: usize) -> Result<()> {
        match self {
            Self::Killed => etcd.cluster.members[at].restart().await,
            Self::Stopped => {
                etcd.cluster.members[at].resume()?;
                etcd.cluster.members[at].wait_serving().await
            }
            Self::CutOff => {
                etcd.relays[at].set(Mode::Pass);
                Ok(())
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Killed => "killed",
            Self::Stopped => "stopped",
            Self::CutOff => "cut off",
        })
    }
}
