//! A list is shown whole or not at all.

use std::time::{Duration, Instant};

use anyhow::Result;
use etcd_client::proto::PbRangeResponse;
use harness::fake::say::{self, created, listed};
use harness::fake::{Fake, Reply, Request, Status};
use tokio::time::timeout;

use crate::support::scripted::{A_WHILE, follow, keeps_trying_without_a_spin, kv, reopened, resumed_after};
use crate::{AFTER, BEFORE, Broken};

#[tokio::test]
async fn is_read_page_by_page_at_the_first_one_s_revision() -> Result<()> {
    let fake = Fake::start().await?;
    fake.ranges.next(say::page(10, [kv("a", 9)]));
    fake.ranges.next(listed(12, [kv("b", 10)]));
    fake.watches.always([created(12)]);
    let mut picture = follow(&fake);
    picture.until_shown(&["goods/a=10.0.0.1:9", "goods/b=10.0.0.1:10"]).await?;
    let pages = fake.asked();
    let Request::Range(second) = &pages[1].request else { panic!("{pages:?}") };
    assert_eq!(second.revision, 10);
    assert!(second.key > kv("a", 9).key && second.key < kv("b", 10).key);
    reopened(&fake, 1).await?;
    assert!(resumed_after(&fake, 10), "what changed while the pages were read is watched for");
    Ok(())
}

#[tokio::test]
async fn that_is_never_answered_is_asked_for_again() -> Result<()> {
    let fake = Fake::start().await?;
    fake.ranges.next(Reply::Silence);
    fake.ranges.next(listed(10, [kv("a", 9)]));
    fake.watches.always([created(10)]);
    let since = Instant::now();
    let mut picture = follow(&fake);
    picture.until_shown(&BEFORE[..1]).await?;
    assert!(since.elapsed() < Duration::from_secs(15), "after {:?}", since.elapsed());
    Ok(())
}

#[tokio::test]
async fn whose_revision_is_compacted_between_two_pages_starts_over() -> Result<()> {
    let fake = Fake::start().await?;
    fake.ranges.next(say::page(10, [kv("a", 9)]));
    fake.ranges.fail(Status::out_of_range("etcdserver: mvcc: required revision has been compacted"));
    fake.ranges.next(say::page(20, [kv("b", 15)]));
    fake.ranges.next(listed(20, [kv("c", 15)]));
    fake.watches.always([created(20)]);
    let mut picture = follow(&fake);
    picture.until_shown(&["goods/b=10.0.0.1:15", "goods/c=10.0.0.1:15"]).await?;
    assert_eq!(picture.updates.len(), 1, "half a list is none");
    Ok(())
}

#[tokio::test]
async fn that_breaks_off_takes_nothing_away() -> Result<()> {
    let Broken { fake, mut picture, watch } = Broken::watching().await?;
    let second = fake.watches.next();
    fake.ranges.next(say::page(30, [kv("c", 25)]));
    fake.ranges.fail(Status::unavailable("etcdserver: request timed out"));
    watch.say(say::compacted(20));
    picture.until_status("failed twice", |s| s.failures >= 1 && !s.live).await?;
    fake.ranges.always(listed(30, [kv("a", 9), kv("b", 11), kv("c", 12)]));
    second.say(created(30));
    picture.until_shown(&AFTER).await?;
    assert_eq!(picture.updates.len(), 3, "{:?}", picture.updates);
    Ok(())
}

#[tokio::test]
async fn that_is_refused_is_asked_for_again_without_a_spin() -> Result<()> {
    let errors = [
        Status::unavailable("etcdserver: no leader"),
        Status::permission_denied("etcdserver: permission denied"),
        Status::unauthenticated("etcdserver: invalid auth token"),
        Status::invalid_argument("etcdserver: revision of auth store is old"),
    ];
    for error in errors {
        let fake = Fake::start().await?;
        fake.ranges.always(Reply::Error(error));
        let picture = follow(&fake);
        keeps_trying_without_a_spin(&fake).await;
        assert!(!picture.status().synced);
    }
    Ok(())
}

#[tokio::test]
async fn whose_page_repeats_its_last_key_for_ever_is_given_up() -> Result<()> {
    never_ends(say::page(10, [kv("a", 9)])).await
}

#[tokio::test]
async fn whose_pages_run_backwards_is_given_up() -> Result<()> {
    never_ends(say::page(10, [kv("b", 9), kv("a", 9)])).await
}

#[tokio::test]
async fn that_says_more_without_a_record_is_not_taken_for_an_empty_one() -> Result<()> {
    never_ends(say::page(10, [])).await
}

/// A list of which this is every page must never be shown, must not go on for ever, and must not spin.
async fn never_ends(page: PbRangeResponse) -> Result<()> {
    let Broken { fake, mut picture, watch } = Broken::watching().await?;
    fake.ranges.always(page);
    fake.watches.always([created(10)]);
    watch.say(say::compacted(20));
    picture.until_status("given up, twice", |s| s.failures >= 2).await?;
    keeps_trying_without_a_spin(&fake).await;
    let replaced = timeout(A_WHILE, picture.until("replaced", |p| p.shown() != BEFORE)).await;
    assert!(replaced.is_err(), "{:?}", picture.shown());
    Ok(())
}
