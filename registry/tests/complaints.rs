//! What users of other gateways and registries complain of, each as a test named after its thread: it must
//! not happen here.

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etcd_client::proto::PbKeyValue;
use etcd_client::{Client, CompactionOptions, EventType, Permission, WatchOptions};
use harness::etcd::{Etcd, key};
use harness::fake::say::{self, alive, created, events, listed};
use harness::fake::{Fake, Line, Reply, Request, Status};
use harness::wait::eventually;
use leaseway_registry::connect::ConnectionSettings;
use leaseway_registry::contract::Prefix;
use leaseway_registry::register::{Registrar, Registration};
use leaseway_registry::watch::source::{EtcdSource, Message, Source, WatchStream};
use leaseway_registry::watch::{Update, WatchSettings};
use support::scripted::{
    A_WHILE, connection, follow, keeps_trying_without_a_spin, kv, put, reopened, resumed_after,
};
use support::{PATIENCE, Picture, as_reader, as_writer};
use tokio::time::{sleep, timeout};

const SHOWN: &str = "goods/a=10.0.0.1:80";

fn without_audits() -> WatchSettings {
    WatchSettings { audit: None, ..WatchSettings::default() }
}

fn start(connection: ConnectionSettings, instance: &str, address: &str) -> Result<Registrar> {
    let registration = Registration {
        drain: Duration::ZERO,
        ..Registration::new("goods", instance, address.parse::<SocketAddr>()?)
    };
    Ok(Registrar::start(connection, Prefix::default(), registration)?)
}

fn lease(picture: &Picture) -> Option<i64> {
    picture.instance("goods/a").map(|instance| instance.lease)
}

/// Somebody else's writes in the same etcd.
async fn write_elsewhere(client: &mut Client) -> Result<i64> {
    let mut revision = 0;
    for n in 0..50 {
        let put = client.put("/elsewhere", n.to_string(), None).await?;
        revision = put.header().context("no header")?.revision();
    }
    Ok(revision)
}

/// <https://github.com/apache/apisix/issues/13067>: the newest revision was read beside the watch, and a
/// watch that timed out went on from there. Events that a stream, silently dead, had never delivered were
/// lost for good.
#[tokio::test]
async fn apisix_13067_a_watch_that_was_silent_goes_on_after_its_last_event() -> Result<()> {
    let fake = Fake::start().await?;
    fake.ranges.next(listed(10, [kv("a", 9)]));
    let (silent, next) = (fake.watches.next(), fake.watches.next());
    silent.say(created(10));
    // Everybody knows by now that the registry is at 50. This watch has not seen 11 yet.
    silent.say(alive(50));
    next.say(created(50));
    next.say(events(50, [put("b", 11)]));
    follow(&fake).until_shown(&["goods/a=10.0.0.1:9", "goods/b=10.0.0.1:11"]).await?;
    assert!(resumed_after(&fake, 10), "watched from {:?}", fake.watched_from());
    Ok(())
}

/// <https://github.com/apache/apisix/issues/12167>: others wrote to the same etcd and it was compacted; each
/// time everything was read and built again, although nothing of it had changed.
#[tokio::test]
async fn apisix_12167_a_compaction_disturbs_no_watch_and_a_list_after_it_changes_nothing() -> Result<()> {
    let mut etcd = Etcd::start().await?;
    etcd.put(&key("goods", "a"), "10.0.0.1:80").await?;
    let mut picture = Picture::follow_as(as_reader(&etcd), without_audits());
    picture.until_status("live", |s| s.live).await?;
    // A watch that has shown an event has caught up: until then etcd does need the history.
    etcd.put(&key("goods", "a"), "10.0.0.9:80").await?;
    picture.until_shown(&["goods/a=10.0.0.9:80"]).await?;
    let mut client = etcd.client().await?;
    let revision = write_elsewhere(&mut client).await?;
    client.compact(revision, None).await?;
    etcd.put(&key("goods", "b"), "10.0.0.2:80").await?;
    picture.until_shown(&["goods/a=10.0.0.9:80", "goods/b=10.0.0.2:80"]).await?;
    let status = picture.status();
    assert_eq!((status.lists, status.failures), (1, 0), "a live watch has no need of the history");

    let revision = write_elsewhere(&mut client).await?;
    client.compact(revision, None).await?;
    etcd.kill().await?;
    etcd.restart().await?;
    picture.until("listed again", |p| p.updates.len() == 4).await?;
    let [
        Update::Reset { .. },
        Update::Apply { .. },
        Update::Apply { changes, .. },
        Update::Reset { instances, .. },
    ] = &picture.updates[..]
    else {
        panic!("{:?}", picture.updates);
    };
    // The same revisions: whoever applies it as a difference finds none.
    let leaseway_registry::watch::Change::Put(b) = &changes[0] else { panic!("{changes:?}") };
    assert_eq!(instances.iter().find(|i| &*i.id == "b"), Some(b));
    assert_eq!(instances.len(), 2);
    picture.until_status("live", |s| s.live).await?;
    assert_eq!(picture.status().lists, 2);
    Ok(())
}

/// <https://github.com/zeromicro/go-zero/issues/3364>: a watch that was refused for a compacted revision was
/// opened again at once, and at the same revision, for ever.
#[tokio::test]
async fn go_zero_3364_a_compacted_watch_is_not_opened_in_a_loop() -> Result<()> {
    let fake = Fake::start().await?;
    fake.ranges.next(listed(10, [kv("a", 9)]));
    fake.ranges.always(listed(30, [kv("a", 9)]));
    fake.watches.always([created(30), say::compacted(20)]);
    let _picture = follow(&fake);
    reopened(&fake, 2).await?;
    assert!(resumed_after(&fake, 30), "watched from {:?}", fake.watched_from());
    keeps_trying_without_a_spin(&fake).await;
    Ok(())
}

/// <https://github.com/etcd-io/etcd/issues/8980>: the process was stopped (SIGSTOP), and a watch on it
/// blocked for ever.
#[tokio::test]
async fn etcd_8980_a_watch_on_a_stopped_etcd_does_not_block_for_ever() -> Result<()> {
    let etcd = Etcd::start().await?;
    etcd.put(&key("goods", "a"), "10.0.0.1:80").await?;
    let mut picture = Picture::follow(as_reader(&etcd));
    picture.until_shown(&[SHOWN]).await?;
    picture.until_status("live", |s| s.live).await?;
    etcd.pause()?;
    let since = Instant::now();
    let noticed = picture.until_status("not live", |s| !s.live).await;
    let after = since.elapsed();
    etcd.resume()?;
    noticed?;
    assert!(after < Duration::from_secs(15), "noticed after {after:?}");
    etcd.put(&key("goods", "b"), "10.0.0.2:80").await?;
    picture.until_shown(&[SHOWN, "goods/b=10.0.0.2:80"]).await
}

/// <https://github.com/traefik/traefik/issues/11941>: after a change of roles every token is invalid; there
/// was no other login until a restart, and every route was gone meanwhile.
#[tokio::test]
async fn traefik_11941_an_invalid_token_costs_a_login_and_nothing_else() -> Result<()> {
    let mut etcd = Etcd::builder().users().start().await?;
    let mut registrar = start(as_writer(&etcd), "a", "10.0.0.1:80")?;
    timeout(PATIENCE, registrar.registered()).await?;
    let mut picture = Picture::follow(as_reader(&etcd));
    picture.until_shown(&[SHOWN]).await?;

    for (role, id) in [("gateway", "b"), ("goods", "c")] {
        let permission = Permission::read("/elsewhere");
        etcd.client().await?.role_grant_permission(role, permission).await?;
        // etcd keeps its tokens in memory.
        etcd.kill().await?;
        etcd.restart().await?;
        etcd.put(&key("goods", id), "10.0.0.2:80").await?;
        picture.until("the change", |p| p.instance(&format!("goods/{id}")).is_some()).await?;
        assert!(picture.instance("goods/a").is_some(), "{:?}", picture.shown());
    }
    assert_eq!(picture.status().lists, 1, "it resumed where it was");
    timeout(PATIENCE, registrar.deregister()).await?;
    picture.until("withdrawn", |p| p.instance("goods/a").is_none()).await
}

/// <https://github.com/go-kratos/kratos/issues/3883>: after five failures the registrar gave up. The process
/// served on, unregistered, until it was restarted.
#[tokio::test]
async fn kratos_3883_a_registrar_never_gives_up() -> Result<()> {
    let mut etcd = Etcd::start().await?;
    let mut registrar = start(as_writer(&etcd), "a", "10.0.0.1:80")?;
    timeout(PATIENCE, registrar.registered()).await?;
    let mut picture = Picture::follow(as_reader(&etcd));
    picture.until_shown(&[SHOWN]).await?;
    let before = lease(&picture);

    etcd.kill().await?;
    // Several times what a lease lasts, and more than five attempts.
    sleep(Duration::from_secs(12)).await;
    etcd.restart().await?;
    picture.until("under another lease", |p| lease(p).is_some() && lease(p) != before).await?;
    registrar.deregister().await;
    Ok(())
}

/// <https://github.com/zeromicro/go-zero/issues/1926>: the network between a service and etcd was cut for
/// longer than the lease. The key was gone, and nobody put it again.
#[tokio::test]
async fn go_zero_1926_a_lease_that_ended_unseen_is_granted_again() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut registrar = start(as_writer(&etcd), "a", "10.0.0.1:80")?;
    timeout(PATIENCE, registrar.registered()).await?;
    let mut picture = Picture::follow(as_reader(&etcd));
    picture.until_shown(&[SHOWN]).await?;
    let before = lease(&picture);

    // To the registrar a stopped etcd is a network that drops everything; the lease's time goes on.
    etcd.pause()?;
    sleep(Duration::from_secs(6)).await;
    etcd.resume()?;
    picture.until("under another lease", |p| lease(p).is_some() && lease(p) != before).await?;
    registrar.deregister().await;
    picture.until_shown(&[]).await
}

/// <https://github.com/kitex-contrib/registry-etcd/issues/11>: the keepalive ended while the network was
/// shaky. The process neither registered again nor ended.
#[tokio::test]
async fn registry_etcd_11_a_shaky_network_does_not_end_the_keepalive() -> Result<()> {
    let fake = Fake::start().await?;
    fake.ranges.always(Reply::Silence);
    fake.txns.always(say::not_held(10));
    fake.grants.next(say::granted(77, 3));
    fake.grants.next(say::granted(78, 3));
    fake.keepalives.always(Reply::Error(Status::unavailable("etcdserver: request timed out")));
    let _registrar = start(connection(&fake), "a", "10.0.0.1:80")?;
    eventually("a second lease", PATIENCE, async || {
        ensure!(fake.count(|r| matches!(r, Request::Txn(_))) == 2);
        Ok(())
    })
    .await?;
    fake.keepalives.always(say::kept_alive(78, 3));
    eventually("it is kept alive", PATIENCE, async || {
        ensure!(fake.count(|r| *r == Request::KeepAlive { lease: 78 }) >= 3);
        Ok(())
    })
    .await?;
    assert_eq!(fake.count(|r| matches!(r, Request::Grant { .. })), 2);
    Ok(())
}

/// <https://github.com/apache/dubbo-go/issues/688>: services registered without a lease, and stayed there
/// for ever after they had ended.
#[tokio::test]
async fn dubbo_go_688_a_process_that_ends_without_a_word_leaves_no_ghost() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut registrar = start(as_writer(&etcd), "a", "10.0.0.1:80")?;
    timeout(PATIENCE, registrar.registered()).await?;
    let mut picture = Picture::follow(as_reader(&etcd));
    picture.until_shown(&[SHOWN]).await?;
    drop(registrar);
    picture.until_shown(&[]).await
}

/// The other side of <https://github.com/apache/dubbo-go/issues/688>. A key without a lease may be a ghost
/// or an operator's wish, and etcd cannot tell which: it is served, and shown with lease 0, which no
/// registrar's has.
#[tokio::test]
async fn dubbo_go_688_what_stands_without_a_lease_is_shown_as_such() -> Result<()> {
    let etcd = Etcd::start().await?;
    etcd.put(&key("goods", "a"), "10.0.0.1:80").await?;
    let mut picture = Picture::follow(as_reader(&etcd));
    picture.until_shown(&[SHOWN]).await?;
    assert_eq!(lease(&picture), Some(0));

    // A registrar of the same id takes it under its lease.
    let mut registrar = start(as_writer(&etcd), "a", "10.0.0.1:80")?;
    timeout(PATIENCE, registrar.registered()).await?;
    picture.until("under a lease", |p| lease(p).is_some_and(|lease| lease != 0)).await?;
    registrar.deregister().await;
    picture.until_shown(&[]).await
}

/// <https://github.com/kitex-contrib/registry-etcd/issues/5>: the address that a service listened at,
/// `[::]:8999`, was what it registered. Nobody can connect there.
#[tokio::test]
async fn registry_etcd_5_an_address_to_listen_at_is_not_one_to_register() -> Result<()> {
    let etcd = Etcd::start().await?;
    for address in ["[::]:8999", "0.0.0.0:8999"] {
        let refused = start(as_writer(&etcd), "a", address).err().context(address)?.to_string();
        assert!(refused.contains(address) && refused.contains("unspecified"), "{refused}");
    }
    etcd.put(&key("goods", "v6"), "[::]:8999").await?;
    etcd.put(&key("goods", "v4"), r#"{"address":"0.0.0.0:8999","weight":10}"#).await?;
    etcd.put(&key("goods", "a"), "10.0.0.1:80").await?;
    let mut picture = Picture::follow(as_reader(&etcd));
    picture.until_shown(&[SHOWN]).await?;
    assert_eq!(picture.status().skipped, 2);
    Ok(())
}

/// Who asked for `demo` was given `demo-b` too:
/// <https://github.com/kitex-contrib/registry-etcd/pull/12>, <https://github.com/micro/go-micro/pull/1899>,
/// <https://github.com/go-kratos/kratos/pull/1501>, <https://github.com/rpcxio/rpcx-etcd/pull/13>.
#[tokio::test]
async fn registry_etcd_12_demo_does_not_take_demo_b() -> Result<()> {
    let etcd = Etcd::start().await?;
    for (key, port) in [
        (key("demo", "1"), 1),
        (key("demo-b", "1"), 2),
        (key("demo", "1-b"), 3),
        // No service's: a segment too many.
        (key("demo", "b/1"), 4),
        ("/service_registry_discovery-b/demo/2".to_owned(), 5),
    ] {
        etcd.put(&key, format!("10.0.0.1:{port}")).await?;
    }
    let mut picture = Picture::follow(as_reader(&etcd));
    picture.until_shown(&["demo-b/1=10.0.0.1:2", "demo/1=10.0.0.1:1", "demo/1-b=10.0.0.1:3"]).await?;
    etcd.delete(&key("demo", "1")).await?;
    etcd.delete(&key("demo", "b/1")).await?;
    picture.until_shown(&["demo-b/1=10.0.0.1:2", "demo/1-b=10.0.0.1:3"]).await
}

/// As above, for the watch that a registrar has of its own key.
#[tokio::test]
async fn registry_etcd_12_a_registrar_does_not_take_another_s_key_for_its_own() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut short = start(as_writer(&etcd), "a", "10.0.0.1:80")?;
    let mut long = start(as_writer(&etcd), "a-b", "10.0.0.2:80")?;
    timeout(PATIENCE, short.registered()).await?;
    timeout(PATIENCE, long.registered()).await?;
    let mut picture = Picture::follow(as_reader(&etcd));
    picture.until_shown(&["goods/a=10.0.0.1:80", "goods/a-b=10.0.0.2:80"]).await?;
    let before = picture.instance("goods/a").cloned();
    long.deregister().await;
    picture.until_shown(&[SHOWN]).await?;
    let touched = picture.until("put again", |p| p.instance("goods/a") != before.as_ref());
    assert!(timeout(A_WHILE, touched).await.is_err(), "the other's end was taken for its own");
    Ok(())
}

/// <https://github.com/smallnest/rpcx/issues/374>: the watched service was gone, each watch of it ended at
/// once, and the loop that opened it again took a whole core.
#[tokio::test]
async fn rpcx_374_a_watch_of_nothing_that_ends_at_once_is_not_opened_in_a_loop() -> Result<()> {
    let fake = Fake::start().await?;
    fake.ranges.always(listed(10, []));
    fake.watches.always([Line::Say(created(10)), Line::End]);
    let _picture = follow(&fake);
    keeps_trying_without_a_spin(&fake).await;
    Ok(())
}

/// <https://github.com/etcd-io/etcd/issues/18089>: a watch that starts at a deletion's revision, which was
/// compacted since, never sees the deletion. To a gateway that resumes there, a dead instance lives on.
///
/// Leaseway's watch starts one revision earlier, where the compaction is noticed.
#[tokio::test]
async fn etcd_18089_a_deletion_that_was_compacted_is_not_missed() -> Result<()> {
    let etcd = Etcd::start().await?;
    etcd.put(&key("goods", "a"), "10.0.0.1:80").await?;
    etcd.put(&key("goods", "ghost"), "10.0.0.2:80").await?;
    let deleted = etcd.delete(&key("goods", "ghost")).await?;
    etcd.put(&key("goods", "a"), "10.0.0.3:80").await?;
    // Otherwise etcd answers before the deletion is gone.
    let at_once = CompactionOptions::new().with_physical();
    etcd.client().await?.compact(deleted, Some(at_once)).await?;
    assert_eq!(bare_watch(&etcd, deleted).await?, EventType::Put, "this etcd does not have the fault");

    let mut source = EtcdSource::new(as_reader(&etcd), Prefix::default().range());
    let mut stream = source.open(deleted).await?;
    assert!(matches!(stream.message().await?, Message::Created { .. }));
    let answer = stream.message().await?;
    assert!(matches!(answer, Message::Cancelled { .. }), "{answer:?}");
    Ok(())
}

/// The kind of the first event that etcd sends from a revision on.
async fn bare_watch(etcd: &Etcd, revision: i64) -> Result<EventType> {
    let options = WatchOptions::new().with_prefix().with_start_revision(revision);
    let mut watch = etcd.client().await?.watch(harness::etcd::PREFIX, Some(options)).await?;
    loop {
        let answer = watch.message().await?.context("the watch ended")?;
        ensure!(!answer.canceled(), "{answer:?}");
        if let Some(event) = answer.events().first() {
            return Ok(event.event_type());
        }
    }
}

/// <https://github.com/etcd-io/etcd/issues/19179>: another way to lose a deletion around a compaction, which
/// takes a crash at the right moment. On the watch it cannot be seen: an audit finds it.
#[tokio::test]
async fn etcd_19179_a_lost_deletion_is_found_by_an_audit() -> Result<()> {
    is_repaired(&[kv("a", 9), kv("c", 13)], &["goods/a=10.0.0.1:9", "goods/c=10.0.0.1:13"]).await
}

/// As above, for a put.
#[tokio::test]
async fn etcd_19179_a_lost_put_is_found_by_an_audit() -> Result<()> {
    let shown = ["goods/a=10.0.0.1:12", "goods/b=10.0.0.1:10", "goods/c=10.0.0.1:13"];
    is_repaired(&[kv("a", 12), kv("b", 10), kv("c", 13)], &shown).await
}

/// The registry has these records at 13, and its watch has lost the event at 12.
async fn is_repaired(records: &[PbKeyValue], shown: &[&str]) -> Result<()> {
    let fake = Fake::start().await?;
    fake.ranges.next(listed(10, [kv("a", 9), kv("b", 10)]));
    fake.ranges.always(listed(13, records.to_vec()));
    let watch = fake.watches.next();
    watch.say(created(10));
    watch.say(events(13, [put("c", 13)]));
    fake.watches.always([created(13)]);
    let audit = Some(Duration::from_secs(1));
    let mut picture =
        Picture::follow_as(connection(&fake), WatchSettings { audit, ..WatchSettings::default() });
    picture.until("the event after it", |p| p.instance("goods/c").is_some()).await?;
    picture.until_shown(shown).await?;
    picture.until_status("one repaired", |s| s.repaired == 1).await?;
    Ok(())
}
