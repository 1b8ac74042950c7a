//! The scripted etcd says what its script says.

use std::time::Duration;

use anyhow::{Context, Result};
use etcd_client::{Client, Error, GetOptions, WatchOptions};
use harness::{
    etcd::key,
    fake::{Code, Fake, Line, Reply, Request, Status, say},
    wait::eventually,
};
use tokio::time::timeout;

const SHORT: Duration = Duration::from_secs(5);
const A_MOMENT: Duration = Duration::from_millis(200);

async fn client(fake: &Fake) -> Result<Client> {
    Ok(Client::connect([fake.endpoint()], None).await?)
}

fn code(error: &Error) -> Option<Code> {
    match error {
        Error::GRpcStatus(status) => Some(status.code()),
        _ => None,
    }
}

#[tokio::test]
async fn what_is_not_scripted_is_unavailable() -> Result<()> {
    let fake = Fake::start().await?;
    let mut client = client(&fake).await?;
    assert_eq!(code(&client.get("a", None).await.unwrap_err()), Some(Code::Unavailable));
    assert_eq!(code(&client.watch("a", None).await.unwrap_err()), Some(Code::Unavailable));
    assert_eq!(code(&client.lease_grant(5, None).await.unwrap_err()), Some(Code::Unavailable));
    assert_eq!(code(&client.put("a", "b", None).await.unwrap_err()), Some(Code::Unimplemented));
    Ok(())
}

#[tokio::test]
async fn calls_are_answered_in_the_script_s_order_and_noted() -> Result<()> {
    let fake = Fake::start().await?;
    let mut client = client(&fake).await?;
    fake.ranges.next(say::listed(10, [say::kv("goods/a", "10.0.0.1:80", 9)]));
    fake.ranges.fail(Status::permission_denied("etcdserver: permission denied"));
    fake.ranges.next(Reply::Silence);
    fake.ranges.always(say::listed(12, []));
    fake.grants.next(say::granted(77, 60));
    fake.keepalives.next(say::kept_alive(77, 60));

    let listed = client.get("b", Some(GetOptions::new().with_revision(3))).await?;
    let kv = listed.kvs().first().context("an empty list")?;
    assert_eq!((kv.key(), kv.mod_revision(), kv.lease()), (key("goods", "a").as_bytes(), 9, say::LEASE));
    assert_eq!(code(&client.get("b", None).await.unwrap_err()), Some(Code::PermissionDenied));
    assert!(timeout(A_MOMENT, client.get("b", None)).await.is_err(), "silence");
    for _ in 0..2 {
        assert_eq!(client.get("b", None).await?.header().map(|h| h.revision()), Some(12));
    }
    assert_eq!(client.lease_grant(5, None).await?.ttl(), 60);
    client.lease_keep_alive(77).await?;

    let asked = fake.asked();
    assert!(matches!(&asked[0].request, Request::Range(range) if range.key == b"b" && range.revision == 3));
    assert_eq!(fake.count(|request| matches!(request, Request::Range(_))), 5);
    assert_eq!(asked[5].request, Request::Grant { ttl: 5 });
    assert_eq!(asked[6].request, Request::KeepAlive { lease: 77 });
    assert!(asked.is_sorted_by_key(|asked| asked.at));
    Ok(())
}

#[tokio::test]
async fn a_watch_says_what_is_written_before_and_while_it_is_open() -> Result<()> {
    let fake = Fake::start().await?;
    let mut client = client(&fake).await?;
    let script = fake.watches.next();
    script.say(say::created(10));
    let options = WatchOptions::new().with_start_revision(4);
    let mut watch = client.watch("a", Some(options)).await?;
    let created = watch.message().await?.context("ended")?;
    assert!(created.created() && created.header().map(|h| h.revision()) == Some(10));
    assert!(timeout(A_MOMENT, watch.message()).await.is_err(), "silence after the last line");

    script.say(say::events(11, [say::put("goods/a", "10.0.0.1:80", 11), say::delete("goods/b", 11)]));
    let events = watch.message().await?.context("ended")?;
    assert_eq!(events.events().len(), 2);
    watch.request_progress().await?;
    eventually("the request is noted", SHORT, async || {
        anyhow::ensure!(fake.count(|request| *request == Request::Progress) == 1);
        Ok(())
    })
    .await?;
    script.fail(Status::unauthenticated("etcdserver: invalid auth token"));
    assert_eq!(code(&watch.message().await.unwrap_err()), Some(Code::Unauthenticated));
    assert_eq!(fake.watched_from(), [4]);
    Ok(())
}

#[tokio::test]
async fn a_watch_without_a_script_of_its_own_says_what_all_say() -> Result<()> {
    let fake = Fake::start().await?;
    let mut client = client(&fake).await?;
    fake.watches.refuse(Status::unavailable("not now"));
    fake.watches.always([Line::Say(say::created(10)), Line::End]);
    assert_eq!(code(&client.watch("a", None).await.unwrap_err()), Some(Code::Unavailable));
    for _ in 0..2 {
        let mut watch = client.watch("a", None).await?;
        assert!(watch.message().await?.is_some());
        assert!(watch.message().await?.is_none(), "it ends");
    }
    Ok(())
}
