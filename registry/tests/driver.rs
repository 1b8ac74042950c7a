//! What the driver makes of a registry that misbehaves, with a scripted one and a paused clock.
#![allow(clippy::unwrap_used, reason = "a lock that a panic poisoned belongs to a test that has failed")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use leaseway_registry::connect::{CallError, Cause, Reason};
use leaseway_registry::contract::Prefix;
use leaseway_registry::watch::source::{
    Cursor, Event, Message, Page, RawKey, RawRecord, Source, WatchStream,
};
use leaseway_registry::watch::{
    Change, Reread, Update, Watch, WatchSettings, nothing_reserved, watch_source,
};
use tokio::time::Instant;

/// What the registry does next; each call takes one.
enum Play {
    List(i64),
    /// The watch is opened, and these arrive. Then it is silent.
    Open(Vec<Message>),
    Revision(i64),
    Fail,
}

/// A registry that follows a script, and notes what it was asked.
#[derive(Clone, Default)]
struct Script {
    plays: Arc<Mutex<VecDeque<Play>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn new(plays: impl IntoIterator<Item = Play>) -> Self {
        let script = Self::default();
        script.plays.lock().unwrap().extend(plays);
        script
    }

    fn next(&self, asked: String) -> Result<Play, CallError> {
        self.asked.lock().unwrap().push(asked);
        match self.plays.lock().unwrap().pop_front() {
            Some(Play::Fail) | None => Err(refused()),
            Some(play) => Ok(play),
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn refused() -> CallError {
    CallError { attempt: "play", endpoint: "script".into(), cause: Cause::Closed }
}

fn raw(id: &str, revision: i64) -> RawRecord {
    RawRecord {
        key: Prefix::default().key("goods", id).into_bytes(),
        value: b"10.0.0.1:80".to_vec().into(),
        lease: 7,
        revision,
    }
}

fn created(revision: i64) -> Message {
    Message::Created { revision, cluster: 7 }
}

fn put(id: &str, revision: i64, complete: bool) -> Message {
    let events = vec![Event::Put(raw(id, revision))];
    Message::Events { events, complete }
}

#[async_trait]
impl Source for Script {
    type Stream = Played;

    async fn records(&mut self, _: &Cursor) -> Result<Page<RawRecord>, CallError> {
        match self.next("list".into())? {
            Play::List(revision) => {
                Ok(Page { items: vec![raw("listed", revision)], revision, cluster: 7, next: None })
            }
            _ => panic!("the script expected another call than a list"),
        }
    }

    fn keys(&self, _: Cursor) -> BoxFuture<'static, Result<Page<RawKey>, CallError>> {
        panic!("the script expected no audit");
    }

    async fn revision(&mut self) -> Result<i64, CallError> {
        match self.next("revision".into())? {
            Play::Revision(revision) => Ok(revision),
            _ => panic!("the script expected another call than a read of the revision"),
        }
    }

    async fn open(&mut self, from: i64) -> Result<Played, CallError> {
        match self.next(format!("open {from}"))? {
            Play::Open(messages) => Ok(Played(messages.into())),
            _ => panic!("the script expected another call than a watch"),
        }
    }

    fn disconnect(&mut self) {
        self.asked.lock().unwrap().push("disconnect".into());
    }
}

struct Played(VecDeque<Message>);

#[async_trait]
impl WatchStream for Played {
    async fn message(&mut self) -> Result<Message, CallError> {
        match self.0.pop_front() {
            Some(message) => Ok(message),
            None => std::future::pending().await,
        }
    }

    async fn ask_progress(&mut self) -> Result<(), CallError> {
        Ok(())
    }
}

/// Runs the script to its end and returns the updates and what was asked until then.
async fn play(plays: impl IntoIterator<Item = Play>) -> (Vec<Update>, Vec<String>) {
    let script = Script::new(plays);
    let (Watch { mut updates, status, .. }, driver) = watch_source(
        script.clone(),
        WatchSettings { audit: None, ..WatchSettings::default() },
        nothing_reserved(),
    );
    let driver = tokio::spawn(driver.run());
    let mut seen = Vec::new();
    let started = Instant::now();
    while !script.plays.lock().unwrap().is_empty() || status.borrow().live {
        assert!(started.elapsed() < Duration::from_secs(600), "stuck after {:?}", script.asked());
        // The clock is paused: this returns when everything else waits.
        tokio::time::sleep(Duration::from_secs(1)).await;
        while let Ok(update) = updates.try_recv() {
            seen.push(update);
        }
    }
    driver.abort();
    (seen, script.asked())
}

fn ids(update: &Update) -> Vec<&str> {
    match update {
        Update::Reset { instances, .. } => instances.iter().map(|i| &*i.id).collect(),
        Update::Apply { changes, .. } => changes.iter().map(id).collect(),
    }
}

/// What was asked, without the connections that were given up in between.
fn calls(asked: &[String]) -> Vec<&str> {
    asked.iter().map(String::as_str).filter(|call| *call != "disconnect").collect()
}

fn id(change: &Change) -> &str {
    match change {
        Change::Put(instance) => &instance.id,
        Change::Delete { id, .. } => id,
        Change::Refused { name, .. } => &name.id,
    }
}

fn cancelled(reason: Reason) -> Message {
    Message::Cancelled { reason, text: "because".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn a_compacted_watch_is_listed_again() {
    let (updates, asked) = play([
        Play::List(10),
        Play::Open(vec![created(10), cancelled(Reason::Compacted)]),
        Play::List(20),
        Play::Open(vec![created(20)]),
    ])
    .await;
    assert_eq!(calls(&asked)[..4], ["list", "open 11", "list", "open 21"]);
    assert_eq!(updates.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_watch_cancelled_for_another_reason_resumes_where_it_was() {
    let (updates, asked) = play([
        Play::List(10),
        Play::Open(vec![created(10), put("a", 12, true), cancelled(Reason::Other)]),
        Play::Open(vec![created(12)]),
    ])
    .await;
    assert_eq!(calls(&asked)[..3], ["list", "open 11", "open 13"]);
    assert_eq!(updates.iter().flat_map(ids).collect::<Vec<_>>(), ["listed", "a"]);
}

#[tokio::test(start_paused = true)]
async fn a_fragment_without_its_rest_is_asked_for_again() {
    let (updates, asked) = play([
        Play::List(10),
        Play::Open(vec![created(10), put("a", 12, false), cancelled(Reason::Other)]),
        Play::Open(vec![created(12), put("a", 12, false), put("b", 12, true)]),
    ])
    .await;
    assert_eq!(calls(&asked)[..3], ["list", "open 11", "open 12"]);
    assert_eq!(updates.iter().flat_map(ids).collect::<Vec<_>>(), ["listed", "a", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_registry_whose_revision_fell_is_listed_again_and_a_lagging_member_is_not() {
    let (_, asked) = play([
        Play::List(10),
        Play::Open(vec![created(4)]),
        Play::Revision(12),
        // Silent, so after the deadline:
        Play::Open(vec![created(4)]),
        Play::Revision(4),
        Play::List(4),
        Play::Open(vec![created(4)]),
    ])
    .await;
    assert_eq!(calls(&asked)[..7], ["list", "open 11", "revision", "open 11", "revision", "list", "open 5"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_at_another_cluster_is_listed_again() {
    let elsewhere = Message::Created { revision: 10, cluster: 8 };
    let (_, asked) =
        play([Play::List(10), Play::Open(vec![elsewhere]), Play::List(10), Play::Open(vec![created(10)])])
            .await;
    assert_eq!(calls(&asked)[..4], ["list", "open 11", "list", "open 11"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_renewed_for_what_another_may_cure_and_kept_otherwise() {
    for (reason, expected) in [
        (Reason::Other, &["open 11", "disconnect", "open 11"][..]),
        (Reason::TokenRejected, &["open 11", "disconnect", "open 11"]),
        (Reason::NoLeader, &["open 11", "disconnect", "open 11"]),
        (Reason::Compacted, &["open 11", "list"]),
        (Reason::TooLong, &["open 11", "list"]),
    ] {
        let again = if expected.contains(&"list") { Play::List(10) } else { Play::Open(vec![created(10)]) };
        let (_, asked) =
            play([Play::List(10), Play::Open(vec![created(10), cancelled(reason)]), again]).await;
        assert_eq!(asked[1..=expected.len()], *expected, "{reason:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_a_new_login_does_not_cure_is_met_with_patience_on_the_same_connection() {
    let started = Instant::now();
    let refused = || Play::Open(vec![cancelled(Reason::PermissionDenied)]);
    let (_, asked) = play([Play::List(10)].into_iter().chain((0..12).map(|_| refused()))).await;
    assert!(started.elapsed() > Duration::from_secs(10), "{:?}", started.elapsed());
    let scripted = &asked[..14];
    assert_eq!(scripted.iter().filter(|call| *call == "disconnect").count(), 1, "{scripted:?}");
}

#[tokio::test(start_paused = true)]
async fn silence_after_created_ends_within_its_deadline() {
    let started = Instant::now();
    play([Play::List(10), Play::Open(vec![created(10)])]).await;
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(10) && took < Duration::from_secs(15), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_always_fails_is_not_asked_in_a_loop() {
    let started = Instant::now();
    let (_, asked) = play((0..50).map(|_| Play::Fail)).await;
    assert!(asked.len() >= 50);
    assert!(started.elapsed() > Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_compacts_in_a_loop_is_not_listed_in_a_loop() {
    let round = |n: i64| [Play::List(n), Play::Open(vec![created(n), cancelled(Reason::Compacted)])];
    let started = Instant::now();
    play((10..60).flat_map(round)).await;
    assert!(started.elapsed() > Duration::from_secs(5), "{:?}", started.elapsed());
}

/// A watch that is live, with its handle to have it read again.
async fn live(plays: impl IntoIterator<Item = Play>) -> (Script, Watch) {
    let script = Script::new(plays);
    let (watch, driver) = watch_source(
        script.clone(),
        WatchSettings { audit: None, ..WatchSettings::default() },
        nothing_reserved(),
    );
    tokio::spawn(driver.run());
    let mut status = watch.status.clone();
    status.wait_for(|status| status.live).await.unwrap();
    (script, watch)
}

/// The resets that arrive within a time.
async fn resets(watch: &mut Watch, time: Duration) -> usize {
    tokio::time::sleep(time).await;
    let mut resets = 0;
    while let Ok(update) = watch.updates.try_recv() {
        resets += usize::from(matches!(update, Update::Reset { .. }));
    }
    resets
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_to_be_read_again_is_listed_beside_its_watch() {
    let plays = [Play::List(10), Play::Open(vec![created(10)]), Play::List(12)];
    let (script, mut watch) = live(plays).await;
    assert_eq!(resets(&mut watch, Duration::from_millis(1)).await, 1);
    watch.reread.ask();
    assert_eq!(resets(&mut watch, Duration::from_secs(6)).await, 1);
    assert_eq!(calls(&script.asked()), ["list", "open 11", "list"]);
    let status = watch.status.borrow().clone();
    assert_eq!((status.live, status.revision, status.lists), (true, 12, 2));
}

#[tokio::test(start_paused = true)]
async fn however_often_it_is_asked_for_a_list_is_read_once_and_not_again_within_seconds() {
    let lists = (10..100).map(Play::List);
    let plays = [Play::List(10), Play::Open(vec![created(10)])].into_iter().chain(lists);
    let (script, mut watch) = live(plays).await;
    resets(&mut watch, Duration::from_secs(6)).await;
    let ask = |reread: &Reread| (0..100).for_each(|_| reread.clone().ask());
    ask(&watch.reread);
    assert_eq!(resets(&mut watch, Duration::from_millis(1)).await, 1, "at once after a quiet time");
    ask(&watch.reread);
    assert_eq!(resets(&mut watch, Duration::from_secs(4)).await, 0);
    assert_eq!(resets(&mut watch, Duration::from_secs(2)).await, 1);
    assert_eq!(calls(&script.asked()).len(), 4, "{:?}", script.asked());
}

#[tokio::test(start_paused = true)]
async fn a_list_that_was_asked_for_and_fails_is_read_again_later_and_later_beside_the_watch() {
    let lists = [Play::Fail, Play::Fail, Play::List(11)];
    let watch = [Play::List(10), Play::Open(vec![created(10), put("a", 11, true)])];
    let (script, mut watch) = live(watch.into_iter().chain(lists)).await;
    resets(&mut watch, Duration::from_secs(6)).await;
    watch.reread.ask();
    assert_eq!(resets(&mut watch, Duration::from_secs(4)).await, 0);
    assert_eq!(script.asked(), ["list", "open 11", "list"], "not at once");
    assert!(watch.status.borrow().live);
    assert_eq!(resets(&mut watch, Duration::from_secs(13)).await, 1);
    assert_eq!(script.asked(), ["list", "open 11", "list", "list", "list"]);
    let status = watch.status.borrow().clone();
    assert_eq!((status.live, status.failures, status.lists), (true, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_before_a_list_begins_is_answered_by_it() {
    let script = Script::new([Play::List(10), Play::Open(vec![created(10)])]);
    let (mut watch, driver) = watch_source(
        script.clone(),
        WatchSettings { audit: None, ..WatchSettings::default() },
        nothing_reserved(),
    );
    watch.reread.ask();
    tokio::spawn(driver.run());
    assert_eq!(resets(&mut watch, Duration::from_secs(9)).await, 1);
    assert_eq!(calls(&script.asked()), ["list", "open 11"]);
}
