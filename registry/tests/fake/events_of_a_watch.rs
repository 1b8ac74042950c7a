//! What a watch says, in whatever order.

use std::time::Duration;

use anyhow::Result;
use etcd_client::proto::{PbEvent, PbWatchResponse};
use harness::fake::say::{self, created, events, fragment, listed, progress};
use harness::fake::{Fake, Request};
use leaseway_registry::watch::WatchSettings;

use crate::support::Picture;
use crate::support::scripted::{connection, delete, follow, kv, put, reopened, resumed_after};
use crate::{AFTER, Broken};

#[tokio::test]
async fn what_a_list_and_events_say_is_shown() -> Result<()> {
    let fake = Fake::start().await?;
    fake.ranges.next(listed(10, [kv("a", 9), kv("b", 10)]));
    let watch = fake.watches.next();
    watch.say(created(10));
    watch.say(events(13, [put("c", 11), put("a", 12), delete("b", 13)]));
    let mut picture = follow(&fake);
    picture.until_shown(&["goods/a=10.0.0.1:12", "goods/c=10.0.0.1:11"]).await?;
    assert!(resumed_after(&fake, 10));
    Ok(())
}

#[tokio::test]
async fn a_member_without_a_leader_is_asked_to_say_so() -> Result<()> {
    let broken = Broken::watching().await?;
    assert!(broken.fake.count(|r| matches!(r, Request::Watch { requires_leader: true, .. })) == 1);
    Ok(())
}

#[tokio::test]
async fn a_revision_that_comes_in_fragments_is_shown_whole() -> Result<()> {
    let Broken { fake, mut picture, watch } = Broken::watching().await?;
    watch.say(fragment(12, [put("c", 12)]));
    watch.say(fragment(12, [put("d", 12), delete("a", 12)]));
    watch.say(events(12, [put("e", 12)]));
    let whole = ["b=10.0.0.1:11", "c=10.0.0.1:12", "d=10.0.0.1:12", "e=10.0.0.1:12"];
    picture.until_shown(&whole.map(|i| format!("goods/{i}")).each_ref().map(|i| &**i)).await?;
    watch.end();
    picture.until_status("not live", |s| !s.live).await?;
    reopened(&fake, 2).await?;
    assert!(resumed_after(&fake, 12));
    Ok(())
}

#[tokio::test]
async fn fragments_without_their_rest_are_asked_for_again() -> Result<()> {
    let Broken { fake, mut picture, watch } = Broken::watching().await?;
    let second = fake.watches.next();
    watch.say(fragment(12, [put("c", 12)]));
    watch.end();
    second.say(created(12));
    second.say(fragment(12, [put("c", 12)]));
    second.say(events(12, [delete("a", 12)]));
    picture.until_shown(&["goods/b=10.0.0.1:11", "goods/c=10.0.0.1:12"]).await?;
    assert!(resumed_after(&fake, 11), "watched from {:?}", fake.watched_from());
    Ok(())
}

/// etcd sends them in order, and a watch may take the last one for the end of its revision. What that costs
/// must be found.
#[tokio::test]
async fn fragments_that_change_places_are_all_shown_after_the_next_audit() -> Result<()> {
    let fake = Fake::start().await?;
    fake.ranges.next(listed(10, [kv("a", 9)]));
    fake.ranges.always(listed(11, [kv("b", 11), kv("c", 11)]));
    let watch = fake.watches.next();
    watch.say(created(10));
    watch.say(events(11, [put("c", 11)]));
    watch.say(fragment(11, [put("b", 11)]));
    watch.say(fragment(11, [delete("a", 11)]));
    fake.watches.always([created(11)]);
    let audit = Some(Duration::from_secs(1));
    let mut picture =
        Picture::follow_as(connection(&fake), WatchSettings { audit, ..WatchSettings::default() });
    picture.until_shown(&["goods/b=10.0.0.1:11", "goods/c=10.0.0.1:11"]).await
}

#[tokio::test]
async fn fragments_of_two_revisions_that_mix_are_all_shown() -> Result<()> {
    let Broken { fake, mut picture, watch } = Broken::watching().await?;
    fake.watches.always([created(13), events(13, [put("c", 12), put("d", 13), delete("a", 13)])]);
    watch.say(fragment(12, [put("c", 12)]));
    watch.say(fragment(13, [put("d", 13)]));
    watch.say(events(13, [delete("a", 13)]));
    watch.end();
    let all = ["goods/b=10.0.0.1:11", "goods/c=10.0.0.1:12", "goods/d=10.0.0.1:13"];
    picture.until_shown(&all).await
}

#[tokio::test]
async fn an_event_that_is_older_than_what_was_asked_for_is_left_out() -> Result<()> {
    let Broken { fake: _fake, mut picture, watch } = Broken::watching().await?;
    watch.say(events(12, [put("old", 5), put("c", 12)]));
    picture.until_shown(&AFTER).await
}

#[tokio::test]
async fn an_event_that_comes_after_a_later_one_does_not_turn_an_instance_back() -> Result<()> {
    let Broken { fake, mut picture, watch } = Broken::watching().await?;
    // For a driver that turns away from such a registry.
    fake.watches.always([created(14), events(14, [put("b", 13), put("c", 14)])]);
    watch.say(events(13, [put("b", 13)]));
    watch.say(events(13, [delete("b", 12)]));
    watch.say(events(13, [put("b", 12)]));
    watch.say(events(14, [put("c", 14)]));
    picture.until("the last event", |p| p.instance("goods/c").is_some()).await?;
    assert_eq!(picture.instance("goods/b").map(|b| b.revision), Some(13));
    Ok(())
}

#[tokio::test]
async fn an_event_without_a_record_and_one_of_an_unknown_kind_do_no_harm() -> Result<()> {
    let Broken { fake, mut picture, watch } = Broken::watching().await?;
    fake.watches.always([created(12), events(12, [put("c", 12)])]);
    let unknown = PbEvent { r#type: 9, ..put("a", 12) };
    watch.say(events(12, [PbEvent::default(), unknown, put("c", 12)]));
    picture.until_shown(&AFTER).await
}

#[tokio::test]
async fn events_of_another_watch_are_not_taken() -> Result<()> {
    let Broken { fake, mut picture, watch } = Broken::watching().await?;
    fake.watches.always([created(12), events(12, [put("c", 12)])]);
    let another = |message| PbWatchResponse { watch_id: 9, ..message };
    watch.say(another(events(12, [put("ghost", 12), delete("a", 12)])));
    watch.say(events(12, [put("c", 12)]));
    picture.until_shown(&AFTER).await
}

#[tokio::test]
async fn a_report_of_the_watch_moves_on_where_it_resumes() -> Result<()> {
    let Broken { fake, mut picture, watch } = Broken::watching().await?;
    watch.say(progress(50));
    watch.end();
    picture.until_status("not live", |s| !s.live).await?;
    reopened(&fake, 2).await?;
    assert!(resumed_after(&fake, 50), "watched from {:?}", fake.watched_from());
    Ok(())
}

#[tokio::test]
async fn a_batch_and_a_page_larger_than_grpc_s_default_limit_are_taken() -> Result<()> {
    let value = |n| format!(r#"{{"address":"10.0.0.1:{n}","metadata":{{"note":"{:>15000}"}}}}"#, "x");
    let instance = |n| format!("goods/{n:04}");
    let fake = Fake::start().await?;
    let listed_at_first = 1..=300;
    fake.ranges.next(listed(10, listed_at_first.map(|n| say::kv(&instance(n), value(n), 9))));
    let more = (301..=900).map(|n| say::put(&instance(n), value(n), 11));
    fake.watches.always([created(10), events(11, more)]);
    let mut picture = follow(&fake);
    picture.until("all", |p| p.shown().len() == 900).await?;
    assert_eq!(picture.status().failures, 0);
    Ok(())
}
