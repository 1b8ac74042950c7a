//! Random faults of everything at once, again and again; then quiet, in which the directory must come to
//! show what etcd holds.
//!
//! With the guard off the load goes to a service whose registrations nobody touches. With the guard on it
//! goes to real goods, whose registrations are revoked and wiped like all others.

mod fault;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use etcd_client::Client;
use harness::{
    backend::{Backend, Reply},
    etcd::{AuthToken, Etcd, PREFIX, key},
    stack::{Gateway, GatewayOptions, Goods},
};
use tokio::time::{sleep, timeout};

use crate::{
    context::{Context, counter, load},
    difference::{Vanished, converged},
    measured::Measured,
    relayed::Relayed,
};
use fault::{Change, Faults, Step};

const TOKEN_TTL: Duration = Duration::from_secs(5);
/// How long a change may take: the member that it goes to may be frozen.
const CALL: Duration = Duration::from_secs(2);
/// Longer than the leases that expire by themselves.
const LEASES_END: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);
const GOODS: [&str; 3] = ["goods-1", "goods-2", "goods-3"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    Off,
    On,
}

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let mut chance = context.chance();
    for guard in [Guard::Off, Guard::On] {
        context.say(format_args!("{:?}, the guard is {guard:?}", context.scale.storm));
        measured.note(format_args!("guard {guard:?}"));
        Storm::start(guard, chance.fork()).await?.run(context, measured).await?;
    }
    Ok(())
}

struct Storm {
    guard: Guard,
    chance: fastrand::Rng,
    etcd: Relayed,
    gateway: Gateway,
    client: Client,
    _goods: Vec<Goods>,
    steady: Backend,
    /// How many changes etcd took, and how many it did not, or did not say.
    taken: u32,
    refused: u32,
}

impl Storm {
    async fn start(guard: Guard, mut chance: fastrand::Rng) -> Result<Self> {
        let token = if chance.bool() {
            AuthToken::Jwt { ttl: TOKEN_TTL }
        } else {
            AuthToken::Simple { ttl: TOKEN_TTL }
        };
        let etcd = Relayed::start(Etcd::builder().users().auth_token(token)).await?;
        let users = etcd.cluster.users().context("this etcd has no users")?;
        let writer = users.writer.password_file.display().to_string();
        let mut goods = Vec::new();
        for name in GOODS {
            let arguments = ["--username", &users.writer.name, "--password-file", &writer];
            goods.push(Goods::start(&etcd.cluster.endpoints(), name, &arguments).await?);
        }
        let steady = Backend::start("steady", Reply::ok("")).await?;
        etcd.cluster.put(&key("steady", "a"), &steady.address().to_string(), None).await?;

        let mut options = GatewayOptions::default()
            .route("/steady", "steady")
            .set("gateway/registry/username", users.reader.name.as_str())
            .set("gateway/registry/password_file", users.reader.password_file.display().to_string());
        if guard == Guard::Off {
            options = options.set("gateway/registry/guard/share", 1);
        }
        let gateway = Gateway::start(&etcd.endpoints(), options).await?;
        gateway.wait_instances("goods", &GOODS).await?;
        let client = etcd.cluster.client().await?;
        Ok(Self { guard, chance, etcd, gateway, client, _goods: goods, steady, taken: 0, refused: 0 })
    }

    async fn run(mut self, context: &Context, measured: &mut Measured) -> Result<()> {
        let (path, vanished) = match self.guard {
            Guard::Off => ("/steady", Vanished::Differs),
            Guard::On => ("/goods/list", Vanished::MayBeSuspect),
        };
        let running = load(&self.gateway, path).start();
        let mut faults = Faults::default();
        let begun = Instant::now();
        while begun.elapsed() < context.scale.storm {
            let step = Step::draw(&mut self.chance, self.steady.address());
            sleep(step.pause).await;
            faults.end_due(&mut self.etcd, context, Instant::now()).await?;
            if let Some(fault) = step.fault {
                faults.begin(fault, &mut self.etcd, context, Instant::now()).await?;
            }
            self.change(step.change, context).await?;
        }
        faults.end_all(&mut self.etcd, context).await?;
        context.say("quiet");
        sleep(LEASES_END).await;
        let (quiet, mut client) = (Instant::now(), self.etcd.cluster.client().await?);
        converged(&mut client, &self.gateway, vanished, quiet, PATIENCE).await?;

        let audits = counter(&self.gateway, "leaseway_registry_audits_total").await?;
        ensure!(audits > 0.0, "the auditor was not on");
        let repaired = counter(&self.gateway, "leaseway_registry_repaired_keys_total").await?;
        let lists = counter(&self.gateway, "leaseway_registry_lists_total").await?;
        let (taken, refused, faults) = (self.taken, self.refused, faults.count());
        measured.note(format_args!("{taken} changes, {refused} in vain, {faults} faults, {lists} lists"));
        measured.note(format_args!("0 differences, {repaired} repaired in {audits} audits"));
        measured.none_failed(&running.stop().await)
    }

    /// A change that etcd does not take in time is left: whether it was made shows in the end.
    async fn change(&mut self, change: Change, context: &Context) -> Result<()> {
        if change.is_worth_a_line() {
            context.say(format_args!("{change:?}"));
        }
        let below = match self.guard {
            Guard::Off => format!("{PREFIX}random"),
            Guard::On => PREFIX.to_owned(),
        };
        match timeout(CALL, change.make(&mut self.client, &below)).await {
            Ok(Ok(())) => self.taken += 1,
            Ok(Err(_)) | Err(_) => {
                self.refused += 1;
                self.client = self.etcd.cluster.client().await?;
            }
        }
        Ok(())
    }
}
