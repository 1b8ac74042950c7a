//! One client's watch stream.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use etcd_client::proto::{PbWatchRequest, PbWatchRequestUnion, PbWatchResponse};
use futures_util::{FutureExt, StreamExt, stream::Fuse};
use tokio::{
    sync::{Notify, watch as signal},
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};
use tonic::{Status, Streaming};

use super::{Shared, header, news, stopped};
use crate::{
    client::Client,
    refusal::Refusal,
    room::{Paid, SMALL},
    watch::{News, StreamId, Wanted},
};

/// etcd tells progress at most this often.
const LEAST_PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// tokio's timers have a limit.
const MOST_PROGRESS_INTERVAL: Duration = Duration::from_secs(365 * 24 * 3600);
/// As etcd numbers them.
const NO_PUTS: i32 = 0;
const NO_DELETES: i32 = 1;

/// A stream works only while it is read: it looks for news when the last answer was taken. Dropping it ends its
/// watches.
pub(super) struct WatchSession {
    shared: Arc<Shared>,
    client: Arc<Client>,
    stream: StreamId,
    requests: Fuse<Streaming<PbWatchRequest>>,
    /// Whether the client says that it has logged in.
    has_token: bool,
    /// Told when there may be news.
    wake: Arc<Notify>,
    stopping: signal::Receiver<bool>,
    /// When quiet watches are told that they are.
    progress: Interval,
    /// Answers to requests that wait to be taken.
    answers: VecDeque<PbWatchResponse>,
    /// What is left to say of the last piece of news.
    news: news::Responses,
    /// Room for it.
    paid: Paid,
}

impl WatchSession {
    pub(super) fn open(
        shared: Arc<Shared>,
        client: Arc<Client>,
        requests: Streaming<PbWatchRequest>,
        has_token: bool,
    ) -> Result<Self, Refusal> {
        let wake = Arc::new(Notify::new());
        let stream = shared.ask(|registry| match client.is_gateway() {
            true => Ok(registry.open_stream_for_gateway(Arc::clone(&wake))),
            false => registry.open_stream(Arc::clone(&wake)),
        })?;
        let stopping = shared.stopping.clone();
        let progress = with_jitter(shared.progress_interval);
        let requests = requests.fuse();
        let (answers, news, paid) = (VecDeque::new(), news::none(), Paid::default());
        Ok(Self {
            shared,
            client,
            stream,
            requests,
            has_token,
            wake,
            stopping,
            progress,
            answers,
            news,
            paid,
        })
    }

    /// The room of what it tells, for who sends it.
    pub(super) fn paid(&self) -> Paid {
        self.paid.clone()
    }

    /// The next answer. As in etcd, a client that sends no more requests still hears: the stream ends when the
    /// client ends it, or the server stops.
    pub(super) async fn next(&mut self) -> Option<Result<PbWatchResponse, Status>> {
        loop {
            if let Some(answer) = self.answers.pop_front().or_else(|| self.news.next()) {
                return Some(Ok(answer));
            }
            // Requests come first, so that a stream that has ever more to tell can still be cancelled.
            let request = match self.requests.next().now_or_never().flatten() {
                Some(request) => request,
                None if self.fetch_news().await => continue,
                None => tokio::select! {
                    () = stopped(&mut self.stopping) => Err(Refusal::Stopped.into()),
                    Some(request) = self.requests.next() => request,
                    () = self.wake.notified() => continue,
                    _ = self.progress.tick() => {
                        self.tell_quiet_watches();
                        continue;
                    }
                },
            };
            match request {
                Ok(request) => self.take(request),
                Err(status) => return Some(Err(self.shared.too_large(&status).unwrap_or(status))),
            }
        }
    }

    fn take(&mut self, request: PbWatchRequest) {
        match request.request_union {
            Some(PbWatchRequestUnion::CreateRequest(create)) => self.create(Wanted {
                id: create.watch_id,
                // As in etcd, no key is the first one that there can be.
                key: if create.key.is_empty() { vec![0] } else { create.key },
                end: create.range_end,
                start_revision: create.start_revision,
                without_puts: create.filters.contains(&NO_PUTS),
                without_deletes: create.filters.contains(&NO_DELETES),
                previous: create.prev_kv,
                fragments: create.fragment,
                progress: create.progress_notify,
            }),
            Some(PbWatchRequestUnion::CancelRequest(cancel)) => self.cancel(cancel.watch_id),
            Some(PbWatchRequestUnion::ProgressRequest(_)) => self.shared.locked().ask_progress(self.stream),
            None => {} // as etcd: an unknown request is passed over
        }
    }

    fn create(&mut self, wanted: Wanted) {
        let mut revision = 0;
        let created = self.shared.ask(|registry| {
            revision = registry.revision();
            if self.has_token {
                return Err(Refusal::InvalidTokenOfWatch);
            }
            registry.create_watch(self.stream, wanted)
        });
        self.answers.push_back(news::created(created, header(revision)));
    }

    fn cancel(&mut self, id: i64) {
        let mut registry = self.shared.locked();
        if registry.cancel_watch(self.stream, id) {
            self.answers.push_back(news::cancelled(id, header(registry.revision())));
        }
    }

    /// Looks for news. None is taken before there is room for it: otherwise what a client does not read would stay in
    /// memory, uncounted.
    async fn fetch_news(&mut self) -> bool {
        self.paid.put(None);
        let mut room = if self.client.is_gateway() { usize::MAX } else { SMALL };
        loop {
            let next = || self.shared.locked().next_news(self.stream);
            let Some(news) = self.shared.turns.amid_others(&self.client, next).await else { return false };
            match &news {
                News::Batch(batch) if batch.size() > room => {
                    room = batch.size();
                    self.shared.locked().take_back(self.stream, batch);
                }
                _ => {
                    self.news = news::responses(news);
                    return true;
                }
            }
            drop(news);
            if !self.wait_for_room(room).await {
                return false;
            }
        }
    }

    /// Waits for room in a task of its own: a stream whose client reads no more is not polled, and would keep the room
    /// that it is given. Returns false if the server stops.
    async fn wait_for_room(&mut self, bytes: usize) -> bool {
        // Too little room is given back first: nobody may wait for room who holds some.
        self.paid.put(None);
        let (shared, client) = (Arc::clone(&self.shared), Arc::clone(&self.client));
        // It ends with the set.
        let mut waiting = JoinSet::new();
        waiting.spawn(async move { shared.room.for_answer(&client, bytes).await });
        tokio::select! {
            held = waiting.join_next() => {
                self.paid.put(held.and_then(Result::ok).flatten());
                true
            }
            () = stopped(&mut self.stopping) => false,
        }
    }

    fn tell_quiet_watches(&mut self) {
        let mut registry = self.shared.locked();
        let header = header(registry.revision());
        let quiet = registry.quiet_watches(self.stream).into_iter();
        self.answers.extend(quiet.map(|id| news::progress(id, header)));
    }
}

impl Drop for WatchSession {
    fn drop(&mut self) {
        self.shared.locked().close_stream(self.stream);
    }
}

/// A random part of up to a tenth is added, so that streams that were opened together are not told together.
fn with_jitter(period: Duration) -> Interval {
    let period = period.clamp(LEAST_PROGRESS_INTERVAL, MOST_PROGRESS_INTERVAL);
    let period = period.mul_f64(1.0 + fastrand::f64() / 10.0);
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
