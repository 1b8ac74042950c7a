//! Many registrars lose an etcd that comes back empty.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use etcd_client::{Client, GetOptions};
use harness::{
    etcd::{Etcd, PREFIX},
    process::{Process, Stdout, binary},
    stack::{Gateway, GatewayOptions},
    wait::eventually,
};

use crate::{
    context::{Context, shown},
    measured::{Measured, bound},
};

const GOAL: Duration = Duration::from_secs(15);
/// As the example names it.
const SERVICE: &str = "many";

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let count = context.scale.registrars;
    let mut etcd = Etcd::start().await?;
    let registrars = start(&etcd, count)?;
    let mut client = etcd.client().await?;
    let registered = wait_registered(&mut client, count).await;
    registered.with_context(|| registrars.tail())?;
    let gateway = Gateway::start(&etcd.endpoint(), GatewayOptions::default()).await?;
    wait_shown(&gateway, count, Instant::now()).await?;
    context.say(format_args!("{count} are registered"));

    etcd.restart_empty().await?;
    let returned = Instant::now();
    context.say("etcd is empty, and serves");
    wait_registered(&mut etcd.client().await?, count).await?;
    let took = returned.elapsed();
    measured.note(format_args!("{count} registrars"));
    measured.time("all registered again after", took, GOAL)?;
    let took = wait_shown(&gateway, count, returned).await?;
    measured.time("all up again after", took, GOAL)
}

/// With as many open files as it may have: each registrar has connections of its own.
fn start(etcd: &Etcd, count: usize) -> Result<Process> {
    let program = binary("examples/registrars").context(
        "the registrars are an example: `cargo build --package leaseway-registry --examples` builds it",
    )?;
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -n "$(ulimit -H -n)" && exec "$0" "$@""#]).arg(program);
    command.args([etcd.endpoint(), SERVICE.to_owned(), count.to_string()]);
    Process::start(command, Stdout::Discarded)
}

async fn wait_registered(client: &mut Client, count: usize) -> Result<()> {
    eventually("all are registered", bound(GOAL), async || {
        let options = GetOptions::new().with_prefix().with_count_only();
        let registered = client.get(PREFIX, Some(options)).await?.count();
        ensure!(usize::try_from(registered)? == count, "{registered} of {count} are registered");
        Ok(())
    })
    .await
}

async fn wait_shown(gateway: &Gateway, count: usize, since: Instant) -> Result<Duration> {
    let up = |services: &harness::stack::Services| {
        services.endpoints(SERVICE).iter().filter(|endpoint| endpoint.state == "up").count() == count
    };
    shown(gateway, "all are up", since, bound(GOAL), up).await
}
