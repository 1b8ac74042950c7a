//! What tests against a scripted etcd share.

use std::time::Duration;

use anyhow::{Result, ensure};
use etcd_client::proto::{PbEvent, PbKeyValue};
use harness::fake::{Fake, Request, say};
use harness::wait::eventually;
use leaseway_registry::connect::ConnectionSettings;
use leaseway_registry::watch::WatchSettings;
use tokio::time::sleep;

use super::{PATIENCE, Picture};

/// How long something that must not happen is waited for.
pub const A_WHILE: Duration = Duration::from_millis(500);
/// Over this time requests are counted.
pub const SPAN: Duration = Duration::from_secs(2);
/// More requests than this in [`SPAN`] are a loop without a wait: one that backs off, up to a second, makes
/// some ten.
pub const MANY: usize = 30;

/// How to reach it.
pub fn connection(fake: &Fake) -> ConnectionSettings {
    ConnectionSettings::to([fake.endpoint()])
}

/// Without audits: the watch alone has to be right.
pub fn follow(fake: &Fake) -> Picture {
    Picture::follow_as(connection(fake), WatchSettings { audit: None, ..WatchSettings::default() })
}

/// An address that tells the revision.
pub fn address(revision: i64) -> String {
    format!("10.0.0.1:{revision}")
}

/// A record of `goods`.
pub fn kv(id: &str, revision: i64) -> PbKeyValue {
    say::kv(&format!("goods/{id}"), address(revision), revision)
}

/// A put of an instance of `goods`.
pub fn put(id: &str, revision: i64) -> PbEvent {
    say::put(&format!("goods/{id}"), address(revision), revision)
}

/// A delete of one.
pub fn delete(id: &str, revision: i64) -> PbEvent {
    say::delete(&format!("goods/{id}"), revision)
}

/// Whether it is a list or a page of one.
pub fn is_list(request: &Request) -> bool {
    matches!(request, Request::Range(range) if !range.count_only)
}

/// How many requests arrive in [`SPAN`], which must be few, but some.
pub async fn keeps_trying_without_a_spin(fake: &Fake) {
    let before = fake.asked().len();
    sleep(SPAN).await;
    let asked = fake.asked().len() - before;
    assert!((1..=MANY).contains(&asked), "{asked} requests in {SPAN:?}");
}

/// Whether the last watch was opened so that it shows everything after a revision.
pub fn resumed_after(fake: &Fake, revision: i64) -> bool {
    let last = fake.watched_from().last().copied();
    // Its own start, or one earlier: what was seen already is left out again.
    last == Some(revision + 1) || last == Some(revision)
}

/// Waits until as many watches were opened.
pub async fn reopened(fake: &Fake, watches: usize) -> Result<()> {
    eventually("another watch", PATIENCE, async || {
        ensure!(fake.watched_from().len() >= watches, "{:?}", fake.watched_from());
        Ok(())
    })
    .await
}
