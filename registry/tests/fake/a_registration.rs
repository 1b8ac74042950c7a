//! A registration is kept whatever the registry answers, and never outlives its lease.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use etcd_client::proto::{PbKeyValue, PbTxnOpRequest, PbTxnRequest};
use harness::fake::say::{self, listed};
use harness::fake::{Fake, Reply, Request, Status};
use harness::wait::eventually;
use leaseway_registry::contract::Prefix;
use leaseway_registry::register::{Registrar, Registration};
use tokio::time::timeout;

use crate::support::PATIENCE;
use crate::support::scripted::{MANY, connection, keeps_trying_without_a_spin, kv};

const LEASE: i64 = 77;
const NEXT_LEASE: i64 = 78;
const TTL: i64 = 3;

/// Grants one lease after the other, and takes whatever is put. It shows nobody anything: the registrar
/// has to do without the watch of its key.
async fn registry() -> Result<Fake> {
    let fake = Fake::start().await?;
    fake.ranges.always(Reply::Silence);
    fake.grants.next(say::granted(LEASE, TTL));
    fake.grants.next(say::granted(NEXT_LEASE, TTL));
    fake.keepalives.always(say::kept_alive(LEASE, TTL));
    fake.txns.always(say::not_held(10));
    fake.revokes.always(say::revoked());
    Ok(fake)
}

fn start(fake: &Fake) -> Result<Registrar> {
    let mut registration = Registration::new("goods", "a", ([10, 0, 0, 1], 80).into());
    registration.drain = Duration::ZERO;
    Ok(Registrar::start(connection(fake), Prefix::default(), registration)?)
}

/// The leases that the key was to be put under, in order.
fn put_under(fake: &Fake) -> Vec<i64> {
    let txn = |request| match request {
        Request::Txn(txn) => Some(txn),
        _ => None,
    };
    fake.asked().into_iter().filter_map(|asked| txn(asked.request)).filter_map(lease_of).collect()
}

fn lease_of(txn: PbTxnRequest) -> Option<i64> {
    txn.failure.into_iter().find_map(|op| match op.request {
        Some(PbTxnOpRequest::RequestPut(put)) => Some(put.lease),
        _ => None,
    })
}

async fn until_put_under(fake: &Fake, leases: &[i64]) -> Result<()> {
    eventually("the puts", PATIENCE, async || {
        let put = put_under(fake);
        ensure!(put == leases, "put under {put:?}");
        Ok(())
    })
    .await
}

async fn registered(registrar: &mut Registrar) -> Result<()> {
    Ok(timeout(PATIENCE, registrar.registered()).await?)
}

fn keeps_alive(lease: i64) -> impl Fn(&Request) -> bool {
    move |request| *request == Request::KeepAlive { lease }
}

#[tokio::test]
async fn is_put_once_under_the_lease_that_was_granted() -> Result<()> {
    let fake = registry().await?;
    let mut registrar = start(&fake)?;
    registered(&mut registrar).await?;
    eventually("kept alive", PATIENCE, async || {
        ensure!(fake.count(keeps_alive(LEASE)) >= 3);
        Ok(())
    })
    .await?;
    assert_eq!(put_under(&fake), [LEASE]);
    assert_eq!(fake.count(|r| *r == Request::Grant { ttl: TTL }), 1);
    Ok(())
}

#[tokio::test]
async fn whose_keepalive_is_never_answered_gets_another_lease_when_its_time_has_passed() -> Result<()> {
    let fake = registry().await?;
    fake.keepalives.always(Reply::Silence);
    let _registrar = start(&fake)?;
    until_put_under(&fake, &[LEASE, NEXT_LEASE]).await?;
    let asked = fake.asked();
    let grants: Vec<_> = asked.iter().filter(|a| matches!(a.request, Request::Grant { .. })).collect();
    let [first, second] = grants[..] else { panic!("{grants:?}") };
    assert!(second.at - first.at >= Duration::from_secs(3), "the lease was still good");
    let tries = fake.count(keeps_alive(LEASE));
    assert!((2..=MANY).contains(&tries), "{tries} tries to save it");
    let late = |asked: &harness::fake::Asked| asked.at > second.at && keeps_alive(LEASE)(&asked.request);
    assert!(!asked.iter().any(late), "kept alive after its time");
    Ok(())
}

#[tokio::test]
async fn whose_lease_is_answered_with_a_ttl_of_0_gets_another_one() -> Result<()> {
    let fake = registry().await?;
    fake.keepalives.next(say::kept_alive(LEASE, 0));
    fake.keepalives.always(say::kept_alive(NEXT_LEASE, TTL));
    let mut registrar = start(&fake)?;
    until_put_under(&fake, &[LEASE, NEXT_LEASE]).await?;
    registered(&mut registrar).await
}

#[tokio::test]
async fn whose_lease_is_gone_when_it_is_put_gets_another_one() -> Result<()> {
    let fake = registry().await?;
    fake.txns.fail(Status::not_found("etcdserver: requested lease not found"));
    let mut registrar = start(&fake)?;
    until_put_under(&fake, &[LEASE, NEXT_LEASE]).await?;
    registered(&mut registrar).await
}

#[tokio::test]
async fn whose_leases_are_always_gone_does_not_spin() -> Result<()> {
    let fake = registry().await?;
    fake.grants.always(say::granted(NEXT_LEASE, TTL));
    fake.txns.always(Reply::Error(Status::not_found("etcdserver: requested lease not found")));
    let _registrar = start(&fake)?;
    keeps_trying_without_a_spin(&fake).await;
    Ok(())
}

#[tokio::test]
async fn whose_put_fails_is_put_again_under_the_same_lease() -> Result<()> {
    let fake = registry().await?;
    for error in [
        Status::unavailable("etcdserver: no leader"),
        Status::unauthenticated("etcdserver: invalid auth token"),
        Status::invalid_argument("etcdserver: revision of auth store is old"),
    ] {
        fake.txns.fail(error);
    }
    fake.txns.next(Reply::Silence);
    let mut registrar = start(&fake)?;
    registered(&mut registrar).await?;
    let mut leases = put_under(&fake);
    leases.dedup();
    assert_eq!(leases, [LEASE]);
    Ok(())
}

#[tokio::test]
async fn whose_keepalives_fail_in_between_keeps_its_lease() -> Result<()> {
    let fake = registry().await?;
    fake.keepalives.fail(Status::unavailable("etcdserver: no leader"));
    fake.keepalives.fail(Status::unavailable("etcdserver: request timed out"));
    let mut registrar = start(&fake)?;
    registered(&mut registrar).await?;
    eventually("kept alive", PATIENCE, async || {
        ensure!(fake.count(keeps_alive(LEASE)) >= 4);
        Ok(())
    })
    .await?;
    assert_eq!(put_under(&fake), [LEASE]);
    Ok(())
}

#[tokio::test]
async fn keeps_time_by_the_ttl_that_was_granted() -> Result<()> {
    let [long, short] = [granting(60).await?, granting(1).await?];
    let _registrars = [start(&long)?, start(&short)?];
    eventually("kept alive", PATIENCE, async || {
        ensure!(short.count(keeps_alive(LEASE)) >= 5);
        Ok(())
    })
    .await?;
    assert_eq!(long.count(keeps_alive(LEASE)), 0, "a third of a minute has not passed");
    assert_eq!((put_under(&long), put_under(&short)), (vec![LEASE], vec![LEASE]));
    Ok(())
}

async fn granting(ttl: i64) -> Result<Fake> {
    let fake = Fake::start().await?;
    fake.ranges.always(Reply::Silence);
    fake.grants.next(say::granted(LEASE, ttl));
    fake.keepalives.always(say::kept_alive(LEASE, ttl));
    fake.txns.always(say::not_held(10));
    Ok(fake)
}

#[tokio::test]
async fn whose_grant_is_refused_or_never_answered_asks_again_without_a_spin() -> Result<()> {
    let fake = Fake::start().await?;
    fake.ranges.always(Reply::Silence);
    let mut registrar = start(&fake)?;
    keeps_trying_without_a_spin(&fake).await;
    fake.grants.next(Reply::Silence);
    fake.grants.always(say::granted(LEASE, TTL));
    fake.txns.always(say::not_held(10));
    fake.keepalives.always(say::kept_alive(LEASE, TTL));
    registered(&mut registrar).await?;
    assert_eq!(put_under(&fake), [LEASE]);
    Ok(())
}

#[tokio::test]
async fn is_never_put_without_a_lease() -> Result<()> {
    let fake = Fake::start().await?;
    fake.ranges.always(Reply::Silence);
    fake.txns.always(say::not_held(10));
    fake.grants.always(say::granted(0, TTL));
    let _registrar = start(&fake)?;
    keeps_trying_without_a_spin(&fake).await;
    assert!(put_under(&fake).is_empty(), "a key without a lease stays for ever: {:?}", put_under(&fake));
    Ok(())
}

#[tokio::test]
async fn that_finds_another_process_under_its_key_leaves_it_there() -> Result<()> {
    let fake = registry().await?;
    fake.keepalives.next(say::kept_alive(LEASE, 0));
    fake.keepalives.always(say::kept_alive(NEXT_LEASE, TTL));
    fake.txns.next(say::not_held(10));
    let theirs = PbKeyValue { lease: 99, ..kv("a", 20) };
    fake.txns.next(say::held(20, [theirs]));
    let _registrar = start(&fake)?;
    eventually("its own lease is kept alive", PATIENCE, async || {
        ensure!(fake.count(keeps_alive(NEXT_LEASE)) >= 3);
        Ok(())
    })
    .await?;
    assert_eq!(put_under(&fake), [LEASE, NEXT_LEASE], "no tug of war");
    Ok(())
}

#[tokio::test]
async fn whose_revoke_fails_is_revoked_again() -> Result<()> {
    let fake = registry().await?;
    fake.revokes.fail(Status::unavailable("etcdserver: no leader"));
    let mut registrar = start(&fake)?;
    registered(&mut registrar).await?;
    fake.ranges.always(listed(20, []));
    timeout(PATIENCE, registrar.deregister()).await?;
    assert_eq!(fake.count(|r| *r == Request::Revoke { lease: LEASE }), 2);
    Ok(())
}

#[tokio::test]
async fn whose_revoke_is_never_answered_is_left_to_its_lease() -> Result<()> {
    let fake = registry().await?;
    fake.revokes.always(Reply::Silence);
    let mut registrar = start(&fake)?;
    registered(&mut registrar).await?;
    let since = Instant::now();
    timeout(PATIENCE, registrar.deregister()).await?;
    assert!(since.elapsed() < Duration::from_secs(20), "a stop took {:?}", since.elapsed());
    assert!(fake.count(|r| *r == Request::Revoke { lease: LEASE }) >= 1);
    Ok(())
}
