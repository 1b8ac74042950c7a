use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::{
    GetOptions, LeaseGrantOptions, LeaseTimeToLiveOptions, PutOptions, Txn, TxnOp, WatchOptions,
};
use harness::wait::eventually;
use tokio::time::sleep;
use tonic::Code;

use super::{Scene, refused, revision};
use crate::subject::PATIENCE;

fn on(lease: i64) -> Option<PutOptions> {
    Some(PutOptions::new().with_lease(lease))
}

async fn keys_of(scene: &mut Scene, lease: i64) -> Result<Vec<String>> {
    let options = LeaseTimeToLiveOptions::new().with_keys();
    let answer = scene.client.lease_time_to_live(lease, Some(options)).await?;
    let prefix = scene.prefix.len();
    let mut keys: Vec<_> =
        answer.keys().iter().map(|key| String::from_utf8_lossy(&key[prefix..]).into_owned()).collect();
    keys.sort(); // etcd's order is random
    Ok(keys)
}

pub async fn an_id_is_taken_or_chosen(scene: &mut Scene) -> Result<()> {
    let before = scene.revision().await?;
    let given = scene.client.lease_grant(60, Some(LeaseGrantOptions::new().with_id(1_001))).await?;
    assert_eq!((given.id(), given.ttl(), given.error()), (1_001, 60, ""));
    assert_eq!(revision(given.header())?, before, "a lease is no revision");
    let again = scene.client.lease_grant(60, Some(LeaseGrantOptions::new().with_id(1_001))).await;
    assert_eq!(refused(again), (Code::FailedPrecondition, "etcdserver: lease already exists".to_owned()));
    let (one, other) =
        (scene.client.lease_grant(60, None).await?.id(), scene.client.lease_grant(60, None).await?.id());
    assert!(one > 0 && other > 0 && one != other);
    let negative = scene.client.lease_grant(60, Some(LeaseGrantOptions::new().with_id(-5))).await?;
    assert_eq!(negative.id(), -5);
    Ok(())
}

pub async fn a_ttl_has_bounds(scene: &mut Scene) -> Result<()> {
    for (asked, granted) in [(-1, 2), (0, 2), (1, 2), (2, 2), (3, 3), (9_000_000_000, 9_000_000_000)] {
        let lease = scene.client.lease_grant(asked, None).await?;
        assert_eq!(lease.ttl(), granted, "asked for {asked}");
        let left = scene.client.lease_time_to_live(lease.id(), None).await?;
        assert_eq!(left.granted_ttl(), granted);
        assert!((granted - 1..=granted).contains(&left.ttl()), "{} of {granted}", left.ttl());
    }
    let too_large = (Code::OutOfRange, "etcdserver: too large lease TTL".to_owned());
    assert_eq!(refused(scene.client.lease_grant(9_000_000_001, None).await), too_large);
    assert_eq!(refused(scene.client.lease_grant(i64::MAX, None).await), too_large);
    Ok(())
}

pub async fn a_revoked_lease_takes_its_keys_in_one_revision(scene: &mut Scene) -> Result<()> {
    let lease = scene.client.lease_grant(60, None).await?.id();
    for name in ["b", "a", "c"] {
        scene.client.put(scene.key(name), "", on(lease)).await?;
    }
    scene.put("d", "stays").await?;
    let before = scene.revision().await?;
    let options = WatchOptions::new().with_prefix().with_start_revision(before + 1);
    let mut watch = scene.client.watch(scene.key(""), Some(options)).await?;
    ensure!(watch.message().await?.context("the stream ended")?.created());

    let revoked = scene.client.lease_revoke(lease).await?;
    assert_eq!(revision(revoked.header())?, before + 1);
    let told = watch.message().await?.context("the stream ended")?;
    let keys: Vec<_> = told.events().iter().filter_map(|event| event.kv()).collect();
    let names: Vec<_> = keys.iter().map(|kv| scene.name(kv)).collect::<Result<_>>()?;
    assert_eq!(names, ["a", "b", "c"]);
    assert!(keys.iter().all(|kv| (kv.mod_revision(), kv.version(), kv.lease()) == (before + 1, 0, 0)));
    assert_eq!(scene.names("", GetOptions::new().with_prefix()).await?, ["d"]);

    let not_found = (Code::NotFound, "etcdserver: requested lease not found".to_owned());
    assert_eq!(refused(scene.client.lease_revoke(lease).await), not_found);
    let empty = scene.client.lease_grant(60, None).await?.id();
    let revoked = scene.client.lease_revoke(empty).await?;
    assert_eq!(revision(revoked.header())?, before + 1, "no keys, no revision");
    Ok(())
}

pub async fn an_expired_lease_takes_its_keys_in_one_revision(scene: &mut Scene) -> Result<()> {
    let lease = scene.client.lease_grant(2, None).await?.id();
    let mut before = 0;
    for name in ["b", "a"] {
        before = revision(scene.client.put(scene.key(name), "", on(lease)).await?.header())?;
    }
    // On a busy machine it may have ended by now.
    let options = WatchOptions::new().with_prefix().with_start_revision(before + 1);
    let mut watch = scene.client.watch(scene.key(""), Some(options)).await?;
    ensure!(watch.message().await?.context("the stream ended")?.created());
    let told = watch.message().await?.context("the stream ended")?;
    let revisions: Vec<_> =
        told.events().iter().filter_map(|event| event.kv()).map(|kv| kv.mod_revision()).collect();
    assert_eq!(revisions, [before + 1, before + 1]);
    assert_eq!(scene.client.lease_time_to_live(lease, None).await?.ttl(), -1);
    Ok(())
}

pub async fn keeping_alive_postpones_the_end(scene: &mut Scene) -> Result<()> {
    let lease = scene.client.lease_grant(2, None).await?.id();
    scene.client.put(scene.key("a"), "", on(lease)).await?;
    let (mut keeper, mut answers) = scene.client.lease_keep_alive(lease).await?;
    for _ in 0..5 {
        keeper.keep_alive().await?;
        let answer = answers.message().await?.context("the stream ended")?;
        assert_eq!((answer.id(), answer.ttl()), (lease, 2));
        sleep(Duration::from_millis(700)).await; // well beyond the TTL in all: time itself is the subject
    }
    assert!(scene.get("a").await?.is_some());
    scene.client.lease_revoke(lease).await?;
    keeper.keep_alive().await?;
    let answer = answers.message().await?.context("the stream ended")?;
    assert_eq!((answer.id(), answer.ttl()), (lease, 0));
    drop(keeper);
    assert!(answers.message().await?.is_none(), "who keeps nothing alive is not kept either");
    Ok(())
}

pub async fn what_is_gone_has_no_time_to_live(scene: &mut Scene) -> Result<()> {
    let options = LeaseTimeToLiveOptions::new().with_keys();
    let answer = scene.client.lease_time_to_live(4_711, Some(options)).await?;
    assert_eq!((answer.id(), answer.ttl(), answer.granted_ttl(), answer.keys().len()), (4_711, -1, 0, 0));
    assert_eq!(revision(answer.header())?, scene.revision().await?);
    let put = scene.client.put(scene.key("a"), "", on(4_711)).await;
    assert_eq!(refused(put), (Code::NotFound, "etcdserver: requested lease not found".to_owned()));
    Ok(())
}

pub async fn a_key_hangs_on_its_last_lease(scene: &mut Scene) -> Result<()> {
    let first = scene.client.lease_grant(60, None).await?.id();
    let second = scene.client.lease_grant(60, None).await?.id();
    for (name, lease) in [("moves", first), ("moves", second), ("leaves", first), ("leaves", 0), ("x", first)]
    {
        scene.client.put(scene.key(name), "", on(lease)).await?;
    }
    assert_eq!(keys_of(scene, first).await?, ["x"]);
    assert_eq!(keys_of(scene, second).await?, ["moves"]);
    let txn =
        Txn::new().and_then([TxnOp::delete(scene.key("x"), None), TxnOp::put(scene.key("y"), "", on(first))]);
    scene.client.txn(txn).await?;
    assert_eq!(keys_of(scene, first).await?, ["y"]);
    scene.client.lease_revoke(first).await?;
    assert_eq!(scene.names("", GetOptions::new().with_prefix()).await?, ["leaves", "moves"]);
    scene.delete("moves").await?;
    assert_eq!(keys_of(scene, second).await?, [""; 0]);
    Ok(())
}

pub async fn leases_are_listed(scene: &mut Scene) -> Result<()> {
    let long = scene.client.lease_grant(9_000, None).await?.id();
    let short = scene.client.lease_grant(3, None).await?.id();
    let listed: Vec<_> = scene.client.leases().await?.leases().iter().map(|lease| lease.id()).collect();
    let place = |id| listed.iter().position(|&listed| listed == id);
    assert!(
        place(short).context("not listed")? < place(long).context("not listed")?,
        "the next to end first"
    );
    eventually("the short one leaves the list", PATIENCE, async || {
        let listed = scene.client.leases().await?;
        ensure!(listed.leases().iter().all(|lease| lease.id() != short));
        Ok(())
    })
    .await
}
