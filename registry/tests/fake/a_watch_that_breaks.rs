//! A watch that breaks goes on where it was: nothing lost, nothing taken away, no spin.

use std::time::{Duration, Instant};

use anyhow::Result;
use etcd_client::proto::PbWatchResponse;
use harness::fake::say::{self, created, events, listed};
use harness::fake::{Fake, Line, Script, Status};

use crate::support::scripted::{
    follow, is_list, keeps_trying_without_a_spin, kv, put, reopened, resumed_after,
};
use crate::{AFTER, BEFORE, Broken, survives};

#[tokio::test]
async fn goes_on_where_it_was_whatever_the_reason_of_its_cancel() -> Result<()> {
    let reasons = [
        "etcdserver: invalid auth token",
        "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
        "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
        "etcdserver: permission denied",
        "etcdserver: revision of auth store is old",
        "etcdserver: no leader",
        "the operator has had enough",
        "",
    ];
    for reason in reasons {
        let broken = survives(|watch| watch.say(say::cancelled(reason))).await?;
        let trouble = broken.trouble.unwrap_or_default();
        assert!(trouble.contains(reason), "{reason:?} is not in {trouble:?}");
    }
    Ok(())
}

#[tokio::test]
async fn goes_on_where_it_was_whatever_its_error() -> Result<()> {
    let errors = [
        Status::unavailable("etcdserver: no leader"),
        Status::permission_denied("etcdserver: permission denied"),
        Status::unauthenticated("etcdserver: invalid auth token"),
        Status::invalid_argument("etcdserver: revision of auth store is old"),
        Status::resource_exhausted("etcdserver: too many requests"),
        Status::unknown("etcdserver: something else"),
    ];
    for error in errors {
        let broken = survives(|watch| watch.fail(error.clone())).await?;
        let trouble = broken.trouble.unwrap_or_default();
        assert!(trouble.contains(error.message()), "{error:?} is not in {trouble:?}");
    }
    Ok(())
}

#[tokio::test]
async fn goes_on_where_it_was_after_its_end() -> Result<()> {
    survives(Script::end).await.map(drop)
}

#[tokio::test]
async fn goes_on_where_it_was_when_it_is_created_twice() -> Result<()> {
    survives(|watch| watch.say(created(11))).await.map(drop)
}

#[tokio::test]
async fn goes_on_where_it_was_when_its_opening_fails() -> Result<()> {
    let errors = [
        Status::unavailable("etcdserver: no leader"),
        Status::permission_denied("etcdserver: permission denied"),
        Status::unauthenticated("etcdserver: invalid auth token"),
        Status::invalid_argument("etcdserver: revision of auth store is old"),
    ];
    let fake = Fake::start().await?;
    fake.ranges.next(listed(10, [kv("a", 9)]));
    errors.iter().for_each(|error| fake.watches.refuse(error.clone()));
    fake.watches.always([created(10), events(11, [put("b", 11)])]);
    let mut picture = follow(&fake);
    picture.until_shown(&BEFORE).await?;
    assert!(fake.watched_from().iter().all(|from| *from == fake.watched_from()[0]));
    assert_eq!(picture.status().failures, errors.len() as u64);
    Ok(())
}

#[tokio::test]
async fn goes_on_where_it_was_when_it_is_cancelled_in_the_message_that_creates_it() -> Result<()> {
    let Broken { fake, mut picture, watch } = Broken::watching().await?;
    let second = fake.watches.next();
    watch.end();
    // As etcd 3.4 refuses a watch that the user may not have.
    let refused = say::cancelled("etcdserver: permission denied");
    second.say(PbWatchResponse { created: true, watch_id: say::NO_WATCH, ..refused });
    fake.watches.always([created(12), events(12, [put("c", 12)])]);
    let broken = picture
        .until_status("refused", |s| s.trouble.as_ref().is_some_and(|t| t.contains("permission denied")));
    broken.await?;
    picture.until_shown(&AFTER).await?;
    assert_eq!(fake.count(is_list), 1);
    Ok(())
}

#[tokio::test]
async fn goes_on_when_something_else_comes_before_it_is_created() -> Result<()> {
    let Broken { fake, mut picture, watch } = Broken::watching().await?;
    let second = fake.watches.next();
    watch.end();
    second.say(events(12, [put("ghost", 12)]));
    second.say(created(12));
    fake.watches.always([created(12), events(12, [put("c", 12)])]);
    picture.until_shown(&AFTER).await
}

#[tokio::test]
async fn by_silence_is_found_in_15_s() -> Result<()> {
    let broken = Broken::watching().await?;
    let since = Instant::now();
    broken.survives(|_| ()).await?;
    assert!(since.elapsed() < Duration::from_secs(15), "found after {:?}", since.elapsed());
    Ok(())
}

#[tokio::test]
async fn is_not_waited_for_if_it_is_never_created() -> Result<()> {
    let Broken { fake, mut picture, watch } = Broken::watching().await?;
    let silent = fake.watches.next();
    watch.end();
    reopened(&fake, 2).await?;
    let since = Instant::now();
    fake.watches.always([created(12), events(12, [put("c", 12)])]);
    picture.until_shown(&AFTER).await?;
    assert!(since.elapsed() < Duration::from_secs(15), "found after {:?}", since.elapsed());
    drop(silent);
    Ok(())
}

#[tokio::test]
async fn again_and_again_is_opened_again_without_a_spin() -> Result<()> {
    let broken = [
        vec![Line::End],
        vec![created(10).into(), Line::End],
        vec![created(10).into(), say::cancelled("etcdserver: no leader").into()],
        vec![created(10).into(), Line::Fail(Status::unauthenticated("etcdserver: invalid auth token"))],
        vec![created(10).into(), created(10).into()],
        vec![events(11, [put("ghost", 11)]).into()],
    ];
    for lines in broken {
        let fake = Fake::start().await?;
        fake.ranges.next(listed(10, [kv("a", 9)]));
        fake.watches.always(lines);
        let mut picture = follow(&fake);
        picture.until_shown(&BEFORE[..1]).await?;
        keeps_trying_without_a_spin(&fake).await;
        assert_eq!(fake.count(is_list), 1);
        assert_eq!(picture.shown(), BEFORE[..1]);
    }
    Ok(())
}

#[tokio::test]
async fn at_a_compacted_revision_is_opened_after_a_list_that_is_shown_as_a_whole() -> Result<()> {
    let Broken { fake, mut picture, watch } = Broken::watching().await?;
    let second = fake.watches.next();
    fake.ranges.next(listed(30, [kv("a", 9), kv("c", 25)]));
    watch.say(say::compacted(20));
    second.say(created(31));
    second.say(events(31, [put("d", 31)]));
    let shown = ["goods/a=10.0.0.1:9", "goods/c=10.0.0.1:25", "goods/d=10.0.0.1:31"];
    picture.until_shown(&shown).await?;
    assert!(resumed_after(&fake, 30), "watched from {:?}", fake.watched_from());
    assert_eq!(picture.status().lists, 2);
    Ok(())
}
