//! All watches, by the streams that carry them.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use tokio::sync::Notify;

use super::{
    Batch, HistoryPlace, Position, StreamId, Wanted, Watcher,
    synced::{SyncedWatchers, Who},
};
use crate::{
    refusal::Refusal,
    store::{Commit, Store},
};

/// How many watches there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub streams: usize,
    pub watches: usize,
    pub watches_per_stream: usize,
    /// What the keys and range ends of all watches may take, in bytes.
    pub bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Watches {
    streams: HashMap<StreamId, Stream>,
    synced: SyncedWatchers,
    next_stream: u64,
    watches: usize,
    bytes: usize,
    bounds: Bounds,
}

#[derive(Debug)]
struct Stream {
    /// Whether bounds on watches do not concern it.
    is_gateways: bool,
    watches: BTreeMap<i64, Watcher>,
    next_id: i64,
    /// The watches that are behind, in the order in which they are served.
    behind: VecDeque<i64>,
    /// Whether the client asked how far the stream is.
    is_asked: bool,
    /// Told when there is something to fetch.
    wake: Arc<Notify>,
}

/// What a stream has to tell next.
#[derive(Debug)]
pub(crate) enum News {
    /// Changes for one watch; none if looking for them took long enough for one turn.
    Batch(Batch),
    /// The watch hears no more: what it has not been told is gone.
    Compacted { watch: i64, revision: i64 },
    /// Everything up to here has been told to every watch of the stream.
    Progress { revision: i64 },
}

impl Watches {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let synced = SyncedWatchers::default();
        Self { streams: HashMap::new(), synced, next_stream: 0, watches: 0, bytes: 0, bounds }
    }

    /// How many streams there are, and how many watches on them.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.streams.len(), self.watches)
    }

    /// A new stream. `wake` is told whenever [`Watches::next`] has something.
    pub(crate) fn open(&mut self, wake: Arc<Notify>) -> Result<StreamId, Refusal> {
        if self.streams.len() >= self.bounds.streams {
            return Err(Refusal::TooManyRequests);
        }
        Ok(self.insert(Stream::new(wake)))
    }

    /// A new stream of the gateway's own, which finds a place however many there are, and so do its watches.
    pub(crate) fn open_for_gateway(&mut self, wake: Arc<Notify>) -> StreamId {
        self.insert(Stream { is_gateways: true, ..Stream::new(wake) })
    }

    /// Ends a stream and its watches.
    pub(crate) fn close(&mut self, stream: StreamId) {
        for (id, watch) in self.streams.remove(&stream).into_iter().flat_map(|stream| stream.watches) {
            self.forget(stream, id, &watch);
        }
    }

    /// Adds a watch to a stream. Returns its id.
    pub(crate) fn create(&mut self, stream: StreamId, wanted: Wanted, store: &Store) -> Result<i64, Refusal> {
        wanted.check()?;
        let bytes = wanted.bytes();
        let Some(state) = self.streams.get_mut(&stream) else { return Err(Refusal::Stopped) };
        let is_full = self.watches >= self.bounds.watches
            || state.watches.len() >= self.bounds.watches_per_stream
            || self.bytes + bytes > self.bounds.bytes;
        if is_full && !state.is_gateways {
            return Err(Refusal::TooManyRequests);
        }
        let id = state.id_for(&wanted)?;

        self.watches += 1;
        self.bytes += bytes;
        let watch = Watcher::new(wanted, store);
        match watch.position {
            Position::Synced { from } => {
                let next = store.revision().saturating_add(1);
                self.synced.insert(&watch.wanted, (stream, id), from, next);
            }
            Position::Behind(_) => state.behind.push_back(id),
            Position::Compacted => {}
        }
        state.watches.insert(id, watch);
        Ok(id)
    }

    /// Ends a watch; false if there is none.
    pub(crate) fn cancel(&mut self, stream: StreamId, id: i64) -> bool {
        let Some(state) = self.streams.get_mut(&stream) else { return false };
        let Some(watch) = state.watches.remove(&id) else { return false };
        // Otherwise a client that creates and cancels watches without end would make the queue grow.
        state.behind.retain(|behind| *behind != id);
        self.forget(stream, id, &watch);
        true
    }

    /// Notes in every watch that a commit concerns that there is something for it.
    pub(crate) fn tell(&mut self, commit: &Commit) {
        while let Some((who, from)) = self.synced.take_arrived(commit.revision) {
            if let Some(watch) = watch_mut(&mut self.streams, who) {
                self.synced.insert(&watch.wanted, who, from, commit.revision);
            }
        }
        for change in &commit.changes {
            for who in self.synced.concerned(change) {
                self.fall_behind(who, commit.revision);
            }
        }
    }

    /// The client wants to know how far the stream is, once all of its watches have heard of everything.
    pub(crate) fn ask(&mut self, stream: StreamId) {
        if let Some(state) = self.streams.get_mut(&stream) {
            state.is_asked = true;
        }
    }

    /// What there is to tell on a stream; none until it is woken again.
    pub(crate) fn next(&mut self, stream: StreamId, store: &Store) -> Option<News> {
        while let Some(id) = self.streams.get_mut(&stream)?.behind.pop_front() {
            if let Some(news) = self.news_of(stream, id, store) {
                return Some(news);
            }
        }
        self.streams.get_mut(&stream)?.progress(store)
    }

    /// A batch that could not be told: its watch is the next to be served, from where the batch began.
    pub(crate) fn take_back(&mut self, stream: StreamId, batch: &Batch) {
        let Some(state) = self.streams.get_mut(&stream) else { return };
        let Some(watch) = state.watches.get_mut(&batch.watch) else { return };
        if let Position::Synced { from } = watch.position {
            self.synced.remove(watch.wanted.span(), (stream, batch.watch), from);
        }
        watch.position = Position::Behind(batch.from);
        state.behind.retain(|behind| *behind != batch.watch);
        state.behind.push_front(batch.watch);
    }

    /// The watches that want to be told that they are quiet, and have been since this was last asked.
    pub(crate) fn quiet(&mut self, stream: StreamId) -> Vec<i64> {
        let Some(state) = self.streams.get_mut(&stream) else { return Vec::new() };
        let quiet = state.watches.iter_mut().filter_map(|(&id, watch)| {
            let was_quiet = std::mem::replace(&mut watch.is_quiet, true);
            let is_synced = matches!(watch.position, Position::Synced { .. });
            (was_quiet && is_synced && watch.wanted.progress).then_some(id)
        });
        quiet.collect()
    }

    fn insert(&mut self, stream: Stream) -> StreamId {
        let id = StreamId(self.next_stream);
        self.next_stream += 1;
        self.streams.insert(id, stream);
        id
    }

    fn news_of(&mut self, stream: StreamId, id: i64, store: &Store) -> Option<News> {
        let state = self.streams.get_mut(&stream)?;
        let watch = state.watches.get_mut(&id)?;
        let Position::Behind(place) = watch.position else { return None };
        if place.revision < store.compacted() {
            watch.position = Position::Compacted;
            return Some(News::Compacted { watch: id, revision: store.compacted() });
        }
        let batch = Batch::read(id, &watch.wanted, place, store);
        let next = store.revision().saturating_add(1);
        let is_synced = batch.next == HistoryPlace::start_of(next);
        watch.is_quiet &= batch.changes.is_empty();
        if is_synced {
            watch.position = Position::Synced { from: next };
            self.synced.insert(&watch.wanted, (stream, id), next, next);
        } else {
            watch.position = Position::Behind(batch.next);
            state.behind.push_back(id);
        }
        (!is_synced || !batch.changes.is_empty()).then_some(News::Batch(batch))
    }

    fn fall_behind(&mut self, who: Who, revision: i64) {
        let (stream, id) = who;
        let Some(state) = self.streams.get_mut(&stream) else { return };
        let Some(watch) = state.watches.get_mut(&id) else { return };
        let Position::Synced { from } = watch.position else { return };
        self.synced.remove(watch.wanted.span(), who, from);
        watch.position = Position::Behind(HistoryPlace::start_of(revision));
        state.behind.push_back(id);
        state.wake.notify_one();
    }

    fn forget(&mut self, stream: StreamId, id: i64, watch: &Watcher) {
        if let Position::Synced { from } = watch.position {
            self.synced.remove(watch.wanted.span(), (stream, id), from);
        }
        self.watches -= 1;
        self.bytes -= watch.wanted.bytes();
    }
}

fn watch_mut(streams: &mut HashMap<StreamId, Stream>, (stream, id): Who) -> Option<&mut Watcher> {
    streams.get_mut(&stream)?.watches.get_mut(&id)
}

impl Stream {
    fn new(wake: Arc<Notify>) -> Self {
        let (watches, behind) = (BTreeMap::new(), VecDeque::new());
        Self { is_gateways: false, watches, next_id: 0, behind, is_asked: false, wake }
    }

    fn id_for(&mut self, wanted: &Wanted) -> Result<i64, Refusal> {
        if wanted.id != 0 {
            let is_taken = self.watches.contains_key(&wanted.id);
            return if is_taken { Err(Refusal::DuplicateWatchId) } else { Ok(wanted.id) };
        }
        while self.watches.contains_key(&self.next_id) {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        Ok(id)
    }

    /// The answer about progress when no watch is behind. There is none if a watch starts at a future revision, later
    /// than the next one: its client would take the revision of the answer as the one to resume from.
    fn progress(&mut self, store: &Store) -> Option<News> {
        if !std::mem::take(&mut self.is_asked) {
            return None;
        }
        let next = store.revision().saturating_add(1);
        let is_ahead = |watch: &Watcher| matches!(watch.position, Position::Synced { from } if from > next);
        let is_any_ahead = self.watches.values().any(is_ahead);
        (!is_any_ahead).then_some(News::Progress { revision: store.revision() })
    }
}

#[cfg(test)]
mod tests;
