//! The watch, against a real etcd.

mod support;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use etcd_client::{Permission, RoleRevokePermissionOptions, Txn, TxnOp};
use futures_util::future::BoxFuture;
use harness::etcd::{AuthToken, Etcd, PREFIX, key};
use leaseway_registry::connect::{CallError, ConnectionSettings, Reason};
use leaseway_registry::contract::{Instance, Prefix};
use leaseway_registry::networks::Reserved;
use leaseway_registry::watch::source::{
    Cursor, EtcdSource, EtcdStream, Event, Message, Page, RawKey, RawRecord, Source, WatchStream,
};
use leaseway_registry::watch::{Update, Watch, WatchSettings, WatchStatus, nothing_reserved, watch_source};
use support::{PATIENCE, Picture, as_reader};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

fn plain(etcd: &Etcd) -> ConnectionSettings {
    ConnectionSettings::to([etcd.endpoint()])
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
    let connection = ConnectionSettings::to([format!("http://{dead}"), etcd.endpoint()]);
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
    std::fs::write(file.path(), "secret")?;
    let mut connection = plain(&etcd);
    connection.user = Some(leaseway_registry::connect::User {
        name: "gateway".into(),
        password_file: file.path().to_owned(),
    });
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
    let lost = timeout(QUIET, picture.until_status("not live", |s| !s.live)).await;
    assert!(lost.is_err(), "{lost:?}");
    assert_eq!(picture.status().failures, 0);
    Ok(())
}

#[tokio::test]
async fn what_is_reserved_since_it_was_taken_is_refused_when_the_list_is_read_again() -> Result<()> {
    let etcd = Etcd::start().await?;
    etcd.put(&key("goods", "a"), "10.0.0.1:80").await?;
    etcd.put(&key("goods", "b"), "10.0.0.2:80").await?;
    let (reserve, reserved) = watch::channel(Arc::default());
    let (mut watch, driver) =
        leaseway_registry::watch::watch(plain(&etcd), WatchSettings::default(), reserved);
    tokio::spawn(driver.run());
    let mut next = async || match timeout(PATIENCE, watch.updates.recv()).await?.context("the watch ended")? {
        Update::Reset { instances, refused, .. } => {
            let ids: Vec<_> = instances.into_iter().map(|instance| instance.id.to_string()).collect();
            let refused: Vec<_> = refused.into_iter().map(|name| name.id.to_string()).collect();
            Ok((ids.concat(), refused.concat()))
        }
        update => anyhow::bail!("{update:?}"),
    };
    assert_eq!(next().await?, ("ab".to_owned(), String::new()));
    let mut own = Reserved::default();
    own.add("10.0.0.1:80".parse()?, "is the registry");
    for (reserved, ids, refused) in [(own, "b", "a"), (Reserved::default(), "ab", "")] {
        reserve.send_replace(Arc::new(reserved));
        watch.reread.ask();
        assert_eq!(next().await?, (ids.to_owned(), refused.to_owned()));
    }
    let status = watch.status.borrow().clone();
    assert_eq!((status.skipped, status.failures, status.repaired), (1, 0, 0));
    Ok(())
}

/// A watch that is audited every second.
fn audited<S: Source>(source: S) -> (mpsc::Receiver<Update>, watch::Receiver<WatchStatus>) {
    let settings = WatchSettings { audit: Some(Duration::from_secs(1)), ..WatchSettings::default() };
    let (Watch { updates, status, .. }, driver) = watch_source(source, settings, nothing_reserved());
    tokio::spawn(driver.run());
    (updates, status)
}

async fn until(
    status: &mut watch::Receiver<WatchStatus>,
    what: &str,
    wanted: impl FnMut(&WatchStatus) -> bool,
) -> Result<WatchStatus> {
    let reached = timeout(PATIENCE, status.wait_for(wanted)).await;
    Ok(reached.with_context(|| format!("the watch's status never was: {what}"))??.clone())
}

/// Puts 100 keys at once, again and again, in revisions of their own.
async fn keep_writing(etcd: &Etcd, prefix: &str) -> Result<()> {
    let mut client = etcd.client().await?;
    for round in 0.. {
        let put = |n| TxnOp::put(format!("{prefix}{n}"), format!("10.0.{}.1:80", round % 200), None);
        client.txn(Txn::new().and_then((0..100).map(put).collect::<Vec<_>>())).await?;
    }
    Ok(())
}

/// Audits beside a writer below `prefix`.
async fn audits_beside_a_writer(prefix: &str) -> Result<WatchStatus> {
    let etcd = Etcd::start().await?;
    etcd.put(&key("goods", "quiet"), "10.0.0.1:80").await?;
    let source = EtcdSource::new(plain(&etcd), Prefix::default().range());
    let (mut updates, mut status) = audited(source);
    let read = async {
        while updates.recv().await.is_some() {}
        anyhow::bail!("the watch ended")
    };
    tokio::select! {
        ended = keep_writing(&etcd, prefix) => ended.map(|()| unreachable!("it never ends")),
        ended = read => ended,
        status = until(&mut status, "five audits", |s| s.audits >= 5) => status,
    }
}

#[tokio::test]
async fn audits_of_a_quiet_prefix_on_a_busy_etcd_come_to_their_end() -> Result<()> {
    let status = audits_beside_a_writer("/elsewhere/").await?;
    assert_eq!((status.repaired, status.audits_failed, status.failures), (0, 0, 0));
    assert!(status.revision > 10, "an audit advances the watch: {}", status.revision);
    Ok(())
}

#[tokio::test]
async fn audits_of_a_busy_prefix_come_to_their_end() -> Result<()> {
    let status = audits_beside_a_writer(&key("goods", "busy-")).await?;
    assert_eq!((status.repaired, status.audits_failed, status.failures), (0, 0, 0));
    assert!(status.events > 1_000, "the stream is read meanwhile: {}", status.events);
    Ok(())
}

/// An etcd that loses each event of the instance `lost`, once listed.
struct Lossy(EtcdSource);

struct LossyStream(EtcdStream);

#[async_trait]
impl Source for Lossy {
    type Stream = LossyStream;

    async fn records(&mut self, cursor: &Cursor) -> Result<Page<RawRecord>, CallError> {
        self.0.records(cursor).await
    }

    fn keys(&self, cursor: Cursor) -> BoxFuture<'static, Result<Page<RawKey>, CallError>> {
        self.0.keys(cursor)
    }

    async fn revision(&mut self) -> Result<i64, CallError> {
        self.0.revision().await
    }

    async fn open(&mut self, from: i64) -> Result<LossyStream, CallError> {
        Ok(LossyStream(self.0.open(from).await?))
    }

    fn disconnect(&mut self) {
        self.0.disconnect();
    }
}

#[async_trait]
impl WatchStream for LossyStream {
    async fn message(&mut self) -> Result<Message, CallError> {
        let message = self.0.message().await?;
        let Message::Events { mut events, complete } = message else { return Ok(message) };
        let lost = key("goods", "lost").into_bytes();
        events.retain(|event| match event {
            Event::Put(raw) => raw.key != lost,
            Event::Delete { key, .. } => *key != lost,
        });
        Ok(Message::Events { events, complete })
    }

    async fn ask_progress(&mut self) -> Result<(), CallError> {
        self.0.ask_progress().await
    }
}

#[tokio::test]
async fn what_a_watch_lost_is_found_and_repaired() -> Result<()> {
    let etcd = Etcd::start().await?;
    etcd.put(&key("goods", "kept"), "10.0.0.1:80").await?;
    let source = EtcdSource::new(plain(&etcd), Prefix::default().range());
    let (mut updates, mut status) = audited(Lossy(source));
    until(&mut status, "live", |s| s.live).await?;

    etcd.put(&key("goods", "lost"), "10.0.0.2:80").await?;
    until(&mut status, "a put repaired", |s| s.repaired == 1 && s.live).await?;
    etcd.delete(&key("goods", "lost")).await?;
    let end = until(&mut status, "a delete repaired", |s| s.repaired == 2 && s.live).await?;
    assert_eq!((end.lists, end.failures), (3, 0));

    let mut lists = Vec::new();
    while let Ok(update) = updates.try_recv() {
        if let Update::Reset { instances, .. } = update {
            lists.push(ids(&instances));
        }
    }
    assert_eq!(lists, [vec!["kept"], vec!["kept", "lost"], vec!["kept"]]);
    Ok(())
}

fn ids(instances: &[Instance]) -> Vec<String> {
    instances.iter().map(|i| i.id.to_string()).collect()
}

#[tokio::test]
async fn values_of_a_mebibyte_are_skipped_and_stop_no_list() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut client = etcd.client().await?;
    for n in 0..400 {
        let value = if n % 4 == 0 { vec![b'x'; 1 << 20] } else { b"10.0.0.1:80".to_vec() };
        client.put(key("goods", &format!("{n:03}")), value, None).await?;
    }
    let mut picture = Picture::follow(plain(&etcd));
    picture.until("300 instances", |p| p.shown().len() == 300).await?;
    let status = picture.until_status("audited", |s| s.audits == 1).await?;
    assert_eq!((status.lists, status.skipped, status.failures, status.repaired), (1, 100, 0, 0));

    etcd.put(&key("goods", "000"), vec![b'y'; 1 << 20]).await?;
    etcd.put(&key("goods", "000"), "10.0.0.1:80").await?;
    picture.until("healed", |p| p.shown().len() == 301).await?;
    assert_eq!(picture.status().skipped, 101);
    Ok(())
}

#[tokio::test]
async fn audits_outlive_expired_tokens_and_changed_roles() -> Result<()> {
    let ttl = Duration::from_secs(2);
    let etcd = Etcd::builder().users().auth_token(AuthToken::Jwt { ttl }).start().await?;
    let source = EtcdSource::new(as_reader(&etcd), Prefix::default().range());
    let (_updates, mut status) = audited(source);
    until(&mut status, "audited after its token has expired", |s| s.audits >= 4).await?;

    // The token is of an older state of the users from here on, and says so until it expires.
    etcd.client().await?.role_add("another").await?;
    let audits = status.borrow().audits;
    let after = until(&mut status, "audited after a change", |s| s.audits >= audits + 4).await?;
    assert_eq!((after.failures, after.lists), (0, 1), "the watch itself goes on: {after:?}");
    Ok(())
}

#[tokio::test]
async fn a_role_that_is_taken_away_is_said_and_survived() -> Result<()> {
    let mut etcd = Etcd::builder().users().start().await?;
    let reader = etcd.users().context("no users")?.reader.name.clone();
    etcd.put(&key("goods", "a"), "10.0.0.1:80").await?;
    let mut picture = Picture::follow(as_reader(&etcd));
    picture.until_shown(&["goods/a=10.0.0.1:80"]).await?;

    let end = Prefix::default().range().end;
    let options = RoleRevokePermissionOptions::new().with_range_end(end);
    etcd.client().await?.role_revoke_permission(reader.as_str(), PREFIX, Some(options)).await?;
    etcd.restart().await?;
    let status = picture
        .until_status("told what to grant", |s| {
            s.trouble.as_ref().is_some_and(|t| t.contains("etcdctl role grant-permission"))
        })
        .await?;
    assert!(status.trouble.is_some_and(|t| t.contains("permission denied") && t.contains(PREFIX)));
    assert_eq!(picture.shown(), ["goods/a=10.0.0.1:80"], "what is known stays");

    let permission = Permission::read(PREFIX).with_prefix();
    etcd.client().await?.role_grant_permission(reader.as_str(), permission).await?;
    etcd.put(&key("goods", "b"), "10.0.0.2:80").await?;
    picture.until_shown(&["goods/a=10.0.0.1:80", "goods/b=10.0.0.2:80"]).await
}
