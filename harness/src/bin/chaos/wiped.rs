//! The whole prefix is deleted by mistake; every lease is revoked at once.
//!
//! `goods` are real, and register again by themselves within moments. `held` are backends whose
//! registrations the case holds itself: they come back when it says so, and until then the guard must
//! keep them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use etcd_client::{Client, PutOptions};
use harness::{
    backend::{Backend, Reply},
    etcd::{PREFIX, key},
    load::{Outcome, Running},
    stack::{GatewayOptions, Services, Stack},
};
use tokio::time::sleep;

use crate::{
    context::{Context, RATE, all_up, counter, load, shown},
    measured::{Measured, bound},
};

const GOAL: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);
const GOODS: [&str; 3] = ["goods-1", "goods-2", "goods-3"];
const HELD: [&str; 3] = ["held-1", "held-2", "held-3"];
/// Longer than the case.
const TTL: i64 = 3600;

#[derive(Clone, Copy)]
enum Accident {
    Wiped,
    Revoked,
}

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let options = GatewayOptions::default().route("/held", "held");
    let stack = Stack::start(GOODS.len(), &[], options).await?;
    let mut backends = Vec::new();
    for name in HELD {
        backends.push(Backend::start(name, Reply::ok("")).await?);
    }
    let mut client = stack.etcd.client().await?;
    register(&mut client, &backends).await?;
    wait_all_up(&stack, Instant::now(), PATIENCE).await?;

    for (accident, what) in [(Accident::Wiped, "prefix wiped"), (Accident::Revoked, "leases revoked")] {
        let running = start_loads(&stack);
        sleep(context.scale.calm).await;
        let alarms = counter(&stack.gateway, "leaseway_guard_alarms_total").await?;
        let mark = stack.gateway.process().line_count();
        accident.happen(&stack, &mut client).await?;
        context.say(what);
        let is_alarm = |line: &str| line.contains("\"WARN\"") && line.contains("\"service\":\"held\"");
        stack.gateway.process().wait_for_line_since(mark, is_alarm, PATIENCE).await?;
        ensure!(
            counter(&stack.gateway, "leaseway_guard_alarms_total").await? > alarms,
            "the alarm was not counted"
        );
        context.say("the guard has raised its alarm");
        sleep(context.scale.fault).await;
        let services = stack.gateway.services().await?;
        let kept = services.endpoints("held");
        ensure!(kept.len() == HELD.len(), "of {HELD:?} are left {kept:?}");
        ensure!(kept.iter().all(|endpoint| endpoint.state == "suspect"), "not all are suspect: {kept:?}");

        register(&mut client, &backends).await?;
        context.say("the registrars have returned");
        let took = wait_all_up(&stack, Instant::now(), bound(GOAL)).await?;
        sleep(context.scale.calm).await;
        measured.note(format_args!("{what}: alarm"));
        measured.none_failed(&stop_loads(running).await)?;
        measured.time("all up again", took, GOAL)?;
    }
    Ok(())
}

/// Each under a lease of its own, as registrars do it.
async fn register(client: &mut Client, backends: &[Backend]) -> Result<()> {
    for (name, backend) in HELD.iter().zip(backends) {
        let lease = client.lease_grant(TTL, None).await?.id();
        let options = PutOptions::new().with_lease(lease);
        client.put(key("held", name), backend.address().to_string(), Some(options)).await?;
    }
    Ok(())
}

async fn wait_all_up(stack: &Stack, since: Instant, within: Duration) -> Result<Duration> {
    let up = |services: &Services| all_up(services, "goods", &GOODS) && all_up(services, "held", &HELD);
    shown(&stack.gateway, "all are up", since, within, up).await
}

/// Half of the load each.
fn start_loads(stack: &Stack) -> Vec<Running> {
    ["/goods/list", "/held"].iter().map(|path| load(&stack.gateway, path).rate(RATE / 2).start()).collect()
}

async fn stop_loads(running: Vec<Running>) -> Outcome {
    let mut total = Outcome::default();
    for load in running {
        total.add(load.stop().await);
    }
    total
}

impl Accident {
    async fn happen(self, stack: &Stack, client: &mut Client) -> Result<()> {
        match self {
            Self::Wiped => {
                let deleted = stack.etcd.etcdctl(&["del", "--prefix", PREFIX]).await?;
                ensure!(deleted.trim() == "6", "etcdctl deleted {deleted:?}");
            }
            Self::Revoked => {
                let leases = client.leases().await.context("listing the leases")?;
                ensure!(leases.leases().len() >= 6, "there are {} leases", leases.leases().len());
                for lease in leases.leases() {
                    client.lease_revoke(lease.id()).await.context("revoking a lease")?;
                }
            }
        }
        Ok(())
    }
}
