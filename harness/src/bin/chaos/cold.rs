//! A gateway starts on a registry that is large already.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use etcd_client::{Client, Txn, TxnOp};
use harness::{
    etcd::{Etcd, key},
    stack::{Gateway, GatewayOptions},
};

use crate::{
    context::Context,
    difference::{Vanished, converged},
    measured::{Measured, bound},
};

const GOAL: Duration = Duration::from_secs(3);
const GOAL_MEMORY: u64 = 300_000_000;
/// etcd takes 128 operations in a transaction.
const IN_A_TRANSACTION: u32 = 100;
const PER_SERVICE: u32 = 1_000;

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let keys = context.scale.keys;
    let etcd = Etcd::start().await?;
    let mut client = etcd.client().await?;
    for first in (0..keys).step_by(IN_A_TRANSACTION as usize) {
        put(&mut client, first..first + IN_A_TRANSACTION).await?;
    }
    context.say(format_args!("{keys} keys are in etcd"));

    let begun = Instant::now();
    let gateway = Gateway::launch(&etcd.endpoint(), GatewayOptions::default()).await?;
    gateway.wait_ready(bound(GOAL)).await?;
    let took = begun.elapsed();
    let memory = gateway.process().resident_memory()?;
    context.say("the gateway is ready");
    converged(&mut client, &gateway, Vanished::Differs, begun, bound(GOAL)).await?;

    measured.note(format_args!("{keys} keys"));
    measured.time("from the start of the process to ready", took, GOAL)?;
    let verdict = if memory <= GOAL_MEMORY { "" } else { " (goal MISSED)" };
    measured.note(format_args!("{} MB resident when ready{verdict}", memory / 1_000_000));
    ensure!(memory <= 10 * GOAL_MEMORY, "{memory} bytes are resident");
    Ok(())
}

async fn put(client: &mut Client, numbers: std::ops::Range<u32>) -> Result<()> {
    let put = |number: u32| {
        let (service, instance) = (number / PER_SERVICE, number % PER_SERVICE);
        let [_, a, b, c] = number.to_be_bytes();
        let key = key(&format!("service-{service}"), &format!("instance-{instance}"));
        TxnOp::put(key, format!("10.{a}.{b}.{c}:8080"), None)
    };
    client.txn(Txn::new().and_then(numbers.map(put).collect::<Vec<_>>())).await?;
    Ok(())
}
