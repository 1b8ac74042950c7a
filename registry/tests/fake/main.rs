//! The watch and the registrar, against what a real etcd cannot be made to do.

mod a_list;
mod a_registration;
mod a_registry_that_is_another;
mod a_watch_that_breaks;
mod events_of_a_watch;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use anyhow::{Result, ensure};
use etcd_client::proto::{PbEvent, PbKeyValue};
use harness::fake::say::{self, created, events, listed};
use harness::fake::{Fake, Request, Script};
use harness::wait::eventually;
use registry::connect::Connection;
use registry::status::Status;
use registry::watch::{Settings, Update};
use support::{PATIENCE, Picture};
use tokio::time::sleep;

/// How long something that must not happen is waited for.
const A_WHILE: Duration = Duration::from_millis(500);
/// Over this time requests are counted.
const SPAN: Duration = Duration::from_secs(2);
/// More requests than this in [`SPAN`] are a loop without a wait: one that backs off, up to a second, makes
/// some ten.
const MANY: usize = 30;

fn connection(fake: &Fake) -> Connection {
    Connection::to([fake.endpoint()])
}

/// Without audits: the watch alone has to be right.
fn follow(fake: &Fake) -> Picture {
    Picture::follow_as(connection(fake), Settings { audit: None, ..Settings::default() })
}

/// An address that tells the revision.
fn address(revision: i64) -> String {
    format!("10.0.0.1:{revision}")
}

fn kv(id: &str, revision: i64) -> PbKeyValue {
    say::kv(&format!("goods/{id}"), address(revision), revision)
}

fn put(id: &str, revision: i64) -> PbEvent {
    say::put(&format!("goods/{id}"), address(revision), revision)
}

fn delete(id: &str, revision: i64) -> PbEvent {
    say::delete(&format!("goods/{id}"), revision)
}

fn is_list(request: &Request) -> bool {
    matches!(request, Request::Range(range) if !range.count_only)
}

/// How many requests arrive in [`SPAN`], which must be few, but some.
async fn keeps_trying_without_a_spin(fake: &Fake) {
    let before = fake.asked().len();
    sleep(SPAN).await;
    let asked = fake.asked().len() - before;
    assert!((1..=MANY).contains(&asked), "{asked} requests in {SPAN:?}");
}

/// Whether the last watch was opened so that it shows everything after a revision.
fn resumed_after(fake: &Fake, revision: i64) -> bool {
    let last = fake.watched_from().last().copied();
    // Its own start, or one earlier: what was seen already is left out again.
    last == Some(revision + 1) || last == Some(revision)
}

/// A watch that has shown an instance of a list and one of an event, then breaks, and is opened again.
struct Broken {
    fake: Fake,
    picture: Picture,
    watch: Script,
}

const BEFORE: [&str; 2] = ["goods/a=10.0.0.1:9", "goods/b=10.0.0.1:11"];
const AFTER: [&str; 3] = ["goods/a=10.0.0.1:9", "goods/b=10.0.0.1:11", "goods/c=10.0.0.1:12"];

impl Broken {
    /// There is one list in the script: a second one fails.
    async fn watching() -> Result<Self> {
        let fake = Fake::start().await?;
        fake.ranges.next(listed(10, [kv("a", 9)]));
        let watch = fake.watches.next();
        watch.say(created(10));
        watch.say(events(11, [put("b", 11)]));
        let mut picture = follow(&fake);
        picture.until_shown(&BEFORE).await?;
        Ok(Self { fake, picture, watch })
    }

    /// The break is noticed, takes nothing away, and the watch goes on where it was.
    async fn survives(mut self, breaks: impl FnOnce(&Script)) -> Result<Status> {
        let second = self.fake.watches.next();
        breaks(&self.watch);
        let broken = self.picture.until_status("not live", |s| !s.live).await?;
        assert!(broken.synced && broken.failures > 0, "{broken:?}");
        assert_eq!(self.picture.shown(), BEFORE);

        second.say(created(11));
        second.say(events(12, [put("c", 12)]));
        self.picture.until_shown(&AFTER).await?;
        assert!(resumed_after(&self.fake, 11), "watched from {:?}", self.fake.watched_from());
        let updates = &self.picture.updates;
        assert!(
            matches!(updates[..], [Update::Reset { .. }, Update::Apply { .. }, Update::Apply { .. }]),
            "{updates:?}"
        );
        assert_eq!(self.fake.count(is_list), 1, "it resumed where it was");
        Ok(broken)
    }
}

async fn survives(breaks: impl FnOnce(&Script)) -> Result<Status> {
    Broken::watching().await?.survives(breaks).await
}

/// Waits until as many watches were opened.
async fn reopened(fake: &Fake, watches: usize) -> Result<()> {
    eventually("another watch", PATIENCE, async || {
        ensure!(fake.watched_from().len() >= watches, "{:?}", fake.watched_from());
        Ok(())
    })
    .await
}
