//! The model as a source: lists by pages, watches, reports, and all its faults.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use harness::fake::Status;
use leaseway_registry::connect::{CALL_TIMEOUT, CallError, Cause, Reason};
use leaseway_registry::watch::source::{
    Cursor, Event, Message, Page, RawKey, RawRecord, Source, WatchStream,
};
use tokio::time::{Instant, sleep, timeout};

use crate::world::{Refusal, World};

/// Keys in a page: less than there are.
const PAGE: usize = 3;
/// How long a call takes.
const LATENCY: Duration = Duration::from_millis(2);

const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const FUTURE: &str = "etcdserver: mvcc: required revision is a future revision";

#[derive(Clone)]
pub struct Model {
    world: Arc<Mutex<World>>,
    /// Restarts before the list that is being read.
    restarts: u32,
    /// The cluster that gave its first page.
    cluster: u64,
}

impl Model {
    pub fn new() -> Self {
        Self { world: Arc::new(Mutex::new(World::new())), restarts: 0, cluster: 0 }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call: it takes its time, waits while nothing is answered, and may be refused.
    async fn call<T>(&self, answer: impl Fn(&mut World) -> Result<T, CallError>) -> Result<T, CallError> {
        self.world().witness.calls.push(Instant::now());
        let thawed = async {
            sleep(LATENCY).await;
            loop {
                let changed = self.world().changed.clone();
                let changed = changed.notified();
                if !self.world().faults.frozen {
                    return;
                }
                changed.await;
            }
        };
        if timeout(CALL_TIMEOUT, thawed).await.is_err() {
            return Err(error(Cause::Deadline(CALL_TIMEOUT)));
        }
        let mut world = self.world();
        match world.faults.refusing {
            None => answer(&mut world),
            Some(Refusal::Closed) => Err(error(Cause::Closed)),
            Some(Refusal::Deadline) => Err(error(Cause::Deadline(CALL_TIMEOUT))),
            Some(Refusal::Says(text)) => Err(says(text)),
        }
    }
}

fn error(cause: Cause) -> CallError {
    CallError { attempt: "play", endpoint: "model".into(), cause }
}

fn says(text: &str) -> CallError {
    error(Cause::Etcd(etcd_client::Error::GRpcStatus(Status::unknown(text))))
}

fn page(world: &World, cursor: &Cursor) -> Result<Page<RawRecord>, CallError> {
    let revision = if cursor.revision > 0 { cursor.revision } else { world.revision };
    if revision < world.compacted {
        return Err(says(COMPACTED));
    }
    let Some(records) = world.states.get(&revision) else { return Err(says(FUTURE)) };
    let after = |raw: &&RawRecord| cursor.after.as_ref().is_none_or(|after| *raw.key > **after);
    let mut items: Vec<_> = records.values().filter(after).take(PAGE + 1).cloned().collect();
    let more = items.len() > PAGE;
    items.truncate(PAGE);
    let after = items.last().map(|raw| raw.key.as_slice().into());
    let next = more.then_some(Cursor { after, revision });
    Ok(Page { items, revision, cluster: world.cluster, next })
}

#[async_trait]
impl Source for Model {
    type Stream = Watcher;

    async fn records(&mut self, cursor: &Cursor) -> Result<Page<RawRecord>, CallError> {
        let restarts = self.restarts;
        let page = self.call(|world| {
            if cursor.revision > 0 && restarts != world.restarts {
                return Err(error(Cause::Closed));
            }
            Ok((page(world, cursor)?, world.restarts))
        });
        let (page, restarts) = page.await?;
        self.restarts = restarts;
        if cursor.revision == 0 {
            self.cluster = page.cluster;
        }
        // Pages of two clusters are no list: a watch beside it goes on from where it was.
        if page.next.is_none() && page.cluster == self.cluster {
            self.world().witness.listed = Some(page.revision);
        }
        Ok(page)
    }

    fn keys(&self, cursor: Cursor) -> BoxFuture<'static, Result<Page<RawKey>, CallError>> {
        let model = self.clone();
        Box::pin(async move {
            let Page { items, revision, cluster, next } = model.call(|world| page(world, &cursor)).await?;
            let key = |raw: RawRecord| RawKey { written: raw.written(), key: raw.key.into() };
            Ok(Page { items: items.into_iter().map(key).collect(), revision, cluster, next })
        })
    }

    async fn revision(&mut self) -> Result<i64, CallError> {
        self.call(|world| Ok(world.revision)).await
    }

    async fn open(&mut self, from: i64) -> Result<Watcher, CallError> {
        let generation = self
            .call(|world| {
                world.witness.opened(from);
                Ok(world.generation)
            })
            .await?;
        let model = self.clone();
        Ok(Watcher { model, generation, next: from, created: false, rest: VecDeque::new(), asked: 0 })
    }

    fn disconnect(&mut self) {}
}

/// A watch of the model.
pub struct Watcher {
    model: Model,
    generation: u64,
    /// The first revision that was not shown.
    next: i64,
    created: bool,
    /// The fragments that follow.
    rest: VecDeque<Event>,
    /// Questions for a report that are not answered.
    asked: u32,
}

#[async_trait]
impl WatchStream for Watcher {
    async fn message(&mut self) -> Result<Message, CallError> {
        loop {
            let changed = self.model.world().changed.clone();
            let changed = changed.notified();
            if let Some(message) = self.ready() {
                return message;
            }
            changed.await;
        }
    }

    async fn ask_progress(&mut self) -> Result<(), CallError> {
        let mut world = self.model.world();
        world.witness.calls.push(Instant::now());
        self.asked += 1;
        world.changed.notify_waiters();
        Ok(())
    }
}

impl Watcher {
    /// What is ready to be read.
    fn ready(&mut self) -> Option<Result<Message, CallError>> {
        let model = self.model.clone();
        let mut world = model.world();
        if world.faults.frozen {
            return None;
        }
        if self.generation != world.generation {
            return Some(Err(error(Cause::Closed)));
        }
        if !std::mem::replace(&mut self.created, true) {
            let revision = world.revision - world.faults.lagging;
            return Some(Ok(Message::Created { revision, cluster: world.cluster }));
        }
        if world.faults.holding {
            return None;
        }
        if let Some(reason) = world.faults.cancelling {
            return Some(Ok(Message::Cancelled { reason, text: "because".to_owned() }));
        }
        if self.next < world.compacted {
            return Some(Ok(Message::Cancelled { reason: Reason::Compacted, text: String::new() }));
        }
        let report = |watcher: &mut Self, world: &World| {
            (watcher.asked > 0).then(|| {
                watcher.asked -= 1;
                Ok(Message::Progress { revision: world.revision, of_watch: false })
            })
        };
        let early = if world.faults.overtaking { report(self, &world) } else { None };
        early.or_else(|| self.events(&mut world).map(Ok)).or_else(|| report(self, &world))
    }

    fn events(&mut self, world: &mut World) -> Option<Message> {
        if let Some(event) = self.rest.pop_front() {
            return Some(self.fragment(event, world));
        }
        let (revision, events) = world.history.range(self.next..).find(|(_, events)| !events.is_empty())?;
        let (revision, events) = (*revision, events.clone());
        self.next = revision + 1;
        if std::mem::take(&mut world.faults.breaking_after_one) {
            self.generation = u64::MAX;
        }
        if world.faults.losing > 0 {
            world.faults.losing -= 1;
            return self.events(world);
        }
        if world.faults.fragmenting {
            self.rest = events.into();
            let first = self.rest.pop_front()?;
            return Some(self.fragment(first, world));
        }
        Some(Message::Events { events, complete: true })
    }

    fn fragment(&mut self, event: Event, world: &mut World) -> Message {
        let complete = self.rest.is_empty();
        if !complete && std::mem::take(&mut world.faults.breaking_in_half) {
            self.generation = u64::MAX;
        }
        Message::Events { events: vec![event], complete }
    }
}
