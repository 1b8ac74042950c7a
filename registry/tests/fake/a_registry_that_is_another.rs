//! A registry whose history is another one than what was seen is listed again.

use anyhow::Result;
use etcd_client::proto::{PbRangeResponse, PbResponseHeader, PbWatchResponse};
use harness::fake::Fake;
use harness::fake::say::{self, created, events, listed};

use crate::support::scripted::{follow, is_list, kv, put};
use crate::{AFTER, Broken};

fn of_another_cluster(header: Option<PbResponseHeader>) -> Option<PbResponseHeader> {
    header.map(|header| PbResponseHeader { cluster_id: say::CLUSTER + 1, ..header })
}

fn watch_elsewhere(message: PbWatchResponse) -> PbWatchResponse {
    PbWatchResponse { header: of_another_cluster(message.header), ..message }
}

fn list_elsewhere(list: PbRangeResponse) -> PbRangeResponse {
    PbRangeResponse { header: of_another_cluster(list.header), ..list }
}

#[tokio::test]
async fn since_its_revisions_go_back_is_listed_again() -> Result<()> {
    let Broken { fake, mut picture, watch } = Broken::watching().await?;
    fake.ranges.always(listed(5, [kv("c", 4)]));
    fake.watches.always([created(5)]);
    watch.end();
    picture.until_shown(&["goods/c=10.0.0.1:4"]).await?;
    let status = picture.until_status("live", |s| s.live).await?;
    assert_eq!((status.lists, status.revision), (2, 5));
    Ok(())
}

#[tokio::test]
async fn is_told_from_a_member_that_lags() -> Result<()> {
    let Broken { fake, mut picture, watch } = Broken::watching().await?;
    let second = fake.watches.next();
    fake.ranges.always(listed(11, [kv("c", 4)]));
    watch.end();
    second.say(created(5));
    second.say(events(12, [put("c", 12)]));
    picture.until_shown(&AFTER).await?;
    assert_eq!((picture.status().lists, fake.count(is_list)), (1, 1));
    Ok(())
}

#[tokio::test]
async fn is_not_concluded_from_a_missing_header() -> Result<()> {
    let Broken { fake, mut picture, watch } = Broken::watching().await?;
    let second = fake.watches.next();
    fake.ranges.always(listed(11, [kv("c", 4)]));
    watch.end();
    second.say(PbWatchResponse { header: None, ..created(11) });
    second.say(events(12, [put("c", 12)]));
    picture.until_shown(&AFTER).await?;
    assert_eq!(fake.count(is_list), 1);
    Ok(())
}

#[tokio::test]
async fn by_its_cluster_s_id_is_listed_again_though_its_revision_is_later() -> Result<()> {
    let Broken { fake, mut picture, watch } = Broken::watching().await?;
    fake.ranges.always(list_elsewhere(listed(100, [kv("c", 90)])));
    fake.watches.always([watch_elsewhere(created(100))]);
    watch.end();
    picture.until_shown(&["goods/c=10.0.0.1:90"]).await?;
    let status = picture.until_status("live", |s| s.live).await?;
    assert_eq!((status.lists, status.revision), (2, 100));
    Ok(())
}

#[tokio::test]
async fn never_gives_a_page_to_the_list_of_the_first() -> Result<()> {
    let fake = Fake::start().await?;
    fake.ranges.next(say::page(10, [kv("a", 9)]));
    fake.ranges.next(list_elsewhere(listed(10, [kv("b", 9)])));
    fake.ranges.always(list_elsewhere(listed(10, [kv("b", 9)])));
    fake.watches.always([watch_elsewhere(created(10))]);
    let mut picture = follow(&fake);
    picture.until_shown(&["goods/b=10.0.0.1:9"]).await?;
    assert_eq!(picture.updates.len(), 1, "{:?}", picture.updates);
    Ok(())
}
