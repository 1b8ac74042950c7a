//! The registrar, against a real etcd.

mod support;

use std::time::{Duration, Instant};

use anyhow::Result;
use etcd_client::{GetOptions, PutOptions};
use harness::etcd::{Etcd, key};
use leaseway_registry::contract::{Prefix, Record};
use leaseway_registry::register::{Registrar, Registration};
use support::{PATIENCE, Picture, as_writer};

const NAME: &str = "goods/a";
const SHOWN: &str = "goods/a=10.0.0.1:80";

fn registration() -> Registration {
    Registration { drain: Duration::ZERO, ..Registration::new("goods", "a", ([10, 0, 0, 1], 80).into()) }
}

fn start(etcd: &Etcd) -> Result<Registrar> {
    Ok(Registrar::start(as_writer(etcd), Prefix::default(), registration())?)
}

#[tokio::test]
async fn an_instance_is_registered_kept_alive_and_withdrawn() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut picture = Picture::follow(as_writer(&etcd));
    let mut registrar = start(&etcd)?;
    registrar.registered().await;
    picture.until_shown(&[SHOWN]).await?;
    let lease = picture.instance(NAME).map(|i| i.lease).unwrap_or_default();

    // Longer than the lease would last by itself.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let kept = etcd.client().await?.get(key("goods", "a"), None).await?;
    assert_eq!(kept.kvs().first().map(|kv| kv.lease()), Some(lease));
    assert_eq!(kept.kvs().first().map(|kv| kv.version()), Some(1), "put once");
    assert_eq!(etcd.client().await?.leases().await?.leases().len(), 1, "granted once");

    let asked = Instant::now();
    registrar.deregister().await;
    assert!(asked.elapsed() < Duration::from_secs(2), "a revoke does not wait for the lease");
    picture.until_shown(&[]).await?;
    assert!(etcd.client().await?.leases().await?.leases().is_empty());
    Ok(())
}

#[tokio::test]
async fn the_drain_time_is_served_out_after_the_withdrawal() -> Result<()> {
    let etcd = Etcd::start().await?;
    let drain = Duration::from_millis(700);
    let registration = Registration { drain, ..registration() };
    let mut registrar = Registrar::start(as_writer(&etcd), Prefix::default(), registration)?;
    registrar.registered().await;
    let asked = Instant::now();
    let left = tokio::spawn(registrar.deregister());
    let mut picture = Picture::follow(as_writer(&etcd));
    picture.until_shown(&[]).await?;
    assert!(!left.is_finished(), "withdrawn first");
    left.await?;
    assert!(asked.elapsed() >= drain);
    Ok(())
}

#[tokio::test]
async fn a_revoked_lease_is_granted_anew() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut picture = Picture::follow(as_writer(&etcd));
    let registrar = start(&etcd)?;
    picture.until_shown(&[SHOWN]).await?;
    let lease = picture.instance(NAME).map(|i| i.lease).unwrap_or_default();
    etcd.client().await?.lease_revoke(lease).await?;
    picture
        .until("registered under another lease", |p| p.instance(NAME).is_some_and(|i| i.lease != lease))
        .await?;
    registrar.deregister().await;
    Ok(())
}

#[tokio::test]
async fn a_deleted_key_is_put_again_under_the_same_lease() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut picture = Picture::follow(as_writer(&etcd));
    let registrar = start(&etcd)?;
    picture.until_shown(&[SHOWN]).await?;
    let before = picture.instance(NAME).cloned();
    let revision = etcd.delete(&key("goods", "a")).await?;
    picture.until("put again", |p| p.instance(NAME).is_some_and(|i| i.revision > revision)).await?;
    assert_eq!(picture.instance(NAME).map(|i| i.lease), before.map(|i| i.lease));
    registrar.deregister().await;
    Ok(())
}

#[tokio::test]
async fn an_operator_takes_an_instance_out_with_a_put_and_back_in_with_another() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut picture = Picture::follow(as_writer(&etcd));
    let registrar = start(&etcd)?;
    picture.until_shown(&[SHOWN]).await?;
    let lease = picture.instance(NAME).map(|i| i.lease).unwrap_or_default();

    for weight in [0, 5] {
        let value = format!(r#"{{"address":"10.0.0.1:80","weight":{weight}}}"#);
        etcd.put(&key("goods", "a"), value).await?;
        let attached =
            |p: &Picture| p.instance(NAME).is_some_and(|i| i.lease == lease && i.record.weight == weight);
        picture.until("the weight is kept, under the instance's lease again", attached).await?;
    }

    etcd.client().await?.lease_revoke(lease).await?;
    let again = |p: &Picture| p.instance(NAME).is_some_and(|i| i.lease != lease && i.record.weight == 5);
    picture.until("the weight outlives the lease", again).await?;
    registrar.deregister().await;
    picture.until_shown(&[]).await
}

#[tokio::test]
async fn what_an_operator_put_without_a_lease_does_not_outlive_the_instance() -> Result<()> {
    let etcd = Etcd::start().await?;
    for _ in 0..5 {
        let mut registrar = start(&etcd)?;
        registrar.registered().await;
        // Stopped before or after the registrar has seen it: both must end without a key.
        etcd.put(&key("goods", "a"), r#"{"address":"10.0.0.1:80","weight":5}"#).await?;
        registrar.deregister().await;
        let left = etcd.client().await?.get(key("goods", "a"), None).await?;
        assert_eq!(left.count(), 0);
    }
    Ok(())
}

#[tokio::test]
async fn a_weight_that_is_set_while_the_key_is_gone_is_kept() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut picture = Picture::follow(as_writer(&etcd));
    let registrar = start(&etcd)?;
    picture.until_shown(&[SHOWN]).await?;
    let lease = picture.instance(NAME).map(|i| i.lease).unwrap_or_default();
    // One transaction cannot delete and put a key, so the registrar may or may not come between the two;
    // either way the operator's put is the later word.
    let value = r#"{"address":"10.0.0.1:80","weight":0}"#;
    etcd.delete(&key("goods", "a")).await?;
    etcd.put(&key("goods", "a"), value).await?;
    let kept = |p: &Picture| p.instance(NAME).is_some_and(|i| i.record.weight == 0 && i.lease == lease);
    picture.until("the weight under the lease", kept).await?;
    registrar.deregister().await;
    Ok(())
}

#[tokio::test]
async fn etcd_may_restart_and_may_come_back_empty() -> Result<()> {
    let mut etcd = Etcd::start().await?;
    let mut registrar = start(&etcd)?;
    registrar.registered().await;
    etcd.kill().await?;
    etcd.restart().await?;
    Picture::follow(as_writer(&etcd)).until_shown(&[SHOWN]).await?;
    etcd.restart_empty().await?;
    Picture::follow(as_writer(&etcd)).until_shown(&[SHOWN]).await?;
    registrar.deregister().await;
    Ok(())
}

#[tokio::test]
async fn without_etcd_it_registers_when_etcd_comes() -> Result<()> {
    let mut etcd = Etcd::start().await?;
    etcd.kill().await?;
    let mut registrar = start(&etcd)?;
    etcd.restart().await?;
    tokio::time::timeout(PATIENCE, registrar.registered()).await?;
    registrar.deregister().await;
    Ok(())
}

#[tokio::test]
async fn stopping_without_etcd_takes_no_longer_than_the_revoke_may() -> Result<()> {
    let mut etcd = Etcd::start().await?;
    let mut registrar = start(&etcd)?;
    registrar.registered().await;
    etcd.kill().await?;
    tokio::time::timeout(PATIENCE, registrar.deregister()).await?;
    Ok(())
}

#[tokio::test]
async fn of_two_processes_with_one_id_the_later_has_the_key_until_it_leaves() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut picture = Picture::follow(as_writer(&etcd));
    let earlier = start(&etcd)?;
    picture.until_shown(&[SHOWN]).await?;
    let first = picture.instance(NAME).map(|i| i.lease);
    let later = start(&etcd)?;
    picture.until("the later one has it", |p| p.instance(NAME).map(|i| i.lease) != first).await?;

    // Each of them has looked at its key and kept its lease alive several times by then.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let kept = etcd.client().await?.get(key("goods", "a"), None).await?;
    assert_eq!(kept.kvs().first().map(|kv| kv.version()), Some(2), "no tug of war");

    later.deregister().await;
    picture.until("the earlier one registers again", |p| p.instance(NAME).map(|i| i.lease) == first).await?;
    earlier.deregister().await;
    Ok(())
}

#[tokio::test]
async fn what_a_crashed_process_left_is_taken_over() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut client = etcd.client().await?;
    let old = client.lease_grant(60, None).await?.id();
    let options = PutOptions::new().with_lease(old);
    client.put(key("goods", "a"), "10.0.0.1:80", Some(options)).await?;
    let registrar = start(&etcd)?;
    let mut picture = Picture::follow(as_writer(&etcd));
    picture.until("taken over", |p| p.instance(NAME).is_some_and(|i| i.lease != old)).await?;
    registrar.deregister().await;
    Ok(())
}

#[tokio::test]
async fn with_users_and_with_tls_it_is_the_same() -> Result<()> {
    for etcd in [Etcd::builder().users().start().await?, Etcd::builder().tls().start().await?] {
        let mut registrar = start(&etcd)?;
        tokio::time::timeout(PATIENCE, registrar.registered()).await?;
        registrar.deregister().await;
        let left = etcd.client().await?.get("/", Some(GetOptions::new().with_prefix())).await?;
        assert_eq!(left.count(), 0);
    }
    Ok(())
}

#[tokio::test]
async fn a_registration_that_no_gateway_would_take_is_refused_at_the_start() {
    let refuse = |change: fn(&mut Registration)| {
        let mut registration = registration();
        change(&mut registration);
        let connection = leaseway_registry::connect::ConnectionSettings::to(["http://127.0.0.1:1"]);
        match Registrar::start(connection, Prefix::default(), registration) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    };
    assert!(refuse(|r| r.service = "a/b".into()).contains("service"));
    assert!(refuse(|r| r.instance = String::new()).contains("instance"));
    assert!(refuse(|r| r.record.address.set_port(0)).contains("port is 0"));
    assert!(refuse(|r| r.record.weight = 1001).contains("1001"));
    assert!(refuse(|r| r.ttl = Duration::from_secs(1)).contains("at least 2s"));
    let long = |r: &mut Registration| {
        let value = format!(r#"{{"address":"10.0.0.5:80","metadata":{{"note":"{}"}}}}"#, "x".repeat(1_025));
        r.record = Record::decode(value.as_bytes()).expect("a record without its metadata");
    };
    assert!(refuse(long).contains("more than 1024 bytes"));
}
