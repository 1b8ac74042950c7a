//! The watch, against a real etcd.

mod support;

use std::time::Duration;

use anyhow::{Context, Result};
use etcd_client::{Txn, TxnOp};
use harness::etcd::{Etcd, key};
use registry::connect::Connection;
use registry::contract::Prefix;
use registry::watch::Update;
use registry::watch::reason::Reason;
use registry::watch::source::{EtcdSource, Message, Source, Stream};
use support::{Picture, as_reader};

fn plain(etcd: &Etcd) -> Connection {
    Connection::to([etcd.endpoint()])
}

#[tokio::test]
async fn a_picture_starts_with_a_list_and_follows_each_change() -> Result<()> {
    let etcd = Etcd::start().await?;
    etcd.put(&key("goods", "a"), "10.0.0.1:80").await?;
    let mut picture = Picture::follow(plain(&etcd));
    picture.until_shown(&["goods/a=10.0.0.1:80"]).await?;
    assert!(matches!(picture.updates[..], [Update::Reset { .. }]));

    etcd.put(&key("goods", "b"), "10.0.0.2:80").await?;
    etcd.put(&key("goods", "a"), "10.0.0.9:80").await?;
    picture.until_shown(&["goods/a=10.0.0.9:80", "goods/b=10.0.0.2:80"]).await?;
    let revision = etcd.delete(&key("goods", "a")).await?;
    picture.until_shown(&["goods/b=10.0.0.2:80"]).await?;
    let status = picture.until_status("at the delete", |s| s.revision == revision).await?;
    assert_eq!((status.lists, status.events, status.skipped), (1, 3, 0));
    Ok(())
}

#[tokio::test]
async fn one_transaction_is_one_update() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut picture = Picture::follow(plain(&etcd));
    picture.until_status("live", |s| s.live).await?;
    let puts =
        (0..100).map(|n| TxnOp::put(key("goods", &n.to_string()), format!("10.0.0.1:{}", n + 1), None));
    etcd.client().await?.txn(Txn::new().and_then(puts.collect::<Vec<_>>())).await?;
    picture.until("100 instances", |p| p.shown().len() == 100).await?;
    let sizes: Vec<_> = picture.updates.iter().map(size).collect();
    assert_eq!(sizes, [0, 100], "an empty list, then one batch");
    Ok(())
}

fn size(update: &Update) -> usize {
    match update {
        Update::Reset { instances, .. } => instances.len(),
        Update::Apply { changes, .. } => changes.len(),
    }
}

#[tokio::test]
async fn what_is_no_registration_is_skipped_and_heals_when_it_is_overwritten() -> Result<()> {
    let etcd = Etcd::start().await?;
    etcd.put(&key("goods", "bad"), "nonsense").await?;
    etcd.put("/service_registry_discovery/goods", "10.0.0.7:80").await?;
    etcd.put("/service_registry_discovery2/goods/x", "10.0.0.8:80").await?;
    etcd.put(&key("goods", "good"), "10.0.0.1:80").await?;
    let mut picture = Picture::follow(plain(&etcd));
    picture.until_shown(&["goods/good=10.0.0.1:80"]).await?;
    picture.until_status("two skipped", |s| s.skipped == 2).await?;

    etcd.put(&key("goods", "bad"), "10.0.0.2:80").await?;
    picture.until_shown(&["goods/bad=10.0.0.2:80", "goods/good=10.0.0.1:80"]).await?;
    etcd.put(&key("goods", "good"), "10.0.0.1:0").await?;
    picture.until_shown(&["goods/bad=10.0.0.2:80"]).await?;
    picture.until_status("three skipped", |s| s.skipped == 3).await?;
    Ok(())
}

#[tokio::test]
async fn a_list_of_many_pages_shows_one_revision() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut client = etcd.client().await?;
    for chunk in 0..50 {
        let put = |n| TxnOp::put(key("goods", &format!("{chunk}-{n}")), "10.0.0.1:80", None);
        client.txn(Txn::new().and_then((0..100).map(put).collect::<Vec<_>>())).await?;
    }
    let mut picture = Picture::follow(plain(&etcd));
    picture.until("5,000 instances", |p| p.shown().len() == 5_000).await?;
    assert_eq!(picture.updates.len(), 1);
    Ok(())
}

#[tokio::test]
async fn losing_etcd_loses_nothing_and_what_changed_meanwhile_arrives() -> Result<()> {
    let mut etcd = Etcd::start().await?;
    etcd.put(&key("goods", "a"), "10.0.0.1:80").await?;
    let mut picture = Picture::follow(plain(&etcd));
    picture.until_shown(&["goods/a=10.0.0.1:80"]).await?;

    etcd.kill().await?;
    let status = picture.until_status("not live", |s| !s.live).await?;
    assert!(status.synced);
    assert_eq!(picture.shown(), ["goods/a=10.0.0.1:80"]);

    etcd.restart().await?;
    etcd.put(&key("goods", "b"), "10.0.0.2:80").await?;
    picture.until_shown(&["goods/a=10.0.0.1:80", "goods/b=10.0.0.2:80"]).await?;
    assert_eq!(picture.status().lists, 1, "it resumed where it was");
    Ok(())
}

#[tokio::test]
async fn a_watch_from_a_compacted_revision_is_told_so() -> Result<()> {
    let etcd = Etcd::start().await?;
    let revision = etcd.put(&key("goods", "a"), "10.0.0.1:80").await?;
    etcd.put(&key("goods", "a"), "10.0.0.2:80").await?;
    etcd.client().await?.compact(revision + 1, None).await?;

    let mut source = EtcdSource::new(plain(&etcd), Prefix::default().range());
    let mut stream = source.open(revision + 1).await?;
    let created = stream.message().await?;
    assert!(matches!(created, Message::Created { .. }), "{created:?}");
    let cancelled = stream.message().await?;
    assert!(matches!(cancelled, Message::Cancelled { reason: Reason::Compacted, .. }), "{cancelled:?}");
    Ok(())
}

#[tokio::test]
async fn an_etcd_that_was_emptied_is_listed_again() -> Result<()> {
    let mut etcd = Etcd::start().await?;
    for n in 1..=9 {
        etcd.put(&key("goods", "a"), format!("10.0.0.{n}:80")).await?;
    }
    let mut picture = Picture::follow(plain(&etcd));
    picture.until_shown(&["goods/a=10.0.0.9:80"]).await?;
    etcd.restart_empty().await?;
    etcd.put(&key("goods", "b"), "10.0.0.2:80").await?;
    picture.until_shown(&["goods/b=10.0.0.2:80"]).await?;
    let status = picture.status();
    assert!(status.lists >= 2 && status.revision < 9, "{status:?}");
    Ok(())
}

#[tokio::test]
async fn a_frozen_etcd_is_noticed_and_followed_again() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut picture = Picture::follow(plain(&etcd));
    picture.until_status("live", |s| s.live).await?;
    etcd.pause()?;
    let status = picture.until_status("not live", |s| !s.live).await;
    etcd.resume()?;
    status.context("a server that is frozen looks like a quiet one")?;
    etcd.put(&key("goods", "a"), "10.0.0.1:80").await?;
    picture.until_shown(&["goods/a=10.0.0.1:80"]).await
}

#[tokio::test]
async fn without_etcd_the_watch_says_why_and_starts_when_it_comes() -> Result<()> {
    let mut etcd = Etcd::start().await?;
    etcd.kill().await?;
    let mut picture = Picture::follow(plain(&etcd));
    let status = picture.until_status("in trouble", |s| s.trouble.is_some()).await?;
    let trouble = status.trouble.unwrap_or_default();
    assert!(trouble.contains(&etcd.endpoint()) && trouble.contains("refused"), "{trouble}");
    etcd.restart().await?;
    etcd.put(&key("goods", "a"), "10.0.0.1:80").await?;
    picture.until_shown(&["goods/a=10.0.0.1:80"]).await
}

#[tokio::test]
async fn another_endpoint_is_tried_when_one_is_dead() -> Result<()> {
    let etcd = Etcd::start().await?;
    etcd.put(&key("goods", "a"), "10.0.0.1:80").await?;
    let dead = harness::ports::free_address()?;
    let connection = Connection::to([format!("http://{dead}"), etcd.endpoint()]);
    // The first endpoint is drawn: enough pictures to have met the dead one first.
    let mut failures = 0;
    for _ in 0..20 {
        let mut picture = Picture::follow(connection.clone());
        picture.until_shown(&["goods/a=10.0.0.1:80"]).await?;
        failures += picture.status().failures;
    }
    assert!(failures > 0, "none of them met the dead one");
    Ok(())
}

#[tokio::test]
async fn with_users_the_reader_sees_what_it_may() -> Result<()> {
    let etcd = Etcd::builder().users().start().await?;
    etcd.put(&key("goods", "a"), "10.0.0.1:80").await?;
    Picture::follow(as_reader(&etcd)).until_shown(&["goods/a=10.0.0.1:80"]).await
}

#[tokio::test]
async fn a_wrong_password_is_said_and_a_corrected_file_is_read() -> Result<()> {
    let etcd = Etcd::builder().users().start().await?;
    etcd.put(&key("goods", "a"), "10.0.0.1:80").await?;
    let mut connection = as_reader(&etcd);
    let right = connection.user.clone().context("no user")?.password_file;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(&file, "wrong")?;
    if let Some(user) = &mut connection.user {
        user.password_file = file.path().to_owned();
    }
    let mut picture = Picture::follow(connection);
    let status = picture.until_status("in trouble", |s| s.trouble.is_some()).await?;
    let trouble = status.trouble.unwrap_or_default();
    assert!(trouble.contains("authentication failed"), "{trouble}");
    std::fs::copy(right, &file)?;
    picture.until_shown(&["goods/a=10.0.0.1:80"]).await
}

#[tokio::test]
async fn a_user_against_an_etcd_without_users_carries_on() -> Result<()> {
    let etcd = Etcd::start().await?;
    etcd.put(&key("goods", "a"), "10.0.0.1:80").await?;
    let file = tempfile::NamedTempFile::new()?;
    let mut connection = plain(&etcd);
    connection.user =
        Some(registry::connect::User { name: "gateway".into(), password_file: file.path().to_owned() });
    Picture::follow(connection).until_shown(&["goods/a=10.0.0.1:80"]).await
}

#[tokio::test]
async fn with_tls_and_a_client_certificate_it_is_the_same() -> Result<()> {
    let etcd = Etcd::builder().tls().start().await?;
    etcd.put(&key("goods", "a"), "10.0.0.1:80").await?;
    let mut picture = Picture::follow(as_reader(&etcd));
    picture.until_shown(&["goods/a=10.0.0.1:80"]).await?;
    etcd.put(&key("goods", "b"), "10.0.0.2:80").await?;
    picture.until_shown(&["goods/a=10.0.0.1:80", "goods/b=10.0.0.2:80"]).await
}

#[tokio::test]
async fn an_authority_that_is_not_ours_is_refused_and_said() -> Result<()> {
    let etcd = Etcd::builder().tls().start().await?;
    let mut connection = as_reader(&etcd);
    if let Some(tls) = &mut connection.tls {
        tls.ca = None;
    }
    let mut picture = Picture::follow(connection);
    let status = picture.until_status("in trouble", |s| s.trouble.is_some()).await?;
    let trouble = status.trouble.unwrap_or_default();
    assert!(trouble.contains("certificate"), "{trouble}");
    assert!(!status.synced);
    Ok(())
}

#[tokio::test]
async fn no_event_comes_twice_though_a_watch_starts_at_what_was_seen() -> Result<()> {
    let etcd = Etcd::start().await?;
    let revision = etcd.put(&key("goods", "a"), "10.0.0.1:80").await?;
    let mut source = EtcdSource::new(plain(&etcd), Prefix::default().range());
    let mut stream = source.open(revision + 1).await?;
    assert!(matches!(stream.message().await?, Message::Created { .. }));
    let later = etcd.put(&key("goods", "a"), "10.0.0.2:80").await?;
    loop {
        match stream.message().await? {
            Message::Progress { of_watch: false, .. } => {}
            Message::Events { events, .. } => {
                assert_eq!(events.iter().map(|e| e.revision()).collect::<Vec<_>>(), [later]);
                return Ok(());
            }
            other => anyhow::bail!("{other:?}"),
        }
    }
}

/// Bounds the test below; the real clock, since etcd has one.
const QUIET: Duration = Duration::from_secs(12);

#[tokio::test]
async fn a_quiet_watch_stays_live() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut picture = Picture::follow(plain(&etcd));
    picture.until_status("live", |s| s.live).await?;
    let lost = tokio::time::timeout(QUIET, picture.until_status("not live", |s| !s.live)).await;
    assert!(lost.is_err(), "{lost:?}");
    assert_eq!(picture.status().failures, 0);
    Ok(())
}
