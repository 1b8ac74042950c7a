//! The texts by which a [`Reason`] is known. A real etcd, and the libraries of gRPC, say each of them here: a version
//! that has found other words fails.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::{Error, GetOptions, PutOptions};
use harness::etcd::{AuthToken, Cluster, Etcd, key};
use harness::wait::eventually;
use tokio::time::sleep;

use super::*;
use crate::connect::{CALL_TIMEOUT, ConnectionSettings, Connector, Link, User};

/// Bounds a wait on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A lease that nobody was granted.
const NO_LEASE: i64 = 77;

/// Why a call fails.
async fn reason<T>(link: &Link, call: impl Future<Output = Result<T, Error>>) -> Result<Reason> {
    let answer = link.call("be refused", CALL_TIMEOUT, call).await;
    Ok(answer.err().context("it does not fail")?.cause.reason())
}

async fn link(connection: ConnectionSettings) -> Result<Link> {
    Ok(Connector::new(connection).link(CALL_TIMEOUT).await?)
}

/// The settings of a user who may read the registrations.
fn as_reader(etcd: &Etcd) -> ConnectionSettings {
    let reader = etcd.users().map(|users| &users.reader);
    let user =
        reader.map(|reader| User { name: reader.name.clone(), password_file: reader.password_file.clone() });
    ConnectionSettings { user, ..ConnectionSettings::to([etcd.endpoint()]) }
}

/// What a watch is cancelled with, and what a call fails with.
#[test]
fn each_text_of_etcd_is_known_wrapped_or_not() {
    for (text, reason) in TEXTS {
        assert_eq!(Reason::in_text(text), reason, "{text}");
        let wrapped = format!("rpc error: code = Unknown desc = {text}");
        assert_eq!(Reason::in_text(&wrapped), reason, "{wrapped}");
    }
}

#[test]
fn what_is_not_known_is_an_ordinary_failure() {
    for text in [
        "",
        "etcdserver: mvcc: required revision is a future revision",
        "mvcc: watcher range is empty",
        "mvcc: duplicate watch ID provided on the WatchStream",
        "etcdserver: leader changed",
    ] {
        assert_eq!(Reason::in_text(text), Reason::Other, "{text}");
    }
}

#[tokio::test]
async fn what_is_not_there_any_more_is_told_apart() -> Result<()> {
    let etcd = Etcd::start().await?;
    let link = link(ConnectionSettings::to([etcd.endpoint()])).await?;
    let (mut kv, mut leases) = (link.client.kv_client(), link.client.lease_client());
    assert_eq!(reason(&link, leases.revoke(NO_LEASE)).await?, Reason::LeaseGone);
    assert_eq!(reason(&link, leases.keep_alive(NO_LEASE)).await?, Reason::LeaseGone);
    let leased = PutOptions::new().with_lease(NO_LEASE);
    assert_eq!(reason(&link, kv.put("key", "value", Some(leased))).await?, Reason::LeaseGone);
    let as_it_is = PutOptions::new().with_ignore_value();
    assert_eq!(reason(&link, kv.put("key", "", Some(as_it_is))).await?, Reason::KeyMissing);
    let first = etcd.put("key", "value").await?;
    let second = etcd.put("key", "value").await?;
    kv.compact(second, None).await?;
    let past = GetOptions::new().with_revision(first);
    assert_eq!(reason(&link, kv.get("key", Some(past))).await?, Reason::Compacted);
    Ok(())
}

#[tokio::test]
async fn an_answer_that_is_longer_than_what_is_taken_is_told_apart() -> Result<()> {
    let etcd = Etcd::start().await?;
    etcd.put("key", vec![b'x'; 10_000]).await?;
    let link = link(ConnectionSettings::to([etcd.endpoint()])).await?;
    let mut kv = link.client.kv_client().max_decoding_message_size(1_000);
    assert_eq!(reason(&link, kv.get("key", None)).await?, Reason::TooLong);
    Ok(())
}

#[tokio::test]
async fn whoever_logs_in_where_there_are_no_users_is_served_all_the_same() -> Result<()> {
    let etcd = Etcd::start().await?;
    let password = tempfile::NamedTempFile::new()?;
    std::fs::write(password.path(), "secret")?;
    let user = User { name: "gateway".into(), password_file: password.path().to_owned() };
    link(ConnectionSettings { user: Some(user), ..ConnectionSettings::to([etcd.endpoint()]) }).await?;
    Ok(())
}

#[tokio::test]
async fn who_may_not_is_told_why() -> Result<()> {
    let etcd = Etcd::builder().users().start().await?;
    let reader = link(as_reader(&etcd)).await?;
    let put = reader.client.kv_client().put(key("goods", "a"), "10.0.0.1:80", None).await;
    assert_eq!(reason(&reader, async { put }).await?, Reason::PermissionDenied);

    let nobody = link(ConnectionSettings::to([etcd.endpoint()])).await?;
    let got = nobody.client.kv_client().get(key("goods", "a"), None).await;
    assert_eq!(reason(&nobody, async { got }).await?, Reason::UserMissing);

    let mut connection = as_reader(&etcd);
    let wrong = tempfile::NamedTempFile::new()?;
    std::fs::write(wrong.path(), "wrong")?;
    connection.user.as_mut().context("a user")?.password_file = wrong.path().to_owned();
    let refused = Connector::new(connection).link(CALL_TIMEOUT).await;
    assert_eq!(refused.err().context("it logs in")?.cause.reason(), Reason::LoginFailed);
    Ok(())
}

/// By a client that does not renew its login.
#[tokio::test]
async fn a_login_that_is_no_longer_valid_is_told_apart() -> Result<()> {
    const TTL: Duration = Duration::from_secs(1);
    for token in [AuthToken::Simple { ttl: TTL }, AuthToken::Jwt { ttl: 300 * TTL }] {
        let etcd = Etcd::builder().users().auth_token(token).start().await?;
        let reader = etcd.users().context("users")?.reader.clone();
        let mut client = etcd.client_as(&reader).await?;
        client.get(key("goods", "a"), None).await?;
        match token {
            // It ends if it is not used; etcd looks once a second.
            AuthToken::Simple { .. } => sleep(5 * TTL).await,
            // It is one of the users as they were when it was made.
            AuthToken::Jwt { .. } => {
                etcd.client().await?.role_add("another").await?;
            }
        }
        let link = link(as_reader(&etcd)).await?;
        let refused = reason(&link, client.get(key("goods", "a"), None)).await?;
        assert_eq!(refused, Reason::TokenRejected, "{token:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_member_that_has_lost_the_others_says_so() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let link = link(ConnectionSettings::to([cluster.members[0].endpoint()])).await?;
    for member in &mut cluster.members[1..] {
        member.kill().await?;
    }
    eventually("the member notices that it is alone", PATIENCE, async || {
        let got = link.client.kv_client().get("key", None).await;
        let reason = reason(&link, async { got }).await?;
        ensure!(reason == Reason::NoLeader, "{reason:?}");
        Ok(())
    })
    .await
}
