//! The watch and the registrar, against what a real etcd cannot be made to do.

mod a_list;
mod a_registration;
mod a_registry_that_is_another;
mod a_watch_that_breaks;
mod events_of_a_watch;
#[path = "../support/mod.rs"]
mod support;

use anyhow::Result;
use harness::fake::say::{created, events, listed};
use harness::fake::{Fake, Script};
use leaseway_registry::watch::{Update, WatchStatus};
use support::Picture;
use support::scripted::{follow, is_list, kv, put, resumed_after};

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
    async fn survives(mut self, breaks: impl FnOnce(&Script)) -> Result<WatchStatus> {
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

async fn survives(breaks: impl FnOnce(&Script)) -> Result<WatchStatus> {
    Broken::watching().await?.survives(breaks).await
}
