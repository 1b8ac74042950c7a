//! The registry's metrics: those that have etcd's names say what etcd's say.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use embedded_registry::{Server, Settings};
use etcd_client::{Client, PutOptions, WatchOptions};
use harness::{http::get, wait::eventually};
use tonic::Code;

use crate::{
    raw,
    subject::{Embedded, PATIENCE, Release, Subject, channel},
};

/// What etcd counts in its own way: bytes of its file, and its default quota.
const ITS_OWN: &[&str] = &[
    "etcd_mvcc_db_total_size_in_bytes",
    "etcd_mvcc_db_total_size_in_use_in_bytes",
    "etcd_server_quota_backend_bytes",
    // Of this one the base differs: it is compared as what has been added.
    "etcd_debugging_mvcc_current_revision",
    // 0 in etcd until something is compacted; here the first revision is the start.
    "etcd_debugging_mvcc_compact_revision",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_has_etcds_name_says_what_etcd_says() -> Result<()> {
    let etcd = Subject::start(Release::V3_5).await?;
    let embedded = Embedded::start(Settings::default())?;
    let ours = || metrics(&embedded.observer().counts().to_prometheus());
    let theirs = async || metrics(&get(etcd.address(), "/metrics").await?.text());
    let (ours_before, theirs_before) = (ours()?, theirs().await?);

    let watches = (live(&mut embedded.client().await?).await?, live(&mut etcd.client().await?).await?);
    let compared = eventually("both say the same", PATIENCE, async || {
        let (ours, theirs) = (ours()?, theirs().await?);
        for (name, (kind, value)) in ours.iter().filter(|(name, _)| name.starts_with("etcd_")) {
            let (their_kind, their_value) =
                theirs.get(name).with_context(|| format!("etcd has no {name}"))?;
            ensure!(kind == their_kind, "{name} is a {kind}, in etcd a {their_kind}");
            let same = ITS_OWN.contains(&name.as_str()) || value == their_value;
            ensure!(same, "{name} is {value}, in etcd {their_value}");
        }
        let revision = "etcd_debugging_mvcc_current_revision";
        let added = |before: &Metrics, after: &Metrics| after[revision].1 - before[revision].1;
        ensure!(added(&ours_before, &ours) == added(&theirs_before, &theirs), "revisions differ");
        Ok(ours.keys().filter(|name| name.starts_with("etcd_")).count())
    });
    assert!(compared.await? >= 10);
    drop(watches);
    Ok(())
}

/// Keys, leases of every fate, watches on two streams, in a registry that was empty.
async fn live(client: &mut Client) -> Result<impl Sized + use<>> {
    for key in ["a", "b", "b", "c"] {
        client.put(key, "value", None).await?;
    }
    client.delete("c", None).await?;
    let kept = client.lease_grant(60, None).await?.id();
    client.put("d", "value", Some(PutOptions::new().with_lease(kept))).await?;
    let (mut keeper, mut answers) = client.lease_keep_alive(kept).await?;
    keeper.keep_alive().await?;
    answers.message().await?;
    let revoked = client.lease_grant(60, None).await?.id();
    client.lease_revoke(revoked).await?;
    client.lease_grant(2, None).await?;
    let mut two = client.watch("a", None).await?;
    two.watch("b", Some(WatchOptions::new().with_prefix())).await?;
    let one = client.watch("c", None).await?;
    Ok((two, one, client.clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_counted_by_its_reason() -> Result<()> {
    let embedded = Embedded::start(Settings { max_leases: 1, ..Settings::default() })?;
    let mut client = embedded.client().await?;
    client.lease_grant(60, None).await?;
    let refused = || embedded.observer().counts().refused;
    assert!(refused().is_empty());
    for _ in 0..2 {
        assert!(client.lease_grant(60, None).await.is_err());
    }
    assert!(client.put("key", "value", Some(PutOptions::new().with_lease(4711))).await.is_err());
    assert!(client.put("key", vec![b'x'; 3 << 20], None).await.is_err());
    assert!(client.move_leader(1).await.is_err());
    let channel = channel(embedded.address).await?;
    let garbage = raw::call::<_, ()>(&channel, "KV/Range", 7_u64).await; // its key is a number
    assert_eq!(garbage.unwrap_err().code(), Code::Internal);
    let mut watch = client.watch("b", Some(WatchOptions::new().with_range("a"))).await?;
    assert!(watch.message().await?.context("the stream ended")?.canceled());
    let expected = [
        ("mvcc: watcher range is empty", 1),
        ("malformed message", 1),
        ("message too large", 1),
        ("requested lease not found", 1),
        ("too many requests", 2),
        ("unimplemented", 1),
    ];
    assert_eq!(refused(), BTreeMap::from(expected.map(|(reason, count)| (reason.to_owned(), count))));
    let text = embedded.observer().counts().to_prometheus();
    let line = "leaseway_embedded_registry_refused_total{reason=\"too many requests\"} 2\n";
    assert!(text.contains(line), "{text}");
    Ok(())
}

#[test]
fn an_observer_tells_of_a_registry_that_is_not_served_yet() {
    let server = Server::new(Settings::default(), 7);
    let counts = server.observer().counts();
    assert_eq!((counts.revision, counts.compacted_revision, counts.keys, counts.bytes), (7, 7, 0, 0));
}

/// Kind and value of each metric without labels.
type Metrics = BTreeMap<String, (String, f64)>;

fn metrics(text: &str) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    let mut kind = "";
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            kind = family.split_once(' ').context("a family has no type")?.1;
        } else if let Some((name, value)) = line.split_once(' ')
            && !line.starts_with('#')
        {
            metrics
                .insert(name.to_owned(), (kind.to_owned(), value.parse().with_context(|| line.to_owned())?));
        }
    }
    Ok(metrics)
}
