//! What the directory shows beside what etcd holds.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, GetOptions};
use harness::{etcd::PREFIX, stack::Gateway, wait::eventually};
use serde_json::Value;

/// The largest list that a case reads, in bytes.
const MAX_LIST: usize = 64 * 1024 * 1024;

/// What is made of an endpoint that is shown, but not registered any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vanished {
    /// A difference, whatever its state.
    Differs,
    /// No difference while it is suspect: the guard holds it.
    MayBeSuspect,
}

/// Waits until the directory shows what etcd holds; how long after `since` that was.
///
/// # Errors
/// When they still differ after `within`; the error shows the differences.
pub(crate) async fn converged(
    etcd: &mut Client,
    gateway: &Gateway,
    vanished: Vanished,
    since: Instant,
    within: Duration,
) -> Result<Duration> {
    eventually("the directory shows what etcd holds", within, async || {
        let differences = differences(etcd, gateway, vanished).await?;
        let (count, some) = (differences.len(), &differences[..differences.len().min(20)]);
        ensure!(count == 0, "{count} differences: {some:#?}");
        Ok(since.elapsed())
    })
    .await
}

/// A registration, as either side has it.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    address: String,
    weight: u32,
    lease: String,
}

/// One line per instance that one side has and the other has not, or has otherwise.
async fn differences(etcd: &mut Client, gateway: &Gateway, vanished: Vanished) -> Result<Vec<String>> {
    let mut registered = registered(etcd).await?;
    let mut differences = Vec::new();
    for (service, endpoints) in gateway.services().await?.services {
        for endpoint in endpoints {
            let instance = format!("{service}/{}", endpoint.instance);
            let Some(expected) = registered.remove(&instance) else {
                if vanished == Vanished::Differs || endpoint.state != "suspect" {
                    differences.push(format!("{instance} is {} and not registered", endpoint.state));
                }
                continue;
            };
            let state = endpoint.state;
            let shown = Shown { address: endpoint.address, weight: endpoint.weight, lease: endpoint.lease };
            if shown != expected || state == "suspect" || state == "stale" {
                differences.push(format!("{instance} is {state}, {shown:?}; registered is {expected:?}"));
            }
        }
    }
    differences.extend(registered.into_keys().map(|instance| format!("{instance} is not shown")));
    Ok(differences)
}

/// What etcd holds, by service and instance.
async fn registered(etcd: &mut Client) -> Result<BTreeMap<String, Shown>> {
    let mut kv = etcd.kv_client().max_decoding_message_size(MAX_LIST);
    let listed = kv.get(PREFIX, Some(GetOptions::new().with_prefix())).await.context("listing etcd")?;
    let registration = |kv: &etcd_client::KeyValue| {
        let instance = kv.key_str()?.strip_prefix(PREFIX).context("a key outside the prefix")?.to_owned();
        let (address, weight) = read(kv.value_str()?)?;
        Ok((instance, Shown { address, weight, lease: format!("{:x}", kv.lease()) }))
    };
    listed.kvs().iter().map(registration).collect()
}

/// Address and weight: from JSON, or the address alone.
fn read(value: &str) -> Result<(String, u32)> {
    if !value.starts_with('{') {
        return Ok((value.to_owned(), 1));
    }
    let value: Value = serde_json::from_str(value)?;
    let address = value["address"].as_str().context("a record without an address")?;
    let weight = value["weight"].as_u64().map_or(Ok(1), u32::try_from)?;
    Ok((address.to_owned(), weight))
}
